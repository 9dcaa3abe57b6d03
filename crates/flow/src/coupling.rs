//! Coupling layers: one part of the numbers stays, and moves the other.
//!
//! ```text
//! additive  z_b = x_b + m(x_a)                          L. Dinh, D. Krueger and Y. Bengio 2015,
//!                                                       "NICE", arXiv:1410.8516, section 3.2
//! affine    z_b = (x_b + t(x_a)) exp(s(x_a))            L. Dinh, J. Sohl-Dickstein and S. Bengio
//!           log |det| = sum s(x_a)                      2017, "Density estimation using Real NVP",
//!                                                       arXiv:1605.08803, section 3.2
//! ```
//!
//! s is c tanh(raw / c) with c = [`MOST`], so a coupling stretches at most e^c times.

use crate::layer::{At, Layer, sum_rows, zeros};
use crate::net::Net;
use grad::{Element, Var};
use std::ops::Range;

/// The largest log-scale of a layer that scales, up or down.
pub const MOST: f64 = 3.0;

/// A log-scale from any number: near it around 0, never beyond [`MOST`].
pub(crate) fn bounded<T: Element>(raw: &Var<T>) -> Var<T> {
    (raw * (1.0 / MOST)).tanh() * MOST
}

/// Which positions of the last axis stay and which move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Ranges that together make the axis, in order, and whether each moves.
    parts: Vec<(Range<usize>, bool)>,
}

impl Partition {
    /// The first n - n / 2 of n stay, the others move; of 1 none stays.
    pub fn halves(n: usize) -> Partition {
        let middle = if n == 1 { 0 } else { n - n / 2 };
        Partition {
            parts: vec![(0..middle, false), (middle..n, true)],
        }
    }

    /// Of 4 C channels that [`Squeeze`](crate::Squeeze) has made of C, pixels of even row + column
    /// stay: the checkerboard mask of Real NVP, on the pixels before the squeeze.
    ///
    /// # Panics
    /// If n is not a multiple of 4.
    #[track_caller]
    pub fn checkerboard(n: usize) -> Partition {
        assert_eq!(
            n % 4,
            0,
            "checkerboard: expected channels of a squeeze, found {n}"
        );
        let c = n / 4;
        Partition {
            parts: vec![(0..c, false), (c..3 * c, true), (3 * c..n, false)],
        }
    }

    /// What stayed moves, and the other way round.
    pub fn swapped(mut self) -> Partition {
        self.parts
            .iter_mut()
            .for_each(|(_, moves)| *moves = !*moves);
        self
    }

    /// How many positions stay, or how many move.
    pub fn count(&self, moving: bool) -> usize {
        let parts = self.parts.iter().filter(|(_, moves)| *moves == moving);
        parts.map(|(range, _)| range.len()).sum()
    }

    fn pick<T: Element>(&self, x: &Var<T>, moving: bool) -> Var<T> {
        let axis = x.shape().rank() - 1;
        let parts = self.parts.iter().filter(|(_, moves)| *moves == moving);
        let parts: Vec<Var<T>> = parts
            .map(|(range, _)| x.slice(axis, range.clone()))
            .collect();
        match &parts[..] {
            [part] => part.clone(),
            parts => Var::concat(&parts.iter().collect::<Vec<_>>(), axis),
        }
    }

    /// The two parts of the last axis of x, (what stays, what moves).
    pub fn split<T: Element>(&self, x: &Var<T>) -> (Var<T>, Var<T>) {
        (self.pick(x, false), self.pick(x, true))
    }

    /// The axis from its two parts.
    pub fn join<T: Element>(&self, stay: &Var<T>, moved: &Var<T>) -> Var<T> {
        let axis = stay.shape().rank() - 1;
        let mut next = [0, 0];
        let parts: Vec<Var<T>> = (self.parts.iter())
            .map(|(range, moves)| {
                let from = if *moves { moved } else { stay };
                let next = &mut next[usize::from(*moves)];
                let start = *next;
                *next += range.len();
                from.slice(axis, start..*next)
            })
            .collect();
        Var::concat(&parts.iter().collect::<Vec<_>>(), axis)
    }
}

/// How one part moves the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// By a shift: volumes stay.
    Additive,
    /// By a shift and a scale.
    Affine,
}

impl Transform {
    /// How many numbers the network gives for each that moves.
    pub fn width(self) -> usize {
        match self {
            Transform::Additive => 1,
            Transform::Affine => 2,
        }
    }
}

/// A coupling layer.
pub struct Coupling {
    partition: Partition,
    transform: Transform,
    net: Net,
}

impl Coupling {
    /// With this network, which gives [`Transform::width`] numbers for each that moves.
    pub fn new(partition: Partition, transform: Transform, net: Net) -> Coupling {
        Coupling {
            partition,
            transform,
            net,
        }
    }

    /// (shift, log-scale) of what moves; without a log-scale it is 0.
    fn motion<T: Element>(&self, at: &At<T>, stay: &Var<T>) -> (Var<T>, Option<Var<T>>) {
        let said = self.net.forward(at, stay);
        if self.transform == Transform::Additive {
            return (said, None);
        }
        let (axis, n) = (said.shape().rank() - 1, self.partition.count(true));
        let log_scale = bounded(&said.slice(axis, n..2 * n));
        (said.slice(axis, 0..n), Some(log_scale))
    }
}

impl<T: Element> Layer<T> for Coupling {
    fn forward(&self, at: &At<T>, x: &Var<T>) -> (Var<T>, Var<T>) {
        let (stay, moving) = self.partition.split(x);
        let (shift, log_scale) = self.motion(at, &stay);
        let moved = moving + shift;
        let (moved, log_det) = match log_scale {
            None => (moved, zeros(x)),
            Some(s) => (moved * s.exp(), sum_rows(&s)),
        };
        (self.partition.join(&stay, &moved), log_det)
    }

    fn inverse(&self, at: &At<T>, z: &Var<T>) -> Var<T> {
        let (stay, moved) = self.partition.split(z);
        let (shift, log_scale) = self.motion(at, &stay);
        let moving = match log_scale {
            None => moved,
            Some(s) => moved * (-s).exp(),
        };
        self.partition.join(&stay, &(moving - shift))
    }
}
