//! Cells of an LSTM one step at a time: what a picture that grows pixel by pixel is made with.
//!
//! A cell is the chain of multiply-adds of the whole pass ([`Lstm::forward`](super::Lstm::forward)),
//! by the same code, so it has the same bits.

use super::Scan;
use super::forward::{CELLS, cell, packed};
use super::product::{Left, TAPS, cells, multiply};
use crate::buffer::Buffer;
use crate::simd::{Isa, Kernel, Vector, dispatch};

/// Weights from states to gates, ready for single steps.
pub struct Cell {
    isa: Isa,
    taps: usize,
    channels: usize,
    w: Buffer<f32>,
}

impl Cell {
    /// Of an LSTM with this scan and so many channels: w `[taps, channels, 4 channels]`, as in
    /// [`Forward`](super::Forward).
    ///
    /// # Panics
    /// If w has another length.
    #[track_caller]
    pub fn new(scan: Scan, channels: usize, w: &[f32]) -> Cell {
        let (isa, taps) = (Isa::current(), scan.taps());
        super::check("w", w.len(), taps * 4 * channels * channels);
        Cell {
            isa,
            taps,
            channels,
            w: packed(isa, channels, w),
        }
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Cells that do not depend on each other: n of them, such as the same one of n pictures.
    ///
    /// Shapes: x `[n, 4 channels]`, the input's part of the gates; for each tap of the scan the
    /// hidden states that it sees, `[n, channels]`, zeros beyond an edge; before, h and states
    /// `[n, channels]`, where `before` is the state that the cell goes on from. h and states are
    /// overwritten.
    ///
    /// # Panics
    /// If the lengths do not fit.
    #[track_caller]
    pub fn step(
        &self,
        x: &[f32],
        seen: &[&[f32]],
        before: &[f32],
        h: &mut [f32],
        states: &mut [f32],
    ) {
        super::check("h", h.len(), before.len());
        super::check("states", states.len(), before.len());
        super::check("x", x.len(), 4 * before.len());
        super::check("taps", seen.len(), self.taps);
        for seen in seen {
            super::check("what a tap sees", seen.len(), before.len());
        }
        let cell = self;
        let step = Step {
            cell,
            x,
            seen,
            before,
            h,
            states,
        };
        if self.channels > 0 {
            dispatch(self.isa, step);
        }
    }
}

struct Step<'a> {
    cell: &'a Cell,
    x: &'a [f32],
    seen: &'a [&'a [f32]],
    before: &'a [f32],
    h: &'a mut [f32],
    states: &'a mut [f32],
}

impl Kernel<f32> for Step<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = f32>>(self) {
        let (channels, taps) = (self.cell.channels, self.cell.taps);
        let rows = taps * channels;
        let n = self.before.len() / channels;
        for first in (0..n).step_by(const { cells(V::REGISTERS, 4) }) {
            let count = (n - first).min(const { cells(V::REGISTERS, 4) });
            let mut seen: Left<f32, CELLS> = [[self.h.as_ptr(); CELLS]; TAPS];
            for (to, from) in seen.iter_mut().zip(self.seen) {
                for (i, to) in to[..count].iter_mut().enumerate() {
                    *to = from[(first + i) * channels..][..channels].as_ptr();
                }
            }
            for (vector, c) in (0..channels).step_by(V::LANES).enumerate() {
                let len = (channels - c).min(V::LANES);
                let mut sums = [[V::zero(); 4]; CELLS];
                for (i, sums) in sums[..count].iter_mut().enumerate() {
                    let x = &self.x[(first + i) * 4 * channels..][..4 * channels];
                    for (gate, sum) in sums.iter_mut().enumerate() {
                        *sum = V::load_partial(&x[gate * channels + c..][..len]);
                    }
                }
                let w = &self.cell.w[vector * rows * 4 * V::LANES..][..rows * 4 * V::LANES];
                // SAFETY: rows of what is seen have `channels` numbers, as many of them as cells
                // and taps are asked for, and w as many rows of four vectors.
                unsafe { multiply(count, (&seen, taps), channels, w.as_ptr(), &mut sums) };
                for (i, &sums) in sums[..count].iter().enumerate() {
                    let at = (first + i) * channels + c;
                    let before = V::load_partial(&self.before[at..][..len]);
                    let (_, state, hidden) = cell(sums, Some(before));
                    state.store_partial(&mut self.states[at..][..len]);
                    hidden.store_partial(&mut self.h[at..][..len]);
                }
            }
        }
    }
}
