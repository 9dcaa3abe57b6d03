//! General matrix product: c = act(beta c + a b + bias).

#[cfg(target_arch = "x86_64")]
mod assembly;
mod block;
mod element;
mod fallback;
mod kernels;
mod layout;
mod operands;
mod pack;
mod plan;
mod small;
mod step;
mod strip;
mod tile;
mod types;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use types::{Activation, Beta, Epilogue, Mat};

pub use element::GemmElement;
pub(crate) use pack::{copy_rows, transpose};

use crate::buffer::Buffer;
use crate::flops;
use crate::simd::Isa;
use element::Operand;

/// Whether products on an instruction set are our own, not those of `matrixmultiply`.
pub(crate) fn has_own(isa: Isa) -> bool {
    kernels::Kernels::of(isa).is_some()
}

/// c = act(beta c + a b + bias), with c row-major and contiguous.
///
/// Shapes: a `[m, k]`, b `[k, n]`, c `[m, n]`, bias `[n]`. k = 0 leaves act(beta c + bias).
///
/// # Panics
/// If the inner dimensions differ, or a slice does not have the length its shape asks for.
#[track_caller]
pub fn gemm<T: GemmElement>(a: Mat<T>, b: Mat<T>, beta: Beta, c: &mut [T], epilogue: Epilogue<T>) {
    assert!(
        Some(c.len()) == a.rows.checked_mul(b.cols),
        "gemm: c has {} elements for a [{}, {}] x b [{}, {}]",
        c.len(),
        a.rows,
        a.cols,
        b.rows,
        b.cols
    );
    gemm_strided(a, b, beta, c, b.cols, epilogue);
}

/// [`gemm`] into a column block of a wider matrix: row i of c begins at `i * c_row_stride`.
///
/// # Panics
/// As [`gemm`]; and if rows of c would overlap (`c_row_stride < n`).
#[track_caller]
pub fn gemm_strided<T: GemmElement>(
    a: Mat<T>,
    b: Mat<T>,
    beta: Beta,
    c: &mut [T],
    c_row_stride: usize,
    epilogue: Epilogue<T>,
) {
    check(a, (b.rows, b.cols), c.len(), c_row_stride, epilogue);
    check_operand("b", b);
    flops::add(|| operations(a, b.cols));
    if a.rows > 0 && b.cols > 0 {
        T::product(a, Operand::Plain(b), beta, c, c_row_stride, epilogue);
    }
}

/// A right-hand operand arranged once for the machine and used in many products, as the weights
/// of a layer are within a step.
#[derive(Clone)]
pub struct PackedB<T: GemmElement> {
    data: Buffer<T>,
    /// What it was packed for, and what products with it run on.
    isa: Isa,
    k: usize,
    n: usize,
}

impl<T: GemmElement> PackedB<T> {
    /// Packs b `[k, n]`.
    ///
    /// # Panics
    /// If the slice of b is shorter than its shape and strides ask for.
    #[track_caller]
    pub fn new(b: Mat<T>) -> Self {
        check_operand("b", b);
        let isa = Isa::current();
        PackedB {
            data: T::pack(isa, b),
            isa,
            k: b.rows,
            n: b.cols,
        }
    }

    /// The inner dimension.
    pub fn rows(&self) -> usize {
        self.k
    }

    /// How many columns a product with it has.
    pub fn cols(&self) -> usize {
        self.n
    }
}

/// [`gemm_strided`] with a packed right-hand operand: the same numbers, bit for bit.
///
/// # Panics
/// As [`gemm_strided`].
#[track_caller]
pub fn gemm_packed<T: GemmElement>(
    a: Mat<T>,
    b: &PackedB<T>,
    beta: Beta,
    c: &mut [T],
    c_row_stride: usize,
    epilogue: Epilogue<T>,
) {
    check(a, (b.k, b.n), c.len(), c_row_stride, epilogue);
    flops::add(|| operations(a, b.n));
    if a.rows > 0 && b.n > 0 {
        T::product(a, Operand::Packed(b), beta, c, c_row_stride, epilogue);
    }
}

/// Two for each multiply-add.
fn operations<T>(a: Mat<T>, n: usize) -> u64 {
    2 * a.rows as u64 * a.cols as u64 * n as u64
}

#[track_caller]
fn check<T>(
    a: Mat<T>,
    (b_rows, n): (usize, usize),
    c_len: usize,
    c_row_stride: usize,
    epilogue: Epilogue<T>,
) {
    let (m, k) = (a.rows, a.cols);
    assert!(
        k == b_rows,
        "gemm: inner dimensions differ: a [{m}, {k}] x b [{b_rows}, {n}]"
    );
    check_operand("a", a);
    assert!(
        m < 2 || c_row_stride >= n,
        "gemm: rows of c overlap: row stride {c_row_stride} for [{m}, {n}]"
    );
    let c = Mat::<T>::with_strides(&[], m, n, c_row_stride, 1);
    assert!(
        c.span().is_some_and(|span| span <= c_len),
        "gemm: c has {c_len} elements, too few for [{m}, {n}] with row stride {c_row_stride}"
    );
    if let Some(bias) = epilogue.bias {
        assert!(
            bias.len() == n,
            "gemm: bias has {} elements for c [{m}, {n}]",
            bias.len()
        );
    }
}

#[track_caller]
fn check_operand<T>(name: &str, x: Mat<T>) {
    assert!(
        x.span().is_some_and(|span| span <= x.data.len()),
        "gemm: {name} has {} elements, too few for [{}, {}] with strides ({}, {})",
        x.data.len(),
        x.rows,
        x.cols,
        x.row_stride,
        x.col_stride
    );
}
