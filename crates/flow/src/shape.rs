//! Layers that move numbers about and change no volume: all log-determinants are 0.

use crate::layer::{At, Flow, Layer, Precision, zeros};
use grad::{Element, Var};
use nn::Params;
use nn::random::{Stream, uniform};
use std::sync::Arc;

/// Images `[B, H, W, C]` as rows `[B, H W C]`.
pub struct Flatten(
    /// H, W and C.
    pub [usize; 3],
);

impl<T: Element> Layer<T> for Flatten {
    fn forward(&self, _: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        (x.reshape([x.shape()[0], self.0.iter().product()]), zeros(x))
    }

    fn inverse(&self, _: &At<T>, z: &Var<T>) -> Var<T> {
        let [height, width, channels] = self.0;
        z.reshape([z.shape()[0], height, width, channels])
    }
}

/// 2 x 2 pixels of C channels become one pixel of 4 C: `[B, H, W, C]` -> `[B, H/2, W/2, 4 C]`, the
/// pixels in reading order. Dinh et al. 2017, arXiv:1605.08803, section 3.6.
///
/// The field's *checkerboard* of single pixels is the first and last quarter of the channels
/// against the middle two ([`Partition::checkerboard`](crate::Partition::checkerboard)).
pub struct Squeeze;

impl<T: Element> Layer<T> for Squeeze {
    /// # Panics
    /// If H or W is odd.
    #[track_caller]
    fn forward(&self, _: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        let [b, h, w, c] = x.shape()[..] else {
            panic!("squeeze: expected [B, H, W, C], found {}", x.shape());
        };
        assert!(
            h % 2 == 0 && w % 2 == 0,
            "squeeze: expected even sides, found {h} x {w}"
        );
        let z = x
            .reshape([b, h / 2, 2, w / 2, 2, c])
            .permute(&[0, 1, 3, 2, 4, 5]);
        (z.reshape([b, h / 2, w / 2, 4 * c]), zeros(x))
    }

    #[track_caller]
    fn inverse(&self, _: &At<T>, z: &Var<T>) -> Var<T> {
        let [b, h, w, c] = z.shape()[..] else {
            panic!("squeeze: expected [B, H, W, C], found {}", z.shape());
        };
        let x = z
            .reshape([b, h, w, 2, 2, c / 4])
            .permute(&[0, 1, 3, 2, 4, 5]);
        x.reshape([b, 2 * h, 2 * w, c / 4])
    }
}

/// A fixed order of the last axis: z\[.., i\] = x\[.., order\[i\]\].
pub struct Permute {
    order: Arc<[u32]>,
    back: Arc<[u32]>,
}

impl Permute {
    /// The last first.
    pub fn reversed(n: usize) -> Permute {
        Permute::by((0..n as u32).rev().collect())
    }

    /// Those of even position, then those of odd position: the partition of NICE.
    pub fn even_odd(n: usize) -> Permute {
        let n = n as u32;
        Permute::by((0..n).step_by(2).chain((1..n).step_by(2)).collect())
    }

    /// A random order.
    pub fn random(n: usize, stream: &mut Stream) -> Permute {
        let mut order: Vec<u32> = (0..n as u32).collect();
        for i in (1..n).rev() {
            order.swap(i, (uniform(stream) * (i + 1) as f64) as usize);
        }
        Permute::by(order)
    }

    fn by(order: Vec<u32>) -> Permute {
        let mut back = vec![0; order.len()];
        for (i, &from) in order.iter().enumerate() {
            back[from as usize] = i as u32;
        }
        Permute {
            order: order.into(),
            back: back.into(),
        }
    }

    fn gather<T: Element>(x: &Var<T>, order: &Arc<[u32]>) -> Var<T> {
        let (shape, n) = (*x.shape(), order.len());
        let rows = x.reshape([shape.elements() / n.max(1), n]).transpose();
        rows.gather_rows(order.clone()).transpose().reshape(shape)
    }
}

impl<T: Element> Layer<T> for Permute {
    fn forward(&self, _: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        (Permute::gather(x, &self.order), zeros(x))
    }

    fn inverse(&self, _: &At<T>, z: &Var<T>) -> Var<T> {
        Permute::gather(z, &self.back)
    }
}

/// The first half of the channels is done, the others go on through further layers: the multi-scale
/// architecture. `[B, H, W, C]` -> `[B, H W C]`. Dinh et al. 2017, section 3.6.
pub struct FactorOut {
    shape: [usize; 3],
    onward: Flow,
}

impl FactorOut {
    /// For images of this shape `[H, W, C]`; `onward` takes `[H, W, C - C / 2]` and gives rows.
    pub fn new(shape: [usize; 3], onward: Flow) -> FactorOut {
        FactorOut { shape, onward }
    }

    fn done(&self) -> usize {
        self.shape[2] / 2
    }

    fn rest<T: Element>(&self, x: &Var<T>) -> Var<T> {
        x.slice(3, self.done()..self.shape[2])
    }
}

impl<T: Precision> Layer<T> for FactorOut {
    fn forward(&self, at: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        let [height, width, _] = self.shape;
        let size = height * width * self.done();
        let done = x.slice(3, 0..self.done()).reshape([x.shape()[0], size]);
        let (rest, log_det) = self.onward.forward(at, &self.rest(x));
        (Var::concat(&[&done, &rest], 1), log_det)
    }

    fn inverse(&self, at: &At<T>, z: &Var<T>) -> Var<T> {
        let [height, width, _] = self.shape;
        let (done, size) = (self.done(), height * width * self.done());
        let first = z
            .slice(1, 0..size)
            .reshape([z.shape()[0], height, width, done]);
        let rest = self.onward.inverse(at, &z.slice(1, size..z.shape()[1]));
        Var::concat(&[&first, &rest], 3)
    }

    fn begin(&self, params: &mut Params<T>, classes: Option<&Arc<[u32]>>, x: &Var<T>) {
        self.onward.begin(params, classes, &self.rest(x));
    }
}
