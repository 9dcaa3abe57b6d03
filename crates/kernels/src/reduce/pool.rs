//! Pooling: the largest number or the mean of each window of an image, channel by channel.
//!
//! Vectors run along channels. Each row of a result is written by one thread and each number once:
//! a gradient gathers from the windows that an input pixel lies in, in their order, so windows may
//! overlap.

use super::rows::{Out, RowKernel, check, rows};
use crate::conv::{Conv2d, Padding};
use crate::element::Element;
use crate::simd::Vector;
use std::ops::Range;

/// Windows over images: every size that pooling needs.
///
/// Window (i, j) of an image has taps (r, c), on the input pixels
/// (i stride\[0\] + r - top, j stride\[1\] + c - left). Shapes: x `[batch, in_height, in_width,
/// channels]`, y `[batch, out_height, out_width, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2d {
    /// Images.
    pub batch: usize,
    /// Rows of an input image.
    pub in_height: usize,
    /// Columns of an input image.
    pub in_width: usize,
    /// Channels of a pixel.
    pub channels: usize,
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Input rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Rows and columns that windows may reach beyond the image.
    pub padding: Padding,
}

impl Pool2d {
    /// Windows side by side (the stride is the kernel) over images `[batch, height, width,
    /// channels]`, without padding.
    ///
    /// # Panics
    /// If a kernel size is 0, or a tensor's length does not fit `usize`.
    #[track_caller]
    pub fn new(image: [usize; 4], kernel: [usize; 2]) -> Pool2d {
        let [batch, in_height, in_width, channels] = image;
        let g = Pool2d {
            batch,
            in_height,
            in_width,
            channels,
            kernel,
            stride: kernel,
            padding: Padding::NONE,
        };
        g.check();
        g
    }

    /// The same with this stride.
    ///
    /// # Panics
    /// If one is 0.
    #[track_caller]
    pub fn with_stride(mut self, stride: [usize; 2]) -> Pool2d {
        self.stride = stride;
        self.check();
        self
    }

    /// The same with this padding.
    ///
    /// # Panics
    /// If a side's is not less than the kernel: then a window could see no pixel at all.
    #[track_caller]
    pub fn with_padding(mut self, padding: Padding) -> Pool2d {
        self.padding = padding;
        self.check();
        self
    }

    /// Asserts what the constructors assert: the fields are public, so each kernel asks again.
    #[track_caller]
    pub fn check(&self) {
        let Padding {
            top,
            bottom,
            left,
            right,
        } = self.padding;
        let [kh, kw] = self.kernel;
        assert!(
            kh > 0 && kw > 0 && kh.saturating_mul(kw) <= Self::LARGEST,
            "pool: expected a kernel of 1 to {} taps, found {kh} x {kw}",
            Self::LARGEST
        );
        assert!(
            self.stride.iter().all(|&s| s > 0),
            "pool: stride {:?} does not move",
            self.stride
        );
        assert!(
            top.max(bottom) < kh && left.max(right) < kw,
            "pool: padding {:?} must be less than the kernel {kh} x {kw} on each side",
            self.padding
        );
        let fits = |height: usize, width: usize| {
            [self.batch, height, width, self.channels]
                .iter()
                .try_fold(8usize, |product, &n| product.checked_mul(n))
                .is_some()
        };
        assert!(
            fits(
                self.in_height.saturating_add(2 * kh),
                self.in_width.saturating_add(2 * kw)
            ),
            "pool: the sizes of {self:?} do not fit the address space"
        );
    }

    /// The number of taps that f32 can count.
    const LARGEST: usize = 1 << 24;

    /// Rows of an output image: (in_height + top + bottom - kernel\[0\]) / stride\[0\] + 1, rounded
    /// down; 0 where the kernel is larger than the padded image, or this has no pixel.
    pub fn out_height(&self) -> usize {
        let padding = self.padding.top + self.padding.bottom;
        let rows = Conv2d::out_size(self.in_height, padding, self.kernel[0], 1, self.stride[0]);
        if self.in_height == 0 { 0 } else { rows }
    }

    /// Columns of an output image, as [`out_height`](Self::out_height).
    pub fn out_width(&self) -> usize {
        let padding = self.padding.left + self.padding.right;
        let columns = Conv2d::out_size(self.in_width, padding, self.kernel[1], 1, self.stride[1]);
        if self.in_width == 0 { 0 } else { columns }
    }

