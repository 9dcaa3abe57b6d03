//! From the last step back to the first.
//!
//! ```text
//! for pass, picture:                                    // jobs side by side
//!     for step, from the last: for tiles of cells, vectors of channels:
//!         gh = gy + sum over taps of gx[who sees the cell] W^T
//!         t = tanh(c);  gc = carry + gh o (1 - t^2);  carry = gc f
//!         gx = gc g i (1 - i), gc c[before] f (1 - f), gh t o (1 - o), gc i (1 - g^2)
//! ```
//!
//! 1. As forward, and a tile has as many vectors of channels as registers allow: gh is one number
//!    a channel where the gates are four, and six sums at a time would wait for each other.

use super::product::{Left, MOST, MOST_OF_FOUR, TAPS, cells, multiply};
use super::walk::{Tile, Walk};
use super::{Backward, Lstm};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::elementwise::unary::Tanh;
use crate::parallel::{Shared, each};
use crate::simd::{Isa, Kernel, Vector, dispatch, prefetch};

pub(super) fn run<T: Element>(l: &Lstm, passes: &mut [Backward<T>]) {
    let isa = Isa::current();
    let jobs: Vec<_> = passes
        .iter_mut()
        .map(|pass| Job {
            w: dispatch(isa, Pack { l, pass }),
            gates: pass.gates,
            states: pass.states,
            gh: pass.gh,
            rows_down: pass.rows_down,
            gx: Shared(pass.gx.as_mut_ptr()),
            walk: l.walk(pass.scan),
        })
        .collect();
    let zeros = Buffer::filled(4 * l.channels, T::ZERO);
    each(jobs.len() * l.batch, |i| {
        let (job, picture) = (&jobs[i / l.batch], i % l.batch);
        let mut carry = Buffer::filled(job.walk.lanes() * l.channels, T::ZERO);
        let picture = Picture {
            l,
            job,
            picture,
            zeros: &zeros,
            carry: &mut carry,
        };
        dispatch(isa, picture);
    });
}

/// A pass with its weights in the order in which tiles read them: by group of vectors of channels,
/// tap, number of the gates.
struct Job<'a, T: Element> {
    w: Buffer<T>,
    gates: &'a [T],
    states: &'a [T],
    gh: &'a [T],
    rows_down: usize,
    gx: Shared<T>,
    walk: Walk,
}

/// Channels by as many vectors as a tile has: where each group begins, and its vectors.
fn groups<V: Vector>(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = channels.saturating_sub(first).div_ceil(V::LANES);
        let nv = match left {
            0 => return None,
            4.. if const { V::LANES == 16 } => 4,
            2.. => 2,
            _ => 1,
        };
        let group = (first, nv);
        first += nv * V::LANES;
        Some(group)
    })
}

struct Pack<'a, 'b, T> {
    l: &'a Lstm,
    pass: &'a Backward<'b, T>,
}

impl<T: Element> Kernel<T> for Pack<'_, '_, T> {
    type Output = Buffer<T>;
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) -> Buffer<T> {
        let channels = self.l.channels;
        let by_tap = self.pass.w.chunks_exact(4 * channels * channels);
        let rows = by_tap.len() * 4 * channels;
        let mut to = Buffer::filled(rows * channels.next_multiple_of(V::LANES), T::ZERO);
        for (first, nv) in groups::<V>(channels) {
            let width = nv * V::LANES;
            let here = (channels - first).min(width);
            let group = to[rows * first..].chunks_exact_mut(4 * channels * width);
            for (w, to) in by_tap.clone().zip(group) {
                let seen = w.chunks_exact(4 * channels).skip(first).take(here);
                for (lane, w) in seen.enumerate() {
                    for (&w, to) in w.iter().zip(to.chunks_exact_mut(width)) {
                        to[lane] = w;
                    }
                }
            }
        }
        to
    }
}

struct Picture<'a, 'b, T: Element> {
    l: &'a Lstm,
    job: &'a Job<'b, T>,
    picture: usize,
    zeros: &'a [T],
    /// What cells of later steps have to say about the state of those of this one.
    carry: &'a mut [T],
}

