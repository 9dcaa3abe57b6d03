//! Long short-term memory over pictures: rows or diagonals, forward and backward.
//!
//! ```text
//! (i, f, o, g) = x + sum over taps of h[seen] W[tap]     // x holds the input's part, and the bias
//! c = sigmoid(f) c[before] + sigmoid(i) tanh(g)
//! h = sigmoid(o) tanh(c)
//! ```
//!
//! x for the whole picture is one product or convolution, made before; then [`Lstm::forward`]
//! fuses, step by step, the product of states, the gates and the cell. Maps are NHWC, and cells
//! beyond the edge have h = 0 and c = 0. Which cells see which, [`Scan`] says.
//!
//! The structure is PixelRNN's: van den Oord, Kalchbrenner and Kavukcuoglu 2016, arXiv:1601.06759.

mod backward;
mod cell;
mod forward;
mod product;
mod walk;

pub use cell::Cell;
pub use walk::Scan;

use crate::buffer::Buffer;
use crate::conv;
use crate::element::Element;
use crate::flops;
use crate::gemm::Beta;
use walk::Walk;

/// Sizes of an LSTM over pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lstm {
    /// How many pictures.
    pub batch: usize,
    /// How many rows a picture has.
    pub height: usize,
    /// How many columns.
    pub width: usize,
    /// How many numbers h and c of a cell have.
    pub channels: usize,
}

/// A pass over all pictures, forward: what it reads and writes.
#[derive(Debug)]
pub struct Forward<'a, T> {
    /// Which cells see which.
    pub scan: Scan,
    /// The input's part of the gates i, f, o, g: `[batch, height, width, 4 channels]`.
    pub x: &'a [T],
    /// From states to gates: `[taps, channels, 4 channels]`, taps from left to right for rows,
    /// the cell above and then the one beside for diagonals.
    pub w: &'a [T],
    /// The hidden states: `[batch, height, width, channels]`.
    pub h: &'a mut [T],
    /// The gates after their functions, for the backward pass: shaped like x.
    pub gates: &'a mut [T],
    /// The cells' states c, for the backward pass: shaped like h.
    pub states: &'a mut [T],
}

/// A pass over all pictures, backward: what it reads and writes.
#[derive(Debug)]
pub struct Backward<'a, T> {
    /// Which cells see which.
    pub scan: Scan,
    /// As in the forward pass.
    pub w: &'a [T],
    /// From the forward pass.
    pub gates: &'a [T],
    /// From the forward pass.
    pub states: &'a [T],
    /// The gradient by h.
    pub gh: &'a [T],
    /// How many rows further down the gradient of a cell lies in `gh`; below the last it is 0.
    pub rows_down: usize,
    /// The gradient by x.
    pub gx: &'a mut [T],
}

impl Lstm {
    /// How many numbers the states of all cells have; x has four times as many.
    pub fn states_len(&self) -> usize {
        self.batch * self.height * self.width * self.channels
    }

    /// How many weights there are.
    pub fn weights_len(&self, scan: Scan) -> usize {
        scan.taps() * 4 * self.channels * self.channels
    }

    /// Multiply-adds of all cells' products with the weights.
    pub fn products(&self, scan: Scan) -> u64 {
        (self.states_len() * scan.taps() * 4 * self.channels) as u64
    }

    /// Runs some passes side by side: one for a row LSTM, two for a BiLSTM.
    ///
    /// # Panics
    /// If a slice does not have the length its shape asks for.
    #[track_caller]
    #[inline]
    pub fn forward<T: Element>(&self, passes: &mut [Forward<T>]) {
        T::lstm_forward(self, passes)
    }

    #[track_caller]
    pub(crate) fn forward_body<T: Element>(&self, passes: &mut [Forward<T>]) {
        let states = self.states_len();
        for pass in passes.iter() {
            check("x", pass.x.len(), 4 * states);
            check("w", pass.w.len(), self.weights_len(pass.scan));
            check("h", pass.h.len(), states);
            check("gates", pass.gates.len(), 4 * states);
            check("states", pass.states.len(), states);
            flops::add(|| 2 * self.products(pass.scan));
        }
        if states > 0 {
            forward::run(self, passes);
        }
    }

    /// The gradients by x, of some passes side by side. That by w is
    /// [`weight_gradient`](Self::weight_gradient).
    ///
    /// # Panics
    /// If a slice does not have the length its shape asks for.
    #[track_caller]
    #[inline]
    pub fn backward<T: Element>(&self, passes: &mut [Backward<T>]) {
        T::lstm_backward(self, passes)
    }

    #[track_caller]
    pub(crate) fn backward_body<T: Element>(&self, passes: &mut [Backward<T>]) {
        let states = self.states_len();
        for pass in passes.iter() {
            check("w", pass.w.len(), self.weights_len(pass.scan));
            check("gates", pass.gates.len(), 4 * states);
            check("states", pass.states.len(), states);
            check("gh", pass.gh.len(), states);
            check("gx", pass.gx.len(), 4 * states);
            flops::add(|| 2 * self.products(pass.scan));
        }
        if states > 0 {
            backward::run(self, passes);
        }
    }

    /// The gradient by w, from the hidden states and the gradient by x: one product over all
    /// cells. gw is overwritten.
    ///
    /// # Panics
    /// If a slice does not have the length its shape asks for.
    #[track_caller]
    pub fn weight_gradient<T: Element>(&self, scan: Scan, h: &[T], gx: &[T], gw: &mut [T]) {
        check("h", h.len(), self.states_len());
        check("gx", gx.len(), 4 * self.states_len());
        check("gw", gw.len(), self.weights_len(scan));
        if gw.is_empty() {
            return;
        }
        let shape = [self.batch, self.height, self.width, self.channels];
        if self.states_len() == 0 {
            return gw.fill(T::ZERO);
        }
        let (conv, taps) = scan.convolution(shape);
        let mut all = Buffer::recycled(conv.w_len());
        conv::weight_gradient(&conv, h, gx, Beta::Zero, &mut all);
        let tap = gw.len() / taps.len();
        for (gw, from) in gw.chunks_exact_mut(tap).zip(taps) {
            gw.copy_from_slice(&all[from * tap..][..tap]);
        }
    }

    fn walk(&self, scan: Scan) -> Walk {
        Walk {
            scan,
            height: self.height,
            width: self.width,
        }
    }
}

#[track_caller]
fn check(what: &str, found: usize, expected: usize) {
    assert!(
        found == expected,
        "lstm: {what} has {found} elements, expected {expected}"
    );
}
