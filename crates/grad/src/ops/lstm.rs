//! LSTMs over pictures: rows, and diagonals in two directions.

use super::Entry;
use super::sample::{sample, uniform};
use crate::{Element, Op, Saves, Shape, Tensor, Var, Vjp};
use kernels::buffer::Buffer;
use kernels::elementwise;
use kernels::recurrent::{Backward, Forward, Lstm, Scan};
use std::cell::OnceCell;

pub(super) const ROW_LSTM: Entry = Entry {
    name: "row_lstm",
    formula: "an LSTM from row to row: gates x + sum over the three cells above of h w",
    samples: || {
        vec![sample!(
            "2 x 3 cells",
            [
                uniform([2, 2, 3, 8], -1.0, 1.0),
                uniform([3, 2, 8], -1.0, 1.0)
            ],
            |x| x[0].row_lstm(&x[1])
        )]
    },
};

pub(super) const DIAGONAL_BILSTM: Entry = Entry {
    name: "diagonal_bilstm",
    formula: "LSTMs from both upper corners along diagonals; the right one's h one row further down, added",
    samples: || {
        vec![sample!(
            "3 x 2 cells",
            [
                uniform([2, 3, 2, 4], -1.0, 1.0),
                uniform([2, 1, 4], -1.0, 1.0),
                uniform([2, 3, 2, 4], -2.0, 1.0),
                uniform([2, 1, 4], -2.0, 1.0)
            ],
            |x| Var::diagonal_bilstm([&x[0], &x[2]], [&x[1], &x[3]])
        )]
    },
};

/// Passes whose results are added, each a row further down than the one before. Inputs x and w
/// for every pass.
struct Scans<T: Element> {
    name: &'static str,
    scans: &'static [Scan],
    /// By pass: h, gates and states, for the backward pass.
    kept: OnceCell<Vec<[Buffer<T>; 3]>>,
}

impl<T: Element> Scans<T> {
    #[track_caller]
    fn sizes(&self, x: &Shape) -> Lstm {
        let [batch, height, width, gates] = x[..] else {
            panic!("{}: expected x [B, H, W, 4 C], found {x}", self.name)
        };
        assert!(
            gates.is_multiple_of(4),
            "{}: expected four gates on the last axis of {x}",
            self.name
        );
        Lstm {
            batch,
            height,
            width,
            channels: gates / 4,
        }
    }
}

