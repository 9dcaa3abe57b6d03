//! Functions of two variables: an entry each, which is all of the table.

use super::{Accuracy, Lanewise, lanewise};
use crate::element::Element;
use crate::simd::Vector;

/// A function of two variables.
pub trait BinaryKernel: Copy + Send + Sync + 'static {
    /// What the f32 body promises against the reference, on every instruction set.
    const ACCURACY: Accuracy;
    /// The body; must be `#[inline(always)]`.
    fn vector<V: Vector>(self, a: V, b: V) -> V;
    /// The function in f64, which `vector` is tested against.
    fn reference(self, a: f64, b: f64) -> f64;
}

/// Adapter: a function of two variables as a [`Lanewise`] computation.
#[derive(Clone, Copy)]
pub(super) struct Zip<F>(pub F);

impl<F: BinaryKernel> Lanewise<1, 2> for Zip<F> {
    #[inline(always)]
    fn apply<V: Vector>(self, _: [V; 1], [a, b]: [V; 2]) -> [V; 1] {
        [self.0.vector(a, b)]
    }
}

impl<F: BinaryKernel> Lanewise<1, 1> for Zip<F> {
    #[inline(always)]
    fn apply<V: Vector>(self, [a]: [V; 1], [b]: [V; 1]) -> [V; 1] {
        [self.0.vector(a, b)]
    }
}

macro_rules! table {
    ($($(#[doc = $doc:literal])* $Name:ident |$a:ident, $b:ident: $V:ident|
        $accuracy:expr, $vector:expr, $reference:expr;)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug, Default)]
            pub struct $Name;

            impl BinaryKernel for $Name {
                const ACCURACY: Accuracy = $accuracy;
                #[inline(always)]
                fn vector<$V: Vector>(self, $a: $V, $b: $V) -> $V {
                    $vector
                }
                #[inline]
                fn reference(self, $a: f64, $b: f64) -> f64 {
                    $reference
                }
            }
        )*

        /// The table of functions of two variables.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Binary {
            $($(#[doc = $doc])* $Name,)*
        }

        impl Binary {
            /// Every function, for tests and documentation.
            pub const ALL: &[Binary] = &[$(Binary::$Name),*];

            /// The name of the kernel.
            pub const fn name(self) -> &'static str {
                match self { $(Binary::$Name => stringify!($Name),)* }
            }

            /// What the f32 kernel promises.
            pub const fn accuracy(self) -> Accuracy {
                match self { $(Binary::$Name => <$Name as BinaryKernel>::ACCURACY,)* }
            }

            /// The function in f64.
            pub fn reference(self, a: f64, b: f64) -> f64 {
                match self { $(Binary::$Name => $Name.reference(a, b),)* }
            }

            #[track_caller]
            pub(crate) fn run<T: Element>(self, a: &[T], b: &[T], y: &mut [T]) {
                match self { $(Binary::$Name => lanewise(Zip($Name), [y], [a, b]),)* }
            }

            #[track_caller]
            pub(crate) fn run_in_place<T: Element>(self, a: &mut [T], b: &[T]) {
                match self { $(Binary::$Name => lanewise(Zip($Name), [a], [b]),)* }
            }

            /// Hands the kernel, a type of its own, to `visitor`.
            pub(super) fn visit<R: Visitor>(self, visitor: R) {
                match self { $(Binary::$Name => visitor.visit($Name),)* }
            }
        }
    };
}

/// What takes any one kernel of the table.
pub(super) trait Visitor {
    fn visit<F: BinaryKernel>(self, f: F);
}

table! {
    /// a + b.
    Add |a, b: V| Accuracy::EXACT, a + b, a + b;
    /// a - b.
    Sub |a, b: V| Accuracy::EXACT, a - b, a - b;
    /// a b.
    Mul |a, b: V| Accuracy::EXACT, a * b, a * b;
    /// a / b.
    Div |a, b: V| Accuracy::EXACT, a / b, a / b;
    /// The larger of a and b; NaN if either is.
    Max |a, b: V| Accuracy::EXACT, a.nan_or(a.max(b)), if a > b || a.is_nan() { a } else { b };
    /// The smaller of a and b; NaN if either is.
    Min |a, b: V| Accuracy::EXACT, a.nan_or(a.min(b)), if a < b || a.is_nan() { a } else { b };
    /// 1 where a > b, else 0.
    Greater |a, b: V| Accuracy::EXACT, a.if_gt(b, V::one(), V::zero()),
        if a > b { 1.0 } else { 0.0 };
    /// 1 where a >= b, else 0.
    GreaterEqual |a, b: V| Accuracy::EXACT, V::select(b.le(a), V::one(), V::zero()),
        if a >= b { 1.0 } else { 0.0 };
    /// 1 where a == b, else 0.
    Equal |a, b: V| Accuracy::EXACT, V::select(a.eq(b), V::one(), V::zero()),
        if a == b { 1.0 } else { 0.0 };
    /// max(a, b a): the leaky relu of a with slope b <= 1.
    LeakyRelu |a, b: V| Accuracy::EXACT, a.if_gt(V::zero(), a, a * b),
        if a > 0.0 { a } else { a * b };
    /// b where a > 0, else 0: the gradient of relu from its result (or argument) a, times b.
    ReluGradient |a, b: V| Accuracy::EXACT, a.if_gt(V::zero(), b, V::zero()),
        if a > 0.0 { b } else { 0.0 };
    /// b (1 - a^2): the gradient of tanh from its result a, times b.
    TanhGradient |a, b: V| Accuracy::ulps(2.0), b * ((V::one() - a) * (V::one() + a)),
        b * ((1.0 - a) * (1.0 + a));
    /// b a (1 - a): the gradient of the logistic function from its result a, times b.
    SigmoidGradient |a, b: V| Accuracy::ulps(2.0), b * (a * (V::one() - a)), b * (a * (1.0 - a));
    /// b 2 a: the gradient of the square of a, times b.
    SquareGradient |a, b: V| Accuracy::EXACT, b * (a + a), b * (a + a);
}
