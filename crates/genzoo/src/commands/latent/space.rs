//! The code of a finished run, with what pictures of it need.

use super::wrong;
use crate::draw::Canvas;
use crate::finished::{Finished, From};
use crate::picture::Picture;
use crate::pixels::Pixels;
use dataset::{Dataset, Split};
use grad::{Tape, Tensor};
use nn::Bound;
use nn::model::{Batch, Encoder, Latent, Step};
use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

/// Images that are encoded or decoded at once.
const TOGETHER: usize = 250;
/// Codes that stand for the prior.
const PRIOR: usize = 4000;

/// A model's code.
pub(crate) struct Space<'r> {
    pub(crate) run: &'r Finished,
    latent: &'r dyn Latent,
    bound: Bound<f32>,
    class: Option<u32>,
    other: Option<&'r String>,
    data: OnceCell<Dataset>,
}

/// The codes of some images.
pub(crate) struct Codes {
    /// One row for each image.
    pub(crate) mean: Vec<Vec<f32>>,
    /// Standard deviations, where the model gives a distribution.
    pub(crate) spread: Option<Vec<Vec<f32>>>,
    /// The classes, where the data have labels.
    pub(crate) labels: Option<Vec<u32>>,
}

impl<'r> Space<'r> {
    pub(crate) fn new(
        run: &'r Finished,
        class: Option<u32>,
        other: Option<&'r String>,
    ) -> anyhow::Result<Space<'r>> {
        let latent = run
            .model()
            .latent()
            .ok_or_else(|| run.cannot("has no code"))?;
        Ok(Space {
            run,
            latent,
            bound: run.trained.params.constants(),
            class: run.model().classes().map(|_| class.unwrap_or(0)),
            other,
            data: OnceCell::new(),
        })
    }

    /// How many numbers a code has.
    pub(crate) fn width(&self) -> usize {
        self.latent.shape().iter().product()
    }

    /// The shape of a code.
    pub(crate) fn shape(&self) -> Vec<usize> {
        self.latent.shape()
    }

    /// [height, width, channels] of an image.
    pub(crate) fn image(&self) -> [usize; 3] {
        let spec = self.run.config.image;
        [spec.height, spec.width, spec.channels]
    }

    /// Dots that a pixel takes in a picture: more for small images.
    pub(crate) fn scale(&self) -> usize {
        let [height, width, _] = self.image();
        (56 / height.max(width)).clamp(1, 8)
    }

    pub(crate) fn encoder(&self) -> anyhow::Result<&dyn Encoder> {
        let encoder = self.latent.encoder();
        encoder.ok_or_else(|| self.run.cannot("has no way from images to codes"))
    }

    pub(crate) fn data(&self) -> anyhow::Result<&Dataset> {
        if self.data.get().is_none() {
            let _ = self.data.set(self.run.data(self.other)?);
        }
        Ok(self.data.get().expect("set above"))
    }

    /// The images of these codes, pixels in rows; of this class each, if the model is conditional,
    /// else of the class of the command line.
    pub(crate) fn decode(&self, codes: &[Vec<f32>], classes: Option<&[u32]>) -> Vec<Vec<f32>> {
        let dims: usize = self.image().iter().product();
        let mut images = Vec::with_capacity(codes.len());
        for (i, part) in codes.chunks(TOGETHER).enumerate() {
            let shape = [&[part.len()], &self.shape()[..]].concat();
            let z = Tensor::new(&shape[..], &part.concat());
            let labels: Option<Arc<[u32]>> = self.class.map(|class| match classes {
                Some(classes) => classes[i * TOGETHER..][..part.len()].into(),
                None => vec![class; part.len()].into(),
            });
            let pixels = self.latent.decode(&self.bound, &z, labels.as_ref());
            images.extend(pixels.data().chunks_exact(dims).map(<[f32]>::to_vec));
        }
        images
    }

    /// The codes of the images of a batch.
    pub(crate) fn encode_batch(&self, batch: &Batch) -> anyhow::Result<Codes> {
        let encoder = self.encoder()?;
        let (tape, width) = (Tape::new(), self.width());
        let step = Step::new(&tape, &self.bound, batch);
        let rows = |t: Tensor<f32>| -> Vec<Vec<f32>> {
            t.data().chunks_exact(width).map(<[f32]>::to_vec).collect()
        };
        Ok(Codes {
            mean: rows(encoder.encode(&step)),
            spread: encoder.spread(&step).map(rows),
            labels: batch.labels.as_ref().map(|labels| labels.to_vec()),
        })
    }

    /// The codes of images of the data, at most `most` of them.
    pub(crate) fn encode(&self, from: &From, most: usize) -> anyhow::Result<Codes> {
        let (images, mut indices) = self.run.images(self.data()?, from)?;
        indices.truncate(most);
        let mut all: Option<Codes> = None;
        for part in indices.chunks(TOGETHER) {
            let codes = self.encode_batch(&images.batch(part))?;
            match &mut all {
                None => all = Some(codes),
                Some(all) => {
                    all.mean.extend(codes.mean);
                    if let (Some(all), Some(part)) = (&mut all.spread, codes.spread) {
                        all.extend(part);
                    }
                    if let (Some(all), Some(part)) = (&mut all.labels, codes.labels) {
                        all.extend(part);
                    }
                }
            }
        }
        all.ok_or_else(|| wrong("expected images, found none", ""))
    }

    /// These images of the data.
    pub(crate) fn batch(&self, from: &From, most: usize) -> anyhow::Result<Batch> {
        let (images, mut indices) = self.run.images(self.data()?, from)?;
        indices.truncate(most);
        Ok(images.batch(&indices))
    }

    /// The images that a word names: `test:3`, `test:0..16`, or a PNG file.
    pub(crate) fn named(&self, text: &str) -> anyhow::Result<Batch> {
        let spec = self.run.config.image;
        if Path::new(text).is_file() {
            let pixels = Pixels::open(Path::new(text), &spec)?.quantised(spec.levels);
            let batch = Batch::new(Tensor::new(spec.shape(1), &pixels), [0]);
            return Ok(match self.class {
                Some(class) => batch.with_labels([class]),
                None => batch,
            });
        }
        let one = text.split_once(':').and_then(|(split, n)| {
            let n: u32 = n.parse().ok()?;
            Some(From {
                split: split.parse::<Split>().ok()?,
                range: Some(n..n.checked_add(1)?),
            })
        });
        let from = match one {
            Some(from) => from,
            None => text.parse().map_err(|error| {
                let message = format!("{text:?}: no file, and no images of the data: {error}");
                wrong(
                    message,
                    "name a PNG file, an image such as test:3 or a range as test:0..16",
                )
            })?,
        };
        self.batch(&from, MOST_NAMED)
    }

    /// One code from the prior.
    pub(crate) fn one_of_prior(&self, seed: u64) -> Vec<f32> {
        self.latent.prior(&self.bound, 1, seed).data().to_vec()
    }

    /// Codes from the prior, in rows.
    pub(crate) fn prior(&self) -> Vec<Vec<f32>> {
        let codes = self.latent.prior(&self.bound, PRIOR, 0);
        codes
            .data()
            .chunks_exact(self.width())
            .map(<[f32]>::to_vec)
            .collect()
    }
}

