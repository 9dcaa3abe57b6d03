//! Transforms of weights to those of the products, and back for their gradients.

use super::transform;
use crate::conv::micro::{load, store};
use crate::element::Element;
use crate::simd::{Isa, Kernel, Vector, dispatch};

/// Transforms weights: `len` numbers of each tap to as many of each product.
pub(super) struct ToProducts<T> {
    pub(super) taps: [*const T; 3],
    pub(super) products: [*mut T; 4],
    pub(super) len: usize,
}

by_taps!(ToProducts, ToProductsOf);

/// One row of weights for each product, one after the other, from one row for each tap.
pub(super) fn row<T: Element>(isa: Isa, taps: &[&[T]], products: &mut [T]) {
    let count = taps.len() + 1;
    let len = products.len() / count;
    assert!(taps.iter().all(|tap| tap.len() >= len) && (2..=3).contains(&taps.len()));
    let first = products.as_mut_ptr();
    let to_products = ToProducts {
        taps: [0, 1, taps.len() - 1].map(|q| taps[q].as_ptr()),
        products: [0, 1, 2, count - 1].map(|k| first.wrapping_add(k * len)),
        len,
    };
    // SAFETY: each tap and product has `len` numbers; of two taps the last entries are not used.
    unsafe { to_products.run(isa, taps.len()) };
}

impl<T: Element, const TAPS: usize> Kernel<T> for ToProductsOf<T, TAPS> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let t = self.0;
        let mut i = 0;
        while i < t.len {
            let last = t.len - i;
            let whole = last >= V::LANES;
            // SAFETY: the caller of `run` vouches for every element.
            unsafe {
                let g = [
                    load::<V>(t.taps[0].add(i), whole, last),
                    load::<V>(t.taps[1].add(i), whole, last),
                    if TAPS == 2 {
                        V::zero()
                    } else {
                        load::<V>(t.taps[2].add(i), whole, last)
                    },
                ];
                let u = transform::weights::<V, TAPS>(g);
                store(u[0], t.products[0].add(i), whole, last);
                store(u[1], t.products[1].add(i), whole, last);
                store(u[2], t.products[2].add(i), whole, last);
                if TAPS == 3 {
                    store(u[3], t.products[3].add(i), whole, last);
                }
            }
            i += V::LANES;
        }
    }
}

/// Transforms gradients of the products back to those of the taps: rows of `len` numbers.
pub(super) struct FromProducts<T> {
    pub(super) products: [*const T; 4],
    pub(super) product_step: usize,
    pub(super) taps: [*mut T; 3],
    pub(super) tap_step: usize,
    pub(super) rows: usize,
    pub(super) len: usize,
    /// Whether the taps' gradients are overwritten, not added to.
    pub(super) fresh: bool,
}

by_taps!(FromProducts, FromProductsOf);

impl<T: Element, const TAPS: usize> Kernel<T> for FromProductsOf<T, TAPS> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let t = self.0;
        for row in 0..t.rows {
            let mut i = 0;
            while i < t.len {
                let last = t.len - i;
                let whole = last >= V::LANES;
                let from = row * t.product_step + i;
                let to = row * t.tap_step + i;
                // SAFETY: the caller of `run` vouches for every element.
                unsafe {
                    let u = [
                        load::<V>(t.products[0].add(from), whole, last),
                        load::<V>(t.products[1].add(from), whole, last),
                        load::<V>(t.products[2].add(from), whole, last),
                        if TAPS == 2 {
                            V::zero()
                        } else {
                            load::<V>(t.products[3].add(from), whole, last)
                        },
                    ];
                    let g = transform::weights_adjoint::<V, TAPS>(u);
                    for (g, tap) in g.into_iter().zip(t.taps).take(TAPS) {
                        let tap = tap.wrapping_add(to);
                        let g = if t.fresh {
                            g
                        } else {
                            load::<V>(tap, whole, last) + g
                        };
                        store(g, tap, whole, last);
                    }
                }
                i += V::LANES;
            }
        }
    }
}
