//! The Row LSTM as a causal layer. Van den Oord et al. 2016, arXiv:1601.06759, section 3.1.
//!
//! ```text
//! (i, f, o, g) = conv 1x3, mask B (x) + conv 1x3 (h of the row above)
//! c = sigmoid(f) c of the row above + sigmoid(i) tanh(g),   h = sigmoid(o) tanh(c)
//! ```
//!
//! The first row goes on from learned states: those that the layer has after a row of learned
//! pixels above the image.

use super::{At, Begin, Cached, Causal, Pass, Steps};
use crate::conv_cache::{Rows, Step};
use crate::conv_masked::MaskedConv;
use grad::kernels::gemm::Activation::Identity;
use grad::kernels::recurrent::{Cell, Scan};
use grad::{Element, Tensor, Var};
use nn::init::Init;
use nn::masks::Causal as Mask;
use nn::{Bound, Builder, ParamId};

/// An LSTM from row to row: `[B, H, W, inputs]` -> `[B, H, W, hidden]`.
///
/// Parameters: `input.weight` `[1, 3, inputs, 4 hidden]` and `input.bias` `[4 hidden]`, gates i, f,
/// o, g; `state` `[3, hidden, 4 hidden]`; `above` `[inputs]`.
pub struct RowLstm {
    input: MaskedConv,
    state: ParamId,
    above: ParamId,
    hidden: usize,
}

/// From states to gates: `[taps, hidden, 4 hidden]`, as a PyTorch layer of so many inputs begins.
pub(super) fn states(b: &mut Builder, name: &str, scan: Scan, hidden: usize) -> ParamId {
    let shape = [scan.taps(), hidden, 4 * hidden];
    b.param(name, shape, |shape, s| Init::FanIn.draw(shape, s))
}

/// What lies beyond the image, as an input: `[inputs]`, 0 at first.
pub(super) fn beyond(b: &mut Builder, name: &str, inputs: usize) -> ParamId {
    b.param(name, [inputs], |shape, s| Init::ZEROS.draw(shape, s))
}

impl RowLstm {
    /// A layer for pixels of `colours` colours; its states are cut into as many groups.
    pub fn new(b: &mut Builder, inputs: usize, hidden: usize, colours: usize) -> RowLstm {
        let io = [inputs, 4 * hidden];
        let mut scope = b.scope("input");
        RowLstm {
            input: MaskedConv::in_parts(&mut scope, io, [1, 3], Mask::B, colours, 4),
            state: states(b, "state", Scan::Row, hidden),
            above: beyond(b, "above", inputs),
            hidden,
        }
    }
}

impl Causal for RowLstm {
    fn whole<T: Element>(&self, pass: &Pass<T>, x: &Var<T>) -> Var<T> {
        let &[batch, height, width, inputs] = &x.shape()[..] else {
            panic!("row lstm: expected x [B, H, W, C], found {}", x.shape());
        };
        let above = &pass.p[self.above];
        let above = above.broadcast_to([batch, 1, width, inputs]);
        let gates = Var::concat(&[&above, x], 1);
        let gates = self.input.forward(pass.p, &gates, Identity);
        let h = gates.row_lstm(&pass.p[self.state]);
        h.slice(1, 1..height + 1)
    }

    fn steps(&self, p: &Bound<f32>) -> Box<dyn Steps> {
        Box::new(RowSteps {
            input: Step::new(&self.input, p),
            cell: Cell::new(Scan::Row, self.hidden, p[self.state].value().data()),
            above: p[self.above].value().clone(),
        })
    }
}

struct RowSteps {
    input: Step,
    cell: Cell,
    above: Tensor<f32>,
}

/// States of a row, column by column: `[columns, images, hidden]`.
#[derive(Clone)]
pub(super) struct States {
    pub(super) h: Vec<f32>,
    pub(super) c: Vec<f32>,
}

impl States {
    pub(super) fn zeros(len: usize) -> States {
        States {
            h: vec![0.0; len],
            c: vec![0.0; len],
        }
    }
}

struct RowCache<'a> {
    of: &'a RowSteps,
    x: Rows,
    gates: Vec<f32>,
    /// The row above and this one, with a column of zeros to either side.
    above: States,
    here: States,
    /// Numbers of a column.
    column: usize,
}

impl Steps for RowSteps {
    fn begin(&self, images: &Begin) -> Box<dyn Cached + '_> {
        let (count, width) = (images.count, images.size[1]);
        let column = count * self.cell.channels();
        let rows = || Rows::new(self.input.reach(), count, width);
        let states = States::zeros((width + 2) * column);
        let mut cache = RowCache {
            of: self,
            x: rows(),
            gates: vec![0.0; 4 * column],
            above: states.clone(),
            here: states,
            column,
        };
        // The row of learned pixels; columns come in turn, each in one piece.
        let above = self.above.data().repeat(count);
        let colours = self.input.colours();
        for col in 0..width {
            cache.x.put([0, col], &above);
            for colour in 0..colours {
                let seen = cache.x.window([0, col]);
                self.input.run(colour, seen, &mut cache.gates, Identity);
            }
            cache.cell(col);
        }
        std::mem::swap(&mut cache.above, &mut cache.here);
        cache.x = rows();
        Box::new(cache)
    }
}

impl RowCache<'_> {
    /// The cell of a column of this row, from its gates.
    fn cell(&mut self, col: usize) {
        let n = self.column;
        let above = &self.above;
        let seen = [0, 1, 2].map(|tap| &above.h[(col + tap) * n..][..n]);
        let own = (col + 1) * n..(col + 2) * n;
        self.of.cell.step(
            &self.gates,
            &seen,
            &above.c[own.clone()],
            &mut self.here.h[own.clone()],
            &mut self.here.c[own],
        );
    }
}

impl Cached for RowCache<'_> {
    fn step<'a>(&'a mut self, at: At, x: &'a [f32]) -> &'a [f32] {
        let [row, col] = at.pixel;
        if row > 0 && col == 0 && at.colour == 0 {
            std::mem::swap(&mut self.above, &mut self.here);
        }
        self.x.put(at.pixel, x);
        let seen = self.x.window(at.pixel);
        (self.of.input).run(at.colour, seen, &mut self.gates, Identity);
        self.cell(col);
        &self.here.h[(col + 1) * self.column..][..self.column]
    }
}
