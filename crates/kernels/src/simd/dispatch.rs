//! From an [`Isa`] token to the kernel body compiled for it.

use super::vector::{Registers, Vector};
use super::{Isa, IsaKind, portable::Portable};
use crate::element::Element;

/// A computation written once for every instruction set.
///
/// `run` must be `#[inline(always)]`, and so must whatever it calls with vectors: only what is
/// inlined into [`dispatch`]'s wrapper is compiled for the instruction set. Closures are not
/// reliably inlined; use functions.
pub trait Kernel<T: Element = f32> {
    /// What the computation returns.
    type Output;
    /// The body.
    fn run<V: Vector<Element = T>>(self) -> Self::Output;
}

/// Runs `kernel` compiled for `isa`. f64 has one body, the same on every instruction set.
#[inline]
pub fn dispatch<T: Element, K: Kernel<T>>(isa: Isa, kernel: K) -> K::Output {
    T::dispatch(isa, kernel)
}

/// One `#[target_feature]` wrapper an instruction set, and the `match` that picks.
macro_rules! wrappers {
    ($($arch:literal $Kind:ident $function:ident $V:path, $features:literal;)*) => {
        $(
            #[cfg(target_arch = $arch)]
            #[target_feature(enable = $features)]
            fn $function<K: Kernel<f32>>(kernel: K) -> K::Output {
                kernel.run::<$V>()
            }
        )*

        /// [`dispatch`] for f32.
        #[inline]
        pub(crate) fn dispatch_f32<K: Kernel<f32>>(isa: Isa, kernel: K) -> K::Output {
            match isa.kind() {
                $(
                    #[cfg(target_arch = $arch)]
                    // SAFETY: the token exists, so detection found exactly these features.
                    IsaKind::$Kind => unsafe { $function(kernel) },
                )*
                _ => kernel.run::<Portable>(),
            }
        }

        /// The registers for f32.
        #[inline]
        pub(crate) fn registers_f32(isa: Isa) -> Registers {
            match isa.kind() {
                $(
                    #[cfg(target_arch = $arch)]
                    IsaKind::$Kind => <$V>::REGISTERS,
                )*
                _ => Portable::REGISTERS,
            }
        }
    };
}

wrappers! {
    "x86_64" Avx512 avx512 super::avx512::Avx512, "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl";
    "x86_64" Avx2 avx2 super::avx2::Avx2, "avx2,fma";
    "aarch64" Neon neon super::neon::Neon, "neon";
}
