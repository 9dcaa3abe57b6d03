//! `genzoo latent RUN traverse`: one row for each dimension, everything else held.

use super::dimensions::{self, Dimension};
use super::space::{Space, Table, mean, quantile, sorted};
use super::wrong;
use crate::finished::From;
use dataset::Split;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The most dimensions to show.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    dims: u32,
    /// Images in a row.
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u32).range(2..=64))]
    steps: u32,
    /// The image whose code the others begin from: test:3 or a PNG file [default: the mean code].
    #[arg(long, value_name = "IMAGE")]
    at: Option<String>,
    /// The PNG file to write.
    #[arg(long, value_name = "FILE", default_value = "traverse.png")]
    out: PathBuf,
}

/// The images that tell how far each dimension goes.
const IMAGES: usize = 2000;
/// The share of the codes beyond either end of a row.
const TAIL: f64 = 0.01;

pub(super) fn draw(space: &Space, args: &Args) -> anyhow::Result<String> {
    // Without an encoder the prior tells.
    let (codes, order) = match space.encoder() {
        Ok(_) => {
            let from = From {
                split: Split::Valid,
                range: None,
            };
            let codes = space.encode(&from, IMAGES)?;
            let order = dimensions::of(&codes);
            (codes.mean, order)
        }
        Err(_) => {
            let codes = space.prior();
            let order = (0..space.width()).map(Dimension::unknown).collect();
            (codes, order)
        }
    };
    let base = match &args.at {
        None => mean(&codes),
        Some(text) => {
            let batch = space.named(text)?;
            if batch.len() != 1 {
                let message = format!("--at {text}: expected one image, found {}", batch.len());
                return Err(wrong(message, "name an image such as test:3"));
            }
            space.encode_batch(&batch)?.mean.swap_remove(0)
        }
    };
    let steps = args.steps as usize;
    let mut rows = Vec::new();
    for dimension in order.iter().take(args.dims as usize) {
        let column = sorted(&codes, dimension.index);
        let ends = [quantile(&column, TAIL), quantile(&column, 1.0 - TAIL)];
        let line: Vec<Vec<f32>> = (0..steps)
            .map(|i| {
                let mut z = base.clone();
                let share = i as f32 / (steps - 1) as f32;
                z[dimension.index] = ends[0] + share * (ends[1] - ends[0]);
                z
            })
            .collect();
        let word = match dimension.kl {
            Some(kl) => format!(
                "z{} kl {kl:.2}, {:.1} to {:.1}",
                dimension.index, ends[0], ends[1]
            ),
            None => format!("z{}, {:.1} to {:.1}", dimension.index, ends[0], ends[1]),
        };
        rows.push((word, space.decode(&line, None)));
    }
    let title = format!(
        "{}: one dimension changes in each row",
        space.run.entry.name
    );
    let table = Table {
        title: &title,
        columns: &[],
        rows: &rows,
    };
    table.picture(space).save(&args.out)?;
    Ok(format!(
        "{} of {} dimensions in {}, the most active first",
        rows.len(),
        space.width(),
        args.out.display()
    ))
}
