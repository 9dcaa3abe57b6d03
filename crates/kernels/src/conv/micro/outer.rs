//! The tile of the weight gradient.

use super::{Outer, fits, load, round, store};
use crate::element::Element;
use crate::simd::{Kernel, Vector, prefetch, unroll};

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
        let t = self.0;
        // SAFETY: the caller of `run_outer` vouches for every element.
        unsafe {
            let mut acc = [[V::zero(); NV]; MR];
            let mut ahead = t.ahead;
            let mut gw = t.gw;
            unroll!(row I < MR: {
                unroll!(vector J < NV: { prefetch(gw.wrapping_add(J * V::LANES)); });
                gw = gw.wrapping_add(t.gw_step);
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
                        let mut row = [V::zero(); NV];
                        unroll!(vector J < NV: {
                            let whole = !RAGGED || J + 1 < NV;
                            row[J] = load(gy.wrapping_add(J * V::LANES), whole, t.last);
                        });
                        unroll!(row I < MR: {
                            let x = V::splat(*x.wrapping_add(I));
                            unroll!(vector J < NV: { acc[I][J] = x.mul_add(row[J], acc[I][J]); });
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
                (|$x:ident, $gw:ident, $whole:ident| $y:expr) => {{
                    let mut gw = t.gw;
                    unroll!(row I < MR: {
                        unroll!(vector J < NV: {
                            let ($x, $gw) = (acc[I][J], gw.add(J * V::LANES));
                            let $whole = !RAGGED || J + 1 < NV;
                            store($y, $gw, $whole, t.last);
                        });
                        gw = gw.wrapping_add(t.gw_step);
                    });
                }};
            }
            if t.fresh {
                finish!(|x, gw, whole| x);
            } else {
                finish!(|x, gw, whole| load::<V>(gw, whole, t.last) + x);
            }
        }
    }
}
