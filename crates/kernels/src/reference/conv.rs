//! The convolution family as it is defined: one loop over every product, sums in f64.

use super::gemm::activate;
use crate::conv::Conv2d;
use crate::gemm::Epilogue;

/// Calls `f(x index, w index, y index)` for every product of a convolution.
fn products(g: &Conv2d, mut f: impl FnMut(usize, usize, usize)) {
    let (height, width) = (g.out_height(), g.out_width());
    for n in 0..g.batch {
        for i in 0..height {
            for j in 0..width {
                for (r, c) in g.taps.iter() {
                    let (top, left) = (g.padding.top, g.padding.left);
                    let row = Conv2d::source(i, r, g.stride[0], g.dilation[0], top, g.in_height);
                    let col = Conv2d::source(j, c, g.stride[1], g.dilation[1], left, g.in_width);
                    let (Some(row), Some(col)) = (row, col) else {
                        continue;
                    };
                    for k in 0..g.in_channels {
                        let x = ((n * g.in_height + row) * g.in_width + col) * g.in_channels + k;
                        let w = ((r * g.kernel[1] + c) * g.in_channels + k) * g.out_channels;
                        let y = ((n * height + i) * width + j) * g.out_channels;
                        for o in 0..g.out_channels {
                            f(x, w + o, y + o);
                        }
                    }
                }
            }
        }
    }
}

/// act(x * w + bias + plus) in f64; the naive twin of [`crate::conv::forward`].
pub fn conv_forward<T: Copy + Into<f64>>(
    g: &Conv2d,
    x: &[T],
    w: &[T],
    plus: Option<&[T]>,
    epilogue: Epilogue<T>,
) -> Vec<f64> {
    let mut out = plus.map_or(vec![0.0; g.y_len()], |plus| {
        plus.iter().map(|&plus| plus.into()).collect()
    });
    products(g, |i, j, k| out[k] += x[i].into() * w[j].into());
    for row in out.chunks_exact_mut(g.out_channels.max(1)) {
        for (o, y) in row.iter_mut().enumerate() {
            let bias = epilogue.bias.map_or(0.0, |bias| bias[o].into());
            *y = activate(epilogue.activation, *y + bias);
        }
    }
    out
}

/// The gradient by x in f64; the naive twin of [`crate::conv::input_gradient`].
pub fn conv_input_gradient<T: Copy + Into<f64>>(g: &Conv2d, gy: &[T], w: &[T]) -> Vec<f64> {
    let mut out = vec![0.0; g.x_len()];
    products(g, |i, j, k| out[i] += gy[k].into() * w[j].into());
    out
}

/// The gradient by w in f64; the naive twin of [`crate::conv::weight_gradient`].
pub fn conv_weight_gradient<T: Copy + Into<f64>>(g: &Conv2d, x: &[T], gy: &[T]) -> Vec<f64> {
    let mut out = vec![0.0; g.w_len()];
    products(g, |i, j, k| out[j] += x[i].into() * gy[k].into());
    out
}
