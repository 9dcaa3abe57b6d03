//! Transforms of whole lines: vectors run over channels.

use super::{Group, transform};
use crate::conv::micro::{load, store};
use crate::element::Element;
use crate::gemm::Activation;
use crate::simd::{Isa, Kernel, Vector, dispatch};

/// The pairs of a line in an image.
#[derive(Clone, Copy)]
pub(super) struct Pairs {
    pub(super) count: usize,
    /// How many of them have a second pixel.
    pub(super) whole: usize,
    /// From the first pixel of one pair to that of the next.
    pub(super) step: usize,
    /// From the first pixel of a pair to its second.
    pub(super) second: usize,
}

/// What the pairs of a line see.
#[derive(Clone, Copy)]
pub(super) struct Source {
    /// The first pixel of the first pair, along the axis; the others follow it.
    pub(super) first: isize,
    /// Pixels along the axis from one pair to the next.
    pub(super) step: isize,
    /// From one pixel along the axis to the next, in elements.
    pub(super) along: usize,
    /// From one pair to the next, in elements, besides `step`.
    pub(super) across: usize,
    /// Pixels along the axis; beside them are zeros.
    pub(super) len: usize,
    pub(super) channels: usize,
}

/// Transforms a line of the source to one of each plane.
pub(super) struct ToPlanes<T> {
    /// Where [`Source`] counts from.
    pub(super) from: *const T,
    pub(super) source: Source,
    pub(super) pairs: usize,
    /// As many zeros as there are channels.
    pub(super) zeros: *const T,
    pub(super) to: *mut T,
    /// From one plane to the next.
    pub(super) plane: usize,
}

by_taps!(ToPlanes, ToPlanesOf);

impl<T: Element, const TAPS: usize> Kernel<T> for ToPlanesOf<T, TAPS> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let t = self.0;
        let s = t.source;
        let mut to = t.to;
        for pair in 0..t.pairs {
            let first = s.first + pair as isize * s.step;
            let at = |q: isize| {
                let pixel = first + q;
                if pixel >= 0 && pixel < s.len as isize {
                    t.from
                        .wrapping_add(pixel as usize * s.along + pair * s.across)
                } else {
                    t.zeros
                }
            };
            // Two taps see three pixels.
            let d = [at(0), at(1), at(2), if TAPS == 2 { t.zeros } else { at(3) }];
            macro_rules! vector {
                ($k:expr, $whole:expr, $last:expr) => {{
                    let k = $k;
                    // SAFETY: the caller of `run` vouches for every element.
                    unsafe {
                        let d = [
                            load::<V>(d[0].wrapping_add(k), $whole, $last),
                            load::<V>(d[1].wrapping_add(k), $whole, $last),
                            load::<V>(d[2].wrapping_add(k), $whole, $last),
                            if TAPS == 2 {
                                V::zero()
                            } else {
                                load::<V>(d[3].wrapping_add(k), $whole, $last)
                            },
                        ];
                        let v = transform::source::<V, TAPS>(d);
                        store(v[0], to.add(k), $whole, $last);
                        store(v[1], to.add(t.plane + k), $whole, $last);
                        store(v[2], to.add(2 * t.plane + k), $whole, $last);
                        if TAPS == 3 {
                            store(v[3], to.add(3 * t.plane + k), $whole, $last);
                        }
                    }
                }};
            }
            let tail = s.channels % V::LANES;
            for k in 0..s.channels / V::LANES {
                vector!(k * V::LANES, true, 0);
            }
            if tail > 0 {
                vector!(s.channels - tail, false, tail);
            }
            to = to.wrapping_add(s.channels);
        }
    }
}

/// Transforms the products of a line to a panel of the result.
pub(super) struct ToResults<'a, T> {
    /// Rows of whole vectors, one a pair.
    pub(super) from: *const T,
    /// From one product to the next.
    pub(super) plane: usize,
    pub(super) groups: &'a [Group],
    pub(super) vectors: usize,
    pub(super) last: usize,
    pub(super) pairs: Pairs,
    pub(super) to: *mut T,
    /// What is added, laid out like the result, or null.
    pub(super) plus: *const T,
    /// Whole vectors, or null.
    pub(super) bias: *const T,
    pub(super) activation: Activation,
}

impl<T: Element> ToResults<'_, T> {
    /// # Safety
    /// What the description reaches can be read and written, and does not overlap; but what is
    /// added may be the result.
    pub(super) unsafe fn run(self, isa: Isa) {
        let taps = |at: usize| self.groups.get(at).map_or(0, |group| group.taps);
        match (taps(0), taps(1), self.groups.len()) {
            (2, _, 1) => dispatch(isa, ToResultsOf::<T, 2, 0>(self)),
            (3, _, 1) => dispatch(isa, ToResultsOf::<T, 3, 0>(self)),
            (2, 3, 2) => dispatch(isa, ToResultsOf::<T, 2, 3>(self)),
            (3, 2, 2) => dispatch(isa, ToResultsOf::<T, 3, 2>(self)),
            _ => dispatch(isa, ToResultsOf::<T, 0, 0>(self)),
        }
    }
}

/// The first and second group's taps, 0 if there is none; or any groups if the first has 0.
struct ToResultsOf<'a, T, const A: usize, const B: usize>(ToResults<'a, T>);

