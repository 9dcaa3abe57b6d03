//! The product as it is defined: three loops, sums in f64.

use crate::gemm::{Activation, Beta, Epilogue, Mat};

/// act(beta c + a b + bias) in f64, row-major `[m, n]`; the naive twin of [`crate::gemm::gemm`].
///
/// `c` is row-major and contiguous, and is not looked at for [`Beta::Zero`].
pub fn gemm<T: Copy + Into<f64>>(
    a: Mat<T>,
    b: Mat<T>,
    beta: Beta,
    c: &[T],
    epilogue: Epilogue<T>,
) -> Vec<f64> {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    let mut out = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            let mut sum = match beta {
                Beta::Zero => 0.0,
                Beta::One => c[i * n + j].into(),
            };
            for p in 0..k {
                let x: f64 = a.data[i * a.row_stride + p * a.col_stride].into();
                let y: f64 = b.data[p * b.row_stride + j * b.col_stride].into();
                sum += x * y;
            }
            sum += epilogue.bias.map_or(0.0, |bias| bias[j].into());
            out.push(activate(epilogue.activation, sum));
        }
    }
    out
}

/// The activation of one number.
pub(super) fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu if x < 0.0 => 0.0,
        Activation::LeakyRelu(slope) if x < 0.0 => f64::from(slope) * x,
        Activation::Relu | Activation::LeakyRelu(_) => x,
    }
}
