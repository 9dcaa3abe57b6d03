//! What the tests of flows share.
#![allow(dead_code, unreachable_pub)]

use flow::{At, Layer};
use grad::{Element, Tape, Tensor};
use nn::model::{Batch, DataSummary, ImageSource, ImageSpec, Setup};
use nn::random::{normal, stream, uniform, word};
use nn::{Bound, Builder, Params};
use std::sync::Arc;

/// Moves every trained parameter by a random step, so that what begins at zero does something.
pub fn wake(params: &mut Params<f32>, size: f64) {
    for param in params.iter_mut().filter(|param| param.trainable) {
        let mut stream = stream(&[word(&param.name)]);
        let moved = |x: f32| x + (size * normal(&mut stream)) as f32;
        let data: Vec<f32> = param.value.data().iter().copied().map(moved).collect();
        param.value = Tensor::new(*param.value.shape(), &data);
    }
}

/// A layer with parameters that are awake.
pub fn made<L>(make: impl FnOnce(&mut Builder) -> L) -> (L, Params<f32>) {
    woken(0.3, make)
}

/// The same, moved by steps of this size.
pub fn woken<L>(size: f64, make: impl FnOnce(&mut Builder) -> L) -> (L, Params<f32>) {
    let mut params = Params::new();
    let layer = make(&mut Builder::new(&mut params, 7));
    wake(&mut params, size);
    (layer, params)
}

/// Numbers from N(0, 1).
pub fn normals(shape: &[usize], seed: u64) -> Tensor<f64> {
    nn::random::normal_tensor(shape, &mut stream(&[seed]))
}

/// Numbers from [0, 1).
pub fn uniforms(shape: &[usize], seed: u64) -> Tensor<f64> {
    nn::random::uniform_tensor(shape, 0.0, 1.0, &mut stream(&[seed]))
}

/// log |det| of a square matrix, by elimination with row pivots.
pub fn log_abs_det(mut a: Vec<Vec<f64>>) -> f64 {
    let n = a.len();
    let mut sum = 0.0;
    for k in 0..n {
        let pivot = (k..n)
            .max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs()))
            .unwrap();
        a.swap(k, pivot);
        sum += a[k][k].abs().ln();
        let (above, below) = a.split_at_mut(k + 1);
        let pivot = &above[k];
        for row in below {
            let factor = row[k] / pivot[k];
            row.iter_mut()
                .zip(pivot)
                .for_each(|(x, p)| *x -= factor * p);
        }
    }
    sum
}

/// log |det dz/dx| of each row of x, from the Jacobian that autodiff gives.
pub fn jacobian_log_dets(
    layer: &dyn Layer<f64>,
    p: &Bound<f64>,
    classes: Option<&[u32]>,
    x: &Tensor<f64>,
) -> Vec<f64> {
    let rows = x.shape()[0];
    let dims = x.len() / rows;
    (0..rows)
        .map(|row| {
            let one = &x.data()[row * dims..][..dims];
            let tape = Tape::new();
            let x = tape.var(Tensor::new(x.shape().with(0, 1), one));
            let class: Option<Arc<[u32]>> = classes.map(|all| [all[row]].into());
            let (z, _) = layer.forward(&At::new(p).classes(class.as_ref()), &x);
            let z = z.reshape([dims]);
            let jacobian = (0..dims).map(|i| {
                let gradient = tape.gradients(&z.slice(0, i..i + 1).sum(), &[&x]).remove(0);
                gradient.data().to_vec()
            });
            log_abs_det(jacobian.collect())
        })
        .collect()
}

pub fn largest_difference<T: Element>(a: &Tensor<T>, b: &Tensor<T>) -> f64 {
    assert_eq!(a.len(), b.len());
    let pairs = a.data().iter().zip(b.data());
    pairs
        .map(|(a, b)| (a.to_f64() - b.to_f64()).abs())
        .fold(0.0, f64::max)
}

/// Some drawn images: a bright diagonal on a border that is always 0.
pub struct Drawn {
    pub spec: ImageSpec,
    pub count: usize,
}

impl ImageSource for Drawn {
    fn spec(&self) -> ImageSpec {
        self.spec
    }

    fn len(&self) -> usize {
        self.count
    }

    fn batch(&self, indices: &[u32]) -> Batch {
        let ImageSpec {
            height,
            width,
            channels,
            levels,
            ..
        } = self.spec;
        let dims = self.spec.dims();
        let top = (levels - 1) as f64;
        let mut pixels = Vec::new();
        for &index in indices {
            let mut noise = stream(&[u64::from(index)]);
            let bright = uniform(&mut noise);
            for d in 0..dims {
                let (row, column) = (d / channels / width, d / channels % width);
                let inside = (1..height - 1).contains(&row) && (1..width - 1).contains(&column);
                let value = if row == column {
                    bright
                } else {
                    0.3 * uniform(&mut noise)
                };
                let value = if inside { value } else { 0.0 };
                pixels.push(((value * top).round() / top) as f32);
            }
        }
        let labels: Vec<u32> = indices.iter().map(|i| i % 10).collect();
        let noise: Vec<u64> = indices
            .iter()
            .map(|&i| word("noise") ^ u64::from(i))
            .collect();
        Batch::new(Tensor::new(self.spec.shape(indices.len()), &pixels), noise).with_labels(labels)
    }
}

/// The grey images of the tests: 6 x 6, 256 levels, 10 classes.
pub const SPEC: ImageSpec = ImageSpec::new(6, 6, 1, 256).with_classes(10);

type Make = fn(&Setup) -> Result<(flow::FlowModel, Params<f32>), nn::hyper::HyperError>;

/// Every model of the crate, by name.
pub const MAKERS: &[(&str, Make)] = &[
    ("nice", flow::nice),
    ("realnvp", flow::realnvp),
    ("glow", flow::glow),
    ("maf", flow::maf),
    ("iaf", flow::iaf),
];

/// A small model that is awake, with these settings beside those of its table.
pub fn small(name: &str, spec: ImageSpec, set: &[(&str, &str)]) -> (flow::FlowModel, Params<f32>) {
    let (model, mut params) = fresh(name, spec, set);
    wake(&mut params, 0.1);
    (model, params)
}

/// A small model as it begins.
pub fn fresh(name: &str, spec: ImageSpec, set: &[(&str, &str)]) -> (flow::FlowModel, Params<f32>) {
    let entry = flow::MODELS
        .iter()
        .find(|entry| entry.name == name)
        .unwrap();
    let (_, make) = MAKERS.iter().find(|(known, _)| *known == name).unwrap();
    let mut hypers = entry.small_hypers();
    set.iter()
        .for_each(|(key, value)| hypers.set(key, value).unwrap());
    let source = Drawn { spec, count: 64 };
    let data = DataSummary::of(&source);
    make(&Setup::new(&hypers, spec, &data, 5)).unwrap()
}
