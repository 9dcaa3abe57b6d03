//! Which product runs for which number type on which instruction set.

use super::block::{self, Product, Rhs};
use super::kernels::Kernels;
use super::{Beta, Epilogue, Mat, PackedB, fallback, plan};
use crate::buffer::{Buffer, Plain};
use crate::simd::Isa;

/// The right-hand operand of a product.
#[derive(Clone, Copy)]
pub enum Operand<'a, T: GemmElement> {
    /// As it lies in memory.
    Plain(Mat<'a, T>),
    /// Packed before.
    Packed(&'a PackedB<T>),
}

/// What the crate must know of a number type; nobody outside implements it.
pub trait Multiply: Plain {
    /// b in the order in which products on `isa` read it.
    fn pack(isa: Isa, b: Mat<Self>) -> Buffer<Self>
    where
        Self: GemmElement;

    /// c = act(beta c + a b + bias), with everything checked against the slices.
    fn product(
        a: Mat<Self>,
        b: Operand<Self>,
        beta: Beta,
        c: &mut [Self],
        c_row_stride: usize,
        epilogue: Epilogue<Self>,
    ) where
        Self: GemmElement;
}

/// The number types a product exists for: `f32` and `f64`.
///
/// f32 has microkernels of its own for AVX-512 and AVX2; elsewhere, and for f64, the product is
/// that of `matrixmultiply`.
pub trait GemmElement: Multiply + std::fmt::Debug {}
impl GemmElement for f32 {}
impl GemmElement for f64 {}

impl Multiply for f32 {
    fn pack(isa: Isa, b: Mat<f32>) -> Buffer<f32> {
        let Some(kernels) = Kernels::of(isa).map(|own| own.for_columns(b.cols)) else {
            return fallback::pack(b);
        };
        let mut to = Buffer::recycled(block::packed_len(kernels, b.rows, b.cols));
        block::pack_all(kernels, b, &mut to);
        to
    }

    fn product(
        mut a: Mat<f32>,
        b: Operand<f32>,
        beta: Beta,
        c: &mut [f32],
        c_row_stride: usize,
        epilogue: Epilogue<f32>,
    ) {
        let isa = match b {
            Operand::Plain(_) => Isa::current(),
            Operand::Packed(b) => b.isa,
        };
        let Some(own) = Kernels::of(isa) else {
            return fallback::gemm(a, fallback::plain(b), beta, c, c_row_stride, epilogue);
        };
        let kernels = match b {
            Operand::Packed(b) => own.for_columns(b.n),
            Operand::Plain(b) => own.for_product(a.rows, b.cols),
        };
        // The stride of a single row or column is never walked along.
        if a.rows == 1 {
            a.row_stride = 1;
        } else if a.cols == 1 {
            a.col_stride = 1;
        }
        let b = match b {
            Operand::Packed(b) => Rhs::Packed(&b.data, b.n),
            Operand::Plain(mut b) => {
                if b.cols == 1 {
                    b.col_stride = 1;
                }
                Rhs::Plain(b)
            }
        };
        let product = Product {
            kernels,
            a,
            b,
            c: std::ptr::null_mut(),
            c_row_stride,
            accumulate: beta == Beta::One,
            epilogue,
        };
        plan::run(product, c);
    }
}

impl Multiply for f64 {
    fn pack(_: Isa, b: Mat<f64>) -> Buffer<f64> {
        fallback::pack(b)
    }

    fn product(
        a: Mat<f64>,
        b: Operand<f64>,
        beta: Beta,
        c: &mut [f64],
        c_row_stride: usize,
        epilogue: Epilogue<f64>,
    ) {
        fallback::gemm(a, fallback::plain(b), beta, c, c_row_stride, epilogue);
    }
}
