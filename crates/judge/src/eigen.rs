//! Eigenvalues and eigenvectors of symmetric matrices.

/// The eigenvalues of a symmetric matrix and its eigenvectors, one in each row, in no order. Cyclic Jacobi rotations (G. H. Golub and C. F. Van Loan, Matrix Computations,
/// section 8.5), until what is off the diagonal is rounding.
pub(crate) fn symmetric(matrix: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    assert_eq!(matrix.len(), n * n, "eigen: a square matrix");
    let mut a = matrix.to_vec();
    let mut v = vec![0.0; n * n];
    for i in 0..n {
        v[i * n + i] = 1.0;
    }
    let whole: f64 = a.iter().map(|x| x * x).sum();
    for _ in 0..60 {
        let off: f64 = (0..n)
            .map(|i| (0..i).map(|j| a[i * n + j].powi(2)).sum::<f64>())
            .sum();
        if off <= 1e-30 * whole {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, n, p, q);
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), v)
}

/// Makes a[p][q] zero by a rotation in the plane of p and q; the rows of `v` follow.
fn rotate(a: &mut [f64], v: &mut [f64], n: usize, p: usize, q: usize) {
    let apq = a[p * n + q];
    if apq == 0.0 {
        return;
    }
    let tau = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
    let t = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
    let t = if tau == 0.0 { 1.0 } else { t };
    let c = 1.0 / (1.0 + t * t).sqrt();
    let s = t * c;
    // Columns, then rows: contiguous where it matters most.
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        a[k * n + p] = c * x - s * y;
        a[k * n + q] = s * x + c * y;
    }
    for matrix in [&mut *a, &mut *v] {
        let (head, tail) = matrix.split_at_mut(q * n);
        let (rows_p, rows_q) = (&mut head[p * n..(p + 1) * n], &mut tail[..n]);
        for (x, y) in rows_p.iter_mut().zip(rows_q) {
            (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
        }
    }
}

/// The square root of a symmetric matrix without negative eigenvalues, row by row; those that
/// rounding has made negative count as 0.
pub(crate) fn square_root(matrix: &[f64], n: usize) -> Vec<f64> {
    let (values, vectors) = symmetric(matrix, n);
    let mut root = vec![0.0; n * n];
    for (value, vector) in values.iter().zip(vectors.chunks_exact(n.max(1))) {
        let scale = value.max(0.0).sqrt();
        if scale == 0.0 {
            continue;
        }
        for (i, row) in root.chunks_exact_mut(n).enumerate() {
            let factor = scale * vector[i];
            for (x, v) in row.iter_mut().zip(vector) {
                *x += factor * v;
            }
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::random::{normal_tensor, stream};

    #[test]
    fn the_matrix_comes_back_from_its_parts_and_from_its_root() {
        let n = 30;
        let b = normal_tensor::<f64>([n, n], &mut stream(&[3]));
        let b = b.data();
        let product = |a: &[f64], b: &[f64]| -> Vec<f64> {
            let at = |i: usize| (0..n).map(|k| a[i / n * n + k] * b[k * n + i % n]).sum();
            (0..n * n).map(at).collect()
        };
        let transposed: Vec<f64> = (0..n * n).map(|i| b[i % n * n + i / n]).collect();
        let a = product(b, &transposed);
        let root = square_root(&a, n);
        for (found, expected) in product(&root, &root).iter().zip(&a) {
            assert!(
                (found - expected).abs() < 1e-10 * 60.0,
                "{found} {expected}"
            );
        }
        let (values, vectors) = symmetric(&a, n);
        for (value, v) in values.iter().zip(vectors.chunks_exact(n)) {
            for (i, row) in a.chunks_exact(n).enumerate() {
                let av: f64 = row.iter().zip(v).map(|(a, v)| a * v).sum();
                assert!((av - value * v[i]).abs() < 1e-10 * 60.0);
            }
        }
    }
}
