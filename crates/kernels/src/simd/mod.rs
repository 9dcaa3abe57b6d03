//! Instruction sets and, for kernels written once for all of them, the vector trait.
//!
//! A kernel implements [`Kernel`] with a body generic over [`Vector`]; [`dispatch`] compiles it
//! once per instruction set and runs the one an [`Isa`] token stands for.

mod dispatch;
mod double;
mod isa;
mod pair;
mod portable;
mod prefetch;
mod row;
mod unroll;
mod vector;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub use dispatch::{Kernel, dispatch};
pub(crate) use dispatch::{dispatch_f32, registers_f32};
pub(crate) use double::Double;
pub use isa::{Isa, IsaError, IsaKind};
pub(crate) use prefetch::{prefetch, prefetch_l2};
pub(crate) use row::{load_row, mul_add_row, store_row};
pub(crate) use unroll::{opaque, unroll};
pub use vector::{Registers, Vector, VectorF32};
