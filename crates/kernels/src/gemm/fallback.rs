//! The product by `matrixmultiply`, with the epilogue as a second pass over c.

use super::element::{GemmElement, Operand};
use super::{Activation, Beta, Epilogue, Mat};
use crate::buffer::Buffer;
use std::ops::{Add, Mul};

/// What `matrixmultiply` offers for a number type.
pub(super) trait Fallback:
    Copy + PartialOrd + Default + Add<Output = Self> + Mul<Output = Self>
{
    /// One.
    const ONE: Self;

    /// The number as this type.
    fn from_f32(x: f32) -> Self;

    /// c = beta c + a b.
    ///
    /// # Safety
    /// Every element of the three matrices, given by shape and strides, lies in memory that may
    /// be read, and for c written; c overlaps neither operand.
    unsafe fn product(a: Mat<Self>, b: Mat<Self>, beta: Self, c: *mut Self, c_row_stride: isize);
}

macro_rules! fallback {
    ($t:ty, $gemm:path) => {
        impl Fallback for $t {
            const ONE: Self = 1.0;
            fn from_f32(x: f32) -> Self {
                x.into()
            }
            unsafe fn product(
                a: Mat<Self>,
                b: Mat<Self>,
                beta: Self,
                c: *mut Self,
                c_row_stride: isize,
            ) {
                // SAFETY: the caller vouches for the three matrices.
                unsafe {
                    $gemm(
                        a.rows,
                        a.cols,
                        b.cols,
                        1.0,
                        a.data.as_ptr(),
                        a.row_stride as isize,
                        a.col_stride as isize,
                        b.data.as_ptr(),
                        b.row_stride as isize,
                        b.col_stride as isize,
                        beta,
                        c,
                        c_row_stride,
                        1,
                    )
                }
            }
        }
    };
}
fallback!(f32, matrixmultiply::sgemm);
fallback!(f64, matrixmultiply::dgemm);

/// b, contiguous and row-major: all the packing there is to do here.
pub(super) fn pack<T: GemmElement>(b: Mat<T>) -> Buffer<T> {
    let mut to = Buffer::recycled(b.rows * b.cols);
    for (p, row) in to.chunks_exact_mut(b.cols.max(1)).enumerate() {
        for (j, to) in row.iter_mut().enumerate() {
            *to = b.data[p * b.row_stride + j * b.col_stride];
        }
    }
    to
}

/// The operand as a matrix, which a result of [`pack`] is.
pub(super) fn plain<'a, T: GemmElement>(b: Operand<'a, T>) -> Mat<'a, T> {
    match b {
        Operand::Plain(b) => b,
        Operand::Packed(b) => Mat::new(&b.data, b.k, b.n),
    }
}

/// c = act(beta c + a b + bias); the shapes have been checked against the slices.
pub(super) fn gemm<T: Fallback>(
    a: Mat<T>,
    b: Mat<T>,
    beta: Beta,
    c: &mut [T],
    c_row_stride: usize,
    epilogue: Epilogue<T>,
) {
    let factor = match beta {
        Beta::Zero => T::default(),
        Beta::One => T::ONE,
    };
    // SAFETY: `gemm_strided` has checked that the slices hold every element the shapes and strides
    // reach, and `c` is borrowed uniquely.
    unsafe { T::product(a, b, factor, c.as_mut_ptr(), c_row_stride as isize) };
    finish(c, c_row_stride, (a.rows, b.cols), epilogue);
}

/// c = act(c + bias) as a pass of its own.
pub(super) fn finish<T: Fallback>(
    c: &mut [T],
    c_row_stride: usize,
    (m, n): (usize, usize),
    epilogue: Epilogue<T>,
) {
    let zero = T::default();
    for i in 0..m {
        let row = &mut c[i * c_row_stride..][..n];
        if let Some(bias) = epilogue.bias {
            for (y, &bias) in row.iter_mut().zip(bias) {
                *y = *y + bias;
            }
        }
        match epilogue.activation {
            Activation::Identity => {}
            Activation::Relu => {
                for y in row {
                    *y = if *y < zero { zero } else { *y };
                }
            }
            Activation::LeakyRelu(slope) => {
                let slope = T::from_f32(slope);
                for y in row {
                    *y = if *y < zero { *y * slope } else { *y };
                }
            }
        }
    }
}
