//! Densities integrate to one, and samples follow them.

mod common;

use common::{largest_difference, made, normals, woken};
use flow::{
    ActNorm, At, Coupling, Dequantise, Flatten, Flow, FlowModel, Inverse, Layer, Logit, Masked,
    Mix, Net, Partition, Permute, Precision, Prior, Transform,
};
use grad::{Tensor, Var};
use nn::model::{ImageSpec, Spread};
use nn::{Bound, Builder, Params};
use std::sync::Arc;

fn log_density<T: Precision>(flow: &Flow, prior: Prior, at: &At<T>, x: &Tensor<T>) -> Vec<f64> {
    let (z, log_det) = Layer::<T>::forward(flow, at, &Var::constant(x.clone()));
    let density = prior.log_density(&z) + log_det;
    density.value().data().iter().map(|x| x.to_f64()).collect()
}

#[test]
fn one_dimension_integrates_to_one_for_each_class() {
    let (flow, params) = made(|b| {
        Flow::new()
            .then(Masked::new(&mut b.scope(0), 1, &[4], Some(2)))
            .then(ActNorm::new(&mut b.scope(1), 1))
            .then(Inverse(Masked::new(&mut b.scope(2), 1, &[3], Some(2))))
    });
    let params = params.cast::<f64>();
    let p = params.constants();
    let (n, step) = (40_000, 2e-3);
    let x = Tensor::from_fn([n, 1], |i| (i as f64 - n as f64 / 2.0) * step);
    let mut densities = Vec::new();
    for class in [0u32, 1] {
        let classes: Arc<[u32]> = vec![class; n].into();
        let at = At::new(&p).classes(Some(&classes));
        let density = log_density(&flow, Prior::Logistic, &at, &x);
        let integral: f64 = density.iter().map(|x| x.exp() * step).sum();
        assert!((integral - 1.0).abs() < 1e-6, "class {class}: {integral}");
        densities.push(density);
    }
    // The class is not lost where there is but one dimension.
    let apart = densities[0]
        .iter()
        .zip(&densities[1])
        .map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f64::max) > 0.1);
}

#[test]
fn the_unit_interval_integrates_to_one_through_the_logit() {
    let flow = Flow::new().then(Logit::new(1e-9));
    let params = Params::<f64>::new();
    let p = params.constants();
    let n = 20_000;
    let x = Tensor::from_fn([n, 1], |i| (i as f64 + 0.5) / n as f64);
    for prior in [Prior::Normal, Prior::Logistic] {
        let density = log_density(&flow, prior, &At::new(&p), &x);
        let integral: f64 = density.iter().map(|x| x.exp() / n as f64).sum();
        assert!((integral - 1.0).abs() < 1e-4, "{prior:?}: {integral}");
    }
}

fn perceptron(b: &mut Builder, partition: Partition) -> Coupling {
    let net = Net::perceptron(b, 1, &[8], 2, None);
    Coupling::new(partition, Transform::Affine, net)
}

/// Flows of two dimensions of every kind.
fn planar() -> Vec<(&'static str, (Flow, Params<f32>))> {
    let halves = || Partition::halves(2);
    vec![
        (
            "couplings",
            woken(0.15, |b| {
                Flow::new()
                    .then(perceptron(&mut b.scope(0), halves()))
                    .then(ActNorm::new(&mut b.scope(1), 2))
                    .then(perceptron(&mut b.scope(2), halves().swapped()))
                    .then(Mix::new(&mut b.scope(3), 2))
                    .then(perceptron(&mut b.scope(4), halves()))
            }),
        ),
        (
            "masked",
            woken(0.15, |b| {
                Flow::new()
                    .then(Masked::new(&mut b.scope(0), 2, &[6], None))
                    .then(Permute::reversed(2))
                    .then(Masked::new(&mut b.scope(1), 2, &[6], None))
            }),
        ),
        (
            "inverse masked",
            woken(0.15, |b| {
                Flow::new().then(Inverse(Masked::new(b, 2, &[6], None)))
            }),
        ),
    ]
}

#[test]
fn two_dimensions_integrate_to_one_and_samples_fall_where_the_density_is() {
    for (name, (flow, params)) in planar() {
        let params = params.cast::<f64>();
        let p = params.constants();
        let (n, step) = (600, 0.06);
        let place = |i: usize| (i as f64 + 0.5 - n as f64 / 2.0) * step;
        let x = Tensor::from_fn([n * n, 2], |i| match i % 2 {
            0 => place(i / 2 / n),
            _ => place(i / 2 % n),
        });
        let density = log_density(&flow, Prior::Normal, &At::new(&p), &x);
        let cell = step * step;
        let integral: f64 = density.iter().map(|x| x.exp() * cell).sum();
        assert!((integral - 1.0).abs() < 2e-3, "{name}: {integral}");

        let z = normals(&[20_000, 2], 3);
        let samples = Layer::<f64>::inverse(&flow, &At::new(&p), &Var::constant(z.clone()));
        let (back, _) = Layer::<f64>::forward(&flow, &At::new(&p), &samples);
        assert!(largest_difference(&z, back.value()) < 1e-8, "{name}");
        // The share of each quarter around a point, by the density and by the samples.
        let quarter = |x: &[f64]| usize::from(x[0] > 0.3) + 2 * usize::from(x[1] > -0.3);
        let (mut expected, mut found) = ([0.0; 4], [0.0; 4]);
        for (x, density) in x.data().chunks(2).zip(&density) {
            expected[quarter(x)] += density.exp() * cell;
        }
        for x in samples.value().data().chunks(2) {
            found[quarter(x)] += 1.0 / 20_000.0;
        }
        for (expected, found) in expected.iter().zip(found) {
            assert!(
                (expected - found).abs() < 0.02,
                "{name}: {found}, expected {expected}"
            );
        }
    }
}

