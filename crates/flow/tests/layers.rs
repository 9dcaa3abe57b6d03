//! Every layer: its log-determinant against the Jacobian by autodiff, and its inverse.

mod common;

use common::{jacobian_log_dets, largest_difference, made, normals, uniforms};
use flow::{
    ActNorm, At, BatchNorm, ConvSizes, Coupling, FactorOut, Flatten, Flow, FlowLayer, Inverse,
    Layer, Logit, Masked, Mix, Net, Partition, Permute, Precision, Shift, Squeeze, Transform,
};
use grad::check::{Order, gradients};
use grad::{Tensor, Var};
use nn::{Bound, Builder, Params};
use std::sync::Arc;

type Made = (Box<dyn FlowLayer>, Params<f32>);

fn boxed<L: FlowLayer + 'static>(make: impl FnOnce(&mut Builder) -> L) -> Made {
    let (layer, params) = made(make);
    (Box::new(layer), params)
}

fn sizes(blocks: usize, classes: Option<usize>) -> ConvSizes {
    ConvSizes {
        channels: 5,
        blocks,
        classes,
        context: 0,
    }
}

fn conv(b: &mut Builder, partition: Partition, blocks: usize, classes: Option<usize>) -> Coupling {
    let (stay, moving) = (partition.count(false), partition.count(true));
    let net = Net::convolution(b, stay, 2 * moving, sizes(blocks, classes));
    Coupling::new(partition, Transform::Affine, net)
}

fn perceptron(b: &mut Builder, transform: Transform, classes: Option<usize>) -> Coupling {
    let halves = Partition::halves(7);
    let net = Net::perceptron(b, 4, &[6, 5], 3 * transform.width(), classes);
    Coupling::new(halves, transform, net)
}

/// Name, the shape of a row, the layer.
fn layers() -> Vec<(&'static str, Vec<usize>, Made)> {
    let classes = Some(3);
    vec![
        ("flatten", vec![2, 3, 2], boxed(|_| Flatten([2, 3, 2]))),
        ("squeeze", vec![4, 6, 1], boxed(|_| Squeeze)),
        ("reversed", vec![5], boxed(|_| Permute::reversed(5))),
        ("even and odd", vec![7], boxed(|_| Permute::even_odd(7))),
        (
            "any order",
            vec![2, 2, 3],
            boxed(|_| Permute::random(3, &mut nn::random::stream(&[1]))),
        ),
        ("shift", vec![4], boxed(|_| Shift(-0.5))),
        ("logit", vec![6], boxed(|_| Logit::new(0.05))),
        ("act norm", vec![2, 3, 4], boxed(|b| ActNorm::new(b, 4))),
        ("batch norm", vec![2, 3, 4], boxed(|b| BatchNorm::new(b, 4))),
        ("1x1 convolution", vec![3, 2, 4], boxed(|b| Mix::new(b, 4))),
        (
            "additive",
            vec![7],
            boxed(|b| perceptron(b, Transform::Additive, None)),
        ),
        (
            "affine",
            vec![7],
            boxed(|b| perceptron(b, Transform::Affine, classes)),
        ),
        (
            "checkerboard",
            vec![2, 3, 4],
            boxed(|b| conv(b, Partition::checkerboard(4), 0, classes)),
        ),
        (
            "channels",
            vec![3, 2, 4],
            boxed(|b| conv(b, Partition::halves(4).swapped(), 1, None)),
        ),
        (
            "half done",
            vec![2, 2, 4],
            boxed(|b| {
                let onward = Flow::new()
                    .then(conv(b, Partition::halves(2), 0, None))
                    .then(Flatten([2, 2, 2]));
                FactorOut::new([2, 2, 4], onward)
            }),
        ),
        ("masked", vec![6], boxed(|b| Masked::new(b, 6, &[9], None))),
        (
            "masked, deep",
            vec![6],
            boxed(|b| Masked::new(b, 6, &[9, 11], classes)),
        ),
        (
            "masked, one dimension",
            vec![1],
            boxed(|b| Masked::new(b, 1, &[4], classes)),
        ),
        (
            "inverse masked",
            vec![6],
            boxed(|b| Inverse(Masked::new(b, 6, &[9, 7], classes))),
        ),
    ]
}

