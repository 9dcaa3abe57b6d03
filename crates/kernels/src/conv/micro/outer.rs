//! The tile of the weight gradient.

use super::{Outer, fits, load, round, store};
use crate::element::Element;
use crate::simd::{Kernel, Vector, load_row, mul_add_row, prefetch, unroll};

pub(super) struct OuterTile<'a, T, const MR: usize, const NV: usize, const RAGGED: bool>(
    pub(super) &'a Outer<T>,
);

impl<T: Element, const MR: usize, const NV: usize, const RAGGED: bool> Kernel<T>
    for OuterTile<'_, T, MR, NV, RAGGED>
{
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        if const { !fits::<V>(MR, NV) } {
            unreachable!("conv: a tile of {MR} x {NV} vectors");
        }
        // SAFETY: the caller of `run_outer` vouches for every element.
        unsafe { tile::<V, MR, NV, RAGGED>(self.0) }
    }
}

/// The tile itself: a function, so that of instances that are never asked for nothing is compiled.
///
/// # Safety
/// As [`OuterFn`](super::OuterFn).
#[inline(always)]
unsafe fn tile<V: Vector, const MR: usize, const NV: usize, const RAGGED: bool>(
    t: &Outer<V::Element>,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut acc = [[V::zero(); NV]; MR];
        let mut ahead = t.ahead;
        let mut gw = t.gw;
        unroll!(tall i < MR: {
            if i > 0 {
                gw = gw.wrapping_add(t.gw_step);
            }
            ask_row::<V, NV>(gw);
        });
        let [mut x_row, mut gy_row] = [t.x, t.gy];
        let (mut image, mut row) = (0, 0);
        while image < t.images {
            let (mut x, mut gy) = (x_row, gy_row);
            // Step P of a round.
            macro_rules! step {
                    ($P:literal) => {{
                        ahead.ask($P, 0);
                        let (x, gy) = (x.wrapping_add($P * t.x_step), gy.wrapping_add($P * t.gy_step));
                        let row = load_row(gy, !RAGGED, t.last);
                        unroll!(tall i < MR: {
                            mul_add_row(V::splat(*x.wrapping_add(i)), &row, &mut acc[i]);
                        });
                    }};
                }
            macro_rules! advance {
                ($steps:expr) => {
                    ahead.advance($steps);
                    x = x.wrapping_add($steps * t.x_step);
                    gy = gy.wrapping_add($steps * t.gy_step);
                };
            }
            let round = const { round(NV) };
            for _ in 0..t.cols % round {
                step!(0);
                advance!(1);
            }
            for _ in 0..t.cols / round {
                step!(0);
                if round > 1 {
                    step!(1);
                }
                advance!(round);
            }
            row += 1;
            x_row = x_row.wrapping_add(t.x_row_step);
            gy_row = gy_row.wrapping_add(t.gy_row_step);
            if row == t.rows {
                (image, row) = (image + 1, 0);
                x_row = t.x.wrapping_add(image * t.x_image_step);
                gy_row = t.gy.wrapping_add(image * t.gy_image_step);
            }
        }
        // A loop each, so that every sum goes from its register to memory.
        macro_rules! finish {
                ($fresh:literal) => {{
                    let mut gw = t.gw;
                    unroll!(tall i < MR: {
                        if i > 0 {
                            gw = gw.wrapping_add(t.gw_step);
                        }
                        finish_row::<V, NV, RAGGED, $fresh>(&acc[i], gw, t.last);
                    });
                }};
            }
        if t.fresh {
            finish!(true);
        } else {
            finish!(false);
        }
    }
}

#[inline(always)]
fn ask_row<V: Vector, const NV: usize>(gw: *const V::Element) {
    unroll!(vector j < NV: { prefetch(gw.wrapping_add(j * V::LANES)); });
}

/// Stores x, or unless it is `FRESH` adds it.
///
/// # Safety
/// A row of the tile can be read and written.
#[inline(always)]
unsafe fn finish_row<V: Vector, const NV: usize, const RAGGED: bool, const FRESH: bool>(
    x: &[V; NV],
    gw: *mut V::Element,
    last: usize,
) {
    unroll!(vector j < NV: {
        let (gw, whole) = (gw.wrapping_add(j * V::LANES), !RAGGED || j + 1 < NV);
        // SAFETY: the caller's.
        unsafe {
            let x = if FRESH { x[j] } else { load::<V>(gw, whole, last) + x[j] };
            store(x, gw, whole, last);
        }
    });
}