impl<T: Element> Op<T> for Scans<T> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn saves(&self) -> Saves {
        Saves::INPUTS
    }
    #[track_caller]
    fn forward(&self, inputs: &[&Tensor<T>]) -> Tensor<T> {
        let l = self.sizes(inputs[0].shape());
        for (i, scan) in self.scans.iter().enumerate() {
            let (x, w) = (inputs[2 * i].shape(), inputs[2 * i + 1].shape());
            let expected = [scan.taps(), l.channels, 4 * l.channels];
            assert!(
                x == inputs[0].shape() && w[..] == expected,
                "{}: x {x} and w {w}, expected x {} and w {expected:?}",
                self.name,
                inputs[0].shape()
            );
        }
        let n = l.states_len();
        let room = || [n, 4 * n, n].map(Buffer::recycled);
        let mut kept: Vec<_> = self.scans.iter().map(|_| room()).collect();
        let mut passes: Vec<_> = (self.scans.iter().zip(&mut kept).zip(inputs.chunks_exact(2)))
            .map(|((&scan, [h, gates, states]), operands)| Forward {
                scan,
                x: operands[0].data(),
                w: operands[1].data(),
                h,
                gates,
                states,
            })
            .collect();
        l.forward(&mut passes);
        let shape = [l.batch, l.height, l.width, l.channels];
        let y = Tensor::build(Shape::new(&shape), |y| {
            y.copy_from_slice(&kept[0][0]);
            let (row, picture) = (l.width * l.channels, l.height * l.width * l.channels);
            for (down, [h, ..]) in kept.iter().enumerate().skip(1) {
                let start = (down * row).min(picture);
                let pictures = y.chunks_exact_mut(picture.max(1));
                for (y, h) in pictures.zip(h.chunks_exact(picture.max(1))) {
                    elementwise::add_assign(&mut y[start..], &h[..picture - start]);
                }
            }
        });
        let _ = self.kept.set(kept);
        y
    }
    fn vjp(&self, at: &Vjp<'_, T>, gy: Var<T>) {
        let l = self.sizes(&at.input_shape(0));
        if at.records() {
            for (pass, &scan) in self.scans.iter().enumerate() {
                let (x, w) = (at.input(2 * pass), at.input(2 * pass + 1));
                // What lies below the last row has no gradient.
                let inside = l.height.saturating_sub(pass);
                let gh = gy.slice(1, l.height - inside..l.height);
                let gh = gh.pad(1, 0, l.height - inside);
                let (gx, gw) = recorded(&l, scan, &x, &w, &gh);
                at.give(2 * pass, || gx);
                at.give(2 * pass + 1, || gw);
            }
            return;
        }
        let kept = self.kept.get().expect("set by the forward pass");
        let weights: Vec<_> = (0..self.scans.len())
            .map(|pass| at.input(2 * pass + 1).into_value())
            .collect();
        let mut gx: Vec<_> = (kept.iter())
            .map(|[_, gates, _]| Buffer::<T>::recycled(gates.len()))
            .collect();
        let mut passes: Vec<_> = (self.scans.iter().zip(kept).zip(&weights).zip(&mut gx))
            .enumerate()
            .map(
                |(rows_down, (((&scan, [_, gates, states]), w), gx))| Backward {
                    scan,
                    w: w.data(),
                    gates,
                    states,
                    gh: gy.value().data(),
                    rows_down,
                    gx,
                },
            )
            .collect();
        l.backward(&mut passes);
        for (pass, (gx, [h, ..])) in gx.into_iter().zip(kept).enumerate() {
            at.give(2 * pass + 1, || {
                Var::constant(Tensor::build(at.input_shape(2 * pass + 1), |gw| {
                    l.weight_gradient(self.scans[pass], h, &gx, gw)
                }))
            });
            at.give(2 * pass, || {
                Var::constant(Tensor::from_buffer(at.input_shape(2 * pass), gx))
            });
        }
    }
}

