//! Layer normalisation over rows.

use super::columns::{Columns, by_slabs, sum_columns_body};
use super::line;
use super::rows::{Out, RowKernel, check, count, rows};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::simd::{Isa, Vector, dispatch};

/// y = (x - mean) / sqrt(variance + epsilon) * gain + bias with the mean and the (biased) variance
/// of each row (Ba, Kiros and Hinton 2016, arXiv:1607.06450).
///
/// Shapes: x and y `[rows, cols]`; gain and bias `[cols]`; mean and inverse_std =
/// 1 / sqrt(variance + epsilon) `[rows]`, written for [`layer_norm_gradient`].
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn layer_norm<T: Element>(
    x: &[T],
    gain: &[T],
    bias: &[T],
    epsilon: T,
    y: &mut [T],
    mean: &mut [T],
    inverse_std: &mut [T],
) {
    T::layer_norm(x, gain, bias, epsilon, y, mean, inverse_std)
}

#[track_caller]
pub(crate) fn layer_norm_body<T: Element>(
    x: &[T],
    gain: &[T],
    bias: &[T],
    epsilon: T,
    y: &mut [T],
    mean: &mut [T],
    inverse_std: &mut [T],
) {
    #[derive(Clone, Copy)]
    struct Forward<'a, T> {
        x: &'a [T],
        gain: &'a [T],
        bias: &'a [T],
        epsilon: T,
    }
    impl<T: Element> RowKernel<T, 3> for Forward<'_, T> {
        #[inline(always)]
        fn row<V: Vector<Element = T>>(self, row: usize, [y, mean, inverse_std]: [&mut [T]; 3]) {
            let cols = y.len();
            let x = &self.x[row * cols..][..cols];
            let count = T::from_f64(cols as f64);
            mean[0] = line::sum::<V>(x) / count;
            let m = V::splat(mean[0]);
            let variance = line::squares::<V>(x, m) / count;
            let s = V::one() / V::splat(variance + self.epsilon).sqrt();
            inverse_std[0] = s.reduce_max();
            let mut i = 0;
            while i < cols {
                let normal = (V::load_partial(&x[i..]) - m) * s;
                normal
                    .mul_add(
                        V::load_partial(&self.gain[i..]),
                        V::load_partial(&self.bias[i..]),
                    )
                    .store_partial(&mut y[i..]);
                i += V::LANES;
            }
        }
    }
    let cols = gain.len();
    let n = count("layer_norm", x.len(), cols);
    check("layer_norm", "bias", bias.len(), cols);
    check("layer_norm", "y", y.len(), x.len());
    check("layer_norm", "mean", mean.len(), n);
    check("layer_norm", "inverse_std", inverse_std.len(), n);
    let out = [
        Out {
            data: y,
            width: cols,
        },
        Out {
            data: mean,
            width: 1,
        },
        Out {
            data: inverse_std,
            width: 1,
        },
    ];
    rows(
        Forward {
            x,
            gain,
            bias,
            epsilon,
        },
        n,
        2 * cols,
        out,
    );
}

/// The gradients of [`layer_norm`]: with n = (x - mean) inverse_std and h = gy gain,
/// gx = inverse_std (h - mean(h) - n mean(h n)), g_gain = the sum over rows of gy n,
/// g_bias = the sum over rows of gy.
///
/// Shapes as there; gx like x, g_gain and g_bias like gain.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn layer_norm_gradient<T: Element>(
    x: &[T],
    gain: &[T],
    mean: &[T],
    inverse_std: &[T],
    gy: &[T],
    gx: &mut [T],
    g_gain: &mut [T],
    g_bias: &mut [T],
) {
    T::layer_norm_gradient(x, gain, mean, inverse_std, gy, gx, g_gain, g_bias)
}

#[track_caller]
pub(crate) fn layer_norm_gradient_body<T: Element>(
    x: &[T],
    gain: &[T],
    mean: &[T],
    inverse_std: &[T],
    gy: &[T],
    gx: &mut [T],
    g_gain: &mut [T],
    g_bias: &mut [T],
) {
    #[derive(Clone, Copy)]
    struct Gradient<'a, T> {
        x: &'a [T],
        gain: &'a [T],
        mean: &'a [T],
        inverse_std: &'a [T],
        gy: &'a [T],
    }
    impl<T: Element> RowKernel<T, 2> for Gradient<'_, T> {
        #[inline(always)]
        fn row<V: Vector<Element = T>>(self, row: usize, [gx, scaled]: [&mut [T]; 2]) {
            let cols = gx.len();
            let x = &self.x[row * cols..][..cols];
            let gy = &self.gy[row * cols..][..cols];
            let (m, s) = (V::splat(self.mean[row]), V::splat(self.inverse_std[row]));
            let (mut sum_h, mut sum_hn) = (V::zero(), V::zero());
            let mut i = 0;
            while i < cols {
                let normal = (V::load_partial(&x[i..]) - m) * s;
                let g = V::load_partial(&gy[i..]);
                (g * normal).store_partial(&mut scaled[i..]);
                let h = g * V::load_partial(&self.gain[i..]);
                sum_h = sum_h + h;
                sum_hn = h.mul_add(normal, sum_hn);
                i += V::LANES;
            }
            let count = T::from_f64(cols as f64);
            let mean_h = V::splat(sum_h.reduce_add() / count);
            let mean_hn = V::splat(sum_hn.reduce_add() / count);
            let mut i = 0;
            while i < cols {
                let normal = (V::load_partial(&x[i..]) - m) * s;
                let h = V::load_partial(&gy[i..]) * V::load_partial(&self.gain[i..]);
                (s * normal.neg_mul_add(mean_hn, h - mean_h)).store_partial(&mut gx[i..]);
                i += V::LANES;
            }
        }
    }
    let cols = gain.len();
    let n = count("layer_norm_gradient", x.len(), cols);
    check("layer_norm_gradient", "mean", mean.len(), n);
    check("layer_norm_gradient", "inverse_std", inverse_std.len(), n);
    check("layer_norm_gradient", "gy", gy.len(), x.len());
    check("layer_norm_gradient", "gx", gx.len(), x.len());
    check("layer_norm_gradient", "g_gain", g_gain.len(), cols);
    check("layer_norm_gradient", "g_bias", g_bias.len(), cols);
    // A slab's gy n is summed while it is in the cache.
    let isa = Isa::current();
    let partial = by_slabs(n, cols, 2 * cols, [gx], true, |slab, [gx], sums| {
        let mut scaled = Buffer::recycled(gx.len());
        let range = slab.start * cols..slab.end * cols;
        let kernel = Gradient {
            x: &x[range.clone()],
            gain,
            mean: &mean[slab.clone()],
            inverse_std: &inverse_std[slab.clone()],
            gy: &gy[range.clone()],
        };
        let out = [gx, &mut scaled[..]].map(|data| Out { data, width: cols });
        rows(kernel, slab.len(), 4 * cols, out);
        let (of_gain, of_bias) = sums.split_at_mut(cols);
        let columns = |x, y| dispatch(isa, Columns { x, y });
        columns(&scaled, of_gain);
        columns(&gy[range], of_bias);
    });
    let mut sums = Buffer::recycled(2 * cols);
    sum_columns_body(&partial, &mut sums);
    g_gain.copy_from_slice(&sums[..cols]);
    g_bias.copy_from_slice(&sums[cols..]);
}
