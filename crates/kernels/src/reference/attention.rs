//! Attention as it is defined, with all probabilities in memory.

use crate::attention::Attention;
use crate::element::Element;

/// What attention computes and what its gradients are, in f64; operands `[batch, length, heads,
/// depth]`, contiguous.
#[derive(Debug)]
pub struct Results {
    /// The outputs.
    pub o: Vec<f64>,
    /// `[batch, heads, length]`.
    pub logsumexp: Vec<f64>,
    /// The gradients of <o, go> by q, k and v.
    pub gradients: [Vec<f64>; 3],
}

/// The naive twin of [`crate::attention`].
pub fn attention<T: Element>(a: &Attention, q: &[T], k: &[T], v: &[T], go: &[T]) -> Results {
    let Attention {
        batch,
        length,
        heads,
        depth,
        ..
    } = *a;
    let mut results = Results {
        o: vec![0.0; q.len()],
        logsumexp: Vec::new(),
        gradients: [(); 3].map(|()| vec![0.0; q.len()]),
    };
    for (b, h) in (0..batch).flat_map(|b| (0..heads).map(move |h| (b, h))) {
        let at = |t: usize| ((b * length + t) * heads + h) * depth;
        let row = |x: &[T], t: usize| -> Vec<f64> {
            x[at(t)..][..depth].iter().map(|x| x.to_f64()).collect()
        };
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        for i in 0..length {
            let seen: Vec<usize> = (0..length).filter(|&j| a.pattern.sees(i, j)).collect();
            let scores: Vec<f64> = (seen.iter())
                .map(|&j| a.scale * dot(&row(q, i), &row(k, j)))
                .collect();
            let lse = super::rows::logsumexp(&scores);
            results.logsumexp.push(lse);
            let (g, q) = (row(go, i), row(q, i));
            let p: Vec<f64> = scores.iter().map(|s| (s - lse).exp()).collect();
            let gp: Vec<f64> = seen.iter().map(|&j| dot(&row(v, j), &g)).collect();
            let mean = dot(&p, &gp);
            for ((&j, p), gp) in seen.iter().zip(p).zip(gp) {
                let gs = a.scale * p * (gp - mean);
                let (k, v) = (row(k, j), row(v, j));
                for c in 0..depth {
                    results.o[at(i) + c] += p * v[c];
                    results.gradients[0][at(i) + c] += gs * k[c];
                    results.gradients[1][at(j) + c] += gs * q[c];
                    results.gradients[2][at(j) + c] += p * g[c];
                }
            }
        }
    }
    results
}
