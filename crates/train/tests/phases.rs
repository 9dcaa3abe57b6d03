//! Steps of several phases, with a gradient inside a loss and parameters that are clipped after it.

mod common;

use common::data;
use grad::{Tape, Tensor, Var};
use nn::hyper::{Hyper, HyperError, Value};
use nn::layers::Mode;
use nn::model::*;
use nn::optim::Optimiser;
use nn::random::word;
use nn::{Builder, ParamId, Params};
use std::ops::Range;
use train::{Engine, Images, Pace, Pool, Tally};

/// A critic of two linear layers with a gradient penalty, and a generator that shifts noise: the
/// critic is trained twice as often.
const TOY: Entry = Entry::new("critic", "a critic with a gradient penalty", build)
    .hypers(&[
        Hyper {
            name: "clip",
            meaning: "bound on the critic's weights",
            default: Value::Number(10.0),
        },
        Hyper {
            name: "lane",
            meaning: "images a lane",
            default: Value::Count(8),
        },
    ])
    .recipe(recipe)
    .binary();

fn recipe(_: &Setup) -> Recipe {
    Recipe::of(vec![
        Phase::new("critic", Optimiser::adam_with(0.05, 0.5, 0.9)).of("critic."),
        Phase::new("generator", Optimiser::adam_with(0.05, 0.5, 0.9)).of("generator."),
    ])
    .batch_size(32)
}

struct Toy {
    clip: f32,
    lane: usize,
    dims: usize,
    inner: ParamId,
    outer: ParamId,
    shift: ParamId,
}

fn build(setup: &Setup) -> Result<Built, HyperError> {
    let mut params = Params::new();
    let mut b = Builder::new(&mut params, setup.seed);
    let dims = setup.image.dims();
    let mut critic = b.scope("critic");
    let inner = critic.param("inner", [dims, 4], nn::random::normal_tensor);
    let outer = critic.param("outer", [4, 1], nn::random::normal_tensor);
    let model = Toy {
        clip: setup.hypers.number("clip") as f32,
        lane: setup.hypers.count("lane"),
        shift: b
            .scope("generator")
            .param("shift", [dims], |shape, _| Tensor::zeros(shape)),
        dims,
        inner,
        outer,
    };
    Ok((Box::new(model), params))
}

impl Toy {
    /// [B, D] -> [B, 1], with a bend, so that the penalty depends on where it is.
    fn critic(&self, step: &Step, x: &Var<f32>) -> Var<f32> {
        let h = x.matmul(&step.p[self.inner]).softplus();
        h.matmul(&step.p[self.outer])
    }
}

impl Model for Toy {
    fn loss(&self, step: &Step) -> Loss {
        assert_eq!(
            step.mode(),
            Mode::Train,
            "the other player is a constant, yet in training"
        );
        let (dims, p) = (self.dims, step.p);
        let made = Var::constant(step.batch.normal(dims, word("noise"))) + &p[self.shift];
        if step.phase == 1 {
            assert!(!p[self.inner].is_recorded() && p[self.shift].is_recorded());
            return Loss::of(-self.critic(step, &made).sum());
        }
        assert!(p[self.inner].is_recorded() && !p[self.shift].is_recorded());
        let real = Var::constant(step.batch.rows());
        let estimate = (self.critic(step, &real) - self.critic(step, &made)).sum();
        let share = Var::constant(step.batch.uniform(1, word("share")));
        let between = &share * &real + (1.0 - &share) * &made;
        let between = step.tape.var(between.into_value());
        let by = self.critic(step, &between).sum();
        let gradient = &step.tape.gradients_recorded(&by, &[&between])[0];
        let norm = (gradient.square().sum_axes(&[1]) + 1e-12).sqrt();
        let penalty = (norm - 1.0).square();
        let distance = f64::from(estimate.item());
        Loss::of(penalty.sum() * 10.0 - estimate)
            .with("distance", distance)
            .with_sum("penalty", &penalty)
    }

    fn is_active(&self, phase: usize, step: u64) -> bool {
        phase == 0 || step % 2 == 1
    }

    fn after_update(&self, phase: usize, _step: u64, params: &mut Params<f32>) {
        if phase == 0 {
            for id in [self.inner, self.outer] {
                let clip = |x: &mut f32| *x = x.clamp(-self.clip, self.clip);
                params
                    .get_mut(id)
                    .value
                    .make_mut()
                    .iter_mut()
                    .for_each(clip);
            }
        }
    }

    fn spread(&self, _: usize) -> Spread {
        Spread::Lanes(self.lane)
    }
}

fn engine(clip: &str, lane: &str) -> Engine {
    let mut hypers = TOY.defaults();
    hypers.set("clip", clip).unwrap();
    hypers.set("lane", lane).unwrap();
    let spec = ImageSpec::new(4, 3, 1, 2);
    let (model, params) = TOY.build_for(&hypers, spec, 3).unwrap();
    Engine::new(model, params, TOY.recipe_for(&hypers, spec))
}

