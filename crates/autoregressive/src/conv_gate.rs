//! The gate of Gated PixelCNN. Van den Oord et al. 2016, arXiv:1606.05328, equation 2.

use grad::kernels::buffer::Buffer;
use grad::kernels::reduce;
use grad::{Element, Op, Saves, Tensor, Var, Vjp};
use std::cell::OnceCell;

/// tanh(a) sigmoid(b), where x = (a, b) on the last axis: [.., 2 C] -> [.., C].
///
/// # Panics
/// If the last extent is odd.
#[track_caller]
pub(crate) fn gate<T: Element>(x: &Var<T>) -> Var<T> {
    let halves = OnceCell::new();
    Var::apply(Gate { halves }, &[x])
}

/// The same on slices, rows of 2 C numbers to rows of C.
pub(crate) fn gate_rows<T: Element>(x: &[T], channels: usize, y: &mut [T]) {
    reduce::gate(x, channels, y, &mut Buffer::recycled(x.len()));
}

struct Gate<T: Element> {
    /// tanh(a) and sigmoid(b), like x: kept instead of x.
    halves: OnceCell<Buffer<T>>,
}

impl<T: Element> Op<T> for Gate<T> {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn saves(&self) -> Saves {
        Saves::NOTHING
    }

    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let shape = x[0].shape();
        let (axis, twice) = (shape.rank() - 1, shape.last_extent());
        assert!(
            twice.is_multiple_of(2),
            "gate: expected two halves on the last axis of {shape}"
        );
        Tensor::build(shape.with(axis, twice / 2), |y| {
            let mut halves = Buffer::recycled(x[0].len());
            reduce::gate(x[0].data(), twice / 2, y, &mut halves);
            let _ = self.halves.set(halves);
        })
    }

    fn vjp(&self, at: &Vjp<'_, T>, gy: Var<T>) {
        at.give(0, || {
            let halves = self.halves.get().expect("set by the forward pass");
            let channels = gy.shape().last_extent();
            Var::constant(Tensor::build(at.input_shape(0), |gx| {
                reduce::gate_gradient(halves, gy.value().data(), channels, gx)
            }))
        });
    }

    fn first_order_only(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grad::check::{Order, gradients};

    #[test]
    fn it_is_the_product_and_has_its_derivative() {
        let x = Tensor::from_fn([2, 3, 6], |i| 0.37 * i as f64 - 4.0);
        let y = gate(&Var::constant(x.clone()));
        for (x, y) in x.data().chunks(6).zip(y.value().data().chunks(3)) {
            for c in 0..3 {
                let expected = x[c].tanh() / (1.0 + (-x[3 + c]).exp());
                assert!((y[c] - expected).abs() < 1e-12, "{} {expected}", y[c]);
            }
        }
        gradients("gate", &[x], |x| gate(&x[0]), Order::First).unwrap();
    }
}
