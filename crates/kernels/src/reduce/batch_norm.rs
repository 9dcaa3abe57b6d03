//! Batch normalisation: every column of a matrix by the statistics of its rows.

use super::columns::{ColumnSums, at, by_slabs, slab_rows, sum_columns_body};
use super::rows::{Out, RowKernel, check, count, rows};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::simd::{Isa, Kernel, Vector, dispatch};

/// y = (x - mean) / sqrt(variance + epsilon) * gain + bias with the mean and the (biased) variance
/// of each column (Ioffe and Szegedy 2015, arXiv:1502.03167). NHWC images are rows of channels.
///
/// Shapes: x and y `[rows, cols]`; gain, bias, mean and variance `[cols]`. The last two are
/// written, for [`batch_norm_gradient`] and for running statistics.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn batch_norm<T: Element>(
    x: &[T],
    gain: &[T],
    bias: &[T],
    epsilon: T,
    y: &mut [T],
    mean: &mut [T],
    variance: &mut [T],
) {
    T::batch_norm(x, gain, bias, epsilon, y, mean, variance)
}

#[track_caller]
pub(crate) fn batch_norm_body<T: Element>(
    x: &[T],
    gain: &[T],
    bias: &[T],
    epsilon: T,
    y: &mut [T],
    mean: &mut [T],
    variance: &mut [T],
) {
    let cols = gain.len();
    let n = count("batch_norm", x.len(), cols);
    check("batch_norm", "bias", bias.len(), cols);
    check("batch_norm", "y", y.len(), x.len());
    check("batch_norm", "mean", mean.len(), cols);
    check("batch_norm", "variance", variance.len(), cols);
    moments(x, n, mean, variance);
    let mut scale = Buffer::recycled(cols);
    scales(gain, variance, epsilon, &mut scale);
    let kernel = Normalise {
        x,
        mean,
        scale: &scale,
        bias,
    };
    let out = [Out {
        data: y,
        width: cols,
    }];
    rows(kernel, n, cols, out);
}

/// The gradients of [`batch_norm`]: with n = (x - mean) / sqrt(variance + epsilon) and means over
/// the rows, gx = gain / sqrt(variance + epsilon) (gy - mean(gy) - n mean(gy n)), g_gain = the sum
/// over rows of gy n, g_bias = the sum over rows of gy.
///
/// Shapes as there; gx like x, g_gain and g_bias like gain.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn batch_norm_gradient<T: Element>(
    x: &[T],
    gain: &[T],
    mean: &[T],
    variance: &[T],
    epsilon: T,
    gy: &[T],
    gx: &mut [T],
    g_gain: &mut [T],
    g_bias: &mut [T],
) {
    T::batch_norm_gradient(x, gain, mean, variance, epsilon, gy, gx, g_gain, g_bias)
}