impl<T: Element, const A: usize, const B: usize> ToResultsOf<'_, T, A, B> {
    /// The sum of the groups' results, for one vector of one pair.
    ///
    /// # Safety
    /// As [`ToResults::run`].
    #[inline(always)]
    unsafe fn sum<V: Vector<Element = T>>(&self, from: *const T) -> [V; 2] {
        let t = &self.0;
        // SAFETY: the caller's.
        unsafe {
            if A > 0 {
                let first = results::<V>(A, from, t.plane);
                if B == 0 {
                    return first;
                }
                let second = results::<V>(B, from.wrapping_add((A + 1) * t.plane), t.plane);
                return [first[0] + second[0], first[1] + second[1]];
            }
            let (mut sum, mut from) = ([V::zero(); 2], from);
            for group in t.groups {
                let of_group = results::<V>(group.taps, from, t.plane);
                sum = [sum[0] + of_group[0], sum[1] + of_group[1]];
                from = from.wrapping_add((group.taps + 1) * t.plane);
            }
            sum
        }
    }
}

/// The results of a group's products.
///
/// # Safety
/// A vector can be read of each product.
#[inline(always)]
unsafe fn results<V: Vector>(taps: usize, from: *const V::Element, plane: usize) -> [V; 2] {
    // SAFETY: the caller's.
    unsafe {
        let m0 = V::load_ptr(from);
        let m1 = V::load_ptr(from.wrapping_add(plane));
        let m2 = V::load_ptr(from.wrapping_add(2 * plane));
        if taps == 2 {
            transform::results::<V, 2>([m0, m1, m2, V::zero()])
        } else {
            let m3 = V::load_ptr(from.wrapping_add(3 * plane));
            transform::results::<V, 3>([m0, m1, m2, m3])
        }
    }
}

impl<T: Element, const A: usize, const B: usize> Kernel<T> for ToResultsOf<'_, T, A, B> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let t = &self.0;
        let zero = V::zero();
        let slope = match t.activation {
            Activation::Identity => V::one(),
            Activation::Relu => zero,
            Activation::LeakyRelu(slope) => V::constant(slope.into()),
        };
        let is_linear = t.activation == Activation::Identity;
        for j in 0..t.vectors {
            let whole = j + 1 < t.vectors || t.last == V::LANES;
            let column = j * V::LANES;
            // SAFETY: the caller of `run` vouches for every element.
            unsafe {
                let bias = if t.bias.is_null() {
                    zero
                } else {
                    V::load_ptr(t.bias.wrapping_add(column))
                };
                let (mut from, mut at) = (t.from.wrapping_add(column), column);
                macro_rules! finish {
                    ($y:expr, $at:expr) => {{
                        let mut y = $y + bias;
                        if !t.plus.is_null() {
                            y = y + load::<V>(t.plus.wrapping_add($at), whole, t.last);
                        }
                        if !is_linear {
                            y = slope.mul_add(zero.min(y), zero.max(y));
                        }
                        store(y, t.to.wrapping_add($at), whole, t.last);
                    }};
                }
                for _ in 0..t.pairs.whole {
                    let [first, second] = self.sum::<V>(from);
                    finish!(first, at);
                    finish!(second, at + t.pairs.second);
                    from = from.wrapping_add(t.vectors * V::LANES);
                    at += t.pairs.step;
                }
                for _ in t.pairs.whole..t.pairs.count {
                    finish!(self.sum::<V>(from)[0], at);
                    from = from.wrapping_add(t.vectors * V::LANES);
                    at += t.pairs.step;
                }
            }
        }
    }
}

/// Transforms a panel of a line of the result's gradient to gradients of the products, rows of
/// whole vectors, and adds its sum over pixels to the bias's gradient.
pub(super) struct FromResults<T> {
    pub(super) from: *const T,
    pub(super) pairs: Pairs,
    pub(super) vectors: usize,
    pub(super) last: usize,
    pub(super) to: *mut T,
    /// From one product to the next.
    pub(super) plane: usize,
    /// Null if it is not asked for.
    pub(super) sums: *mut T,
}

by_taps!(FromResults, FromResultsOf);

impl<T: Element, const TAPS: usize> Kernel<T> for FromResultsOf<T, TAPS> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let t = self.0;
        let width = t.vectors * V::LANES;
        for j in 0..t.vectors {
            let whole = j + 1 < t.vectors || t.last == V::LANES;
            // Both terms of a pair's sum are in the second gradient: one chain over pairs.
            let mut sum = V::zero();
            for pair in 0..t.pairs.count {
                let from = t.from.wrapping_add(pair * t.pairs.step + j * V::LANES);
                let to = t.to.wrapping_add(pair * width + j * V::LANES);
                // SAFETY: the caller of `run` vouches for every element.
                unsafe {
                    let first = load::<V>(from, whole, t.last);
                    let second = if pair < t.pairs.whole {
                        load::<V>(from.wrapping_add(t.pairs.second), whole, t.last)
                    } else {
                        V::zero()
                    };
                    let m = transform::results_adjoint::<V, TAPS>([first, second]);
                    sum = sum + m[1];
                    m[0].store_ptr(to);
                    m[1].store_ptr(to.wrapping_add(t.plane));
                    m[2].store_ptr(to.wrapping_add(2 * t.plane));
                    if TAPS == 3 {
                        m[3].store_ptr(to.wrapping_add(3 * t.plane));
                    }
                }
            }
            if !t.sums.is_null() {
                let sums = t.sums.wrapping_add(j * V::LANES);
                // SAFETY: as above.
                unsafe { store(load::<V>(sums, whole, t.last) + sum, sums, whole, t.last) };
            }
        }
    }
}
