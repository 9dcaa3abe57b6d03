//! The vector that kernel bodies are generic over.
//!
//! Why the `unsafe` in the implementations is sound:
//!
//! 1. An intrinsic needs its instruction set. The vector types are private to `simd`, so the only
//!    way to one is a [`Kernel`](super::Kernel) that [`dispatch`](super::dispatch()) instantiates,
//!    and that takes an [`Isa`](super::Isa), which only detection makes.
//! 2. Safe loads and stores check lengths against `LANES`; the pointer forms are `unsafe` and
//!    state what they need.
//!
//! Everything is `#[inline(always)]`: a call that is not inlined into the `#[target_feature]`
//! wrapper would pass vectors through memory.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::element::Element;
use crate::elementwise::UnaryKernel;

/// The registers of an instruction set, as far as microkernels are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// How many elements one vector holds.
    pub lanes: usize,
    /// How many vectors there is room for: 32 or 16, or 8 where larger microkernels are not worth
    /// their code.
    pub count: usize,
}

impl Registers {
    /// Room for `count` vectors of `lanes` elements.
    pub(super) const fn new(lanes: usize, count: usize) -> Registers {
        Registers { lanes, count }
    }
}

/// Nobody else implements [`Vector`]: its provided methods trust `LANES`.
pub trait Sealed {}

/// Some lanes of [`Element`]s: f32 on every instruction set, or one f64.
///
/// Comparisons with NaN are false.
pub trait Vector:
    Sealed
    + Copy
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// What a lane holds.
    type Element: Element;
    /// One truth value a lane.
    type Mask: Copy;
    /// As many vectors side by side as suit chains of operations; itself where one does.
    type Wide: Vector<Element = Self::Element>;
    /// How many elements one vector holds.
    const LANES: usize;
    /// What microkernels are cut to.
    const REGISTERS: Registers;

    /// `x` in every lane.
    fn splat(x: Self::Element) -> Self;
    /// Reads `LANES` elements.
    ///
    /// # Safety
    /// `x` must be valid for reading `LANES` elements; it need not be aligned to the vector.
    unsafe fn load_ptr(x: *const Self::Element) -> Self;
    /// Reads `len` elements and sets the other lanes to zero.
    ///
    /// # Safety
    /// `len <= LANES`, and `x` must be valid for reading `len` elements.
    unsafe fn load_ptr_partial(x: *const Self::Element, len: usize) -> Self;
    /// Writes `LANES` elements.
    ///
    /// # Safety
    /// `y` must be valid for writing `LANES` elements; it need not be aligned to the vector.
    unsafe fn store_ptr(self, y: *mut Self::Element);
    /// Writes the first `len` lanes.
    ///
    /// # Safety
    /// `len <= LANES`, and `y` must be valid for writing `len` elements.
    unsafe fn store_ptr_partial(self, y: *mut Self::Element, len: usize);

    /// self * b + c, rounded once where the instruction set has fused multiply-add.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// c - self * b, rounded once where the instruction set has fused multiply-add.
    fn neg_mul_add(self, b: Self, c: Self) -> Self;
    /// self where self > b, else b; so b where either is NaN.
    fn max(self, b: Self) -> Self;
    /// self where self < b, else b; so b where either is NaN.
    fn min(self, b: Self) -> Self;
    /// Square root, correctly rounded.
    fn sqrt(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// self with the sign bit of `sign`.
    fn copysign(self, sign: Self) -> Self;
    /// The nearest integer, ties to even, for |self| < 2^22.
    fn round(self) -> Self;
    /// self < b.
    fn lt(self, b: Self) -> Self::Mask;
    /// self <= b.
    fn le(self, b: Self) -> Self::Mask;
    /// self == b.
    fn eq(self, b: Self) -> Self::Mask;
    /// `yes` in the lanes where `mask` is true, else `no`.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// The sum of the lanes, added pairwise: always in the same order.
    fn reduce_add(self) -> Self::Element;
    /// The largest lane; NaN if all are, and unspecified if some are.
    fn reduce_max(self) -> Self::Element;
    /// An elementwise function of some vectors: its polynomial on f32, its f64 reference on f64.
    fn apply_each<F: UnaryKernel, const N: usize>(x: [Self; N], f: F) -> [Self; N];

    /// An elementwise function.
    #[inline(always)]
    fn apply<F: UnaryKernel>(self, f: F) -> Self {
        Self::apply_each([self], f)[0]
    }

    /// A literal in every lane, rounded to the element.
    #[inline(always)]
    fn constant(x: f64) -> Self {
        Self::splat(Self::Element::from_f64(x))
    }

    /// 0 in every lane.
    #[inline(always)]
    fn zero() -> Self {
        Self::splat(Self::Element::ZERO)
    }

    /// 1 in every lane.
    #[inline(always)]
    fn one() -> Self {
        Self::splat(Self::Element::ONE)
    }

    /// The first `LANES` elements of `x`.
    ///
    /// # Panics
    /// If `x` is shorter than that.
    #[inline(always)]
    fn load(x: &[Self::Element]) -> Self {
        assert!(x.len() >= Self::LANES);
        // SAFETY: the slice is long enough.
        unsafe { Self::load_ptr(x.as_ptr()) }
    }

    /// As many elements of `x` as fit; the lanes beyond its end are zero.
    #[inline(always)]
    fn load_partial(x: &[Self::Element]) -> Self {
        if x.len() >= Self::LANES {
            Self::load(x)
        } else {
            // SAFETY: the slice has `x.len() < LANES` elements.
            unsafe { Self::load_ptr_partial(x.as_ptr(), x.len()) }
        }
    }

    /// As [`load_partial`](Vector::load_partial), with `fill` in the lanes beyond the end.
    #[inline(always)]
    fn load_partial_or(x: &[Self::Element], fill: Self) -> Self {
        if x.len() >= Self::LANES {
            Self::load(x)
        } else {
            Self::select(Self::first(x.len()), Self::load_partial(x), fill)
        }
    }

    /// Writes all lanes to the start of `y`.
    ///
    /// # Panics
    /// If `y` is shorter than `LANES`.
    #[inline(always)]
    fn store(self, y: &mut [Self::Element]) {
        assert!(y.len() >= Self::LANES);
        // SAFETY: the slice is long enough.
        unsafe { self.store_ptr(y.as_mut_ptr()) }
    }

    /// Writes as many lanes as fit into `y`.
    #[inline(always)]
    fn store_partial(self, y: &mut [Self::Element]) {
        if y.len() >= Self::LANES {
            self.store(y)
        } else {
            // SAFETY: the slice has `y.len() < LANES` elements.
            unsafe { self.store_ptr_partial(y.as_mut_ptr(), y.len()) }
        }
    }

    /// True in the first `len` lanes.
    fn first(len: usize) -> Self::Mask;

    /// `yes` where self > b, else `no`.
    #[inline(always)]
    fn if_gt(self, b: Self, yes: Self, no: Self) -> Self {
        Self::select(b.lt(self), yes, no)
    }

    /// `yes` where self < b, else `no`.
    #[inline(always)]
    fn if_lt(self, b: Self, yes: Self, no: Self) -> Self {
        Self::select(self.lt(b), yes, no)
    }

    /// NaN where self is NaN, else `other`.
    #[inline(always)]
    fn nan_or(self, other: Self) -> Self {
        Self::select(self.eq(self), other, self)
    }

    /// c\[0\] + c\[1\] x + c\[2\] x^2 + ..., by Horner's rule.
    #[inline(always)]
    fn polynomial<const N: usize>(self, c: [f64; N]) -> Self {
        let mut sum = Self::constant(c[N - 1]);
        for &c in c[..N - 1].iter().rev() {
            sum = sum.mul_add(self, Self::constant(c));
        }
        sum
    }
}