    /// Elements of x.
    pub fn x_len(&self) -> usize {
        self.batch * self.in_height * self.in_width * self.channels
    }

    /// Elements of y.
    pub fn y_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.channels
    }

    /// Runs `kernel` for every row of pixels of results that are shaped like y.
    fn forward<T: Element, K: RowKernel<T, M>, const M: usize>(
        &self,
        kernel: K,
        out: [&mut [T]; M],
    ) {
        let width = self.out_width() * self.channels;
        self.each(kernel, self.batch * self.out_height(), width, out);
    }

    /// The same for one that is shaped like x.
    fn backward<T: Element, K: RowKernel<T, 1>>(&self, kernel: K, gx: &mut [T]) {
        let width = self.in_width * self.channels;
        self.each(kernel, self.batch * self.in_height, width, [gx]);
    }

    /// A result without elements is one that is not asked for.
    fn each<T: Element, K: RowKernel<T, M>, const M: usize>(
        &self,
        kernel: K,
        count: usize,
        width: usize,
        out: [&mut [T]; M],
    ) {
        let out = out.map(|data| Out {
            width: if data.is_empty() { 0 } else { width },
            data,
        });
        let work = width.saturating_mul(self.kernel[0] * self.kernel[1]);
        rows(kernel, count, work, out);
    }
}

/// The taps of window `i` that lie on the image, along one axis with `before` of padding and `n`
/// pixels.
#[inline(always)]
fn taps_on_image(i: usize, k: usize, stride: usize, before: usize, n: usize) -> Range<usize> {
    let start = i * stride;
    before.saturating_sub(start)..k.min((n + before).saturating_sub(start))
}

/// The windows that pixel `at` lies in, along one axis with `count` windows.
#[inline(always)]
fn windows_of(at: usize, k: usize, stride: usize, before: usize, count: usize) -> Range<usize> {
    let first = (at + before + 1).saturating_sub(k).div_ceil(stride);
    first..count.min((at + before) / stride + 1)
}

/// What a window makes of its pixels, some channels at a time.
trait Window<T: Element>: Copy + Send + Sync {
    /// The result before any pixel was seen; `first` is the first tap that lies on the image and
    /// `y` where the channels are in the output.
    fn begin<V: Vector<Element = T>>(self, first: usize, y: usize) -> [V; 2];
    /// With the pixel on tap `tap`.
    fn see<V: Vector<Element = T>>(self, so_far: [V; 2], tap: usize, x: V) -> [V; 2];
    /// When all were seen.
    fn end<V: Vector<Element = T>>(self, so_far: [V; 2]) -> [V; 2];
}

/// A row of windows: y, and what else [`Window`] gives for those that ask.
#[derive(Clone, Copy)]
struct Windows<'a, T, W> {
    g: Pool2d,
    x: &'a [T],
    window: W,
}

impl<T: Element, W: Window<T>> RowKernel<T, 2> for Windows<'_, T, W> {
    #[inline(always)]
    fn row<V: Vector<Element = T>>(self, row: usize, [y, second]: [&mut [T]; 2]) {
        let (Windows { g, x, window }, height) = (self, self.g.out_height());
        let ([kh, kw], [sh, sw]) = (g.kernel, g.stride);
        let (image, i) = (row / height, row % height);
        let rows = taps_on_image(i, kh, sh, g.padding.top, g.in_height);
        for j in 0..g.out_width() {
            let columns = taps_on_image(j, kw, sw, g.padding.left, g.in_width);
            let first = rows.start * kw + columns.start;
            let mut c = 0;
            while c < g.channels {
                let at = j * g.channels + c;
                let mut so_far = window.begin::<V>(first, row * y.len() + at);
                for r in rows.clone() {
                    let line = (image * g.in_height + i * sh + r - g.padding.top) * g.in_width;
                    for k in columns.clone() {
                        let pixel = line + j * sw + k - g.padding.left;
                        let x = V::load_partial(&x[pixel * g.channels + c..]);
                        so_far = window.see(so_far, r * kw + k, x);
                    }
                }
                let end = (j + 1) * g.channels;
                let [a, b] = window.end(so_far);
                a.store_partial(&mut y[at..end]);
                if !second.is_empty() {
                    b.store_partial(&mut second[at..end]);
                }
                c += V::LANES;
            }
        }
    }
}

