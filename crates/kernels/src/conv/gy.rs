//! The gradient of the result as the weight gradient reads it: a panel of channels at a time, where
//! it lies or copied, and summed over the pixels on the way, which is the gradient of the bias.

use super::micro::{load, store};
use super::panel::Panel;
use crate::element::Element;
use crate::simd::{Isa, Kernel, Vector, dispatch, unroll};

/// Where the microkernel finds a panel of gy: from one pixel to the next, and from one image.
#[derive(Clone, Copy)]
pub(super) struct Gy<T> {
    pub(super) start: *const T,
    pub(super) step: usize,
    pub(super) image_step: usize,
}

/// Pixels of some images.
#[derive(Clone, Copy)]
pub(super) struct Pixels {
    pub(super) images: usize,
    /// Of each image, one after the other.
    pub(super) pixels: usize,
}

/// Copies a panel, unless `to` is null, to rows of whole vectors, and adds its sums over the pixels
/// to `sums`, unless that is null.
///
/// # Safety
/// `panel.count` numbers can be read at each pixel of `from`, whole vectors can be written for each
/// at `to`, `panel.count` numbers read and written at `sums`; they do not overlap.
pub(super) unsafe fn pass<T: Element>(
    isa: Isa,
    panel: Panel,
    of: Pixels,
    from: Gy<T>,
    to: *mut T,
    sums: *mut T,
) {
    let pass = Pass {
        of,
        from,
        to,
        sums,
        last: panel.last,
    };
    match (panel.vectors, to.is_null()) {
        (1, false) => dispatch(isa, Vectors::<T, 1, true>(pass)),
        (1, true) => dispatch(isa, Vectors::<T, 1, false>(pass)),
        (2, false) => dispatch(isa, Vectors::<T, 2, true>(pass)),
        (2, true) => dispatch(isa, Vectors::<T, 2, false>(pass)),
        (vectors, _) => unreachable!("a panel of {vectors} vectors"),
    }
}

struct Pass<T> {
    of: Pixels,
    from: Gy<T>,
    to: *mut T,
    sums: *mut T,
    last: usize,
}

struct Vectors<T, const NV: usize, const COPY: bool>(Pass<T>);

impl<T: Element, const NV: usize, const COPY: bool> Kernel<T> for Vectors<T, NV, COPY> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let Pass {
            of,
            from,
            mut to,
            sums,
            last,
        } = self.0;
        let whole = |j: usize| j + 1 < NV || last == V::LANES;
        // Two chains of additions a vector: one would wait for itself.
        let mut sum = [[V::zero(); NV]; 2];
        // SAFETY: the caller of `pass` vouches for every element.
        unsafe {
            for image in 0..of.images {
                let mut pixel = from.start.wrapping_add(image * from.image_step);
                macro_rules! pixel {
                    ($chain:literal) => {{
                        unroll!(vector j < NV: {
                            let x = load::<V>(pixel.wrapping_add(j * V::LANES), whole(j), last);
                            sum[$chain][j] = sum[$chain][j] + x;
                            if COPY {
                                x.store_ptr(to.add(j * V::LANES));
                            }
                        });
                        pixel = pixel.wrapping_add(from.step);
                        to = to.wrapping_add(NV * V::LANES);
                    }};
                }
                for _ in 0..of.pixels / 2 {
                    pixel!(0);
                    pixel!(1);
                }
                if of.pixels % 2 == 1 {
                    pixel!(0);
                }
            }
            if !sums.is_null() {
                unroll!(vector j < NV: {
                    let sums = sums.add(j * V::LANES);
                    let added = load::<V>(sums, whole(j), last) + (sum[0][j] + sum[1][j]);
                    store(added, sums, whole(j), last);
                });
            }
        }
    }
}
