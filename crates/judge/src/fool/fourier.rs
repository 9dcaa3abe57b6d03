//! Pixels by their frequencies.
//!
//! C. Olah et al. 2017, "Feature Visualization": steps along frequencies scaled by 1 / f treat
//! coarse and fine structure alike, where steps along pixels favour the finest.

use grad::{Tensor, Var};

/// The orthonormal real Fourier basis of n points, one function in each column of n numbers, and
/// the frequency of each.
fn basis(n: usize) -> (Tensor<f32>, Vec<f64>) {
    let frequency = |k: usize| k.div_ceil(2);
    let value = |i: usize, k: usize| {
        let angle = std::f64::consts::TAU * (frequency(k) * i) as f64 / n as f64;
        let alone = k == 0 || 2 * frequency(k) == n;
        let scale = if alone { 1.0 } else { 2f64.sqrt() } / (n as f64).sqrt();
        let wave = if k.is_multiple_of(2) && k > 0 {
            angle.sin()
        } else {
            angle.cos()
        };
        (scale * wave) as f32
    };
    let columns = Tensor::from_fn([n, n], |at| value(at / n, at % n));
    (columns, (0..n).map(|k| frequency(k) as f64).collect())
}

/// Pictures as sums of waves.
pub(super) struct Waves {
    rows: Var<f32>,
    columns: Var<f32>,
    /// What a coefficient counts, `[H, W, 1]`.
    scale: Var<f32>,
}

impl Waves {
    pub(super) fn new(height: usize, width: usize) -> Waves {
        let (rows, down) = basis(height);
        let (columns, along) = basis(width);
        let scale = Tensor::from_fn([height, width, 1], |i| {
            let f = down[i / width].hypot(along[i % width]);
            // The mean counts like the first wave.
            (1.0 / f.max(1.0)) as f32
        });
        Waves {
            rows: Var::constant(rows),
            columns: Var::constant(columns),
            scale: Var::constant(scale),
        }
    }

    /// Pictures `[N, H, W, C]` in (0, 1) of coefficients of that shape.
    pub(super) fn pictures(&self, coefficients: &Var<f32>) -> Var<f32> {
        let [n, h, w, c] = coefficients.shape()[..] else {
            panic!(
                "waves: expected [N, H, W, C], found {}",
                coefficients.shape()
            )
        };
        let x = coefficients * &self.scale;
        // [N, H, C, W] times the columns, then [N, W, C, H] times the rows.
        let x = x.permute(&[0, 1, 3, 2]).reshape([n * h * c, w]);
        let x = x
            .matmul_with(&self.columns, false, true)
            .reshape([n, h, c, w]);
        let x = x.permute(&[0, 3, 2, 1]).reshape([n * w * c, h]);
        let x = x.matmul_with(&self.rows, false, true).reshape([n, w, c, h]);
        // A wave of amplitude 1 a pixel.
        let size = ((h * w) as f64).sqrt();
        (x.permute(&[0, 3, 1, 2]) * size).sigmoid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_basis_is_orthonormal() {
        for n in [1, 2, 5, 8, 28] {
            let (b, _) = basis(n);
            let b = Var::constant(b);
            let products = b.matmul_with(&b, true, false);
            for (i, x) in products.value().data().iter().enumerate() {
                let expected = f32::from(u8::from(i % (n + 1) == 0));
                assert!((x - expected).abs() < 1e-5, "{n}: {i} {x}");
            }
        }
    }

    #[test]
    fn the_first_coefficient_is_the_level_of_all_pixels() {
        let waves = Waves::new(4, 6);
        let mut c = Tensor::zeros([1, 4, 6, 2]);
        c.make_mut()[0] = 2.0;
        let x = waves.pictures(&Var::constant(c));
        let s = 1.0 / (1.0 + (-2f32).exp());
        for pixel in x.value().data().chunks_exact(2) {
            assert!((pixel[0] - s).abs() < 1e-5 && pixel[1] == 0.5);
        }
    }
}
