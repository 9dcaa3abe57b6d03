//! What the page asks, and the answers, both JSON.
//!
//! Pixels are numbers from 0 to 255 in the order [H, W, C]; what the model gets are its nearest
//! levels.

use crate::commands::latent::space::{Space, quantile, sorted};
use crate::finished::{Finished, From};
use dataset::{Dataset, Split};
use grad::Tensor;
use nn::model::{Batch, CompletionRequest, SampleRequest};
use serde::Deserialize;
use serde_json::json;
use std::cell::OnceCell;
use std::fmt::Display;
use train::Images;

/// The most images of one answer.
const MOST: usize = 100;
/// Images whose codes tell which dimensions are active.
const WATCHED: usize = 300;

/// Why a question has no answer.
pub(super) struct Refusal {
    /// The status of HTTP.
    pub(super) code: u16,
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn wrong(reason: impl Display) -> Refusal {
        Refusal {
            code: 400,
            reason: reason.to_string(),
        }
    }

    pub(super) fn unknown(path: &str) -> Refusal {
        Refusal {
            code: 404,
            reason: format!("{path}: there is nothing of this name"),
        }
    }
}

/// A run that answers questions.
pub(super) struct Explorer<'r> {
    run: &'r Finished,
    /// None where the data are not at hand any more; what needs none goes on.
    data: Option<Dataset>,
    space: Option<Space<'r>>,
    train: OnceCell<Vec<u8>>,
    about: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    split: String,
    index: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    count: usize,
    seed: u64,
    temperature: Option<f32>,
    class: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prior {
    seed: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decode {
    codes: Vec<Vec<f32>>,
    class: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pixels {
    pixels: Vec<u8>,
    class: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Complete {
    pixels: Vec<u8>,
    /// For each position [H, W], whether it is given.
    known: Vec<bool>,
    count: usize,
    seed: u64,
    temperature: Option<f32>,
    class: Option<u32>,
}

fn read<'t, T: Deserialize<'t>>(body: &'t str) -> Result<T, Refusal> {
    serde_json::from_str(body).map_err(Refusal::wrong)
}

impl<'r> Explorer<'r> {
    pub(super) fn new(run: &'r Finished, other: Option<&'r String>) -> anyhow::Result<Self> {
        let data = match run.data(other) {
            Ok(data) => Some(data),
            Err(error) if other.is_some() => return Err(error),
            Err(_) => None,
        };
        let has_code = run.model().latent().is_some();
        let space = has_code.then(|| Space::new(run, None, other)).transpose()?;
        let mut explorer = Explorer {
            run,
            data,
            space,
            train: OnceCell::new(),
            about: String::new(),
        };
        explorer.about = explorer.describe();
        Ok(explorer)
    }

    /// What the page has to know of the run.
    pub(super) fn about(&self) -> Result<String, Refusal> {
        Ok(self.about.clone())
    }

    fn describe(&self) -> String {
        let (run, model) = (self.run, self.run.model());
        let spec = run.config.image;
        let split = |split| self.data.as_ref().map_or(0, |data| data.split(split).len());
        let takes = model.sampler().map(|sampler| sampler.takes());
        let encodes = self.space.as_ref().is_some_and(|it| it.encoder().is_ok());
        json!({
            "model": run.entry.name,
            "data": run.config.data,
            "step": run.trained.step,
            "image": [spec.height, spec.width, spec.channels],
            "levels": spec.levels,
            "classes": model.classes(),
            "samples": model.sampler().is_some(),
            "temperature": takes.is_some_and(|takes| takes.temperature),
            "completes": model.completer().is_some(),
            "encodes": encodes,
            "code": self.space.as_ref().map(|space| dimensions(space, self.data.is_some())),
            "splits": { "train": split(Split::Train), "valid": split(Split::Valid), "test": split(Split::Test) },
        })
        .to_string()
    }

    /// The answer to the question `path` with its details.
    pub(super) fn ask(&self, path: &str, body: &str) -> Result<String, Refusal> {
        let answer = match path {
            "/api/image" => self.image(&read(body)?)?,
            "/api/sample" => self.sample(&read(body)?)?,
            "/api/prior" => self.prior(&read(body)?)?,
            "/api/decode" => self.decode(&read(body)?)?,
            "/api/encode" => self.encode(&read(body)?)?,
            "/api/nearest" => self.nearest(&read(body)?)?,
            "/api/complete" => self.complete(&read(body)?)?,
            _ => return Err(Refusal::unknown(path)),
        };
        Ok(answer.to_string())
    }

    fn data(&self) -> Result<&Dataset, Refusal> {
        let missing = || Refusal::wrong("the run's data are not at hand");
        self.data.as_ref().ok_or_else(missing)
    }

    fn space(&self) -> Result<&Space<'r>, Refusal> {
        let none = || Refusal::wrong(format!("{} has no code", self.run.entry.name));
        self.space.as_ref().ok_or_else(none)
    }

    fn image(&self, ask: &Image) -> Result<serde_json::Value, Refusal> {
        let data = self.data()?;
        let split: Split = ask.split.parse().map_err(Refusal::wrong)?;
        let index = ask.index;
        let after = index.checked_add(1).ok_or_else(|| {
            Refusal::wrong(format!("index: expected one of the images, found {index}"))
        })?;
        let from = From {
            split,
            range: Some(index..after),
        };
        let (images, indices) = self.run.images(data, &from).map_err(Refusal::wrong)?;
        let batch = images.batch(&indices);
        Ok(json!({
            "pixels": bytes(batch.images.data()),
            "label": data.split(split).label(index as usize),
        }))
    }

    fn class(&self, class: Option<u32>) -> Result<Option<u32>, Refusal> {
        self.run.check_class(class).map_err(Refusal::wrong)?;
        Ok(class)
    }

    fn sample(&self, ask: &Sample) -> Result<serde_json::Value, Refusal> {
        let name = self.run.entry.name;
        let sampler = (self.run.model().sampler())
            .ok_or_else(|| Refusal::wrong(format!("{name} makes no samples")))?;
        let temperature = temperature(ask.temperature)?;
        if temperature != 1.0 && !sampler.takes().temperature {
            return Err(Refusal::wrong(format!("{name} has no temperature")));
        }
        let request = SampleRequest::new(count(ask.count)?, ask.seed)
            .classes(self.class(ask.class)?)
            .temperature(temperature);
        let images = sampler.sample(&self.run.trained.params.constants(), &request);
        self.pictures(images.data())
    }

    fn prior(&self, ask: &Prior) -> Result<serde_json::Value, Refusal> {
        Ok(json!({ "code": self.space()?.one_of_prior(ask.seed) }))
    }

    fn decode(&self, ask: &Decode) -> Result<serde_json::Value, Refusal> {
        let (space, codes) = (self.space()?, &ask.codes);
        count(codes.len())?;
        let width = space.width();
        for code in codes {
            if code.len() != width || code.iter().any(|z| !z.is_finite()) {
                let found = code.len();
                return Err(Refusal::wrong(format!(
                    "codes: expected {width} finite numbers each, found {found}"
                )));
            }
        }
        let classes = vec![self.class(ask.class)?.unwrap_or(0); codes.len()];
        self.pictures(&space.decode(codes, Some(&classes)).concat())
    }

    fn encode(&self, ask: &Pixels) -> Result<serde_json::Value, Refusal> {
        let mut batch = Batch::new(self.tensor(&ask.pixels)?, [0]);
        if self.run.model().classes().is_some() {
            batch = batch.with_labels([self.class(ask.class)?.unwrap_or(0)]);
        }
        let codes = self.space()?.encode_batch(&batch).map_err(Refusal::wrong)?;
        Ok(json!({ "code": codes.mean[0] }))
    }

    /// The training images as the model sees them, made once.
    fn train(&self) -> Result<&[u8], Refusal> {
        let data = self.data()?;
        Ok(self.train.get_or_init(|| {
            let images = Images::evaluation(data, Split::Train, self.run.config.binarize);
            let all: Vec<u32> = (0..images.len() as u32).collect();
            let parts = all.chunks(1000);
            parts
                .flat_map(|part| bytes(images.batch(part).images.data()))
                .collect()
        }))
    }

    /// The training image with the least Euclidean distance.
    fn nearest(&self, ask: &Pixels) -> Result<serde_json::Value, Refusal> {
        self.check(&ask.pixels)?;
        let distance = |image: &[u8]| -> u64 {
            let pixels = image.iter().zip(&ask.pixels);
            pixels.map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum()
        };
        let images = self.train()?.chunks_exact(ask.pixels.len());
        let found = images
            .enumerate()
            .map(|(i, image)| (distance(image), i, image));
        let (distance, index, image) = (found.min_by_key(|&(distance, i, _)| (distance, i)))
            .ok_or_else(|| Refusal::wrong("there are no training images"))?;
        Ok(json!({
            "index": index,
            "distance": (distance as f64).sqrt() / 255.0,
            "label": self.data()?.split(Split::Train).label(index),
            "pixels": image,
        }))
    }

    fn complete(&self, ask: &Complete) -> Result<serde_json::Value, Refusal> {
        let name = self.run.entry.name;
        let completer = (self.run.model().completer())
            .ok_or_else(|| Refusal::wrong(format!("{name} does not complete images")))?;
        let spec = self.run.config.image;
        if ask.known.len() != spec.height * spec.width {
            return Err(Refusal::wrong(format!(
                "known: expected {} flags, found {}",
                spec.height * spec.width,
                ask.known.len()
            )));
        }
        let known = (ask.known.iter()).flat_map(|&flag| vec![flag; spec.channels]);
        let image = self.tensor(&ask.pixels)?;
        let n = count(ask.count)?;
        let images = Tensor::from_fn(spec.shape(n), |i| image.data()[i % spec.dims()]);
        let request = CompletionRequest::new(images, known.collect(), ask.seed)
            .classes(self.class(ask.class)?)
            .temperature(temperature(ask.temperature)?);
        let drawn = completer.complete(&self.run.trained.params.constants(), &request);
        self.pictures(drawn.data())
    }

    fn check(&self, pixels: &[u8]) -> Result<(), Refusal> {
        let (expected, found) = (self.run.config.image.dims(), pixels.len());
        if found == expected {
            return Ok(());
        }
        Err(Refusal::wrong(format!(
            "pixels: expected {expected} numbers, found {found}"
        )))
    }

    /// One image of the model's levels.
    fn tensor(&self, pixels: &[u8]) -> Result<Tensor<f32>, Refusal> {
        self.check(pixels)?;
        let spec = self.run.config.image;
        let most = (spec.levels.max(2) - 1) as f32;
        let level = |&x: &u8| (f32::from(x) / 255.0 * most).round() / most;
        let pixels: Vec<f32> = pixels.iter().map(level).collect();
        Ok(Tensor::new(spec.shape(1), &pixels))
    }

    fn pictures(&self, pixels: &[f32]) -> Result<serde_json::Value, Refusal> {
        if pixels.iter().any(|x| !x.is_finite()) {
            let reason = format!("{} made numbers that are not finite", self.run.entry.name);
            return Err(Refusal { code: 500, reason });
        }
        let images = pixels.chunks_exact(self.run.config.image.dims());
        Ok(json!({ "images": images.map(bytes).collect::<Vec<_>>() }))
    }
}

/// The dimensions of the code and the range of each under the prior; the most active first, where
/// images can be encoded.
fn dimensions(space: &Space, has_data: bool) -> serde_json::Value {
    let prior = space.prior();
    let mut order: Vec<usize> = (0..space.width()).collect();
    let watched = From {
        split: Split::Valid,
        range: None,
    };
    if has_data && let Ok(codes) = space.encode(&watched, WATCHED) {
        let n = codes.mean.len().max(1) as f64;
        let spread = |j: usize| {
            let column = codes.mean.iter().map(|code| f64::from(code[j]));
            let mean = column.clone().sum::<f64>() / n;
            column.map(|z| (z - mean).powi(2)).sum::<f64>()
        };
        let spreads: Vec<f64> = order.iter().map(|&j| spread(j)).collect();
        order.sort_by(|&a, &b| spreads[b].total_cmp(&spreads[a]));
    }
    let ranges = order.iter().map(|&j| {
        let column = sorted(&prior, j);
        json!({ "index": j, "low": quantile(&column, 0.002), "high": quantile(&column, 0.998) })
    });
    ranges.collect()
}

fn bytes(pixels: &[f32]) -> Vec<u8> {
    let byte = |&x: &f32| (x.clamp(0.0, 1.0) * 255.0).round() as u8;
    pixels.iter().map(byte).collect()
}

fn count(n: usize) -> Result<usize, Refusal> {
    if (1..=MOST).contains(&n) {
        return Ok(n);
    }
    let reason = format!("count: expected 1 to {MOST} images, found {n}");
    Err(Refusal::wrong(reason))
}

fn temperature(told: Option<f32>) -> Result<f32, Refusal> {
    let t = told.unwrap_or(1.0);
    if t.is_finite() && t >= 1e-3 {
        return Ok(t);
    }
    let reason = format!("temperature: expected a number of at least 0.001, found {t}");
    Err(Refusal::wrong(reason))
}