const CLASSES: [u32; 4] = [0, 2, 1, 2];

fn rows(name: &str, shape: &[usize], seed: u64) -> Tensor<f64> {
    let shape = [&[CLASSES.len()], shape].concat();
    match name {
        "logit" => uniforms(&shape, seed),
        _ => normals(&shape, seed),
    }
}

#[test]
fn log_determinants_are_those_of_the_jacobian() {
    for (name, shape, (layer, params)) in layers() {
        let params = params.cast::<f64>();
        let p = params.constants();
        let x = rows(name, &shape, 1);
        let classes: Arc<[u32]> = CLASSES.into();
        let at = At::new(&p).classes(Some(&classes));
        let (_, found) = f64::face(&*layer).forward(&at, &Var::constant(x.clone()));
        let expected = jacobian_log_dets(f64::face(&*layer), &p, Some(&CLASSES), &x);
        assert_eq!(found.shape()[..], [CLASSES.len()], "{name}");
        for (found, expected) in found.value().data().iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-9,
                "{name}: {found}, expected {expected}"
            );
        }
    }
}

fn round_trip<T: Precision>(tolerance: f64) {
    for (name, shape, (layer, params)) in layers() {
        let params = params.cast::<T>();
        let p = params.constants();
        let classes: Arc<[u32]> = CLASSES.into();
        let at = At::new(&p).classes(Some(&classes));
        let layer = T::face(&*layer);
        let x = rows(name, &shape, 2).cast::<T>();
        let (z, _) = layer.forward(&at, &Var::constant(x.clone()));
        let back = layer.inverse(&at, &z).into_value();
        assert_eq!(back.shape(), x.shape(), "{name}");
        let difference = largest_difference(&x, &back);
        assert!(
            difference < tolerance,
            "{name}: {difference:e} in {}",
            T::NAME
        );
        // The other way round, from a code that no data made.
        let code = normals(z.shape(), 3).cast::<T>();
        let x = layer.inverse(&at, &Var::constant(code.clone()));
        let difference = largest_difference(&code, layer.forward(&at, &x).0.value());
        assert!(
            difference < tolerance,
            "{name}: {difference:e} in {}",
            T::NAME
        );
    }
}

#[test]
fn inverses_undo_in_f64() {
    round_trip::<f64>(1e-9);
}

#[test]
fn inverses_undo_in_f32() {
    round_trip::<f32>(1e-3);
}

#[test]
fn an_inverse_layer_is_the_layer_the_other_way_round() {
    // MAF and IAF with the same parameters: one's code is the other's data.
    let (masked, params) = made(|b| Masked::new(b, 6, &[9], None));
    let (inverse, same) = made(|b| Inverse(Masked::new(b, 6, &[9], None)));
    let (params, same) = (params.cast::<f64>(), same.cast::<f64>());
    let (p, q) = (params.constants(), same.constants());
    let x = Var::constant(normals(&[5, 6], 4));
    let (z, log_det) = masked.forward(&At::new(&p), &x);
    let (back, minus) = inverse.forward(&At::new(&q), &z);
    assert!(largest_difference(x.value(), back.value()) < 1e-12);
    assert!(largest_difference(log_det.value(), (-minus).value()) < 1e-12);
}

#[test]
fn masked_layers_see_what_comes_before_and_nothing_else() {
    let (layer, params) = made(|b| Masked::new(b, 6, &[60], None));
    let params = params.cast::<f64>();
    let p = params.constants();
    for i in 0..6 {
        let tape = grad::Tape::new();
        let x = tape.var(normals(&[1, 6], 5));
        let (z, _) = layer.forward(&At::new(&p), &x);
        let by_x = tape.gradients(&z.slice(1, i..i + 1).sum(), &[&x]).remove(0);
        for (j, &g) in by_x.data().iter().enumerate() {
            assert_eq!(g != 0.0, j <= i, "dimension {i} by {j}: {g}");
        }
    }
}