/// A row of the input's gradient: the sum over the windows that see a pixel, each times `scale`; of
/// gy where `taps` names the pixel's tap, or of all if it is empty.
#[derive(Clone, Copy)]
struct Pixels<'a, T> {
    g: Pool2d,
    gy: &'a [T],
    taps: &'a [T],
    scale: f64,
}

impl<T: Element> RowKernel<T, 1> for Pixels<'_, T> {
    #[inline(always)]
    fn row<V: Vector<Element = T>>(self, row: usize, [gx]: [&mut [T]; 1]) {
        let Pixels { g, gy, taps, scale } = self;
        let (height, width) = (g.out_height(), g.out_width());
        let ([kh, kw], [sh, sw]) = (g.kernel, g.stride);
        let (image, a) = (row / g.in_height, row % g.in_height);
        let rows = windows_of(a, kh, sh, g.padding.top, height);
        for b in 0..g.in_width {
            let columns = windows_of(b, kw, sw, g.padding.left, width);
            let mut c = 0;
            while c < g.channels {
                let mut sum = V::zero();
                for i in rows.clone() {
                    let r = a + g.padding.top - i * sh;
                    for j in columns.clone() {
                        let at = ((image * height + i) * width + j) * g.channels + c;
                        let mut term = V::load_partial(&gy[at..]);
                        if !taps.is_empty() {
                            let tap = V::constant((r * kw + b + g.padding.left - j * sw) as f64);
                            let chosen = V::load_partial(&taps[at..]).eq(tap);
                            term = V::select(chosen, term, V::zero());
                        }
                        sum = sum + term;
                    }
                }
                let at = b * g.channels + c;
                (sum * V::constant(scale)).store_partial(&mut gx[at..(b + 1) * g.channels]);
                c += V::LANES;
            }
        }
    }
}

/// y = the largest number of each window, taps = the number r kw + c of the first tap (r, c) it is
/// on. A window with NaN gives NaN, and the tap of one; padding is not looked at.
///
/// Shapes: x, y as [`Pool2d`] says; taps like y, or empty if nobody asks.
///
/// # Panics
/// If a length does not fit.
#[track_caller]
#[inline]
pub fn max_pool<T: Element>(g: &Pool2d, x: &[T], y: &mut [T], taps: &mut [T]) {
    T::max_pool(g, x, y, taps)
}

#[track_caller]
pub(crate) fn max_pool_body<T: Element>(g: &Pool2d, x: &[T], y: &mut [T], taps: &mut [T]) {
    #[derive(Clone, Copy)]
    struct Max;
    impl<T: Element> Window<T> for Max {
        #[inline(always)]
        fn begin<V: Vector<Element = T>>(self, first: usize, _: usize) -> [V; 2] {
            [V::constant(f64::NEG_INFINITY), V::constant(first as f64)]
        }
        #[inline(always)]
        fn see<V: Vector<Element = T>>(self, [max, tap]: [V; 2], at: usize, x: V) -> [V; 2] {
            let at = V::constant(at as f64);
            let (larger, number) = (max.lt(x), x.eq(x));
            // No comparison with NaN holds: one that is there stays, a new one is taken.
            let max = V::select(number, V::select(larger, x, max), x);
            [max, V::select(number, V::select(larger, at, tap), at)]
        }
        #[inline(always)]
        fn end<V: Vector<Element = T>>(self, so_far: [V; 2]) -> [V; 2] {
            so_far
        }
    }
    check_lengths("max_pool", g, x.len(), y.len());
    if !taps.is_empty() {
        check("max_pool", "taps", taps.len(), y.len());
    }
    g.forward(
        Windows {
            g: *g,
            x,
            window: Max,
        },
        [y, taps],
    );
}

/// y = the number of x on the tap of each window that [`max_pool`] named.
///
/// Shapes: as [`max_pool`].
///
/// # Panics
/// If a length does not fit.
#[track_caller]
#[inline]
pub fn pick_taps<T: Element>(g: &Pool2d, x: &[T], taps: &[T], y: &mut [T]) {
    T::pick_taps(g, x, taps, y)
}

