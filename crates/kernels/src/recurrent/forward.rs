//! From the first step to the last.
//!
//! ```text
//! for pass, picture:                                    // jobs side by side
//!     for step: for tiles of cells, vectors of channels:
//!         i, f, o, g = x + sum over taps of h[seen] W   // 6 x 4 vectors in registers
//!         i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), tanh(g)
//!         c = f c[before] + i g;  h = o tanh(c)
//! ```
//!
//! 1. Cells see each other where they lie in the map: a diagonal is a list of addresses, no
//!    skewed copy is made. Beyond the edge they see a row of zeros.
//! 2. A picture depends on no other, so there is no barrier between steps, and the weights of a
//!    vector of channels (12 KB for 16 channels) stay in the first-level cache.
//! 3. What a tile starts from and what it writes comes in while the one before is computed: four
//!    gates of some cells are more streams than the hardware follows, on a diagonal above all.

use super::product::{Left, MOST_OF_FOUR, TAPS, cells, multiply};
use super::walk::{Tile, Walk};
use super::{Forward, Lstm};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::elementwise::unary::{Sigmoid, Tanh};
use crate::parallel::{Shared, each};
use crate::simd::{Isa, Kernel, Vector, dispatch, prefetch};

pub(super) fn run<T: Element>(l: &Lstm, passes: &mut [Forward<T>]) {
    let isa = Isa::current();
    let jobs: Vec<_> = passes
        .iter_mut()
        .map(|pass| Job {
            x: pass.x,
            w: packed(isa, l.channels, pass.w),
            h: Shared(pass.h.as_mut_ptr()),
            gates: Shared(pass.gates.as_mut_ptr()),
            states: Shared(pass.states.as_mut_ptr()),
            walk: l.walk(pass.scan),
        })
        .collect();
    let zeros = Buffer::filled(l.channels, T::ZERO);
    each(jobs.len() * l.batch, |i| {
        let (job, picture) = (&jobs[i / l.batch], i % l.batch);
        let zeros = &zeros[..];
        dispatch(
            isa,
            Picture {
                l,
                job,
                picture,
                zeros,
            },
        );
    });
}

/// Most cells of a tile, by a vector of each gate.
pub(super) const CELLS: usize = MOST_OF_FOUR;

/// A pass with its weights in the order in which tiles read them: by vector of channels, tap,
/// channel seen, gate.
struct Job<'a, T: Element> {
    x: &'a [T],
    w: Buffer<T>,
    h: Shared<T>,
    gates: Shared<T>,
    states: Shared<T>,
    walk: Walk,
}

/// Weights in the order in which tiles read them.
pub(super) fn packed<T: Element>(isa: Isa, channels: usize, w: &[T]) -> Buffer<T> {
    dispatch(isa, Pack { channels, w })
}

struct Pack<'a, T> {
    channels: usize,
    w: &'a [T],
}

impl<T: Element> Kernel<T> for Pack<'_, T> {
    type Output = Buffer<T>;
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) -> Buffer<T> {
        let channels = self.channels;
        let vectors = channels.div_ceil(V::LANES);
        let rows = self.w.len() / (4 * channels).max(1);
        let mut to = Buffer::recycled(vectors * rows * 4 * V::LANES);
        let mut parts = to.chunks_exact_mut(V::LANES);
        for first in (0..channels).step_by(V::LANES) {
            let here = (channels - first).min(V::LANES);
            for row in self.w.chunks_exact(4 * channels) {
                for gate in 0..4 {
                    let to = parts.next().expect("as many as there are");
                    let from = &row[gate * channels + first..][..here];
                    V::load_partial(from).store(to);
                }
            }
        }
        to
    }
}

/// The gates of cells whose sums these are, their new states and hidden states; a cell without a
/// state before it begins from 0.
#[inline(always)]
pub(super) fn cell<V: Vector>(sums: [V; 4], before: Option<V>) -> ([V; 4], V, V) {
    let [input, forget, output, new] = sums;
    let (input, forget) = (input.apply(Sigmoid), forget.apply(Sigmoid));
    let (output, new) = (output.apply(Sigmoid), new.apply(Tanh));
    let mut state = input * new;
    if let Some(before) = before {
        state = forget.mul_add(before, state);
    }
    let hidden = output * state.apply(Tanh);
    ([input, forget, output, new], state, hidden)
}