fn model(spec: ImageSpec, dequantise: Dequantise, flow: Flow, prior: Prior) -> FlowModel {
    FlowModel {
        spec,
        dequantise,
        flow,
        prior,
        classes: None,
        spread: |_| Spread::IntraOp,
        ascends: true,
    }
}

#[test]
fn a_uniform_density_costs_log_levels_a_dimension() {
    // The logistic density through a logit is uniform: exactly log L for each dimension, once.
    for levels in [2usize, 4, 256] {
        let spec = ImageSpec::new(2, 3, 1, levels);
        let flow = Flow::new().then(Logit::new(1e-9)).then(Flatten([2, 3, 1]));
        let model = model(spec, Dequantise::Uniform, flow, Prior::Logistic);
        let params = Params::<f64>::new();
        let p = params.constants();
        let top = (levels - 1) as f64;
        let x = Tensor::from_fn([5, 2, 3, 1], |i| (i * 7 % levels) as f64 / top);
        let noise = common::uniforms(&[5, 6], 1).map(|u| 0.01 + 0.98 * u);
        let bound = model.bound(&At::new(&p), &x, &noise);
        for &nats in bound.value().data() {
            let expected = 6.0 * (levels as f64).ln();
            assert!(
                (nats - expected).abs() < 1e-5,
                "{levels}: {nats}, expected {expected}"
            );
        }
    }
}

/// Every image of two pixels and four levels, and a model of them that is awake.
fn tiny(variational: bool) -> (FlowModel, Params<f64>, Tensor<f64>) {
    let spec = ImageSpec::new(2, 2, 1, 3);
    let (model, params) = woken(0.08, |b| {
        let dequantise = match variational {
            true => Dequantise::variational(&mut b.scope("noise"), &spec),
            false => Dequantise::Uniform,
        };
        let flow = Flow::new()
            .then(Logit::new(1e-6))
            .then(Flatten([2, 2, 1]))
            .then(Masked::new(&mut b.scope("flow"), 4, &[8], None));
        model(spec, dequantise, flow, Prior::Normal)
    });
    let images = Tensor::from_fn([81, 2, 2, 1], |i| {
        let (image, pixel) = (i / 4, i % 4);
        (image / 3usize.pow(pixel as u32) % 3) as f64 / 2.0
    });
    (model, params.cast(), images)
}

/// The mean over `draws` of p(y) / (q(u | x) L^D) for each image: P(x).
fn probabilities(model: &FlowModel, p: &Bound<f64>, x: &Tensor<f64>, draws: u64) -> Vec<f64> {
    let count = x.shape()[0];
    let mut sums = vec![0.0; count];
    for draw in 0..draws {
        let noise = common::uniforms(&[count, 4], 100 + draw);
        let bound = model.bound(&At::new(p), x, &noise);
        for (sum, bound) in sums.iter_mut().zip(bound.value().data()) {
            *sum += (-bound).exp() / draws as f64;
        }
    }
    sums
}

#[test]
fn probabilities_of_all_images_sum_to_one() {
    for variational in [false, true] {
        let (model, params, images) = tiny(variational);
        if variational {
            let noise = common::uniforms(&[81, 4], 1);
            let p = params.constants();
            let (_, log_q) = model.dequantise.noisy(&At::new(&p), &images, 3, &noise);
            assert!(
                log_q.value().data().iter().any(|q| q.abs() > 0.05),
                "the noise is awake"
            );
        }
        let total: f64 = probabilities(&model, &params.constants(), &images, 400)
            .iter()
            .sum();
        assert!(
            (total - 1.0).abs() < 0.03,
            "variational {variational}: {total}"
        );
    }
}

#[test]
fn learned_noise_begins_as_uniform_noise() {
    let spec = ImageSpec::new(4, 4, 1, 256);
    let mut params = Params::new();
    let dequantise = Dequantise::variational(&mut Builder::new(&mut params, 3), &spec);
    let params = params.cast::<f64>();
    let p = params.constants();
    let x = Tensor::from_fn([3, 4, 4, 1], |i| (i * 5 % 256) as f64 / 255.0);
    let noise = common::uniforms(&[3, 16], 2).map(|u| 0.001 + 0.998 * u);
    let (expected, _) = Dequantise::Uniform.noisy(&At::new(&p), &x, 256, &noise);
    let (found, log_q) = dequantise.noisy(&At::new(&p), &x, 256, &noise);
    assert!(largest_difference(expected.value(), found.value()) < 1e-9);
    assert!(log_q.value().data().iter().all(|q| q.abs() < 1e-9));
}
