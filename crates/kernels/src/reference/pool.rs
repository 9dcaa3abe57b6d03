//! Pooling as it is defined: one loop over every pixel of every window, in f64.

use crate::conv::Conv2d;
use crate::reduce::Pool2d;

/// For every element of the output: its index, and the (tap, x index) of every pixel of its window
/// that lies on the image.
pub fn windows(g: &Pool2d, mut f: impl FnMut(usize, &[(usize, usize)])) {
    let mut y = 0;
    for n in 0..g.batch {
        for i in 0..g.out_height() {
            for j in 0..g.out_width() {
                for channel in 0..g.channels {
                    let mut seen = Vec::new();
                    for r in 0..g.kernel[0] {
                        for c in 0..g.kernel[1] {
                            let row =
                                Conv2d::source(i, r, g.stride[0], 1, g.padding.top, g.in_height);
                            let column =
                                Conv2d::source(j, c, g.stride[1], 1, g.padding.left, g.in_width);
                            if let (Some(row), Some(column)) = (row, column) {
                                let pixel = (n * g.in_height + row) * g.in_width + column;
                                let tap = r * g.kernel[1] + c;
                                seen.push((tap, pixel * g.channels + channel));
                            }
                        }
                    }
                    f(y, &seen);
                    y += 1;
                }
            }
        }
    }
}

/// The largest number of each window and the first tap it is on; the naive twin of
/// [`crate::reduce::max_pool`].
pub fn max_pool(g: &Pool2d, x: &[f64]) -> (Vec<f64>, Vec<usize>) {
    let (mut y, mut taps) = (vec![0.0; g.y_len()], vec![0; g.y_len()]);
    windows(g, |out, seen| {
        let mut best = seen[0];
        for &one in &seen[1..] {
            if x[one.1] > x[best.1] {
                best = one;
            }
        }
        (taps[out], y[out]) = (best.0, x[best.1]);
    });
    (y, taps)
}

/// gy at the taps; the naive twin of [`crate::reduce::place_taps`].
pub fn place_taps(g: &Pool2d, gy: &[f64], taps: &[usize]) -> Vec<f64> {
    let mut gx = vec![0.0; g.x_len()];
    windows(g, |out, seen| {
        for (tap, x) in seen {
            gx[*x] += if taps[out] == *tap { gy[out] } else { 0.0 };
        }
    });
    gx
}

/// x at the taps; the naive twin of [`crate::reduce::pick_taps`].
pub fn pick_taps(g: &Pool2d, x: &[f64], taps: &[usize]) -> Vec<f64> {
    let mut y = vec![0.0; g.y_len()];
    windows(g, |out, seen| {
        let chosen = seen.iter().find(|(tap, _)| *tap == taps[out]);
        y[out] = chosen.map_or(0.0, |(_, at)| x[*at]);
    });
    y
}

/// The mean of each window; the naive twin of [`crate::reduce::average_pool`].
pub fn average_pool(g: &Pool2d, x: &[f64]) -> Vec<f64> {
    let taps = (g.kernel[0] * g.kernel[1]) as f64;
    let mut y = vec![0.0; g.y_len()];
    windows(g, |out, seen| {
        y[out] = seen.iter().map(|(_, at)| x[*at]).sum::<f64>() / taps;
    });
    y
}

/// The mean's gradient; the naive twin of [`crate::reduce::average_pool_gradient`].
pub fn average_pool_gradient(g: &Pool2d, gy: &[f64]) -> Vec<f64> {
    let taps = (g.kernel[0] * g.kernel[1]) as f64;
    let mut gx = vec![0.0; g.x_len()];
    windows(g, |out, seen| {
        for (_, x) in seen {
            gx[*x] += gy[out] / taps;
        }
    });
    gx
}