struct Picture<'a, 'b, T: Element> {
    l: &'a Lstm,
    job: &'a Job<'b, T>,
    picture: usize,
    zeros: &'a [T],
}

impl<T: Element> Kernel<T> for Picture<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let mut tiles = self.job.walk.tiles(const { cells(V::REGISTERS, 4) });
        let mut next = tiles.next();
        while let Some(tile) = next {
            next = tiles.next();
            self.cells::<V>(&tile, next.as_ref());
        }
    }
}

impl<T: Element> Picture<'_, '_, T> {
    /// Computes the cells of a tile and brings in what those of the next one start from.
    #[inline(always)]
    fn cells<V: Vector<Element = T>>(&self, tile: &Tile, next: Option<&Tile>) {
        let (job, walk, channels) = (self.job, self.job.walk, self.l.channels);
        let (scan, base) = (walk.scan, self.picture * walk.height * walk.width);
        let (h, count) = (job.h.get(), tile.cells.len());
        let mut ahead = [0; CELLS];
        let places = next.into_iter().flat_map(|tile| walk.places(tile));
        for (cell, place) in ahead.iter_mut().zip(places) {
            *cell = base + walk.index(place);
        }
        let ahead = &ahead[..next.map_or(0, |tile| tile.cells.len())];
        let mut seen: Left<T, CELLS> = [[self.zeros.as_ptr(); CELLS]; TAPS];
        let (mut own, mut before) = ([0; CELLS], [None; CELLS]);
        for (i, place) in walk.places(tile).enumerate() {
            own[i] = base + walk.index(place);
            for (tap, &offset) in scan.offsets().iter().enumerate() {
                if let Some(at) = walk.at(place, offset) {
                    seen[tap][i] = h.wrapping_add((base + at) * channels);
                    if tap == 1 {
                        before[i] = Some(base + at);
                    }
                }
            }
        }
        let rows = scan.taps() * channels;
        for (vector, c) in (0..channels).step_by(V::LANES).enumerate() {
            let len = (channels - c).min(V::LANES);
            let mut acc = [[V::zero(); 4]; CELLS];
            for i in 0..count {
                for (gate, sum) in acc[i].iter_mut().enumerate() {
                    let x = &job.x[4 * channels * own[i] + gate * channels + c..][..len];
                    *sum = V::load_partial(x);
                }
            }
            // Reason 3.
            for cell in ahead {
                for gate in 0..4 {
                    let at = (4 * cell + gate) * channels + c;
                    prefetch(job.x.as_ptr().wrapping_add(at));
                    prefetch(job.gates.get().wrapping_add(at));
                }
                prefetch(job.states.get().wrapping_add(cell * channels + c));
                prefetch(h.wrapping_add(cell * channels + c));
            }
            let w = &job.w[vector * rows * 4 * V::LANES..][..rows * 4 * V::LANES];
            // SAFETY: rows of h and zeros have `channels` numbers, and w as many rows of four
            // vectors as there are of them.
            unsafe { multiply(count, (&seen, scan.taps()), channels, w.as_ptr(), &mut acc) };
            for i in 0..count {
                // SAFETY: cells lie inside the maps, of which no other job touches this picture;
                // no slice lives longer than the line that makes it.
                unsafe {
                    let before = before[i].map(|before| {
                        let before = job.states.get().add(before * channels + c);
                        V::load_ptr_partial(before, len)
                    });
                    let (values, state, hidden) = cell(acc[i], before);
                    let at = own[i] * channels + c;
                    state.store_ptr_partial(job.states.get().add(at), len);
                    hidden.store_ptr_partial(h.add(at), len);
                    let gates = job.gates.get().add(4 * channels * own[i] + c);
                    for (gate, value) in values.into_iter().enumerate() {
                        value.store_ptr_partial(gates.add(gate * channels), len);
                    }
                }
            }
        }
    }
}
