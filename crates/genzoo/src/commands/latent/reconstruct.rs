//! `genzoo latent RUN reconstruct`: images, and what their codes keep of them.

use super::space::{Space, Table};
use crate::finished::From;
use dataset::Split;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Which images [default: test:0..10].
    #[arg(long, value_name = "SPLIT:A..B")]
    from: Option<From>,
    /// The PNG file to write.
    #[arg(long, value_name = "FILE", default_value = "reconstruct.png")]
    out: PathBuf,
}

/// Images in a row.
const PER_ROW: usize = 10;
/// The most images.
const MOST: usize = 400;

pub(super) fn draw(space: &Space, args: &Args) -> anyhow::Result<String> {
    let from = args.from.clone().unwrap_or(From {
        split: Split::Test,
        range: Some(0..PER_ROW as u32),
    });
    let batch = space.batch(&from, MOST)?;
    let codes = space.encode_batch(&batch)?;
    let back = space.decode(&codes.mean, codes.labels.as_deref());
    let dims: usize = space.image().iter().product();
    let originals: Vec<Vec<f32>> = batch
        .images
        .data()
        .chunks_exact(dims)
        .map(<[f32]>::to_vec)
        .collect();
    let mut rows = Vec::new();
    for (images, back) in originals.chunks(PER_ROW).zip(back.chunks(PER_ROW)) {
        rows.push(("image".to_string(), images.to_vec()));
        rows.push(("back".to_string(), back.to_vec()));
    }
    let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
    let pixels = originals.iter().flatten().zip(back.iter().flatten());
    let error = pixels.map(square).sum::<f64>() / originals.len() as f64;
    let title = format!(
        "{}: squared error {error:.2} an image",
        space.run.entry.name
    );
    let table = Table {
        title: &title,
        columns: &[],
        rows: &rows,
    };
    table.picture(space).save(&args.out)?;
    Ok(format!(
        "{} images and their reconstructions in {}: squared error {error:.3} an image",
        originals.len(),
        args.out.display()
    ))
}
