//! The matrix product, with transposes as flags so that its derivatives are matrix products of
//! the same operands.

use super::Entry;
use super::sample::{sample, uniform};
use crate::{Element, MAX_RANK, Op, Saves, Shape, Tensor, Var, Vjp};
use kernels::gemm::{Beta, Epilogue, Mat, gemm};

pub(super) const MATMUL: Entry = Entry {
    name: "matmul",
    formula: "a b, either transposed; batched; [.., k] x [k, n]",
    samples: || {
        vec![
            sample!(
                "plain",
                [uniform([2, 3], -1.0, 1.0), uniform([3, 4], -1.0, 1.0)],
                |x| { x[0].matmul(&x[1]) }
            ),
            sample!(
                "a transposed",
                [uniform([3, 2], -1.0, 1.0), uniform([3, 4], -1.0, 1.0)],
                |x| { x[0].matmul_with(&x[1], true, false) }
            ),
            sample!(
                "b transposed",
                [uniform([2, 3], -1.0, 1.0), uniform([4, 3], -1.0, 1.0)],
                |x| { x[0].matmul_with(&x[1], false, true) }
            ),
            sample!(
                "both transposed",
                [uniform([3, 2], -1.0, 1.0), uniform([4, 3], -1.0, 1.0)],
                |x| { x[0].matmul_with(&x[1], true, true) }
            ),
            sample!(
                "batched",
                [uniform([2, 2, 3], -1.0, 1.0), uniform([2, 3, 2], -1.0, 1.0)],
                |x| { x[0].matmul(&x[1]) }
            ),
            sample!(
                "batched, both transposed",
                [uniform([2, 3, 2], -1.0, 1.0), uniform([2, 4, 3], -1.0, 1.0)],
                |x| x[0].matmul_with(&x[1], true, true)
            ),
            sample!(
                "leading axes flattened",
                [uniform([2, 2, 3], -1.0, 1.0), uniform([4, 3], -1.0, 1.0)],
                |x| x[0].matmul_with(&x[1], false, true)
            ),
        ]
    },
};

#[derive(Clone, Copy)]
struct MatMul {
    transpose_a: bool,
    transpose_b: bool,
}

/// The sizes of a product: `batch` times [m, k] x [k, n], and the shape of all results.
struct Sizes {
    batch: usize,
    m: usize,
    k: usize,
    n: usize,
    out: Shape,
}

impl MatMul {
    #[track_caller]
    fn sizes(&self, a: &Shape, b: &Shape) -> Sizes {
        // Not in a closure: that would be the place the panic points at.
        let Some(sizes) = self.try_sizes(a, b) else {
            let t = |transposed| if transposed { " transposed" } else { "" };
            panic!(
                "matmul: {a}{} x {b}{}",
                t(self.transpose_a),
                t(self.transpose_b)
            )
        };
        sizes
    }

    fn try_sizes(&self, a: &Shape, b: &Shape) -> Option<Sizes> {
        let (a_rank, b_rank) = (a.rank(), b.rank());
        if a_rank < 2 || b_rank < 2 {
            return None;
        }
        let swap = |(rows, cols), transposed| {
            if transposed {
                (cols, rows)
            } else {
                (rows, cols)
            }
        };
        let (k_of_b, n) = swap((b[b_rank - 2], b[b_rank - 1]), self.transpose_b);
        let mut out = [0; MAX_RANK];
        out[..a_rank].copy_from_slice(a);
        out[a_rank - 1] = n;
        let (batch, m, k) = if b_rank == 2 && !self.transpose_a {
            (1, a[..a_rank - 1].iter().product(), a[a_rank - 1])
        } else {
            if a[..a_rank - 2] != b[..b_rank - 2] {
                return None;
            }
            let (m, k) = swap((a[a_rank - 2], a[a_rank - 1]), self.transpose_a);
            out[a_rank - 2] = m;
            (a[..a_rank - 2].iter().product(), m, k)
        };
        let out = Shape::new(&out[..a_rank]);
        (k == k_of_b).then_some(Sizes {
            batch,
            m,
            k,
            n,
            out,
        })
    }
}

/// A row-major matrix of `rows` x `cols`, or the transpose of one of `cols` x `rows`.
pub(super) fn mat<T>(data: &[T], rows: usize, cols: usize, transposed: bool) -> Mat<'_, T> {
    if transposed {
        Mat::new(data, cols, rows).t()
    } else {
        Mat::new(data, rows, cols)
    }
}

/// All axes but the last as one: [.., n] as [rows, n].
pub(super) fn rows_of<T: Element>(x: &Var<T>) -> Var<T> {
    let columns = x.shape().last_extent();
    let rows: usize = x.shape()[..x.shape().rank() - 1].iter().product();
    x.reshape([rows, columns])
}

impl<T: Element> Op<T> for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }
    fn saves(&self) -> Saves {
        Saves::INPUTS
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let Sizes {
            batch,
            m,
            k,
            n,
            out,
        } = self.sizes(x[0].shape(), x[1].shape());
        Tensor::build(out, |out| {
            for i in 0..batch {
                let a = &x[0].data()[i * m * k..][..m * k];
                let b = &x[1].data()[i * k * n..][..k * n];
                gemm(
                    mat(a, m, k, self.transpose_a),
                    mat(b, k, n, self.transpose_b),
                    Beta::Zero,
                    &mut out[i * m * n..][..m * n],
                    Epilogue::NONE,
                );
            }
        })
    }
    /// With C = A B: dA = g B^T and dB = A^T g; each is transposed as a whole where A or B is.
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        let (ta, tb) = (self.transpose_a, self.transpose_b);
        at.give(0, || {
            let b = at.input(1);
            if ta {
                b.matmul_with(&g, tb, true)
            } else {
                g.matmul_with(&b, false, !tb)
            }
        });
        at.give(1, || {
            let (mut a, mut g) = (at.input(0), g.clone());
            if at.input_shape(1).rank() == 2 && a.shape().rank() > 2 {
                (a, g) = (rows_of(&a), rows_of(&g));
            }
            if tb {
                g.matmul_with(&a, true, ta)
            } else {
                a.matmul_with(&g, !ta, false)
            }
        });
    }
}

impl<T: Element> Var<T> {
    /// self w, the matrix product.
    ///
    /// Shapes: `[m, k]` x `[k, n]`; `[.., m, k]` x `[.., k, n]` with equal leading axes, one
    /// product for each; `[.., k]` x `[k, n]`, every row by the same matrix.
    ///
    /// # Panics
    /// If the shapes are none of these.
    #[track_caller]
    pub fn matmul(&self, w: &Var<T>) -> Var<T> {
        self.matmul_with(w, false, false)
    }

    /// The matrix product with the last two axes of an operand exchanged where its flag is set.
    ///
    /// # Panics
    /// As [`matmul`](Self::matmul).
    #[track_caller]
    pub fn matmul_with(&self, w: &Var<T>, transpose_a: bool, transpose_b: bool) -> Var<T> {
        let op = MatMul {
            transpose_a,
            transpose_b,
        };
        Var::apply(op, &[self, w])
    }
}