/// The most images that one word of the command line may name.
const MOST_NAMED: usize = 10_000;

/// The values of a dimension in order.
pub(crate) fn sorted(codes: &[Vec<f32>], dimension: usize) -> Vec<f32> {
    let mut column: Vec<f32> = codes.iter().map(|code| code[dimension]).collect();
    column.sort_by(f32::total_cmp);
    column
}

/// The value below which this share of a sorted column lies.
pub(crate) fn quantile(sorted: &[f32], share: f64) -> f32 {
    let place = share * (sorted.len().max(1) - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    let part = (place - place.floor()) as f32;
    sorted[low] + part * (sorted[high] - sorted[low])
}

/// The mean of some codes.
pub(crate) fn mean(codes: &[Vec<f32>]) -> Vec<f32> {
    let n = codes.len().max(1) as f64;
    let width = codes.first().map_or(0, Vec::len);
    let column = |j: usize| codes.iter().map(|code| f64::from(code[j])).sum::<f64>() / n;
    (0..width).map(|j| column(j) as f32).collect()
}

/// Images in rows and columns with words beside and above them.
pub(crate) struct Table<'a> {
    pub(crate) title: &'a str,
    pub(crate) columns: &'a [String],
    /// A word for each row, and its images.
    pub(crate) rows: &'a [(String, Vec<Vec<f32>>)],
}

impl Table<'_> {
    /// Dots between two images.
    const GAP: usize = 4;
    const MARGIN: usize = 12;

    pub(crate) fn picture(&self, space: &Space) -> Picture {
        let ([height, width, channels], scale) = (space.image(), space.scale());
        let words = self
            .rows
            .iter()
            .map(|(word, _)| Canvas::width_of(word))
            .max()
            .unwrap_or(0);
        let left = Table::MARGIN + words + if words > 0 { 10 } else { 0 };
        let head = self
            .columns
            .iter()
            .map(|word| Canvas::width_of(word) + 8)
            .max()
            .unwrap_or(0);
        let across = (width * scale + Table::GAP).max(head);
        let down = (height * scale + Table::GAP).max(Canvas::LINE);
        let heading = if self.columns.is_empty() {
            0
        } else {
            Canvas::LINE
        };
        let top = Table::MARGIN + Canvas::LINE + 6 + heading;
        let most = self
            .rows
            .iter()
            .map(|(_, images)| images.len())
            .max()
            .unwrap_or(0);
        let title = Canvas::width_of(self.title) + 2 * Table::MARGIN;
        let size = [
            (left + most * across + Table::MARGIN).max(title),
            top + self.rows.len() * down + Table::MARGIN,
        ];
        let mut canvas = Canvas::new(size[0], size[1]);
        let margin = Table::MARGIN as i64;
        canvas.text(margin, margin, self.title, Canvas::BLACK);
        for (i, word) in self.columns.iter().enumerate() {
            let middle = (left + i * across + across / 2) as i64;
            canvas.centred(middle, (top - heading) as i64, word, Canvas::BLACK);
        }
        for (i, (word, images)) in self.rows.iter().enumerate() {
            let y = (top + i * down) as i64;
            let middle = y + ((height * scale) as i64 - 14) / 2;
            canvas.right((left - 10) as i64, middle, word, Canvas::BLACK);
            for (j, image) in images.iter().enumerate() {
                let x = (left + j * across + (across - width * scale) / 2) as i64;
                let frame = [width * scale + 2, height * scale + 2];
                canvas.rectangle(x - 1, y - 1, frame, Canvas::GREY);
                canvas.image(x, y, image, [height, width, channels], scale);
            }
        }
        canvas.picture()
    }
}
