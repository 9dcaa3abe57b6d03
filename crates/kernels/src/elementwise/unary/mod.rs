//! Functions of one variable: one file (or entry of `simple`) each, and the table.

mod exp;
mod gelu;
mod log;
mod sigmoid;
mod simple;
mod softplus;
mod tanh;

pub use exp::Exp;
pub(crate) use exp::Parts as ExpParts;
pub use gelu::{Gelu, GeluDerivative, GeluSecondDerivative, NormalCdf};
pub use log::{Log, Log1p};
pub use sigmoid::Sigmoid;
pub use simple::{Abs, Neg, Recip, Relu, Sign, Sqrt, Square, Step};
pub use softplus::Softplus;
pub use tanh::Tanh;

use super::{Accuracy, Lanewise, lanewise};
use crate::element::Element;
use crate::simd::{Vector, VectorF32};

/// A function of one variable.
pub trait UnaryKernel: Copy + Send + Sync + 'static {
    /// What the f32 body promises against the reference, on every instruction set.
    const ACCURACY: Accuracy;
    /// The f32 body; must be `#[inline(always)]`.
    fn vector<V: VectorF32>(self, x: V) -> V;
    /// The body for vectors side by side.
    #[inline(always)]
    fn vectors<V: VectorF32, const N: usize>(self, mut x: [V; N]) -> [V; N] {
        for x in &mut x {
            *x = self.vector(*x);
        }
        x
    }
    /// The function in f64: what `vector` is tested against, and what f64 tensors get.
    fn reference(self, x: f64) -> f64;
}

/// Adapter: a function of one variable as a [`Lanewise`] computation.
#[derive(Clone, Copy)]
struct Map<F>(F);

impl<F: UnaryKernel> Lanewise<1, 1> for Map<F> {
    #[inline(always)]
    fn apply<V: Vector>(self, _: [V; 1], [x]: [V; 1]) -> [V; 1] {
        [x.apply(self.0)]
    }
}

impl<F: UnaryKernel> Lanewise<1, 0> for Map<F> {
    #[inline(always)]
    fn apply<V: Vector>(self, [x]: [V; 1], _: [V; 0]) -> [V; 1] {
        [x.apply(self.0)]
    }
}

macro_rules! table {
    ($($Name:ident)*) => {
        /// The table of functions of one variable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Unary {
            $(#[doc = concat!("See the kernel [`", stringify!($Name), "`](struct@", stringify!($Name), ").")] $Name,)*
        }

        impl Unary {
            /// Every function, for tests and documentation.
            pub const ALL: &[Unary] = &[$(Unary::$Name),*];

            /// The name of the kernel.
            pub const fn name(self) -> &'static str {
                match self { $(Unary::$Name => stringify!($Name),)* }
            }

            /// What the f32 kernel promises.
            pub const fn accuracy(self) -> Accuracy {
                match self { $(Unary::$Name => <$Name as UnaryKernel>::ACCURACY,)* }
            }

            /// The function in f64.
            pub fn reference(self, x: f64) -> f64 {
                match self { $(Unary::$Name => $Name.reference(x),)* }
            }

            #[track_caller]
            pub(crate) fn run<T: Element>(self, x: &[T], y: &mut [T]) {
                match self { $(Unary::$Name => lanewise(Map($Name), [y], [x]),)* }
            }

            pub(crate) fn run_in_place<T: Element>(self, x: &mut [T]) {
                match self { $(Unary::$Name => lanewise(Map($Name), [x], []),)* }
            }
        }
    };
}

table! {
    Neg Abs Square Sqrt Recip Sign Step Relu
    Exp Log Log1p
    Tanh Sigmoid Softplus
    Gelu GeluDerivative GeluSecondDerivative NormalCdf
}