#[track_caller]
pub(crate) fn pick_taps_body<T: Element>(g: &Pool2d, x: &[T], taps: &[T], y: &mut [T]) {
    /// (the number, the tap it is on).
    #[derive(Clone, Copy)]
    struct Pick<'a, T>(&'a [T]);
    impl<T: Element> Window<T> for Pick<'_, T> {
        #[inline(always)]
        fn begin<V: Vector<Element = T>>(self, _: usize, y: usize) -> [V; 2] {
            [V::zero(), V::load_partial(&self.0[y..])]
        }
        #[inline(always)]
        fn see<V: Vector<Element = T>>(self, [y, tap]: [V; 2], at: usize, x: V) -> [V; 2] {
            [V::select(tap.eq(V::constant(at as f64)), x, y), tap]
        }
        #[inline(always)]
        fn end<V: Vector<Element = T>>(self, so_far: [V; 2]) -> [V; 2] {
            so_far
        }
    }
    check_lengths("pick_taps", g, x.len(), y.len());
    check("pick_taps", "taps", taps.len(), y.len());
    let window = Pick(taps);
    g.forward(Windows { g: *g, x, window }, [y, &mut []]);
}

/// gx = gy at the taps that [`max_pool`] named, summed where windows overlap, and 0 elsewhere: the
/// gradient of [`max_pool`], and the adjoint of [`pick_taps`].
///
/// Shapes: gy and taps like y, gx like x.
///
/// # Panics
/// If a length does not fit.
#[track_caller]
#[inline]
pub fn place_taps<T: Element>(g: &Pool2d, gy: &[T], taps: &[T], gx: &mut [T]) {
    T::place_taps(g, gy, taps, gx)
}

#[track_caller]
pub(crate) fn place_taps_body<T: Element>(g: &Pool2d, gy: &[T], taps: &[T], gx: &mut [T]) {
    check_lengths("place_taps", g, gx.len(), gy.len());
    check("place_taps", "taps", taps.len(), gy.len());
    let (g, scale) = (*g, 1.0);
    g.backward(Pixels { g, gy, taps, scale }, gx);
}

/// y = the mean of each window. Padding counts as zeros: all windows divide by kh kw.
///
/// Shapes: as [`Pool2d`] says.
///
/// # Panics
/// If a length does not fit.
#[track_caller]
#[inline]
pub fn average_pool<T: Element>(g: &Pool2d, x: &[T], y: &mut [T]) {
    T::average_pool(g, x, y)
}

#[track_caller]
pub(crate) fn average_pool_body<T: Element>(g: &Pool2d, x: &[T], y: &mut [T]) {
    #[derive(Clone, Copy)]
    struct Mean(f64);
    impl<T: Element> Window<T> for Mean {
        #[inline(always)]
        fn begin<V: Vector<Element = T>>(self, _: usize, _: usize) -> [V; 2] {
            [V::zero(); 2]
        }
        #[inline(always)]
        fn see<V: Vector<Element = T>>(self, [sum, none]: [V; 2], _: usize, x: V) -> [V; 2] {
            [sum + x, none]
        }
        #[inline(always)]
        fn end<V: Vector<Element = T>>(self, [sum, none]: [V; 2]) -> [V; 2] {
            [sum * V::constant(self.0), none]
        }
    }
    check_lengths("average_pool", g, x.len(), y.len());
    let window = Mean(share(g));
    g.forward(Windows { g: *g, x, window }, [y, &mut []]);
}

/// gx = the sum of gy over the windows that see a pixel, divided by kh kw: the gradient of
/// [`average_pool`] and its adjoint.
///
/// Shapes: gy like y, gx like x.
///
/// # Panics
/// If a length does not fit.
#[track_caller]
#[inline]
pub fn average_pool_gradient<T: Element>(g: &Pool2d, gy: &[T], gx: &mut [T]) {
    T::average_pool_gradient(g, gy, gx)
}

#[track_caller]
pub(crate) fn average_pool_gradient_body<T: Element>(g: &Pool2d, gy: &[T], gx: &mut [T]) {
    check_lengths("average_pool_gradient", g, gx.len(), gy.len());
    let (g, taps, scale) = (*g, &[][..], share(g));
    g.backward(Pixels { g, gy, taps, scale }, gx);
}

/// What one pixel of a window has in its mean.
fn share(g: &Pool2d) -> f64 {
    1.0 / (g.kernel[0] * g.kernel[1]) as f64
}

#[track_caller]
fn check_lengths(name: &str, g: &Pool2d, x: usize, y: usize) {
    g.check();
    check(name, "x", x, g.x_len());
    check(name, "y", y, g.y_len());
}