/// Derivatives by the input and by all parameters, against finite differences.
fn check_gradients(name: &str, layer: &dyn Layer<f64>, params: &Params<f32>, x: Tensor<f64>) {
    let mut inputs: Vec<Tensor<f64>> = vec![x];
    inputs.extend(params.cast::<f64>().iter().map(|param| param.value.clone()));
    let classes: Arc<[u32]> = CLASSES.into();
    let f = |vars: &[Var<f64>]| {
        let p = Bound::from_vars(vars[1..].iter().cloned());
        let (z, log_det) = layer.forward(&At::new(&p).classes(Some(&classes)), &vars[0]);
        Var::concat(&[&z.tanh(), &log_det.reshape([CLASSES.len(), 1])], 1)
    };
    gradients(name, &inputs, f, Order::First).unwrap();
}

#[test]
fn gradients_through_the_solved_layer_agree_with_finite_differences() {
    let (layer, params) = made(|b| Inverse(Masked::new(b, 4, &[5, 6], Some(3))));
    check_gradients("inverse masked", &layer, &params, normals(&[4, 4], 6));
    let (layer, params) = made(|b| {
        Flow::new()
            .then(Inverse(Masked::new(&mut b.scope(0), 3, &[5], None)))
            .then(Permute::reversed(3))
            .then(Inverse(Masked::new(&mut b.scope(1), 3, &[4], None)))
    });
    check_gradients("two of them", &layer, &params, normals(&[4, 3], 7));
}

#[test]
fn the_checkerboard_is_that_of_single_pixels() {
    // Through squeeze, coupling and back, pixels of even row + column stay, the others move.
    let (layer, params) = made(|b| conv(b, Partition::checkerboard(4), 0, None));
    let params = params.cast::<f64>();
    let p = params.constants();
    let at = At::new(&p);
    let x = Var::constant(normals(&[1, 6, 4, 1], 8));
    let squeezed = Squeeze.forward(&at, &x).0;
    let z = Squeeze.inverse(&at, &layer.forward(&at, &squeezed).0);
    for (i, (x, z)) in x.value().data().iter().zip(z.value().data()).enumerate() {
        assert_eq!(x == z, (i / 4 + i % 4) % 2 == 0, "pixel {i}");
    }
}

#[test]
fn act_norm_begins_with_mean_0_and_variance_1_and_is_finite_where_nothing_varies() {
    let (layer, mut params) = made(|b| ActNorm::new(b, 3));
    // The last channel is constant, as the border of MNIST is.
    let x = Tensor::from_fn([50, 2, 2, 3], |i| match i % 3 {
        0 => (i as f32 * 0.7).sin() * 4.0 + 10.0,
        1 => (i as f32 * 1.3).cos() * 1e-3,
        _ => 0.25,
    });
    let x = Var::constant(x);
    layer.begin(&mut params, None, &x);
    let (z, log_det) = layer.forward(&At::new(&params.constants()), &x);
    assert!(log_det.value().data().iter().all(|x| x.is_finite()));
    for c in 0..3 {
        let values: Vec<f64> = (z.value().data().iter().skip(c).step_by(3))
            .map(|&z| z.into())
            .collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / values.len() as f64;
        let expected = if c == 2 { 0.0 } else { 1.0 };
        assert!(
            mean.abs() < 1e-3 && (variance - expected).abs() < 1e-3,
            "{c}: {mean}, {variance}"
        );
    }
}

#[test]
fn batch_norm_in_training_makes_the_batch_standard_and_follows_it() {
    let mut params = Params::new();
    let layer = BatchNorm::new(&mut Builder::new(&mut params, 0), 2);
    let params = params.cast::<f64>();
    let tape = grad::Tape::new();
    let p = params.bind(&tape);
    let x = normals(&[200, 2], 9).map(|x| 3.0 * x + 1.0);
    let (z, log_det) = Layer::forward(&layer, &At::new(&p), &Var::constant(x));
    let mean = z.mean_axes(&[0]);
    let square = z.square().mean_axes(&[0]);
    assert!(mean.value().data().iter().all(|m| m.abs() < 1e-9));
    assert!(square.value().data().iter().all(|s| (s - 1.0).abs() < 1e-3));
    assert!((log_det.value().data()[0] + 2.0 * 3f64.ln()).abs() < 0.3);
    assert_eq!(p.take_updates().len(), 2);
}
