//! The three kernels as plain loops over rows of channels.

use super::Conv2d;
use crate::gemm::{Activation, Epilogue};
use std::ops::{Add, Mul};

/// The arithmetic these loops need.
pub trait Direct: Copy + PartialOrd + Default + Add<Output = Self> + Mul<Output = Self> {
    /// The number as this type.
    fn narrow(x: f32) -> Self;
}
impl Direct for f32 {
    fn narrow(x: f32) -> f32 {
        x
    }
}
impl Direct for f64 {
    fn narrow(x: f32) -> f64 {
        x.into()
    }
}

/// Calls `f(x pixel, tap, y pixel)` for every pair of pixels that a tap joins.
fn pairs(g: &Conv2d, mut f: impl FnMut(usize, usize, usize)) {
    let (height, width) = (g.out_height(), g.out_width());
    let p = g.padding;
    for n in 0..g.batch {
        for i in 0..height {
            for (r, c) in g.taps.iter() {
                let [sh, sw] = g.stride;
                let [dh, dw] = g.dilation;
                let Some(row) = Conv2d::source(i, r, sh, dh, p.top, g.in_height) else {
                    continue;
                };
                for j in 0..width {
                    if let Some(col) = Conv2d::source(j, c, sw, dw, p.left, g.in_width) {
                        f(
                            (n * g.in_height + row) * g.in_width + col,
                            r * g.kernel[1] + c,
                            (n * height + i) * width + j,
                        );
                    }
                }
            }
        }
    }
}

pub(super) fn forward<T: Direct>(g: &Conv2d, x: &[T], w: &[T], y: &mut [T], epilogue: Epilogue<T>) {
    let (ci, co) = (g.in_channels, g.out_channels);
    y.fill(T::default());
    pairs(g, |i, t, j| {
        let y = &mut y[j * co..][..co];
        for (k, &x) in x[i * ci..][..ci].iter().enumerate() {
            for (y, &w) in y.iter_mut().zip(&w[(t * ci + k) * co..][..co]) {
                *y = *y + x * w;
            }
        }
    });
    for row in y.chunks_exact_mut(co.max(1)) {
        for (o, y) in row.iter_mut().enumerate() {
            if let Some(bias) = epilogue.bias {
                *y = *y + bias[o];
            }
            let negative = *y < T::default();
            match epilogue.activation {
                Activation::Relu if negative => *y = T::default(),
                Activation::LeakyRelu(slope) if negative => *y = *y * T::narrow(slope),
                _ => {}
            }
        }
    }
}

pub(super) fn input_gradient<T: Direct>(g: &Conv2d, gy: &[T], w: &[T], gx: &mut [T]) {
    let (ci, co) = (g.in_channels, g.out_channels);
    gx.fill(T::default());
    pairs(g, |i, t, j| {
        let gy = &gy[j * co..][..co];
        for (k, gx) in gx[i * ci..][..ci].iter_mut().enumerate() {
            let w = &w[(t * ci + k) * co..][..co];
            *gx = gy.iter().zip(w).fold(*gx, |sum, (&gy, &w)| sum + gy * w);
        }
    });
}

pub(super) fn weight_gradient<T: Direct>(g: &Conv2d, x: &[T], gy: &[T], gw: &mut [T]) {
    let (ci, co) = (g.in_channels, g.out_channels);
    gw.fill(T::default());
    pairs(g, |i, t, j| {
        let gy = &gy[j * co..][..co];
        for (k, &x) in x[i * ci..][..ci].iter().enumerate() {
            for (gw, &gy) in gw[(t * ci + k) * co..][..co].iter_mut().zip(gy) {
                *gw = *gw + x * gy;
            }
        }
    });
}