#[track_caller]
pub(crate) fn batch_norm_gradient_body<T: Element>(
    x: &[T],
    gain: &[T],
    mean: &[T],
    variance: &[T],
    epsilon: T,
    gy: &[T],
    gx: &mut [T],
    g_gain: &mut [T],
    g_bias: &mut [T],
) {
    let cols = gain.len();
    let n = count("batch_norm_gradient", x.len(), cols);
    check("batch_norm_gradient", "mean", mean.len(), cols);
    check("batch_norm_gradient", "variance", variance.len(), cols);
    check("batch_norm_gradient", "gy", gy.len(), x.len());
    check("batch_norm_gradient", "gx", gx.len(), x.len());
    check("batch_norm_gradient", "g_gain", g_gain.len(), cols);
    check("batch_norm_gradient", "g_bias", g_bias.len(), cols);

    // The sums over rows of gy and of gy (x - mean), one after the other.
    let isa = Isa::current();
    let partial = by_slabs(n, cols, 2 * cols, [], true, |slab, [], sums| {
        let slab = slab.start * cols..slab.end * cols;
        let kernel = GradientSums {
            x: &x[slab.clone()],
            gy: &gy[slab],
            mean,
            sums,
        };
        dispatch(isa, kernel)
    });
    let mut sums = Buffer::recycled(2 * cols);
    sum_columns_body(&partial, &mut sums);

    // gx = scale gy + slope (x - mean) + shift.
    let mut scale = Buffer::recycled(cols);
    scales(gain, variance, epsilon, &mut scale);
    let (mut slope, mut shift) = (Buffer::recycled(cols), Buffer::recycled(cols));
    for c in 0..cols {
        let (sum, product) = (sums[c].to_f64(), sums[cols + c].to_f64());
        let inverse = 1.0 / (variance[c].to_f64() + epsilon.to_f64()).sqrt();
        let share = scale[c].to_f64() / n as f64;
        g_bias[c] = sums[c];
        g_gain[c] = T::from_f64(product * inverse);
        slope[c] = T::from_f64(-share * product * inverse * inverse);
        shift[c] = T::from_f64(-share * sum);
    }
    let kernel = Gradient {
        x,
        gy,
        mean,
        scale: &scale,
        slope: &slope,
        shift: &shift,
    };
    let out = [Out {
        data: gx,
        width: cols,
    }];
    rows(kernel, n, 2 * cols, out);
}

/// gain / sqrt(variance + epsilon).
fn scales<T: Element>(gain: &[T], variance: &[T], epsilon: T, scale: &mut [T]) {
    for ((scale, gain), variance) in scale.iter_mut().zip(gain).zip(variance) {
        let deviation = (variance.to_f64() + epsilon.to_f64()).sqrt();
        *scale = T::from_f64(gain.to_f64() / deviation);
    }
}

/// The mean and the biased variance of each column: for each slab while it is in the cache, then
/// of all (Chan, Golub and LeVeque 1979).
fn moments<T: Element>(x: &[T], n: usize, mean: &mut [T], variance: &mut [T]) {
    let cols = mean.len();
    let isa = Isa::current();
    let partial = by_slabs(n, cols, 2 * cols, [], true, |slab, [], moments| {
        let x = &x[slab.start * cols..slab.end * cols];
        dispatch(isa, Moments { x, moments })
    });
    let size = |slab: usize| (n - slab * slab_rows(cols)).min(slab_rows(cols)) as f64;
    let of_slabs = || partial.chunks_exact((2 * cols).max(1)).enumerate();
    for c in 0..cols {
        let sum: f64 = (of_slabs())
            .map(|(slab, of)| size(slab) * of[c].to_f64())
            .sum();
        let centre = sum / n as f64;
        let squares: f64 = (of_slabs())
            .map(|(slab, of)| {
                let apart = of[c].to_f64() - centre;
                of[cols + c].to_f64() + size(slab) * apart * apart
            })
            .sum();
        mean[c] = T::from_f64(centre);
        variance[c] = T::from_f64(squares / n as f64);
    }
}

/// For each column of x the mean, and behind all means the sums of (x - mean)^2.
struct Moments<'a, T> {
    x: &'a [T],
    moments: &'a mut [T],
}

impl<T: Element> ColumnSums<T> for Moments<'_, T> {
    fn cols(&self) -> usize {
        self.moments.len() / 2
    }

    #[inline(always)]
    fn block<V: Vector<Element = T>, const N: usize>(&mut self, c: usize) {
        let cols = self.cols();
        let one_over = V::splat(T::from_f64(1.0 / (self.x.len() / cols) as f64));
        let mut mean = [V::zero(); N];
        for row in self.x.chunks_exact(cols) {
            for (k, mean) in mean.iter_mut().enumerate() {
                *mean = *mean + at::<V, N>(row, c + k * V::LANES);
            }
        }
        for mean in &mut mean {
            *mean = *mean * one_over;
        }
        let mut squares = [V::zero(); N];
        for row in self.x.chunks_exact(cols) {
            for (k, squares) in squares.iter_mut().enumerate() {
                let d = at::<V, N>(row, c + k * V::LANES) - mean[k];
                *squares = d.mul_add(d, *squares);
            }
        }
        let (means, sums) = self.moments.split_at_mut(cols);
        for k in 0..N {
            mean[k].store_partial(&mut means[c + k * V::LANES..]);
            squares[k].store_partial(&mut sums[c + k * V::LANES..]);
        }
    }
}

