//! An LSTM over pictures as it is defined, cell after cell.

use crate::element::Element;
use crate::recurrent::{Lstm, Scan};

/// The hidden states, in f64; the naive twin of [`Lstm::forward`].
pub fn lstm<T: Element>(l: &Lstm, scan: Scan, x: &[T], w: &[T]) -> Vec<f64> {
    let (height, width, n) = (l.height, l.width, l.channels);
    let mut h = vec![0.0; l.states_len()];
    let mut c = vec![0.0; l.states_len()];
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    // In this order, and with columns from right to left if mirrored, all that a cell sees comes
    // before it.
    for (b, row, i) in (0..l.batch)
        .flat_map(|b| (0..height).flat_map(move |row| (0..width).map(move |i| (b, row, i))))
    {
        let mirrored = scan == Scan::Diagonal { mirrored: true };
        let column = if mirrored { width - 1 - i } else { i } as isize;
        let seen = match scan {
            Scan::Row => vec![(1, column - 1), (1, column), (1, column + 1)],
            Scan::Diagonal { mirrored: false } => vec![(1, column), (0, column - 1)],
            Scan::Diagonal { mirrored: true } => vec![(1, column), (0, column + 1)],
        };
        let at = |(up, column): (usize, isize)| {
            let inside = row >= up && (0..width as isize).contains(&column);
            inside.then(|| (b * height + row - up) * width + column as usize)
        };
        let own = at((0, column)).expect("the cell itself");
        let mut gates: Vec<f64> = x[4 * n * own..][..4 * n]
            .iter()
            .map(|x| x.to_f64())
            .collect();
        for (tap, &cell) in seen.iter().enumerate() {
            let Some(cell) = at(cell) else { continue };
            for p in 0..n {
                let w = &w[(tap * n + p) * 4 * n..][..4 * n];
                for (gate, w) in gates.iter_mut().zip(w) {
                    *gate += h[cell * n + p] * w.to_f64();
                }
            }
        }
        for p in 0..n {
            let before = at(seen[1]).map_or(0.0, |cell| c[cell * n + p]);
            let state =
                sigmoid(gates[n + p]) * before + sigmoid(gates[p]) * gates[3 * n + p].tanh();
            c[own * n + p] = state;
            h[own * n + p] = sigmoid(gates[2 * n + p]) * state.tanh();
        }
    }
    h
}
