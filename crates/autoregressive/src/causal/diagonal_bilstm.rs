//! The Diagonal BiLSTM as a causal layer. Van den Oord et al. 2016, arXiv:1601.06759, section 3.2.
//!
//! ```text
//! (i, f, o, g) = conv 1x1, mask B (x) + h above W_0 + h beside W_1      in two directions
//! c = sigmoid(f) c beside + sigmoid(i) tanh(g),   h = sigmoid(o) tanh(c)
//! y(r, c) = h of the left one (r, c) + h of the right one (r - 1, c)
//! ```
//!
//! The direction from the right would show a pixel what lies right of it, so it is taken a row
//! further up, where all is known. Both begin from learned states: those they have after a frame
//! of learned pixels, above the image and on either side of it.

use super::row_lstm::{States, beyond, states};
use super::{At, Begin, Cached, Causal, Pass, Steps};
use crate::conv_cache::Step;
use crate::conv_masked::MaskedConv;
use grad::kernels::elementwise;
use grad::kernels::gemm::Activation::Identity;
use grad::kernels::recurrent::{Cell, Scan};
use grad::{Element, Tensor, Var};
use nn::masks::Causal as Mask;
use nn::{Bound, Builder, ParamId};

const SCANS: [Scan; 2] = [
    Scan::Diagonal { mirrored: false },
    Scan::Diagonal { mirrored: true },
];

/// LSTMs along the diagonals from both upper corners: `[B, H, W, inputs]` -> `[B, H, W, hidden]`.
///
/// Parameters, for `left` and `right`: `input.weight` `[1, 1, inputs, 4 hidden]` and `input.bias`
/// `[4 hidden]`, gates i, f, o, g; `state` `[2, hidden, 4 hidden]`, from above and from beside.
/// `frame` `[inputs]`.
pub struct DiagonalBiLstm {
    input: [MaskedConv; 2],
    state: [ParamId; 2],
    frame: ParamId,
    hidden: usize,
}

impl DiagonalBiLstm {
    /// A layer for pixels of `colours` colours; its states are cut into as many groups.
    pub fn new(b: &mut Builder, inputs: usize, hidden: usize, colours: usize) -> DiagonalBiLstm {
        let io = [inputs, 4 * hidden];
        let input = ["left", "right"].map(|name| {
            let mut scope = b.scope(name);
            MaskedConv::in_parts(&mut scope.scope("input"), io, [1, 1], Mask::B, colours, 4)
        });
        let state = [("left", SCANS[0]), ("right", SCANS[1])]
            .map(|(name, scan)| states(&mut b.scope(name), "state", scan, hidden));
        DiagonalBiLstm {
            input,
            state,
            frame: beyond(b, "frame", inputs),
            hidden,
        }
    }
}

impl Causal for DiagonalBiLstm {
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        let &[batch, height, width, inputs] = &x.shape()[..] else {
            panic!(
                "diagonal bilstm: expected x [B, H, W, C], found {}",
                x.shape()
            );
        };
        let p = pass.p;
        let frame = |rows, columns| p[self.frame].broadcast_to([batch, rows, columns, inputs]);
        let side = frame(height, 1);
        let x = Var::concat(&[&side, x, &side], 2);
        let x = Var::concat(&[&frame(1, width + 2), &x], 1);
        let gates = self
            .input
            .each_ref()
            .map(|conv| conv.forward(p, &x, Identity));
        let h = Var::diagonal_bilstm(gates.each_ref(), self.state.map(|id| &p[id]));
        h.slice(1, 1..height + 1).slice(2, 1..width + 1)
    }

    fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps> {
        let side = |i: usize| Side {
            input: Step::new(&self.input[i], p),
            cell: Cell::new(SCANS[i], self.hidden, p[self.state[i]].value().data()),
        };
        Box::new(DiagonalSteps {
            left: side(0),
            right: side(1),
            frame: p[self.frame].value().clone(),
        })
    }
}

/// One direction.
struct Side {
    input: Step,
    cell: Cell,
}

struct DiagonalSteps {
    left: Side,
    right: Side,
    frame: Tensor<f32>,
}

/// What is kept of one direction: columns of the frame and of the image, each `[images, ..]`.
struct SideCache<'a> {
    of: &'a Side,
    /// The inputs' part of the gates, of all columns of a row.
    gates: Vec<f32>,
    /// That of a pixel of the frame.
    frame: Vec<f32>,
    above: States,
    here: States,
    zeros: Vec<f32>,
    /// Numbers of a column of states.
    column: usize,
}

