//! Which connections an autoregressive model may have.

use grad::kernels::conv::Taps;
use grad::{Element, Tensor};

/// Whether a masked convolution sees the pixel it stands on. Van den Oord et al. 2016,
/// arXiv:1601.06759, section 3.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Causal {
    /// Not the pixel itself: the first layer.
    A,
    /// The pixel itself, too: the layers after the first, whose inputs have not seen it.
    B,
}

/// The taps of a kernel that lie before its centre in raster order, and with [`Causal::B`] the
/// centre: 24 of 7x7 with A, 5 of 3x3 with B.
///
/// # Panics
/// If a size is even: such a kernel has no centre.
#[track_caller]
pub fn causal_taps(kernel: [usize; 2], causal: Causal) -> Taps {
    let [kh, kw] = kernel;
    assert!(
        kh % 2 == 1 && kw % 2 == 1,
        "causal_taps: expected odd kernel sizes, found {kh} x {kw}"
    );
    let centre = (kh / 2, kw / 2);
    Taps::from_fn(kh, kw, |r, c| match causal {
        Causal::A => (r, c) < centre,
        Causal::B => (r, c) <= centre,
    })
}

/// A mask `[in, out]` for [`Linear::forward_masked`](crate::layers::Linear::forward_masked): 1
/// where input unit i may feed output unit o, `out_degrees[o] >= in_degrees[i]`, or `>` with
/// `strict` (the output layer). Germain et al. 2015, arXiv:1502.03509, equations 8 and 9.
pub fn degree_mask<T: Element>(
    in_degrees: &[usize],
    out_degrees: &[usize],
    strict: bool,
) -> Tensor<T> {
    let outputs = out_degrees.len();
    Tensor::from_fn([in_degrees.len(), outputs], |i| {
        let (from, to) = (in_degrees[i / outputs], out_degrees[i % outputs]);
        if to > from || (!strict && to == from) {
            T::ONE
        } else {
            T::ZERO
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_are_those_of_the_paper() {
        assert_eq!(causal_taps([7, 7], Causal::A).count(), 24);
        assert_eq!(causal_taps([3, 3], Causal::B).count(), 5);
        let row: Vec<_> = causal_taps([1, 3], Causal::B).iter().collect();
        assert_eq!(row, [(0, 0), (0, 1)]);
    }

    #[test]
    fn masks_compose_to_a_strict_order() {
        // Inputs 0 < 1 < 2; hidden units may see up to their degree; output d sees what is < d.
        let inputs = [1, 2, 3];
        let hidden = [1, 2, 1, 2];
        let a = degree_mask::<f64>(&inputs, &hidden, false);
        let b = degree_mask::<f64>(&hidden, &inputs, true);
        for i in 0..3 {
            for o in 0..3 {
                let paths: f64 = (0..4)
                    .map(|h| a.data()[i * 4 + h] * b.data()[h * 3 + o])
                    .sum();
                assert_eq!(paths > 0.0, i < o, "{i} -> {o}");
            }
        }
    }
}
