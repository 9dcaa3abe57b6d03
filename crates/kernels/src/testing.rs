//! What this crate's own tests set, each for one thread. Nobody else should.
//!
//! They are in `tests/`: as unit tests they would have every kernel compiled a second time.

pub use crate::cache::{Cache, with_caches};
pub use crate::conv::winograd::{Kind, always};

use crate::simd::Isa;

/// Whether products on this instruction set are our own.
pub fn has_own_products(isa: Isa) -> bool {
    crate::gemm::has_own(isa)
}
