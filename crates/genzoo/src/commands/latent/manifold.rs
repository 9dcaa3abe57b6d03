//! `genzoo latent RUN manifold`. Kingma & Welling 2014, arXiv:1312.6114, figure 4.

use super::space::{Space, quantile, sorted};
use super::wrong;
use crate::draw::Canvas;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Images along each side.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(2..=60))]
    size: u32,
    /// The two dimensions, where the code has more; the others stay at the median of the prior
    /// [default: 0,1 of a code of two].
    #[arg(long, value_name = "I,J", value_delimiter = ',')]
    dims: Option<Vec<usize>>,
    /// The PNG file to write.
    #[arg(long, value_name = "FILE", default_value = "manifold.png")]
    out: PathBuf,
}

pub(super) fn draw(space: &Space, args: &Args) -> anyhow::Result<String> {
    let width = space.width();
    let dims = match args.dims.as_deref() {
        Some(&[i, j]) if i < width && j < width && i != j => [i, j],
        Some(found) => {
            let message = format!(
                "--dims: expected two different dimensions from 0 to {}, found {found:?}",
                width - 1
            );
            return Err(wrong(message, ""));
        }
        None if width == 2 => [0, 1],
        None => {
            let message = format!("a map has two dimensions, the code of this run has {width}");
            let hint = "--dims I,J chooses two of them; `latent RUN traverse` shows each";
            return Err(wrong(message, hint));
        }
    };
    let prior = space.prior();
    let columns: Vec<Vec<f32>> = (0..width).map(|j| sorted(&prior, j)).collect();
    let size = args.size as usize;
    let values = dims.map(|j| -> Vec<f32> {
        (0..size)
            .map(|i| quantile(&columns[j], (i as f64 + 0.5) / size as f64))
            .collect()
    });
    let mut codes = Vec::new();
    for row in 0..size {
        for column in 0..size {
            let mut z: Vec<f32> = columns.iter().map(|of| quantile(of, 0.5)).collect();
            // Upwards, as on a map.
            z[dims[0]] = values[0][column];
            z[dims[1]] = values[1][size - 1 - row];
            codes.push(z);
        }
    }
    let images = space.decode(&codes, None);
    let ([height, wide, channels], scale) = (space.image(), space.scale());
    let (left, top) = (80, 60);
    let (across, down) = (wide * scale, height * scale);
    let mut canvas = Canvas::new(left + size * across + 40, top + size * down + 70);
    let title = format!(
        "{}: the mean image of each code, percentiles of the prior",
        space.run.entry.name
    );
    canvas.text(12, 12, &title, Canvas::BLACK);
    for (i, image) in images.iter().enumerate() {
        let (x, y) = (left + i % size * across, top + i / size * down);
        canvas.image(x as i64, y as i64, image, [height, wide, channels], scale);
    }
    // As many numbers as there is room for.
    let every = (60usize.div_ceil(across)).max(size.div_ceil(8));
    for i in (0..size).step_by(every) {
        let x = left + i * across + across / 2;
        let text = format!("{:.2}", values[0][i]);
        canvas.centred(
            x as i64,
            (top + size * down + 8) as i64,
            &text,
            Canvas::BLACK,
        );
        let y = top + (size - 1 - i) * down + down / 2 - 7;
        let text = format!("{:.2}", values[1][i]);
        canvas.right(left as i64 - 8, y as i64, &text, Canvas::BLACK);
    }
    let middle = (left + size * across / 2) as i64;
    let below = (top + size * down + 36) as i64;
    canvas.centred(middle, below, &format!("z{}", dims[0]), Canvas::BLACK);
    canvas.text(
        left as i64 - 60,
        top as i64 - 22,
        &format!("z{}", dims[1]),
        Canvas::BLACK,
    );
    canvas.picture().save(&args.out)?;
    Ok(format!(
        "{size}x{size} images in {}: z{} from {:.2} to {:.2} to the right, z{} from {:.2} to {:.2} \
         upwards",
        args.out.display(),
        dims[0],
        values[0][0],
        values[0][size - 1],
        dims[1],
        values[1][0],
        values[1][size - 1]
    ))
}
