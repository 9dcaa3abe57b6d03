//! `genzoo inspect`: pictures of what a trained model sees.

mod filters;

use crate::failure;
use crate::finished::{Finished, From};
use crate::output::print;
use crate::picture::{Picture, square};
use grad::{Tape, Tensor};
use nn::Params;
use nn::model::{Batch, ImageSpec, Inspector};
use nn::random::{stream, uniform};
use std::path::PathBuf;
use std::process::ExitCode;
use train::Pool;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory of a run.
    run: PathBuf,
    #[command(flatten)]
    what: What,
    /// A pixel, as ROW,COLUMN or ROW,COLUMN,COLOUR; may be given again [default: four of them].
    #[arg(long, value_name = "R,C[,K]", value_parser = place)]
    at: Vec<[usize; 3]>,
    /// The images that are looked at; means are taken over them [default: test:0..16].
    #[arg(long, value_name = "SPLIT:A..B")]
    from: Option<From>,
    /// Other data than the run's own, of the same shape.
    #[arg(long, value_name = "NAME|DIR")]
    data: Option<String>,
    /// The PNG file to write.
    #[arg(long, value_name = "FILE", default_value = "inspect.png")]
    out: PathBuf,
    /// Threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads())]
    threads: Option<u64>,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// The size of the derivative of a pixel's prediction by every pixel, on a logarithmic scale:
    /// the pixel green, those that come later grey, earlier ones that it does not see red.
    #[arg(long)]
    receptive_field: bool,
    /// What each head of each layer of attention looks at from a pixel: a row for each layer.
    #[arg(long)]
    attention: bool,
    /// The weights of the first layer: a picture for each of its outputs.
    #[arg(long)]
    filters: bool,
}

fn place(text: &str) -> Result<[usize; 3], String> {
    let numbers: Option<Vec<usize>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[row, column]) => Ok([row, column, 0]),
        Some(&[row, column, colour]) => Ok([row, column, colour]),
        _ => Err("expected ROW,COLUMN or ROW,COLUMN,COLOUR".into()),
    }
}

/// The most images that are looked at.
const MOST: usize = 1024;
/// A border's grey between panels is far from these.
const FUTURE: [f32; 3] = [0.32; 3];
const BLIND: [f32; 3] = [0.55, 0.08, 0.08];
const OWN: [f32; 3] = [0.1, 0.9, 0.25];

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let run = Finished::open(&args.run)?;
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    if args.what.filters {
        return filters::run(&args, &run, &pool);
    }
    let Some(inspector) = run.model().inspector() else {
        return Err(run.cannot("does not predict one pixel after the other"));
    };
    let places = places(&args.at, &run.config.image)?;
    let batch = batch(&args, &run)?;
    let seen = See {
        inspector,
        params: &run.trained.params,
        spec: run.config.image,
        batch: &batch,
    };
    if args.what.attention {
        return pool.run(|| seen.attention(&args, &run, places[0]));
    }
    pool.run(|| seen.receptive_fields(&args, &places))
}

/// The images of the command line.
fn batch(args: &Args, run: &Finished) -> anyhow::Result<Batch> {
    let default = || "test:0..16".parse().expect("a range of a split");
    let from = args.from.clone().unwrap_or_else(default);
    let data = run.data(args.data.as_ref())?;
    let (images, which) = run.images(&data, &from)?;
    if which.len() > MOST {
        let message = format!(
            "--from: expected at most {MOST} images, found {}",
            which.len()
        );
        return Err(failure::usage(
            message,
            "a range such as test:0..16 names some of a split",
        ));
    }
    Ok(images.batch(&which))
}

/// The pixels that were asked for, or four that show the shape of most fields.
fn places(asked: &[[usize; 3]], spec: &ImageSpec) -> anyhow::Result<Vec<[usize; 3]>> {
    let (h, w) = (spec.height, spec.width);
    if asked.is_empty() {
        let colour = spec.channels - 1;
        let list = [
            [h / 2, w / 2],
            [3 * h / 4, w / 4],
            [3 * h / 4, 3 * w / 4],
            [h - 1, w / 2],
        ];
        return Ok(list.map(|[row, col]| [row, col, colour]).to_vec());
    }
    for &[row, col, colour] in asked {
        if row >= h || col >= w || colour >= spec.channels {
            return Err(failure::usage(
                format!(
                    "--at {row},{col},{colour}: the images have {h} rows, {w} columns and {} colours",
                    spec.channels
                ),
                "rows, columns and colours are counted from 0",
            ));
        }
    }
    Ok(asked.to_vec())
}

