//! The three linear maps of F(2, 2) and F(2, 3), and their adjoints.
//!
//! ```text
//! F(2, 2)   y0 = d0 g0 + d1 g1      m0 = (d0 - d1) g0            y0 = m0 + m1
//!           y1 = d1 g0 + d2 g1      m1 = d1 (g0 + g1)            y1 = m1 + m2
//!                                   m2 = (d2 - d1) g1
//!
//! F(2, 3)   y0 = d0 g0 + d1 g1      m0 = (d0 - d2) g0            y0 = m0 + m1 + m2
//!              + d2 g2              m1 = (d1 + d2) (g0+g1+g2)/2  y1 = m1 - m2 - m3
//!           y1 = d1 g0 + d2 g1      m2 = (d2 - d1) (g0-g1+g2)/2
//!              + d3 g2              m3 = (d1 - d3) g2
//! ```
//! y0 is made of products that hold no d3 (d2), y1 of products that hold no d0.
//!
//! Arrays have room for three taps; of two, the last entries are not used.

use crate::simd::Vector;

/// The source as the products read it.
#[inline(always)]
pub(super) fn source<V: Vector, const TAPS: usize>(d: [V; 4]) -> [V; 4] {
    match TAPS {
        2 => [d[0] - d[1], d[1], d[2] - d[1], V::zero()],
        _ => [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]],
    }
}

/// The weights as the products read them.
#[inline(always)]
pub(super) fn weights<V: Vector, const TAPS: usize>(g: [V; 3]) -> [V; 4] {
    match TAPS {
        2 => [g[0], g[0] + g[1], g[1], V::zero()],
        _ => {
            let half = V::constant(0.5);
            let (outer, inner) = (half * (g[0] + g[2]), half * g[1]);
            [g[0], outer + inner, outer - inner, g[2]]
        }
    }
}

/// The results of the products.
#[inline(always)]
pub(super) fn results<V: Vector, const TAPS: usize>(m: [V; 4]) -> [V; 2] {
    match TAPS {
        2 => [m[0] + m[1], m[1] + m[2]],
        _ => [m[0] + (m[1] + m[2]), (m[1] - m[2]) - m[3]],
    }
}

/// Numbers for a pixel that all products are made of, besides its own d0: d0 - d1, d0 + d1 and
/// d0 - d2.
#[inline(always)]
pub(super) fn kinds<V: Vector>(d: [V; 3]) -> [V; 3] {
    [d[0] - d[1], d[0] + d[1], d[0] - d[2]]
}

/// The results of sums that products of two and of three taps share. Made of [`kinds`], the third
/// of either is the negative of the one above; with two taps it is the fourth sum's:
///
/// ```text
/// y0 = m0 + m1 - m2      m0 = (d0 - d2) g0            or (d0 - d1) g0
/// y1 = m1 + m2 - m3      m1 = (d1 + d2) (g0+g1+g2)/2  or d1 (g0 + g1)
///                        m2 = (d1 - d2) (g0-g1+g2)/2
///                        m3 = (d1 - d3) g2            or (d1 - d2) g1
/// ```
#[inline(always)]
pub(super) fn shared<V: Vector>(m: [V; 4]) -> [V; 2] {
    [m[0] + (m[1] - m[2]), (m[1] + m[2]) - m[3]]
}

/// The adjoint of [`results`].
#[inline(always)]
pub(super) fn results_adjoint<V: Vector, const TAPS: usize>(y: [V; 2]) -> [V; 4] {
    match TAPS {
        2 => [y[0], y[0] + y[1], y[1], V::zero()],
        _ => [y[0], y[0] + y[1], y[0] - y[1], -y[1]],
    }
}

/// The adjoint of [`weights`].
#[inline(always)]
pub(super) fn weights_adjoint<V: Vector, const TAPS: usize>(u: [V; 4]) -> [V; 3] {
    match TAPS {
        2 => [u[0] + u[1], u[1] + u[2], V::zero()],
        _ => {
            let half = V::constant(0.5);
            let (sum, difference) = (half * (u[1] + u[2]), half * (u[1] - u[2]));
            [u[0] + sum, difference, sum + u[3]]
        }
    }
}
