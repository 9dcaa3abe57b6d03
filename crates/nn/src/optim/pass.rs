//! One update of all parameters, as one pass over memory that all threads share.
//!
//! A parameter after the other would start the threads as often as there are parameters, and most
//! are too small to be worth it. Here they are one long row of numbers, halved until a part is
//! small; where it is cut changes no number.

use super::rule::{MatrixUpdate, Update};
use grad::Shape;
use grad::kernels::elementwise::{self, Binary};
use grad::kernels::parallel;

/// Numbers of one parameter with all that belongs to them. What is not used is empty.
pub(super) struct Piece<'a> {
    pub(super) p: &'a mut [f32],
    /// The gradient is the sum of these two.
    pub(super) g: [&'a [f32]; 2],
    pub(super) moments: [&'a mut [f32]; 2],
}

/// As many numbers as one thread takes at a time.
const PART: usize = 1 << 14;
/// Gradients are added in a buffer of this many numbers, which stays in the innermost cache.
const BLOCK: usize = 1 << 11;

/// The matrix a tensor of this shape is seen as: its last dimension across, the others down.
/// None for vectors and scalars, and for what is one row or column.
pub(super) fn sides(shape: &Shape) -> Option<[usize; 2]> {
    if shape.rank() < 2 {
        return None;
    }
    let cols = shape.last_extent();
    let rows = shape.elements() / cols.max(1);
    (rows > 1 && cols > 1).then_some([rows, cols])
}

/// A matrix with all that a step needs of it.
pub(super) struct Matrix<'a> {
    pub(super) sides: [usize; 2],
    pub(super) piece: Piece<'a>,
    /// Room to work in; grows to what is needed once.
    pub(super) scratch: &'a mut Vec<f32>,
}

/// Updates all matrices, shared out over the threads by their number of elements; products of a
/// large one are shared out further.
pub(super) fn run_matrices(rule: &MatrixUpdate, matrices: &mut [Matrix]) {
    match matrices {
        [] => {}
        [matrix] => rule(matrix),
        _ => {
            let (left, right) = halved(matrices, |matrix| matrix.piece.p.len());
            parallel::join(|| run_matrices(rule, left), || run_matrices(rule, right));
        }
    }
}

/// Updates all pieces.
pub(super) fn run(rule: &Update, pieces: &mut [Piece]) {
    let len: usize = pieces.iter().map(|piece| piece.p.len()).sum();
    if len <= PART || parallel::threads() == 1 {
        for piece in pieces {
            piece.update(rule);
        }
        return;
    }
    let both = |left: &mut [Piece], right: &mut [Piece]| {
        parallel::join(|| run(rule, left), || run(rule, right));
    };
    if let [piece] = pieces {
        let (left, right) = piece.halves();
        return both(&mut [left], &mut [right]);
    }
    let (left, right) = halved(pieces, |piece| piece.p.len());
    both(left, right);
}

/// Cuts two items or more in two, neither part empty, with about half of the numbers in each.
fn halved<T>(items: &mut [T], len: impl Fn(&T) -> usize) -> (&mut [T], &mut [T]) {
    let all: usize = items.iter().map(&len).sum();
    let mut before = 0;
    let half = items.iter().position(|item| {
        before += len(item);
        before > all / 2
    });
    items.split_at_mut(half.unwrap_or(0).clamp(1, items.len() - 1))
}

impl Piece<'_> {
    fn halves(&mut self) -> (Piece<'_>, Piece<'_>) {
        // A multiple of the cache line and of every vector.
        let middle = (self.p.len() / 2).next_multiple_of(64);
        let (p, p_right) = self.p.split_at_mut(middle);
        let g = self.g.map(|g| g.split_at(middle.min(g.len())));
        let [a, b] = &mut self.moments;
        let (a, a_right) = a.split_at_mut(middle.min(a.len()));
        let (b, b_right) = b.split_at_mut(middle.min(b.len()));
        (
            Piece {
                p,
                g: g.map(|(left, _)| left),
                moments: [a, b],
            },
            Piece {
                p: p_right,
                g: g.map(|(_, right)| right),
                moments: [a_right, b_right],
            },
        )
    }

    /// On this thread.
    fn update(&mut self, rule: &Update) {
        let [a, b] = self.g;
        let [m, v] = &mut self.moments;
        parallel::serial(|| {
            if b.is_empty() {
                return rule(self.p, a, [m, v]);
            }
            let mut sum = [0.0; BLOCK];
            for start in (0..self.p.len()).step_by(BLOCK) {
                let end = (start + BLOCK).min(self.p.len());
                let sum = &mut sum[..end - start];
                elementwise::binary(Binary::Add, &a[start..end], &b[start..end], sum);
                let of = |x: &mut [f32]| start.min(x.len())..end.min(x.len());
                let (m_range, v_range) = (of(m), of(v));
                let moments = [&mut m[m_range], &mut v[v_range]];
                rule(&mut self.p[start..end], sum, moments);
            }
        });
    }
}
