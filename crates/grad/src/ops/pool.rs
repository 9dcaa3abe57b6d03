//! Pooling: the mean of each window and its adjoint; the largest number of each window, the
//! placement of numbers where those were found, and its adjoint. All but the largest number are
//! linear, and each one's derivative is its adjoint.

use super::Entry;
use super::sample::{distinct, sample, uniform};
use crate::{Element, Op, Saves, Shape, Tensor, Var, Vjp};
use kernels::conv::Padding;
use kernels::reduce::{self, Pool2d};
use std::cell::OnceCell;

/// Windows that overlap, reach over the edge and skip a column.
fn uneven() -> Pool2d {
    let padding = Padding {
        top: 1,
        bottom: 0,
        left: 0,
        right: 1,
    };
    Pool2d::new([2, 4, 5, 2], [3, 2])
        .with_stride([2, 3])
        .with_padding(padding)
}

fn halving() -> Pool2d {
    Pool2d::new([1, 4, 4, 3], [2, 2])
}

pub(super) const AVERAGE_POOL: Entry = Entry {
    name: "average_pool",
    formula: "the mean of each window, NHWC; padding counts as zeros",
    samples: || {
        vec![
            sample!("halving", [uniform(x_shape(&halving()), -1.0, 1.0)], |x| {
                x[0].average_pool(halving()).square()
            }),
            sample!("uneven", [uniform(x_shape(&uneven()), -1.0, 1.0)], |x| x[0]
                .average_pool(uneven())
                .square()),
        ]
    },
};

pub(super) const AVERAGE_POOL_GRADIENT: Entry = Entry {
    name: "average_pool_gradient",
    formula: "each number in equal parts to the pixels of its window; the adjoint of average_pool",
    samples: || {
        vec![sample!(
            "uneven",
            [uniform(y_shape(&uneven()), -1.0, 1.0)],
            |x| x[0].average_pool_gradient(uneven()).square()
        )]
    },
};

pub(super) const MAX_POOL: Entry = Entry {
    name: "max_pool",
    formula: "the largest number of each window, NHWC; the gradient goes to the first of the largest",
    samples: || {
        vec![
            sample!("halving", [distinct(x_shape(&halving()), 0.05)], |x| x[0]
                .max_pool(halving())
                .square()),
            sample!("uneven", [distinct(x_shape(&uneven()), 0.05)], |x| x[0]
                .max_pool(uneven())
                .square()),
        ]
    },
};

pub(super) const PLACE_TAPS: Entry = Entry {
    name: "place_taps",
    formula: "each number where its window was largest; the gradient of max_pool",
    samples: || {
        vec![sample!(
            "uneven",
            [uniform(y_shape(&uneven()), -1.0, 1.0)],
            |x| x[0].place_taps(taps(&uneven()), uneven()).square()
        )]
    },
};

pub(super) const PICK_TAPS: Entry = Entry {
    name: "pick_taps",
    formula: "the number where another image's window was largest; the adjoint of place_taps",
    samples: || {
        vec![sample!(
            "uneven",
            [uniform(x_shape(&uneven()), -1.0, 1.0)],
            |x| x[0].pick_taps(taps(&uneven()), uneven()).square()
        )]
    },
};

/// Taps of some image.
fn taps<T: Element>(g: &Pool2d) -> Tensor<T> {
    let x = distinct(x_shape(g), 0.05).cast::<T>();
    let mut y = vec![T::ZERO; g.y_len()];
    Tensor::build(y_shape(g), |taps| {
        reduce::max_pool(g, x.data(), &mut y, taps)
    })
}

fn x_shape(g: &Pool2d) -> Shape {
    Shape::from([g.batch, g.in_height, g.in_width, g.channels])
}

fn y_shape(g: &Pool2d) -> Shape {
    Shape::from([g.batch, g.out_height(), g.out_width(), g.channels])
}

#[track_caller]
fn assert_shape<T: Element>(op: &str, x: &Tensor<T>, expected: Shape) {
    assert!(
        *x.shape() == expected,
        "{op}: expected shape {expected}, found {}",
        x.shape()
    );
}

struct AveragePool(Pool2d);

impl<T: Element> Op<T> for AveragePool {
    fn name(&self) -> &'static str {
        "average_pool"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        assert_shape("average_pool", x[0], x_shape(&self.0));
        Tensor::build(y_shape(&self.0), |y| {
            reduce::average_pool(&self.0, x[0].data(), y)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.average_pool_gradient(self.0));
    }
}

struct AveragePoolGradient(Pool2d);