/// The bits of sqrt(1/2): what [`VectorF32::split`] measures exponents from.
pub(super) const SQRT_HALF_BITS: i32 = 0x3f35_04f3;

/// f32 vectors, with the access to exponents that exp and log are made of.
pub trait VectorF32: Vector<Element = f32> {
    /// self * 2^n for an integral n in \[-252, 252\], rounded once.
    fn scale(self, n: Self) -> Self;
    /// (r, n) with r = self - floor(self), in \[0, 1\], and an n for which `y.scale(n)` is
    /// y * 2^floor(self). All that is below -151 counts as that, all above 129 as that.
    #[inline(always)]
    fn split_floor(self) -> (Self, Self) {
        // The order of the arguments lets NaN through.
        let x = Self::constant(129.0).min(Self::constant(-151.0).max(self));
        let n = (x - Self::constant(0.5)).round();
        (x - n, n)
    }
    /// (m, e) with self = m * 2^e, m in \[sqrt(1/2), sqrt(2)) and e integral, for a positive,
    /// finite, normal self.
    fn split(self) -> (Self, Self);
    /// c - self * b without the rounding of the product, for c near it: what a product, quotient
    /// or sum lost when it was rounded.
    #[inline(always)]
    fn residual(self, b: Self, c: Self) -> Self {
        self.neg_mul_add(b, c)
    }
}

/// The four operators of a newtype around a vector register, from its intrinsics.
macro_rules! operators {
    ($V:ident, |$x:ident| $neg:expr, $($Trait:ident $method:ident $intrinsic:expr),*) => {
        $(impl std::ops::$Trait for $V {
            type Output = $V;
            #[inline(always)]
            fn $method(self, b: $V) -> $V {
                // SAFETY: reason 1 of `simd::vector`: the machine has the instruction set.
                #[allow(unused_unsafe)]
                unsafe { $V($intrinsic(self.0, b.0)) }
            }
        })*
        impl std::ops::Neg for $V {
            type Output = $V;
            #[inline(always)]
            fn neg(self) -> $V {
                let $x = self;
                // SAFETY: reason 1 of `simd::vector`: the machine has the instruction set.
                #[allow(unused_unsafe)]
                unsafe { $neg }
            }
        }
    };
}
#[allow(unused_imports)]
pub(super) use operators;

/// Methods whose bodies are intrinsics only.
macro_rules! intrinsics {
    ($(fn $method:ident($($arg:ident: $Arg:ty),*) -> $Out:ty { $($body:tt)* })*) => {
        $(#[inline(always)]
        fn $method($($arg: $Arg),*) -> $Out {
            // SAFETY: reason 1 of `simd::vector`: the machine has the instruction set.
            #[allow(unused_unsafe)]
            unsafe { $($body)* }
        })*
    };
}
#[allow(unused_imports)]
pub(super) use intrinsics;
