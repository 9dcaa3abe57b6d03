//! From the last step back to the first.
//!
//! ```text
//! for pass, picture:                                    // jobs side by side
//!     for step, from the last: for tiles of cells, vectors of channels:
//!         gh = gy + sum over taps of gx[who sees the cell] W^T
//!         t = tanh(c);  gc = carry + gh o (1 - t^2);  carry = gc f
//!         gx = gc g i (1 - i), gc c[before] f (1 - f), gh t o (1 - o), gc i (1 - g^2)
//! ```

use super::product::{Left, MOST, TAPS, cells, multiply};
use super::walk::Walk;
use super::{Backward, Lstm};
use crate::buffer::Buffer;
use crate::cut::Cut;
use crate::element::Element;
use crate::elementwise::unary::Tanh;
use crate::parallel::{Shared, each};
use crate::simd::{Isa, Kernel, Vector, dispatch};

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

/// A pass with its weights in the order in which tiles read them: by vector of channels, tap,
/// number of the gates.
struct Job<'a, T: Element> {
    w: Buffer<T>,
    gates: &'a [T],
    states: &'a [T],
    gh: &'a [T],
    rows_down: usize,
    gx: Shared<T>,
    walk: Walk,
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
        let rows = self.pass.scan.taps() * 4 * channels;
        let vectors = channels.div_ceil(V::LANES);
        let mut to = Buffer::filled(vectors * rows * V::LANES, T::ZERO);
        let by_vector = to.chunks_exact_mut((rows * V::LANES).max(1));
        for (first, to) in (0..channels).step_by(V::LANES).zip(by_vector) {
            let by_tap = self.pass.w.chunks_exact(4 * channels * channels);
            for (w, to) in by_tap.zip(to.chunks_exact_mut(4 * channels * V::LANES)) {
                let here = (channels - first).min(V::LANES);
                for (lane, w) in w
                    .chunks_exact(4 * channels)
                    .skip(first)
                    .take(here)
                    .enumerate()
                {
                    for (&w, to) in w.iter().zip(to.chunks_exact_mut(V::LANES)) {
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
        let walk = self.job.walk;
        for step in (0..walk.steps()).rev() {
            let most = const { cells(V::LANES, 1) };
            for some in Cut::new(0..walk.cells(step), most).parts() {
                self.cells::<V>(step, some.start, some.len());
            }
        }
    }
}

impl<T: Element> Picture<'_, '_, T> {
    #[inline(always)]
    fn cells<V: Vector<Element = T>>(&mut self, step: usize, first: usize, count: usize) {
        let (job, walk, channels) = (self.job, self.job.walk, self.l.channels);
        let (scan, base) = (walk.scan, self.picture * walk.height * walk.width);
        let gx = job.gx.get();
        let mut seeing: Left<T> = [[self.zeros.as_ptr(); MOST]; TAPS];
        let (mut own, mut before) = ([0; MOST], [None; MOST]);
        let (mut lanes, mut below) = ([0; MOST], [None; MOST]);
        for i in 0..count {
            let place = walk.place(step, first + i);
            own[i] = base + place.0 * walk.width + place.1;
            lanes[i] = walk.lane(place) * channels;
            before[i] = walk.at(place, scan.offsets()[1]).map(|at| base + at);
            below[i] = walk
                .at(place, (job.rows_down as isize, 0))
                .map(|at| base + at);
            for (tap, &(down, right)) in scan.offsets().iter().enumerate() {
                if let Some(at) = walk.at(place, (-down, -right)) {
                    seeing[tap][i] = gx.wrapping_add(4 * (base + at) * channels);
                }
            }
        }
        let rows = scan.taps() * 4 * channels;
        for (vector, c) in (0..channels).step_by(V::LANES).enumerate() {
            let len = (channels - c).min(V::LANES);
            let mut acc = [[V::zero(); 1]; MOST];
            for i in 0..count {
                if let Some(below) = below[i] {
                    acc[i][0] = V::load_partial(&job.gh[below * channels + c..][..len]);
                }
            }
            let w = &job.w[vector * rows * V::LANES..][..rows * V::LANES];
            // SAFETY: rows of gx and zeros have four times `channels` numbers, and w as many rows
            // of a vector as there are of them.
            unsafe {
                multiply(
                    count,
                    (&seeing, scan.taps()),
                    4 * channels,
                    w.as_ptr(),
                    &mut acc,
                )
            };
            for i in 0..count {
                let gates = &job.gates[4 * channels * own[i]..][..4 * channels];
                let mut values = [V::zero(); 4];
                for (gate, value) in values.iter_mut().enumerate() {
                    *value = V::load_partial(&gates[gate * channels + c..][..len]);
                }
                let [input, forget, output, new] = values;
                let state = V::load_partial(&job.states[own[i] * channels + c..][..len]);
                let state_before = match before[i] {
                    Some(before) => V::load_partial(&job.states[before * channels + c..][..len]),
                    None => V::zero(),
                };
                let carry = &mut self.carry[lanes[i] + c..][..len];
                let (one, gh) = (V::one(), acc[i][0]);
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
                    let at = 4 * channels * own[i] + gate * channels + c;
                    // SAFETY: the cell lies inside gx, of which no other job touches this picture.
                    unsafe { gradient.store_ptr_partial(gx.add(at), len) };
                }
            }
        }
    }
}
