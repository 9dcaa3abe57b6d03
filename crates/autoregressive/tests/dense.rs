//! The models that are not convolutional, in many shapes: exact likelihoods, causality both ways,
//! derivatives in f64, sampling step by step and the naive way, mixtures, and how near to the best
//! they can be trained.

use autoregressive::density::{Naive, nll};
use autoregressive::sequential::{Draw, Given, draw};
use autoregressive::{Autoregressive, Density, Fvsbn, Made, MadeOptions, Nade, OrderlessNade};
use grad::kernels::autoregressive::nade::Activation;
use grad::{Tape, Tensor, Var};
use nn::model::{Batch, Classes, ImageSpec, SampleRequest, Sampler};
use nn::optim::{Optimiser, OptimiserState};
use nn::random::{stream, uniform};
use nn::stats::logsumexp;
use nn::{Builder, Params};

const SPEC: ImageSpec = ImageSpec::new(3, 4, 1, 2);

/// Runs a check on a small model of each kind.
macro_rules! for_each_model {
    ($check:ident) => {
        $check("fvsbn", |b| Fvsbn::new(b, SPEC, 0.0));
        $check("fvsbn, with a reach", |b| Fvsbn::new(b, SPEC, 2.0));
        $check("nade", |b| Nade::new(b, SPEC, 19, Activation::Sigmoid));
        $check("nade", |b| Nade::new(b, SPEC, 19, Activation::Relu));
        $check("orderless-nade", |b| {
            OrderlessNade::new(b, SPEC, &[17], 2, 8)
        });
        $check("orderless-nade", |b| {
            OrderlessNade::new(b, SPEC, &[17, 9], 1, 8)
        });
        $check("made", |b| made(b, &[120], 1, false, false));
        $check("made, deep, direct", |b| {
            made(b, &[110, 120], 1, false, true)
        });
        $check("made, shuffled", |b| made(b, &[120], 1, true, true));
        $check("made, masks", |b| made(b, &[120, 110], 3, true, false));
    };
}

fn made(b: &mut Builder, hidden: &[usize], masks: usize, shuffle: bool, direct: bool) -> Made {
    let options = MadeOptions {
        hidden: hidden.to_vec(),
        masks,
        shuffle,
        direct,
        seed: 3,
    };
    Made::new(b, SPEC, &options)
}

/// A model with random parameters of both signs, large enough for conditionals far from uniform.
fn shaken<M>(make: impl Fn(&mut Builder) -> M, seed: u64) -> (M, Params<f32>) {
    let mut params = Params::new();
    let model = make(&mut Builder::new(&mut params, seed));
    let mut noise = stream(&[seed, 1]);
    for param in params.iter_mut() {
        let shape = *param.value.shape();
        param.value = Tensor::from_fn(shape, |_| (1.4 * uniform(&mut noise) - 0.7) as f32);
    }
    (model, params)
}

fn images(count: usize, seed: u64) -> Tensor<f32> {
    let mut noise = stream(&[seed]);
    let shape = [count, SPEC.height, SPEC.width, 1];
    Tensor::from_fn(shape, |_| f32::from(uniform(&mut noise) < 0.4))
}

fn all_images() -> Tensor<f64> {
    let dims = SPEC.dims();
    let shape = [1 << dims, SPEC.height, SPEC.width, 1];
    Tensor::from_fn(shape, |i| f64::from((i / dims) as u32 >> (i % dims) & 1))
}

fn batch(images: Tensor<f32>) -> Batch {
    let noise: Vec<u64> = (0..images.shape()[0] as u64).collect();
    Batch::new(images, noise)
}

#[test]
fn probabilities_of_all_images_sum_to_one() {
    fn check<M: Autoregressive>(name: &str, make: impl Fn(&mut Builder) -> M) {
        let (model, params) = shaken(make, 1);
        let p = params.cast::<f64>().constants();
        for ordering in 0..model.orderings() {
            let nats = nll(&model, &p, &all_images(), ordering);
            let sum: f64 = nats.value().data().iter().map(|nats| (-nats).exp()).sum();
            assert!(
                (sum - 1.0).abs() < 1e-10,
                "{name}, ordering {ordering}: p(x) sums to {sum}"
            );
        }
        // In f32 through the interface of the engine: the mixture of all orderings.
        let all = batch(all_images().cast());
        let model = Density(model);
        let log_p: Vec<f64> = (model.nats(&params.constants(), &all).iter())
            .map(|nats| -nats)
            .collect();
        let total = logsumexp(&log_p);
        assert!(total.abs() < 1e-4, "{name}: log of the sum {total}");
    }
    for_each_model!(check);
}