/// Steps on the toy data; what was told, per image.
fn steps(engine: &mut Engine, threads: usize, steps: u64) -> Vec<(String, f64)> {
    let data = data(0);
    let images = Images::training(&data, dataset::Binarize::Static, 0, 0);
    let indices: Vec<u32> = (0..32).collect();
    let mut tally = Tally::default();
    Pool::new(Some(threads)).unwrap().run(|| {
        for _ in 0..steps {
            let part = |range: Range<usize>| images.batch(&indices[range]);
            engine.step(32, &part, Pace::STEADY, &mut tally).unwrap();
        }
    });
    tally
        .means()
        .map(|(name, mean)| (name.to_string(), mean))
        .collect()
}

fn values(engine: &Engine) -> Vec<Tensor<f32>> {
    engine
        .params()
        .iter()
        .map(|param| param.value.clone())
        .collect()
}

#[test]
fn each_phase_trains_its_own_parameters_when_it_is_active() {
    let mut engine = engine("10", "8");
    let begun = values(&engine);
    let told = steps(&mut engine, 2, 1);
    let names: Vec<&str> = told.iter().map(|(name, _)| &name[..]).collect();
    let critic = ["critic", "distance", "penalty", "critic_gradient_norm"];
    assert_eq!(names, critic);
    let one = values(&engine);
    assert!(one[0] != begun[0] && one[1] != begun[1] && one[2] == begun[2]);
    let told = steps(&mut engine, 2, 1);
    let names: Vec<&str> = told.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names[..4], critic);
    assert_eq!(names[4..], ["generator", "generator_gradient_norm"]);
    assert!(values(&engine)[2] != one[2]);
}

#[test]
fn a_penalty_on_a_gradient_is_learned_and_threads_do_not_change_a_byte() {
    let run = |threads| {
        let mut engine = engine("10", "8");
        let first = steps(&mut engine, threads, 1);
        let last = steps(&mut engine, threads, 60);
        (first, last, values(&engine))
    };
    let (first, last, params) = run(1);
    let penalty =
        |told: &[(String, f64)]| told.iter().find(|(name, _)| name == "penalty").unwrap().1;
    assert!(penalty(&last) < 0.2 * penalty(&first), "{first:?} {last:?}");
    for threads in [2, 3] {
        let other = run(threads);
        assert!(
            other.0 == first && other.1 == last && other.2 == params,
            "{threads} threads"
        );
    }
}

/// The gradient of the critic's whole loss, through the gradient inside it, against differences.
#[test]
fn the_gradient_of_a_penalty_agrees_with_differences() {
    let hypers = TOY.defaults();
    let spec = ImageSpec::new(4, 3, 1, 2);
    let (model, params) = TOY.build_for(&hypers, spec, 3).unwrap();
    let images = Tensor::from_fn(spec.shape(4), |i| f32::from(i % 3 == 0));
    let batch = Batch::new(images, [1, 2, 3, 4]);
    let loss = |params: &Params<f32>, wanted: bool| {
        let tape = Tape::new();
        let p = params.bind_where(&tape, |param| param.name.starts_with("critic."));
        let sum = model.loss(&Step::new(&tape, &p, &batch)).sum;
        let wrt: Vec<&Var<f32>> = p.recorded().map(|(_, var)| var).collect();
        let gradients = if wanted {
            tape.gradients(&sum, &wrt)
        } else {
            Vec::new()
        };
        (f64::from(sum.item()), gradients)
    };
    let (_, gradients) = loss(&params, true);
    for (id, gradient) in params.ids().zip(&gradients) {
        let size = gradient
            .data()
            .iter()
            .map(|&g| f64::from(g).powi(2))
            .sum::<f64>()
            .sqrt();
        let at = |h: f64| {
            let mut moved = params.clone();
            for (x, &g) in moved
                .get_mut(id)
                .value
                .make_mut()
                .iter_mut()
                .zip(gradient.data())
            {
                *x += (h * f64::from(g) / size) as f32;
            }
            loss(&moved, false).0
        };
        let h = 3e-3;
        let found = (at(h) - at(-h)) / (2.0 * h);
        assert!(
            (found / size - 1.0).abs() < 0.01,
            "{size}, a difference gives {found}"
        );
    }
}

#[test]
fn weights_are_clipped_after_each_update() {
    let mut engine = engine("0.03", "8");
    for step in 0..6 {
        steps(&mut engine, 2, 1);
        let values = values(&engine);
        for weights in &values[..2] {
            let sizes = weights.data().iter().map(|w| w.abs());
            let largest = sizes.fold(0.0, f32::max);
            // They began far outside, and Adam's first step is 0.05.
            assert!(
                largest <= 0.03 && (step > 0 || largest == 0.03),
                "{step}: {largest}"
            );
        }
    }
    let shift = values(&engine).pop().unwrap();
    assert!(
        shift.data().iter().any(|x| x.abs() > 0.04),
        "the other phase is not clipped"
    );
}