impl<T: Element> Op<T> for AveragePoolGradient {
    fn name(&self) -> &'static str {
        "average_pool_gradient"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        assert_shape("average_pool_gradient", x[0], y_shape(&self.0));
        Tensor::build(x_shape(&self.0), |gx| {
            reduce::average_pool_gradient(&self.0, x[0].data(), gx)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, h: Var<T>) {
        at.give(0, || h.average_pool(self.0));
    }
}

struct MaxPool<T: Element> {
    geometry: Pool2d,
    /// Where the largest numbers were, if a backward pass may ask.
    taps: Option<OnceCell<Tensor<T>>>,
}

impl<T: Element> Op<T> for MaxPool<T> {
    fn name(&self) -> &'static str {
        "max_pool"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let g = &self.geometry;
        assert_shape("max_pool", x[0], x_shape(g));
        Tensor::build(y_shape(g), |y| match &self.taps {
            None => reduce::max_pool(g, x[0].data(), y, &mut []),
            Some(taps) => {
                let _ = taps.set(Tensor::build(y_shape(g), |taps| {
                    reduce::max_pool(g, x[0].data(), y, taps)
                }));
            }
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || {
            let taps = self.taps.as_ref().and_then(OnceCell::get);
            let taps = taps.expect("set by the forward pass of a recorded operation");
            g.place_taps(taps.clone(), self.geometry)
        });
    }
}

struct PlaceTaps<T: Element> {
    geometry: Pool2d,
    taps: Tensor<T>,
}

impl<T: Element> Op<T> for PlaceTaps<T> {
    fn name(&self) -> &'static str {
        "place_taps"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        assert_shape("place_taps", x[0], y_shape(&self.geometry));
        Tensor::build(x_shape(&self.geometry), |gx| {
            reduce::place_taps(&self.geometry, x[0].data(), self.taps.data(), gx)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, h: Var<T>) {
        at.give(0, || h.pick_taps(self.taps.clone(), self.geometry));
    }
}

struct PickTaps<T: Element> {
    geometry: Pool2d,
    taps: Tensor<T>,
}

impl<T: Element> Op<T> for PickTaps<T> {
    fn name(&self) -> &'static str {
        "pick_taps"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        assert_shape("pick_taps", x[0], x_shape(&self.geometry));
        Tensor::build(y_shape(&self.geometry), |y| {
            reduce::pick_taps(&self.geometry, x[0].data(), self.taps.data(), y)
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.place_taps(self.taps.clone(), self.geometry));
    }
}

impl<T: Element> Var<T> {
    /// The mean of each window of an image; padding counts as zeros, so all windows divide by the
    /// size of the kernel.
    ///
    /// Shapes: self `[batch, in_height, in_width, channels]`, the result `[batch, out_height,
    /// out_width, channels]`. The mean over whole images is `mean_axes(&[1, 2])`.
    ///
    /// # Panics
    /// If this has not the shape that `geometry` says.
    #[track_caller]
    pub fn average_pool(&self, geometry: Pool2d) -> Var<T> {
        Var::apply(AveragePool(geometry), &[self])
    }

    /// The largest number of each window of an image; NaN if one is. What lies beyond the edge is
    /// not looked at. The gradient goes to the first of the largest.
    ///
    /// Shapes: as [`average_pool`](Self::average_pool).
    ///
    /// # Panics
    /// If this has not the shape that `geometry` says.
    #[track_caller]
    pub fn max_pool(&self, geometry: Pool2d) -> Var<T> {
        let taps = self.is_recorded().then(OnceCell::new);
        Var::apply(MaxPool { geometry, taps }, &[self])
    }

    /// From the output's shape to the input's: the adjoint of [`average_pool`](Self::average_pool).
    ///
    /// # Panics
    /// If this has not the output's shape.
    #[track_caller]
    pub fn average_pool_gradient(&self, geometry: Pool2d) -> Var<T> {
        Var::apply(AveragePoolGradient(geometry), &[self])
    }

    #[track_caller]
    fn place_taps(&self, taps: Tensor<T>, geometry: Pool2d) -> Var<T> {
        Var::apply(PlaceTaps { geometry, taps }, &[self])
    }

    #[track_caller]
    fn pick_taps(&self, taps: Tensor<T>, geometry: Pool2d) -> Var<T> {
        Var::apply(PickTaps { geometry, taps }, &[self])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;

    #[test]
    fn the_gradient_goes_to_the_first_of_the_largest() {
        let tape = Tape::new();
        let x = tape.var(Tensor::new([1, 2, 2, 1], &[3.0f32, 1.0, 3.0, 2.0]));
        let y = x.max_pool(Pool2d::new([1, 2, 2, 1], [2, 2]));
        assert_eq!(y.value().data(), [3.0]);
        assert_eq!(tape.gradients(&y, &[&x])[0].data(), [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "max_pool: expected shape [1, 4, 4, 3], found [1, 4, 4, 1]")]
    fn shapes_are_compared() {
        Var::constant(Tensor::<f32>::zeros([1, 4, 4, 1])).max_pool(halving());
    }
}
