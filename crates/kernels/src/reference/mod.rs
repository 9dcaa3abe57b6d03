//! Naive twins of the kernels: loops as in the definition, sums in f64. The oracle of every test.

mod gemm;

pub use gemm::gemm;
