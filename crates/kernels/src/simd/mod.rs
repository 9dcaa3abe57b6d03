//! Instruction sets and, for kernels written once for all of them, the vector trait.

mod isa;

pub use isa::{Isa, IsaError, IsaKind};