/// A model and the images that it is looked at with.
struct See<'a> {
    inspector: &'a dyn Inspector,
    params: &'a Params<f32>,
    spec: ImageSpec,
    batch: &'a Batch,
}

impl See<'_> {
    /// |d prediction / d x|, the mean over the images: a number for each dimension. Of several
    /// parameters, their sum with signs that are drawn for each image, so that nothing cancels.
    fn derivative(&self, dimension: usize) -> Vec<f64> {
        let p = self.params.constants();
        let dims = self.spec.dims();
        let mut sizes = vec![0.0; dims];
        for i in 0..self.batch.len() {
            let image = &self.batch.images.data()[i * dims..][..dims];
            let labels = self.batch.labels.as_ref().map(|labels| [labels[i]].into());
            let tape = Tape::new();
            let x = tape.var(Tensor::new(self.spec.shape(1), image));
            let prediction = self
                .inspector
                .prediction(&p, &x, labels.as_ref(), dimension);
            let mut noise = stream(&[i as u64]);
            let signs = Tensor::from_fn(*prediction.shape(), |_| {
                if uniform(&mut noise) < 0.5 { -1.0 } else { 1.0 }
            });
            let sum = (prediction * grad::Var::constant(signs)).sum();
            if !sum.is_recorded() {
                // The first dimension's: it depends on nothing.
                continue;
            }
            let gradient = &tape.gradients(&sum, &[&x])[0];
            for (size, g) in sizes.iter_mut().zip(gradient.data()) {
                *size += f64::from(g.abs()) / self.batch.len() as f64;
            }
        }
        sizes
    }

    /// How many dimensions come before each.
    fn turns(&self) -> Vec<usize> {
        let mut turns = vec![0; self.spec.dims()];
        for i in 0..turns.len() {
            turns[self.inspector.dimension(i)] = i;
        }
        turns
    }

    fn receptive_fields(&self, args: &Args, places: &[[usize; 3]]) -> anyhow::Result<ExitCode> {
        let turns = self.turns();
        let (colours, pixels) = (self.spec.channels, self.spec.height * self.spec.width);
        let (mut panels, mut lines) = (Vec::new(), Vec::new());
        for &[row, col, colour] in places {
            let own = row * self.spec.width + col;
            let dimension = own * colours + colour;
            let sizes = self.derivative(dimension);
            let is_earlier = |d: usize| turns[d] < turns[dimension];
            let count = |seen: bool, earlier: bool| {
                let fits = |&d: &usize| (sizes[d] != 0.0) == seen && is_earlier(d) == earlier;
                (0..sizes.len()).filter(fits).count()
            };
            let mut line = format!(
                "{row},{col},{colour}: sees {} of the {} before it",
                count(true, true),
                turns[dimension]
            );
            if count(true, false) > 0 {
                line += &format!(", and {} that come later: a leak", count(true, false));
            }
            lines.push(line);
            let largest = sizes.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
            for pixel in 0..pixels {
                let of = |d: &usize| d / colours == pixel;
                let earlier: Vec<usize> = (0..sizes.len())
                    .filter(of)
                    .filter(|&d| is_earlier(d))
                    .collect();
                let size = earlier.iter().map(|&d| sizes[d]).fold(0.0, f64::max);
                panels.extend(match () {
                    () if pixel == own => OWN,
                    () if earlier.is_empty() => FUTURE,
                    () if size == 0.0 => BLIND,
                    // From 1 down to a millionth: white, yellow, blue.
                    () => heat(1.0 + (size / largest).log10() / 6.0),
                });
            }
        }
        let shape = [places.len(), self.spec.height, self.spec.width, 3];
        self.save(args, &Tensor::new(shape, &panels), square(places.len()))?;
        print(format!(
            "{}\n|d prediction / d x| over {} images in {}",
            lines.join("\n"),
            self.batch.len(),
            args.out.display()
        ))?;
        Ok(ExitCode::SUCCESS)
    }

    fn attention(
        &self,
        args: &Args,
        run: &Finished,
        place: [usize; 3],
    ) -> anyhow::Result<ExitCode> {
        let [row, col, colour] = place;
        let (colours, pixels) = (self.spec.channels, self.spec.height * self.spec.width);
        let own = row * self.spec.width + col;
        let query = own * colours + colour;
        let p = self.params.constants();
        let (dims, count) = (self.spec.dims(), self.batch.len());
        // [layer][head][pixel], the sum over images.
        let mut sums: Vec<Vec<Vec<f64>>> = Vec::new();
        for i in 0..count {
            let image = &self.batch.images.data()[i * dims..][..dims];
            let labels = self.batch.labels.as_ref().map(|labels| [labels[i]].into());
            let x = Tensor::new(self.spec.shape(1), image);
            let maps = self.inspector.attention(&p, &x, labels.as_ref());
            sums.resize_with(maps.len(), Vec::new);
            for (sums, map) in sums.iter_mut().zip(&maps) {
                sums.resize_with(map.shape()[1], || vec![0.0; pixels]);
                for (sums, head) in sums.iter_mut().zip(map.data().chunks_exact(dims * dims)) {
                    for (d, &p) in head[query * dims..][..dims].iter().enumerate() {
                        sums[d / colours] += f64::from(p) / count as f64;
                    }
                }
            }
        }
        let Some(heads) = sums.iter().map(Vec::len).max() else {
            return Err(run.cannot("has no attention"));
        };
        let mut panels = Vec::new();
        for head in sums.iter().flatten() {
            let largest = head.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
            for (pixel, &p) in head.iter().enumerate() {
                panels.extend(match () {
                    () if pixel == own => OWN,
                    () if p == 0.0 => FUTURE,
                    () => heat((p / largest).sqrt()),
                });
            }
        }
        let shape = [sums.len() * heads, self.spec.height, self.spec.width, 3];
        self.save(args, &Tensor::new(shape, &panels), heads)?;
        print(format!(
            "attention from {row},{col},{colour} over {count} images in {}: {} layers below each other, {heads} heads",
            args.out.display(),
            sums.len()
        ))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Panels, each enlarged.
    fn save(&self, args: &Args, panels: &Tensor<f32>, columns: usize) -> anyhow::Result<()> {
        let longest = self.spec.height.max(self.spec.width);
        Picture::grid(&enlarged(panels, (112 / longest).max(1)), columns).save(&args.out)
    }
}

