//! `genzoo latent RUN encode` and `decode`: codes as NumPy's arrays.

use super::space::Space;
use super::wrong;
use crate::finished::From;
use crate::npy;
use crate::output::thousands;
use crate::picture::{Picture, square};
use grad::Tensor;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct EncodeArgs {
    /// Which images: a split, or a part of it.
    #[arg(long, value_name = "SPLIT[:A..B]", default_value = "test")]
    from: From,
    /// The file of the codes; the labels go beside it, into NAME.labels.npy.
    #[arg(long, value_name = "FILE.npy", default_value = "codes.npy")]
    out: PathBuf,
}

#[derive(clap::Args)]
pub(super) struct DecodeArgs {
    /// Codes, one for each row.
    #[arg(value_name = "CODES.npy")]
    codes: PathBuf,
    /// The PNG file to write.
    #[arg(long, value_name = "FILE", default_value = "decoded.png")]
    out: PathBuf,
}

/// The most images on one picture.
const MOST: usize = 4096;

pub(super) fn encode(space: &Space, args: &EncodeArgs) -> anyhow::Result<String> {
    let codes = space.encode(&args.from, usize::MAX)?;
    let shape = [&[codes.mean.len()], &space.shape()[..]].concat();
    let tensor = Tensor::new(&shape[..], &codes.mean.concat());
    train::write_whole(&args.out, &npy::floats(&tensor))?;
    let mut text = format!(
        "{} codes of {} numbers in {}",
        thousands(codes.mean.len() as u64),
        space.width(),
        args.out.display()
    );
    if let Some(labels) = codes.labels {
        let path = args.out.with_extension("labels.npy");
        train::write_whole(&path, &npy::counts(&labels))?;
        text += &format!(", their classes in {}", path.display());
    }
    Ok(text)
}

pub(super) fn decode(space: &Space, args: &DecodeArgs) -> anyhow::Result<String> {
    let (shape, numbers) = npy::read(&args.codes)?;
    let width = space.width();
    let rows = shape.first().copied().unwrap_or(0);
    let fits = numbers.len() == rows * width && shape.len() >= 2;
    if !fits || rows == 0 || rows > MOST {
        let expected = format!("1 to {MOST} codes of shape {:?}", space.shape());
        let message = format!(
            "{}: expected {expected}, found {shape:?}",
            args.codes.display()
        );
        return Err(wrong(message, "`latent RUN encode` writes such a file"));
    }
    if let Some(place) = numbers.iter().position(|x| !x.is_finite()) {
        let message = format!(
            "{}: expected finite numbers, found {} in row {}",
            args.codes.display(),
            numbers[place],
            place / width
        );
        return Err(wrong(message, ""));
    }
    let codes: Vec<Vec<f32>> = numbers.chunks_exact(width).map(<[f32]>::to_vec).collect();
    let images = space.decode(&codes, None).concat();
    let [height, wide, channels] = space.image();
    let images = Tensor::new([rows, height, wide, channels], &images);
    Picture::grid(&images, square(rows)).save(&args.out)?;
    Ok(format!("{rows} images in {}", args.out.display()))
}