/// Flips each pixel of a few images: the logits of dimensions that come later in the ordering
/// all change, those of the others keep every bit.
#[test]
fn each_dimension_depends_on_all_earlier_ones_and_on_no_other() {
    fn check<M: Autoregressive>(name: &str, make: impl Fn(&mut Builder) -> M) {
        let (model, params) = shaken(make, 2);
        let p = params.cast::<f64>().constants();
        let dims = SPEC.dims();
        for ordering in 0..model.orderings() {
            let order: Vec<usize> = (0..dims).map(|i| model.dimension(ordering, i)).collect();
            let mut sorted = order.clone();
            sorted.sort();
            assert_eq!(
                sorted,
                (0..dims).collect::<Vec<_>>(),
                "{name}: not an ordering"
            );
            let x = images(24, 3).cast::<f64>();
            let logits = |x: &Tensor<f64>| {
                model
                    .logits(&p, &Var::constant(x.clone()), ordering)
                    .into_value()
            };
            let before = logits(&x);
            for (i, &from) in order.iter().enumerate() {
                let mut flipped = x.clone();
                for image in flipped.make_mut().chunks_exact_mut(dims) {
                    image[from] = 1.0 - image[from];
                }
                let after = logits(&flipped);
                for (j, &to) in order.iter().enumerate() {
                    let changed = (0..24).any(|n| {
                        let at = n * dims + to;
                        before.data()[at] != after.data()[at]
                    });
                    assert_eq!(
                        changed,
                        i < j,
                        "{name}, ordering {ordering}: {from} -> {to}"
                    );
                }
            }
        }
    }
    for_each_model!(check);
}

#[test]
fn gradients_agree_with_finite_differences() {
    fn check<M: Autoregressive>(name: &str, make: impl Fn(&mut Builder) -> M) {
        let (model, params) = shaken(make, 3);
        let params = params.cast::<f64>();
        let x = images(5, 4).cast::<f64>();
        for ordering in 0..model.orderings() {
            let loss = |params: &Params<f64>, tape: &Tape<f64>| {
                let p = params.bind(tape);
                let sum = nll(&model, &p, &x, ordering).sum();
                (p, sum)
            };
            let tape = Tape::new();
            let (p, value) = loss(&params, &tape);
            let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
            let gradients = tape.gradients(&value, &wrt);
            for (id, gradient) in params.ids().zip(&gradients) {
                for i in (0..gradient.len()).step_by(1 + gradient.len() / 29) {
                    let at = |delta: f64| {
                        let mut moved = params.clone();
                        moved.get_mut(id).value.make_mut()[i] += delta;
                        loss(&moved, &Tape::new()).1.item()
                    };
                    let h = 1e-6;
                    let expected = (at(h) - at(-h)) / (2.0 * h);
                    let found = gradient.data()[i];
                    assert!(
                        (found - expected).abs() <= 1e-6 * (1.0 + expected.abs()),
                        "{name}: {}[{i}]: expected {expected}, found {found}",
                        params[id].name
                    );
                }
            }
        }
    }
    for_each_model!(check);
}

#[test]
fn sampling_step_by_step_gives_the_bytes_of_the_naive_way() {
    fn check<M: Autoregressive>(name: &str, make: impl Fn(&mut Builder) -> M) {
        let (model, params) = shaken(make, 4);
        let given = images(40, 5);
        let known: Vec<bool> = (0..SPEC.dims()).map(|d| d % 3 == 1).collect();
        for ordering in 0..model.orderings() {
            for (temperature, some) in [(1.0, false), (0.6, false), (1.0, true)] {
                let what = Draw {
                    count: 40,
                    seed: 6,
                    classes: &Classes::InTurn,
                    temperature,
                    given: some.then_some(Given {
                        images: &given,
                        known: &known,
                    }),
                };
                let fast = draw(&*model.conditionals(&params.constants(), ordering), &what);
                let slow = draw(&Naive::new(&model, &params, ordering), &what);
                assert_eq!(
                    fast, slow,
                    "{name}, ordering {ordering}, {temperature}, {some}"
                );
                let few = Draw { count: 3, ..what };
                if !some {
                    let few = draw(&*model.conditionals(&params.constants(), ordering), &few);
                    assert_eq!(
                        few.data(),
                        &fast.data()[..few.len()],
                        "{name}: the first three"
                    );
                } else {
                    for (i, (x, given)) in fast.data().iter().zip(given.data()).enumerate() {
                        assert!(
                            !known[i % SPEC.dims()] || x == given,
                            "{name}: {i} was given"
                        );
                    }
                }
            }
        }
        let model = Density(model);
        let sample = |seed| model.sample(&params.constants(), &SampleRequest::new(8, seed));
        assert_eq!(sample(1), sample(1));
        assert_ne!(sample(1), sample(2));
    }
    for_each_model!(check);
}

/// The share of each of the 2^12 images among many samples is its probability: the mean of
/// -log p over samples is the entropy.
#[test]
fn samples_follow_the_density() {
    fn check<M: Autoregressive>(name: &str, make: impl Fn(&mut Builder) -> M) {
        let (model, params) = shaken(make, 7);
        let all = nll(&model, &params.cast::<f64>().constants(), &all_images(), 0);
        let entropy: f64 = all
            .value()
            .data()
            .iter()
            .map(|nats| nats * (-nats).exp())
            .sum();
        let square: f64 = all.value().data().iter().map(|n| n * n * (-n).exp()).sum();
        let count = 20_000;
        let what = Draw {
            count,
            seed: 1,
            classes: &Classes::InTurn,
            temperature: 1.0,
            given: None,
        };
        let p = params.constants();
        let samples = draw(&*model.conditionals(&p, 0), &what);
        let nats = nll(&model, &p, &samples, 0);
        let mean = nats
            .value()
            .data()
            .iter()
            .map(|&n| f64::from(n))
            .sum::<f64>()
            / count as f64;
        let error = ((square - entropy * entropy) / count as f64).sqrt();
        assert!(
            (mean - entropy).abs() < 4.0 * error,
            "{name}: {mean} nats, the entropy is {entropy}"
        );
    }
    for_each_model!(check);
}