/// From 0, dark blue, over red and yellow to 1, white.
fn heat(x: f64) -> [f32; 3] {
    let x = x.clamp(0.0, 1.0) as f32;
    let ramp = |from: f32, to: f32| ((x - from) / (to - from)).clamp(0.0, 1.0);
    [
        ramp(0.15, 0.6),
        ramp(0.4, 0.85),
        0.35 * (1.0 - ramp(0.1, 0.5)) + ramp(0.75, 1.0),
    ]
}

/// Every pixel `times` x `times`.
fn enlarged(images: &Tensor<f32>, times: usize) -> Tensor<f32> {
    let &[count, height, width, channels] = &images.shape()[..] else {
        panic!(
            "enlarged: expected images [N, H, W, C], found {}",
            images.shape()
        );
    };
    let (wide, high) = (width * times, height * times);
    Tensor::from_fn([count, high, wide, channels], |i| {
        let (pixel, c) = (i / channels, i % channels);
        let (x, y, n) = (
            pixel % wide / times,
            pixel / wide % high / times,
            pixel / wide / high,
        );
        images.data()[((n * height + y) * width + x) * channels + c]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_rows_columns_and_colours() {
        assert_eq!(place("3, 4"), Ok([3, 4, 0]));
        assert_eq!(place("3,4,2"), Ok([3, 4, 2]));
        for wrong in ["", "3", "3,4,5,6", "-1,2", "a,b"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
        let spec = ImageSpec::new(8, 6, 1, 2);
        assert!(places(&[[7, 5, 0]], &spec).is_ok());
        for wrong in [[8, 0, 0], [0, 6, 0], [0, 0, 1]] {
            assert!(places(&[wrong], &spec).is_err());
        }
        assert!(places(&[], &ImageSpec::new(1, 1, 3, 2)).is_ok());
    }

    #[test]
    fn pixels_are_repeated() {
        let images = Tensor::new([1, 1, 2, 1], &[0.25, 0.75]);
        let found = enlarged(&images, 2);
        assert_eq!(found.shape()[..], [1, 2, 4, 1]);
        assert_eq!(
            found.data(),
            [0.25, 0.25, 0.75, 0.75, 0.25, 0.25, 0.75, 0.75]
        );
        assert_eq!(heat(1.0), [1.0; 3]);
    }
}
