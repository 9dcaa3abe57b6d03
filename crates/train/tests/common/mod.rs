//! A toy model and toy data, small enough to train in a blink.

// Every file of tests uses a part of this.
#![allow(dead_code)]

use dataset::{Dataset, Examples, ImageShape};
use grad::Var;
use nn::hyper::{Hyper, HyperError, Value};
use nn::layers::Linear;
use nn::model::*;
use nn::optim::Optimiser;
use nn::random::word;
use nn::schedule::Schedule;
use nn::{Bound, Builder, ParamId, Params};
use std::sync::atomic::{AtomicBool, Ordering};
use toml::Table;
use train::{Config, Event, Observer, Progress};

/// A denoising autoencoder: noise, a hidden layer, Bernoulli pixels; and a running mean of the
/// images that is not trained. It uses everything the engine offers.
pub(crate) const TOY: Entry = Entry::new("toy", "a denoising autoencoder", build)
    .paper("none")
    .hypers(&[
        Hyper {
            name: "hidden",
            meaning: "units",
            default: Value::Count(5),
        },
        Hyper {
            name: "lane",
            meaning: "images a lane, 1000 for none",
            default: Value::Count(3),
        },
        Hyper {
            name: "explode",
            meaning: "scale of the loss",
            default: Value::Number(1.0),
        },
    ])
    .recipe(recipe)
    .binary();

fn recipe(_: &Setup) -> Recipe {
    Recipe::new("loss", Optimiser::adam(0.01))
        .schedule(Schedule::Cosine)
        .batch_size(32)
        .epochs(2)
        .clip_norm(0.5)
        .ema(0.9)
}

struct Toy {
    lane: usize,
    explode: f64,
    inward: Linear,
    outward: Linear,
    mean: ParamId,
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let (hypers, spec) = (setup.hypers, setup.image);
    let hidden = hypers.count("hidden");
    if hidden > 1000 {
        return Err(hypers.unfit(format!("hidden: expected at most 1000, found {hidden}")));
    }
    let mut params = Params::new();
    let mut b = Builder::new(&mut params, setup.seed);
    let model = Toy {
        lane: hypers.count("lane"),
        explode: hypers.number("explode"),
        inward: Linear::new(&mut b.scope("inward"), spec.dims(), hidden),
        outward: Linear::new(&mut b.scope("outward"), hidden, spec.dims()),
        mean: b.state("mean", grad::Tensor::zeros([1])),
    };
    Ok((Box::new(model), params))
}

impl Toy {
    fn nll(&self, p: &Bound<f32>, batch: &Batch) -> Var<f32> {
        let dims = batch.images.len() / batch.len();
        let x = Var::constant(batch.images.reshape([batch.len(), dims]));
        let noise = Var::constant(batch.normal(dims, word("toy")));
        let h = self.inward.forward(p, &(&x + noise * 0.1)).relu();
        self.outward.forward(p, &h).bce_with_logits_sum_rows(&x)
    }
}

impl Model for Toy {
    fn loss(&self, step: &Step) -> Loss {
        let data = step.batch.images.data();
        let mean = data.iter().sum::<f32>() / data.len() as f32;
        step.p.update(self.mean, grad::Tensor::full([1], mean));
        let sum = self.nll(step.p, step.batch).sum() * self.explode;
        Loss::nats(sum).with("pixels", data.len() as f64)
    }

    fn spread(&self, _batch_size: usize) -> Spread {
        if self.lane == 1000 {
            Spread::IntraOp
        } else {
            Spread::Lanes(self.lane)
        }
    }

    fn scores(&self) -> Vec<Scored<'_>> {
        vec![Scored::Images(self)]
    }
}

impl Score for Toy {
    fn about(&self) -> Vec<ScoreInfo> {
        vec![ScoreInfo::nats(Kind::Exact)]
    }

    fn of(&self, step: &Step, _ask: &Ask) -> Vec<Vec<f64>> {
        let nats = self.nll(step.p, step.batch);
        vec![nats.value().data().iter().map(|&x| f64::from(x)).collect()]
    }
}

/// 100, 20 and 20 grey images of 4x3 pixels; `shift` makes others.
pub(crate) fn data(shift: usize) -> Dataset {
    let images = |count: usize, salt: usize| -> Vec<u8> {
        (0..count * 12)
            .map(|i| ((i * i / 7 + i * (salt + shift)) % 256) as u8)
            .collect()
    };
    let pixels = [images(100, 3), images(20, 5), images(20, 11)];
    let splits = [0, 1, 2].map(|k| Examples {
        pixels: &pixels[k],
        labels: None,
    });
    let shape = ImageShape {
        height: 4,
        width: 3,
        channels: 1,
    };
    Dataset::in_memory("toy-data", shape, 256, splits).unwrap()
}

/// The toy's configuration on [`data`] with these settings, as TOML.
pub(crate) fn config(data: &Dataset, settings: &str) -> Config {
    let settings: Table = settings.parse().unwrap();
    Config::resolve(&TOY, "toy-data", data, vec![(settings, "settings")]).unwrap()
}

/// Raises its flag after so many steps of this process.
pub(crate) struct StopAfter<'a> {
    pub(crate) steps: u64,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) events: Vec<Event>,
}

impl Observer for StopAfter<'_> {
    fn step(&mut self, _progress: &Progress) {
        self.steps = self.steps.saturating_sub(1);
        if self.steps == 0 {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }
}
