//! Pooling layers; they have no parameters.

use grad::kernels::conv::Padding;
use grad::kernels::reduce::Pool2d;
use grad::{Element, Shape, Var};

/// What both pooling layers are set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Windows {
    /// With the size of the image still open.
    geometry: Pool2d,
}

impl Windows {
    #[track_caller]
    fn new(kernel: [usize; 2]) -> Windows {
        Windows {
            geometry: Pool2d::new([0, 0, 0, 0], kernel),
        }
    }

    #[track_caller]
    fn on(&self, layer: &str, x: &Shape) -> Pool2d {
        let [batch, in_height, in_width, channels] = x[..] else {
            panic!("{layer}: expected x of shape [B, H, W, C], found {x}");
        };
        Pool2d {
            batch,
            in_height,
            in_width,
            channels,
            ..self.geometry
        }
    }
}

/// A pooling layer: its documentation, its name, what it is called in errors, and the operation.
macro_rules! pooling {
    ($(#[$doc:meta])* $Layer:ident, $name:literal, $operation:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $Layer(Windows);

        impl $Layer {
            /// Windows of this many rows and columns, side by side: the stride is the kernel.
            ///
            /// # Panics
            /// If one is 0.
            #[track_caller]
            pub fn new(kernel: [usize; 2]) -> $Layer {
                $Layer(Windows::new(kernel))
            }

            /// The same layer with this stride, in rows and columns.
            ///
            /// # Panics
            /// If one is 0.
            #[track_caller]
            pub fn stride(self, stride: [usize; 2]) -> $Layer {
                let geometry = self.0.geometry.with_stride(stride);
                $Layer(Windows { geometry })
            }

            /// The same layer with windows that reach so far beyond the image.
            ///
            /// # Panics
            /// If a side's is not less than the kernel.
            #[track_caller]
            pub fn padding(self, padding: Padding) -> $Layer {
                let geometry = self.0.geometry.with_padding(padding);
                $Layer(Windows { geometry })
            }

            /// x: `[B, H, W, C]` -> `[B, H', W', C]`, where H' = 1 + (H + padding - kernel) /
            /// stride, rounded down.
            ///
            /// # Panics
            /// If `x` has not this shape.
            #[track_caller]
            pub fn forward<T: Element>(&self, x: &Var<T>) -> Var<T> {
                x.$operation(self.0.on($name, x.shape()))
            }
        }
    };
}

pooling! {
    /// The largest number of each window, channel by channel. Padding is not looked at.
    MaxPool, "max_pool", max_pool
}

pooling! {
    /// The mean of each window, channel by channel. Padding counts as zeros, as PyTorch's
    /// `AvgPool2d` has it: every window divides by the size of the kernel.
    AveragePool, "average_pool", average_pool
}

/// The mean of each channel over the whole image, `[B, H, W, C]` -> `[B, C]`. Lin, Chen and Yan
/// 2013, arXiv:1312.4400, section 3.2.
///
/// # Panics
/// If `x` has not this shape, or an image has no pixel.
#[track_caller]
pub fn global_average_pool<T: Element>(x: &Var<T>) -> Var<T> {
    let shape = x.shape();
    assert!(
        shape.rank() == 4 && shape[1] * shape[2] > 0,
        "global_average_pool: expected x of shape [B, H, W, C] with pixels, found {shape}"
    );
    x.mean_axes(&[1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use grad::check::{Order, gradients};
    use grad::{Tape, Tensor};

    fn image() -> Tensor<f64> {
        Tensor::from_fn([1, 4, 4, 1], |i| ((i * 7) % 16) as f64)
    }

    #[test]
    fn values_by_hand() {
        // 0 7 14 5 / 12 3 10 1 / 8 15 6 13 / 4 11 2 9
        let x = Var::constant(image());
        let most = MaxPool::new([2, 2]).forward(&x);
        assert_eq!(most.value().data(), [12.0, 14.0, 15.0, 13.0]);
        let mean = AveragePool::new([2, 2]).forward(&x);
        assert_eq!(mean.value().data(), [5.5, 7.5, 9.5, 7.5]);
        let corner = Padding {
            top: 1,
            left: 1,
            ..Padding::NONE
        };
        let most = MaxPool::new([3, 3]).stride([2, 2]).padding(corner);
        assert_eq!(most.forward(&x).value().data(), [12.0, 14.0, 15.0, 15.0]);
        let mean = AveragePool::new([2, 2]).padding(Padding::uniform(1));
        let expected = [0.0, 5.25, 1.25, 5.0, 8.5, 3.5, 1.0, 3.25, 2.25];
        assert_eq!(mean.forward(&x).value().data(), expected);
        let whole = global_average_pool(&x);
        assert_eq!(
            (whole.shape()[..].to_vec(), whole.value().item()),
            (vec![1, 1], 7.5)
        );
    }

    #[test]
    fn gradients_of_a_small_network_to_second_order() {
        let f = |x: &[Var<f64>]| {
            let h = MaxPool::new([2, 2]).stride([1, 2]).forward(&x[0]).square();
            let h = AveragePool::new([2, 2]).stride([1, 1]).forward(&h);
            global_average_pool(&h.tanh())
        };
        let x = image().map(|x| x / 16.0);
        gradients("pooling", &[x], f, Order::Second).unwrap();
    }

    #[test]
    fn evaluation_is_training_without_a_tape() {
        let (tape, layer) = (Tape::new(), MaxPool::new([3, 2]).stride([1, 1]));
        let recorded = layer.forward(&tape.var(image()));
        assert_eq!(
            recorded.value(),
            layer.forward(&Var::constant(image())).value()
        );
    }

    #[test]
    #[should_panic(expected = "max_pool: expected x of shape [B, H, W, C], found [2, 3]")]
    fn the_shape_is_named() {
        MaxPool::new([2, 2]).forward(&Var::constant(Tensor::<f32>::zeros([2, 3])));
    }
}
