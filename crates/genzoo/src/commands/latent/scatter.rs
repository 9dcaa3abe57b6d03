//! `genzoo latent RUN scatter`: codes as points, coloured by class.

use super::space::Space;
use crate::draw::{Axes, Canvas, Span, class_colour};
use crate::finished::From;
use dataset::Split;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Which images [default: the test split, at most 5,000].
    #[arg(long, value_name = "SPLIT[:A..B]")]
    from: Option<From>,
    /// The PNG file to write.
    #[arg(long, value_name = "FILE", default_value = "scatter.png")]
    out: PathBuf,
}

const IMAGES: usize = 5000;
const SIDE: usize = 640;

/// The two axes that points are drawn on, as numbers for each code, and their names.
fn plane(codes: &[Vec<f32>]) -> (Vec<[f64; 2]>, [String; 2]) {
    let width = codes.first().map_or(0, Vec::len);
    if width <= 2 {
        let point = |z: &Vec<f32>| [f64::from(z[0]), z.get(1).map_or(0.0, |&z| f64::from(z))];
        let names = ["z0", if width == 2 { "z1" } else { "" }];
        return (codes.iter().map(point).collect(), names.map(String::from));
    }
    let n = codes.len() as f64;
    let mean: Vec<f64> = super::space::mean(codes)
        .iter()
        .map(|&m| f64::from(m))
        .collect();
    let mut covariance = vec![0.0; width * width];
    for code in codes {
        let centred: Vec<f64> = code
            .iter()
            .zip(&mean)
            .map(|(&z, m)| f64::from(z) - m)
            .collect();
        for (i, a) in centred.iter().enumerate() {
            let row = &mut covariance[i * width..][..width];
            row.iter_mut()
                .zip(&centred)
                .for_each(|(sum, b)| *sum += a * b / n);
        }
    }
    let all: f64 = (0..width).map(|i| covariance[i * width + i]).sum();
    let axes = vae::leading_eigenvectors(&covariance, width, 2);
    let project = |code: &Vec<f32>, axis: &Vec<f64>| -> f64 {
        code.iter()
            .zip(&mean)
            .zip(axis)
            .map(|((&z, m), a)| (f64::from(z) - m) * a)
            .sum()
    };
    let points: Vec<[f64; 2]> = codes
        .iter()
        .map(|code| [0, 1].map(|i| project(code, &axes[i])))
        .collect();
    let names = [0, 1].map(|i| {
        let variance = points.iter().map(|p| p[i] * p[i]).sum::<f64>() / n;
        let share = 100.0 * variance / all.max(f64::MIN_POSITIVE);
        format!(
            "principal component {} ({share:.0}% of the variance)",
            i + 1
        )
    });
    (points, names)
}

pub(super) fn draw(space: &Space, args: &Args) -> anyhow::Result<String> {
    let from = args.from.clone().unwrap_or(From {
        split: Split::Test,
        range: None,
    });
    let most = if args.from.is_some() {
        usize::MAX
    } else {
        IMAGES
    };
    let codes = space.encode(&from, most)?;
    let (points, names) = plane(&codes.mean);
    let span = |i: usize| Span::of(points.iter().map(|point| point[i]));
    let classes = codes
        .labels
        .iter()
        .flatten()
        .max()
        .map_or(0, |&max| max as usize + 1);
    let legend = if classes > 0 { 130 } else { 0 };
    let mut canvas = Canvas::new(
        Axes::LEFT + SIDE + 30 + legend,
        76 + SIDE + Axes::BELOW + 20,
    );
    let title = format!(
        "{}: codes of {} {} images",
        space.run.entry.name,
        points.len(),
        from.split
    );
    canvas.text(12, 12, &title, Canvas::BLACK);
    let axes = Axes::new(Axes::LEFT as i64, 70, [SIDE; 2], span(0), span(1));
    axes.frame(&mut canvas, [&names[0], &names[1]]);
    for (i, point) in points.iter().enumerate() {
        let [x, y] = axes.place(point[0], point[1]);
        let class = codes.labels.as_ref().map_or(0, |labels| labels[i] as usize);
        canvas.disc(x, y, 2, class_colour(class));
    }
    let left = (Axes::LEFT + SIDE + 24) as i64;
    for class in 0..classes.min(24) {
        let y = 76 + (class * (Canvas::LINE + 6)) as i64;
        canvas.disc(left + 6, y + 7, 6, class_colour(class));
        canvas.text(left + 20, y, &format!("class {class}"), Canvas::BLACK);
    }
    canvas.picture().save(&args.out)?;
    Ok(format!("{} codes in {}", points.len(), args.out.display()))
}