/// 60,000 samples of five orderings, counted against the density that is their mixture: chi-squared
/// with 15 degrees of freedom is above 37.7 in one case of a thousand. No ordering alone explains
/// them.
#[test]
fn samples_follow_the_mixture_of_all_orderings() {
    let spec = ImageSpec::new(2, 2, 1, 2);
    let (model, params) = shaken(|b| OrderlessNade::new(b, spec, &[9], 5, 8), 10);
    let p = params.constants();
    let all = Tensor::from_fn([16, 2, 2, 1], |i| {
        f32::from((i / 4) as u8 >> (i % 4) & 1 == 1)
    });
    let orderings = model.orderings();
    let of_each: Vec<Vec<f64>> = (0..orderings)
        .map(|ordering| {
            let nats = nll(&model, &p, &all, ordering).into_value();
            nats.data().iter().map(|&nats| f64::from(nats)).collect()
        })
        .collect();
    let model = Density(model);
    let mixture = model.nats(&p, &batch(all));
    let count = 60_000;
    let samples = model.sample(&p, &SampleRequest::new(count, 3));
    let mut found = [0.0; 16];
    for image in samples.data().chunks_exact(4) {
        let bits = image.iter().enumerate().map(|(d, &x)| (x as usize) << d);
        found[bits.sum::<usize>()] += 1.0;
    }
    let chi_squared = |nats: &[f64]| -> f64 {
        let term = |(found, nats): (&f64, &f64)| {
            let expected = count as f64 * (-nats).exp();
            (found - expected).powi(2) / expected
        };
        found.iter().zip(nats).map(term).sum()
    };
    let of_mixture = chi_squared(&mixture);
    assert!(of_mixture < 37.7, "chi-squared {of_mixture}");
    for (ordering, nats) in of_each.iter().enumerate() {
        let alone = chi_squared(nats);
        assert!(
            alone > 100.0,
            "ordering {ordering} alone: chi-squared {alone}"
        );
    }
}

/// Over many draws of what is known, the loss of orderless NADE is -log p(x) for a random
/// ordering: it is held against all 3! orderings of three pixels.
#[test]
fn the_loss_of_orderless_nade_is_an_unbiased_estimate() {
    let spec = SPEC.with_size(1, 3);
    let make = |b: &mut Builder| OrderlessNade::new(b, spec, &[6], 200, 4);
    let (model, params) = shaken(make, 9);
    let p = params.constants();
    let x = Tensor::new([1, 1, 3, 1], &[1.0, 0.0, 1.0]);
    let mut of_order = std::collections::BTreeMap::new();
    for ordering in 0..model.orderings() {
        let order: Vec<usize> = (0..3).map(|i| model.dimension(ordering, i)).collect();
        of_order
            .entry(order)
            .or_insert_with(|| nll(&model, &p, &x, ordering).sum().item());
    }
    assert_eq!(of_order.len(), 6);
    let expected = of_order.values().sum::<f32>() / 6.0;
    let draws = 20_000;
    let images = Tensor::from_fn([draws, 1, 3, 1], |i| x.data()[i % 3]);
    let noise: Vec<u64> = (0..draws as u64).map(|i| nn::random::mix(&[i])).collect();
    let batch = Batch::new(images, noise);
    let found = model.loss(&p, &batch, 0).item() / draws as f32;
    assert!(
        (found / expected - 1.0).abs() < 0.02,
        "{found} nats, expected {expected}"
    );
}

#[test]
fn one_batch_can_be_overfitted() {
    fn check<M: Autoregressive>(name: &str, make: impl Fn(&mut Builder) -> M) {
        let (model, mut params) = shaken(make, 5);
        let x = images(4, 8);
        let ids: Vec<_> = params.ids().collect();
        let mut optimiser = OptimiserState::new(Optimiser::adam(0.02), &params, ids);
        let mut last = f32::INFINITY;
        for step in 0..600 {
            let tape = Tape::new();
            let p = params.bind(&tape);
            let loss = nll(&model, &p, &x, step % model.orderings()).mean();
            last = loss.item();
            let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
            let gradients = tape.gradients(&loss, &wrt);
            drop((p, tape));
            optimiser.step(&mut params, &gradients, 1.0);
        }
        // Four equally likely images: the best any model can do is ln 4 each; a network of
        // logistic regressions can tell them apart only where they are linearly separable.
        assert!(
            last < 4f32.ln() + 0.35,
            "{name}: {last} nats; ln 4 = {}",
            4f32.ln()
        );
    }
    for_each_model!(check);
}