impl<T: Element> Kernel<T> for Moments<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        self.all::<V>()
    }
}

/// For each column the sum of gy, and behind those the sums of gy (x - mean).
struct GradientSums<'a, T> {
    x: &'a [T],
    gy: &'a [T],
    mean: &'a [T],
    sums: &'a mut [T],
}

impl<T: Element> ColumnSums<T> for GradientSums<'_, T> {
    fn cols(&self) -> usize {
        self.mean.len()
    }

    #[inline(always)]
    fn block<V: Vector<Element = T>, const N: usize>(&mut self, c: usize) {
        let cols = self.cols();
        let mut mean = [V::zero(); N];
        for (k, mean) in mean.iter_mut().enumerate() {
            *mean = at::<V, N>(self.mean, c + k * V::LANES);
        }
        let mut sum = [V::zero(); N];
        let mut product = [V::zero(); N];
        for (x, gy) in self.x.chunks_exact(cols).zip(self.gy.chunks_exact(cols)) {
            for k in 0..N {
                let gy = at::<V, N>(gy, c + k * V::LANES);
                let d = at::<V, N>(x, c + k * V::LANES) - mean[k];
                sum[k] = sum[k] + gy;
                product[k] = gy.mul_add(d, product[k]);
            }
        }
        let (sums, products) = self.sums.split_at_mut(cols);
        for k in 0..N {
            sum[k].store_partial(&mut sums[c + k * V::LANES..]);
            product[k].store_partial(&mut products[c + k * V::LANES..]);
        }
    }
}

impl<T: Element> Kernel<T> for GradientSums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        self.all::<V>()
    }
}

/// y = (x - mean) scale + bias.
#[derive(Clone, Copy)]
struct Normalise<'a, T> {
    x: &'a [T],
    mean: &'a [T],
    scale: &'a [T],
    bias: &'a [T],
}

impl<T: Element> RowKernel<T, 1> for Normalise<'_, T> {
    #[inline(always)]
    fn row<V: Vector<Element = T>>(self, row: usize, [y]: [&mut [T]; 1]) {
        let x = &self.x[row * y.len()..][..y.len()];
        let mut i = 0;
        while i < y.len() {
            let d = V::load_partial(&x[i..]) - V::load_partial(&self.mean[i..]);
            let scale = V::load_partial(&self.scale[i..]);
            d.mul_add(scale, V::load_partial(&self.bias[i..]))
                .store_partial(&mut y[i..]);
            i += V::LANES;
        }
    }
}

/// gx = scale gy + slope (x - mean) + shift.
#[derive(Clone, Copy)]
struct Gradient<'a, T> {
    x: &'a [T],
    gy: &'a [T],
    mean: &'a [T],
    scale: &'a [T],
    slope: &'a [T],
    shift: &'a [T],
}

impl<T: Element> RowKernel<T, 1> for Gradient<'_, T> {
    #[inline(always)]
    fn row<V: Vector<Element = T>>(self, row: usize, [gx]: [&mut [T]; 1]) {
        let x = &self.x[row * gx.len()..][..gx.len()];
        let gy = &self.gy[row * gx.len()..][..gx.len()];
        let mut i = 0;
        while i < gx.len() {
            let d = V::load_partial(&x[i..]) - V::load_partial(&self.mean[i..]);
            let slope = V::load_partial(&self.slope[i..]);
            let inner = d.mul_add(slope, V::load_partial(&self.shift[i..]));
            let scale = V::load_partial(&self.scale[i..]);
            V::load_partial(&gy[i..])
                .mul_add(scale, inner)
                .store_partial(&mut gx[i..]);
            i += V::LANES;
        }
    }
}
