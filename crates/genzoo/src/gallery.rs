//! The pictures that a finished run leaves in its directory.

use crate::picture::{Picture, square};
use dataset::{Dataset, Split};
use grad::{Tape, Tensor};
use nn::model::{Entry, SampleRequest, Step};
use train::{Images, Session, Trained};

/// Images on `samples.png`, and on `reconstructions.png` beside their originals.
const SAMPLES: usize = 64;
const RECONSTRUCTIONS: usize = 32;
/// Chains on `chains.png`, and the images of each.
const CHAINS: [usize; 2] = [8, 20];

/// Draws samples and reconstructions with the run's best parameters; tells where they are.
pub(crate) fn draw(session: &Session, entry: &Entry, data: &Dataset) -> anyhow::Result<String> {
    let (dir, config) = (session.dir(), session.config());
    let trained = Trained::read(dir, entry, config)?;
    let bound = trained.params.constants();
    let mut text = String::new();
    if let Some(sampler) = trained.model.sampler() {
        let request = SampleRequest::new(SAMPLES, config.seed);
        let images = sampler.sample(&bound, &request);
        Picture::grid(&images, square(SAMPLES)).save(&dir.samples())?;
        text += &format!("\nsamples  {}", dir.samples().display());
    }
    if let Some(chain) = trained.model.chain() {
        let [count, frames] = CHAINS;
        let images = chain.frames(&bound, &SampleRequest::new(count, config.seed), frames);
        let path = dir.path().join("chains.png");
        Picture::grid(&images, frames).save(&path)?;
        text += &format!(
            "\nchains   {} (a row each, a step from image to image)",
            path.display()
        );
    }
    let valid = Images::evaluation(data, Split::Valid, config.binarize);
    let count = valid.len().min(RECONSTRUCTIONS);
    let latent = trained.model.latent().filter(|_| count > 0);
    if let Some((latent, encoder)) = latent.and_then(|it| it.encoder().map(|e| (it, e))) {
        let indices: Vec<u32> = (0..count as u32).collect();
        let batch = valid.batch(&indices);
        let tape = Tape::new();
        let z = encoder.encode(&Step::new(&tape, &bound, &batch));
        let images = latent.decode(&bound, &z, batch.labels.as_ref());
        let path = dir.reconstructions();
        Picture::grid(&below(&batch.images, &images, PER_ROW), PER_ROW).save(&path)?;
        text += &format!(
            "\nrebuilt  {} (validation images, and below each what came back)",
            path.display()
        );
    }
    Ok(text)
}

/// Images in a row of `reconstructions.png`.
const PER_ROW: usize = 8;

/// Rows of originals with the rows of their reconstructions below them.
fn below(originals: &Tensor<f32>, others: &Tensor<f32>, per_row: usize) -> Tensor<f32> {
    let mut shape = *originals.shape();
    let image = originals.len() / shape[0];
    let rows = |images: &Tensor<f32>| -> Vec<Vec<f32>> {
        images
            .data()
            .chunks(per_row * image)
            .map(<[f32]>::to_vec)
            .collect()
    };
    let all: Vec<f32> = rows(originals)
        .into_iter()
        .zip(rows(others))
        .flat_map(|(a, b)| [a, b].concat())
        .collect();
    shape = shape.with(0, 2 * originals.shape()[0]);
    Tensor::new(shape, &all)
}
