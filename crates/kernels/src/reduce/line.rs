//! One line of numbers, within a kernel: the loops that reductions and row kernels share.

use crate::element::Element;
use crate::elementwise::unary::{Exp, Log};
use crate::simd::Vector;

/// How many sums run side by side, to hide the latency of an addition.
const SUMS: usize = 4;

/// A sum of vectors made of one or two slices, in `SUMS` interleaved partial sums.
macro_rules! sums {
    ($V:ident, $len:expr, |$i:ident, $tail:ident| $term:expr) => {{
        let len = $len;
        let mut sums = [$V::zero(); SUMS];
        let mut i = 0;
        while i + SUMS * $V::LANES <= len {
            for (k, sum) in sums.iter_mut().enumerate() {
                let $i = i + k * $V::LANES;
                let $tail = false;
                *sum = *sum + $term;
            }
            i += SUMS * $V::LANES;
        }
        while i < len {
            let $i = i;
            let $tail = true;
            sums[0] = sums[0] + $term;
            i += $V::LANES;
        }
        ((sums[0] + sums[2]) + (sums[1] + sums[3])).reduce_add()
    }};
}

#[inline(always)]
fn at<V: Vector>(x: &[V::Element], i: usize, tail: bool) -> V {
    if tail {
        V::load_partial(&x[i..])
    } else {
        V::load(&x[i..])
    }
}

#[inline(always)]
pub(super) fn sum<V: Vector>(x: &[V::Element]) -> V::Element {
    sums!(V, x.len(), |i, tail| at::<V>(x, i, tail))
}

#[inline(always)]
pub(crate) fn dot<V: Vector>(a: &[V::Element], b: &[V::Element]) -> V::Element {
    sums!(V, a.len(), |i, tail| at::<V>(a, i, tail)
        * at::<V>(b, i, tail))
}

/// sum (x - mean)^2.
#[inline(always)]
pub(super) fn squares<V: Vector>(x: &[V::Element], mean: V) -> V::Element {
    sums!(V, x.len(), |i, tail| {
        let d = if tail {
            V::load_partial_or(&x[i..], mean)
        } else {
            V::load(&x[i..])
        } - mean;
        d * d
    })
}

/// e^x as a term beside e^0, for x <= 0 or NaN: below -70 it is e^-70, about 4e-31, which no sum
/// with a term of 1 in it can tell from less. Rows of 256 confident logits are full of exponents
/// below -87, and an instruction that makes a subnormal number takes a hundred times as long.
#[inline(always)]
pub(super) fn term<V: Vector>(x: V) -> V {
    // The order of the arguments lets NaN through.
    V::constant(-70.0).max(x).apply(Exp)
}

/// sum e^(x - shift), where `shift` is the largest x.
#[inline(always)]
pub(super) fn sum_exp<V: Vector>(x: &[V::Element], shift: V) -> V::Element {
    let none = V::constant(f64::NEG_INFINITY);
    sums!(V, x.len(), |i, tail| {
        let x = if tail {
            V::load_partial_or(&x[i..], none)
        } else {
            V::load(&x[i..])
        };
        term(x - shift)
    })
}

/// The largest element; -inf of none, NaN if one is.
#[inline(always)]
pub(super) fn max<V: Vector>(x: &[V::Element]) -> V::Element {
    let none = V::constant(f64::NEG_INFINITY);
    let mut most = [none; SUMS];
    let mut i = 0;
    while i + SUMS * V::LANES <= x.len() {
        for (k, most) in most.iter_mut().enumerate() {
            let x = V::load(&x[i + k * V::LANES..]);
            *most = most.nan_or(most.max(x));
        }
        i += SUMS * V::LANES;
    }
    while i < x.len() {
        let x = V::load_partial_or(&x[i..], none);
        most[0] = most[0].nan_or(most[0].max(x));
        i += V::LANES;
    }
    let a = most[0].nan_or(most[0].max(most[2]));
    let b = most[1].nan_or(most[1].max(most[3]));
    let most = a.nan_or(a.max(b));
    // NaN if a lane is, else 0.
    let nan = most.nan_or(V::zero()).reduce_add();
    if nan == V::Element::ZERO {
        most.reduce_max()
    } else {
        nan
    }
}

/// ln sum e^x.
#[inline(always)]
pub(super) fn logsumexp<V: Vector>(x: &[V::Element]) -> V::Element {
    let most = max::<V>(x);
    // An infinite maximum is the result, and may not be subtracted from itself.
    if !most.to_f64().is_finite() {
        return most;
    }
    most + log::<V>(sum_exp(x, V::splat(most)))
}

/// ln of one number.
#[inline(always)]
pub(super) fn log<V: Vector>(x: V::Element) -> V::Element {
    V::splat(x).apply(Log).reduce_max()
}