impl<T: Element> Kernel<T> for Picture<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(mut self) {
        // The first group is the widest.
        let most = groups::<V>(self.l.channels).next();
        let most = most.map_or(MOST, |(_, nv)| cells(V::REGISTERS, nv));
        let mut tiles = self.job.walk.tiles_back(most);
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
    fn cells<V: Vector<Element = T>>(&mut self, tile: &Tile, next: Option<&Tile>) {
        let (job, walk, channels) = (self.job, self.job.walk, self.l.channels);
        let (scan, base) = (walk.scan, self.picture * walk.height * walk.width);
        let (gx, count) = (job.gx.get(), tile.cells.len());
        let mut these = Cells {
            count,
            seeing: [[self.zeros.as_ptr(); MOST]; TAPS],
            own: [0; MOST],
            before: [None; MOST],
            lanes: [0; MOST],
            below: [None; MOST],
            ahead: [0; MOST],
            count_ahead: next.map_or(0, |tile| tile.cells.len()),
        };
        for (i, place) in walk.places(tile).enumerate() {
            these.own[i] = base + walk.index(place);
            these.lanes[i] = walk.lane(place) * channels;
            these.before[i] = walk.at(place, scan.offsets()[1]).map(|at| base + at);
            let down = (job.rows_down as isize, 0);
            these.below[i] = walk.at(place, down).map(|at| base + at);
            for (tap, &(down, right)) in scan.offsets().iter().enumerate() {
                if let Some(at) = walk.at(place, (-down, -right)) {
                    these.seeing[tap][i] = gx.wrapping_add(4 * (base + at) * channels);
                }
            }
        }
        let places = next.into_iter().flat_map(|tile| walk.places(tile));
        for (cell, place) in these.ahead.iter_mut().zip(places) {
            *cell = base + walk.index(place);
        }
        for (first, nv) in groups::<V>(channels) {
            match nv {
                4 => self.group::<V, 4, MOST_OF_FOUR>(&these, first),
                2 => self.group::<V, 2, MOST>(&these, first),
                _ => self.group::<V, 1, MOST>(&these, first),
            }
        }
    }

    /// Channels from `first` on, `NV` vectors.
    #[inline(always)]
    fn group<V: Vector<Element = T>, const NV: usize, const CELLS: usize>(
        &mut self,
        cells: &Cells<T>,
        first: usize,
    ) {
        if const { NV > 2 && V::LANES != 16 } {
            unreachable!("recurrent: a group of {NV} vectors");
        }
        let (job, channels) = (self.job, self.l.channels);
        let (gx, count) = (job.gx.get(), cells.count);
        let taps = job.walk.scan.taps();
        // Where each vector begins, and how many of its numbers there are.
        let vectors = (0..NV).map(|j| {
            let c = first + j * V::LANES;
            (j, c, (channels - c).min(V::LANES))
        });
        let mut acc = [[V::zero(); NV]; CELLS];
        for (sums, below) in acc.iter_mut().zip(&cells.below[..count]) {
            if let Some(below) = below {
                for (j, c, len) in vectors.clone() {
                    sums[j] = V::load_partial(&job.gh[below * channels + c..][..len]);
                }
            }
        }
        for &cell in &cells.ahead[..cells.count_ahead] {
            for (_, c, _) in vectors.clone() {
                for gate in 0..4 {
                    let at = (4 * cell + gate) * channels + c;
                    prefetch(job.gates.as_ptr().wrapping_add(at));
                    prefetch(gx.wrapping_add(at));
                }
                prefetch(job.states.as_ptr().wrapping_add(cell * channels + c));
                prefetch(job.gh.as_ptr().wrapping_add(cell * channels + c));
            }
        }
        let w = &job.w[taps * 4 * channels * first..][..taps * 4 * channels * NV * V::LANES];
        // SAFETY: rows of gx and zeros have four times `channels` numbers, and w as many rows
        // of so many vectors as there are of them.
        unsafe {
            multiply(
                count,
                (&cells.seeing, taps),
                4 * channels,
                w.as_ptr(),
                &mut acc,
            )
        };
        for (i, sums) in acc[..count].iter().enumerate() {
            let own = cells.own[i];
            for (j, c, len) in vectors.clone() {
                let gates = &job.gates[4 * channels * own..][..4 * channels];
                let mut values = [V::zero(); 4];
                for (gate, value) in values.iter_mut().enumerate() {
                    *value = V::load_partial(&gates[gate * channels + c..][..len]);
                }
                let [input, forget, output, new] = values;
                let state = V::load_partial(&job.states[own * channels + c..][..len]);
                let state_before = match cells.before[i] {
                    Some(before) => V::load_partial(&job.states[before * channels + c..][..len]),
                    None => V::zero(),
                };
                let carry = &mut self.carry[cells.lanes[i] + c..][..len];
                let (one, gh) = (V::one(), sums[j]);
                let t = state.apply(Tanh);
                let slope = t.neg_mul_add(t, one);
                let gc = (gh * output).mul_add(slope, V::load_partial(carry));
                (gc * forget).store_partial(carry);
                let gradients = [
                    gc * new * input * (one - input),
                    gc * state_before * forget * (one - forget),
                    gh * t * output * (one - output),
                    gc * input * new.neg_mul_add(new, one),
                ];
                for (gate, gradient) in gradients.into_iter().enumerate() {
                    let at = 4 * channels * own + gate * channels + c;
                    // SAFETY: the cell lies inside gx, of which no other job touches this picture.
                    unsafe { gradient.store_ptr_partial(gx.add(at), len) };
                }
            }
        }
    }
}

/// The cells of a tile, and of the next one.
struct Cells<T> {
    count: usize,
    /// The gradients by x of the cells that see each, by tap, or zeros.
    seeing: Left<T, MOST>,
    own: [usize; MOST],
    /// Whose state each continues.
    before: [Option<usize>; MOST],
    /// Where the states that are under way begin.
    lanes: [usize; MOST],
    /// Where the gradients by h are.
    below: [Option<usize>; MOST],
    ahead: [usize; MOST],
    count_ahead: usize,
}