impl SideCache<'_> {
    /// The cell in column `col`, `from` being the one beside it, if there is one.
    fn cell(&mut self, col: usize, from: Option<usize>) {
        let n = self.column;
        let own = col * n..(col + 1) * n;
        // The one beside is left or right of its own: of both a part of the slice.
        let here = &mut self.here;
        let (h, h_beside) = beside(&mut here.h, n, col, from);
        let (c, c_beside) = beside(&mut here.c, n, col, from);
        let seen = [&self.above.h[own.clone()], h_beside.unwrap_or(&self.zeros)];
        let before = c_beside.unwrap_or(&self.zeros);
        let gates = &self.gates[4 * own.start..4 * own.end];
        self.of.cell.step(gates, &seen, before, h, c);
    }

    /// The gates of a pixel of the frame, in these columns.
    fn frame(&mut self, columns: impl Iterator<Item = usize>) {
        let n = 4 * self.column;
        for col in columns {
            self.gates[col * n..][..n].copy_from_slice(&self.frame);
        }
    }

    fn next_row(&mut self) {
        std::mem::swap(&mut self.above, &mut self.here);
    }
}

/// The column `col` of x, and the one `from`, which is another.
fn beside(
    x: &mut [f32],
    n: usize,
    col: usize,
    from: Option<usize>,
) -> (&mut [f32], Option<&[f32]>) {
    match from {
        None => (&mut x[col * n..][..n], None),
        Some(from) if from < col => {
            let (before, own) = x.split_at_mut(col * n);
            (&mut own[..n], Some(&before[from * n..][..n]))
        }
        Some(from) => {
            let (own, behind) = x.split_at_mut(from * n);
            (&mut own[col * n..][..n], Some(&behind[..n]))
        }
    }
}

struct DiagonalCache<'a> {
    left: SideCache<'a>,
    right: SideCache<'a>,
    width: usize,
    y: Vec<f32>,
}

impl Steps for DiagonalSteps {
    fn begin(&self, images: &Begin) -> Box<dyn Cached + '_> {
        let (count, width) = (images.count, images.size[1]);
        let pixel = self.frame.data().repeat(count);
        let side = |of: &'_ Side| {
            let column = count * of.cell.channels();
            let mut frame = vec![0.0; 4 * column];
            for colour in 0..of.input.colours() {
                of.input.run(colour, &pixel, &mut frame, Identity);
            }
            (column, frame)
        };
        let cache = |of| {
            let (column, frame) = side(of);
            SideCache {
                of,
                gates: vec![0.0; 4 * column * (width + 2)],
                frame,
                above: States::zeros(column * (width + 2)),
                here: States::zeros(column * (width + 2)),
                zeros: vec![0.0; column],
                column,
            }
        };
        let (left, right) = (cache(&self.left), cache(&self.right));
        let y = vec![0.0; left.column];
        let mut cache = DiagonalCache {
            left,
            right,
            width,
            y,
        };
        cache.left.frame(0..width + 2);
        cache.right.frame(0..width + 2);
        for col in 0..width + 2 {
            cache.left.cell(col, col.checked_sub(1));
        }
        cache.scan_right();
        Box::new(cache)
    }
}

impl DiagonalCache<'_> {
    /// The direction from the right through a row all of whose gates are there.
    fn scan_right(&mut self) {
        let last = self.width + 1;
        for col in (0..=last).rev() {
            self.right.cell(col, (col < last).then_some(col + 1));
        }
    }
}

impl Cached for DiagonalCache<'_> {
    fn step<'a>(&'a mut self, at: At, x: &'a [f32]) -> &'a [f32] {
        let [row, col] = at.pixel;
        if col == 0 && at.colour == 0 {
            if row > 0 {
                // The row above has become whole.
                self.right.next_row();
                self.scan_right();
            }
            self.left.next_row();
            self.left.cell(0, None);
        }
        let (own, n) = (col + 1, self.left.column);
        for side in [&mut self.left, &mut self.right] {
            let gates = &mut side.gates[4 * own * n..][..4 * n];
            side.of.input.run(at.colour, x, gates, Identity);
        }
        self.left.cell(own, Some(col));
        self.y.copy_from_slice(&self.left.here.h[own * n..][..n]);
        // Of the row above: this one's is not there yet.
        elementwise::add_assign(&mut self.y, &self.right.here.h[own * n..][..n]);
        &self.y
    }
}