/// The gradients by x and w in ordinary operations, cell after cell.
fn recorded<T: Element>(
    l: &Lstm,
    scan: Scan,
    x: &Var<T>,
    w: &Var<T>,
    gh: &Var<T>,
) -> (Var<T>, Var<T>) {
    let (batch, height, width, n) = (l.batch, l.height, l.width, l.channels);
    let part = |x: &Var<T>, i: usize| x.slice(1, i * n..(i + 1) * n);
    let cell = |x: &Var<T>, at: usize| {
        let (row, column) = (at / width, at % width);
        let cell = x.slice(1, row..row + 1).slice(2, column..column + 1);
        cell.reshape([batch, x.shape().last_extent()])
    };
    let weights: Vec<_> = (0..scan.taps())
        .map(|tap| w.slice(0, tap..tap + 1).reshape([n, 4 * n]))
        .collect();
    // In this order, all that a cell sees comes before it.
    let mirrored = scan == Scan::Diagonal { mirrored: true };
    let order: Vec<usize> = (0..height * width)
        .map(|i| {
            let (row, column) = (i / width, i % width);
            row * width + if mirrored { width - 1 - column } else { column }
        })
        .collect();
    let seen = |at: usize, tap: usize| {
        let (down, right) = scan.offsets()[tap];
        let row = (at / width).checked_add_signed(down)?;
        let column = (at % width).checked_add_signed(right)?;
        (column < width).then_some(row * width + column)
    };
    let zeros = || Var::constant(Tensor::zeros([batch, n]));
    let (mut h, mut c) = (vec![zeros(); order.len()], vec![zeros(); order.len()]);
    let mut gates = vec![None; order.len()];
    for &at in &order {
        let mut a = cell(x, at);
        for (tap, w) in weights.iter().enumerate() {
            if let Some(from) = seen(at, tap) {
                a = a + h[from].matmul(w);
            }
        }
        let [i, f, o] = [0, 1, 2].map(|gate| part(&a, gate).sigmoid());
        let g = part(&a, 3).tanh();
        let before = seen(at, 1).map_or_else(zeros, |from| c[from].clone());
        c[at] = &f * &before + &i * &g;
        h[at] = &o * c[at].tanh();
        gates[at] = Some([i, f, o, g, before]);
    }
    let mut gh: Vec<_> = (0..order.len()).map(|at| cell(gh, at)).collect();
    let mut gc = vec![zeros(); order.len()];
    let mut gx = vec![None; order.len()];
    let mut gw: Vec<_> = (weights.iter())
        .map(|w| Var::constant(Tensor::zeros(*w.shape())))
        .collect();
    for &at in order.iter().rev() {
        let [i, f, o, g, before] = gates[at].take().expect("every cell once");
        let slope = |y: &Var<T>| y * y.affine(-1.0, 1.0);
        let t = c[at].tanh();
        let g_state = &gc[at] + &gh[at] * &o * t.square().affine(-1.0, 1.0);
        let ga = Var::concat(
            &[
                &(&g_state * &g * slope(&i)),
                &(&g_state * before * slope(&f)),
                &(&gh[at] * t * slope(&o)),
                &(&g_state * i * g.square().affine(-1.0, 1.0)),
            ],
            1,
        );
        for (tap, w) in weights.iter().enumerate() {
            if let Some(from) = seen(at, tap) {
                gh[from] = &gh[from] + ga.matmul_with(w, false, true);
                gw[tap] = &gw[tap] + h[from].matmul_with(&ga, true, false);
            }
        }
        if let Some(from) = seen(at, 1) {
            gc[from] = g_state * f;
        }
        gx[at] = Some(ga);
    }
    let gx: Vec<_> = gx.into_iter().map(|g| g.expect("every cell")).collect();
    let rows: Vec<_> = (gx.chunks(width))
        .map(|row| Var::stack(&row.iter().collect::<Vec<_>>(), 1))
        .collect();
    let gx = Var::stack(&rows.iter().collect::<Vec<_>>(), 1);
    (gx, Var::stack(&gw.iter().collect::<Vec<_>>(), 0))
}

impl<T: Element> Var<T> {
    /// The hidden states of an LSTM that goes over pictures from row to row: van den Oord et al.
    /// 2016, arXiv:1601.06759, section 3.1; see [`kernels::recurrent`] for the formula.
    ///
    /// Shapes: self `[B, H, W, 4 C]` is the input's part of the gates i, f, o, g (a convolution of
    /// the input, with the bias); w `[3, C, 4 C]` goes from the states of the three cells above,
    /// left to right, to the gates; the result is `[B, H, W, C]`.
    ///
    /// # Panics
    /// If the shapes are not such.
    #[track_caller]
    pub fn row_lstm(&self, w: &Var<T>) -> Var<T> {
        let op = Scans {
            name: "row_lstm",
            scans: &[Scan::Row],
            kept: OnceCell::new(),
        };
        Var::apply(op, &[self, w])
    }

    /// The diagonal BiLSTM of van den Oord et al. 2016, arXiv:1601.06759, section 3.2: y(r, c) =
    /// l(r, c) + m(r - 1, c), where l are the hidden states of an LSTM that goes from the upper
    /// left corner along diagonals, m those of one that goes from the upper right, and rows above
    /// the first are 0.
    ///
    /// Shapes: each of x `[B, H, W, 4 C]` is the input's part of the gates i, f, o, g, each of w
    /// `[2, C, 4 C]` goes from the states of the cell above and of the one beside to the gates;
    /// the result is `[B, H, W, C]`. Pictures are not skewed and not mirrored: x are maps as any
    /// other.
    ///
    /// # Panics
    /// If the shapes are not such.
    #[track_caller]
    pub fn diagonal_bilstm(x: [&Var<T>; 2], w: [&Var<T>; 2]) -> Var<T> {
        let op = Scans {
            name: "diagonal_bilstm",
            scans: &[
                Scan::Diagonal { mirrored: false },
                Scan::Diagonal { mirrored: true },
            ],
            kept: OnceCell::new(),
        };
        Var::apply(op, &[x[0], w[0], x[1], w[1]])
    }
}
