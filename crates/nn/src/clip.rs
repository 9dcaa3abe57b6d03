//! Keeping gradients, or parameters, within bounds.

use grad::Tensor;
use grad::kernels::parallel;

/// Numbers whose squares one thread adds up: with fewer, waking another takes longer.
const PIECE: usize = 1 << 16;

/// The Euclidean norm of all tensors together, |g| = sqrt(sum g_i^2); summed in f64, in an order
/// that does not depend on the number of threads.
pub fn global_norm<'a>(tensors: impl IntoIterator<Item = &'a Tensor<f32>>) -> f64 {
    let pieces: Vec<_> = (tensors.into_iter())
        .flat_map(|tensor| tensor.data().chunks(PIECE))
        .collect();
    squares(&pieces).sqrt()
}

/// The squares of all pieces together, halves side by side if they are large.
fn squares(pieces: &[&[f32]]) -> f64 {
    let numbers: usize = pieces.iter().map(|piece| piece.len()).sum();
    if numbers <= PIECE || pieces.len() == 1 {
        return pieces.iter().map(|piece| squares_of_one(piece)).sum();
    }
    let (left, right) = pieces.split_at(pieces.len() / 2);
    let (left, right) = parallel::join(|| squares(left), || squares(right));
    left + right
}

fn squares_of_one(piece: &[f32]) -> f64 {
    // Eight running sums, so that the compiler can keep them in vectors.
    let mut sums = [0.0f64; 8];
    let (chunks, rest) = piece.as_chunks::<8>();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    let rest: f64 = rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    sums.iter().sum::<f64>() + rest
}

/// What gradients of this norm are multiplied by so that their norm is at most `limit`:
/// min(1, limit / norm). Pascanu et al. 2013, arXiv:1211.5063, algorithm 1.
///
/// An infinite norm gives 0 and so NaN gradients: a step that went wrong is not hidden.
///
/// # Panics
/// If the limit is negative or NaN: it would turn gradients around.
#[track_caller]
pub fn norm_factor(norm: f64, limit: f64) -> f64 {
    assert!(
        limit >= 0.0,
        "clip: expected a norm of at least 0, found {limit}"
    );
    if norm > limit { limit / norm } else { 1.0 }
}

/// Scales all tensors by one factor so that their common norm is at most `limit`; gives the norm
/// they had.
///
/// An optimiser does the same without another pass over memory: give
/// [`norm_factor`] to [`OptimiserState::step_scaled`](crate::optim::OptimiserState::step_scaled).
///
/// # Panics
/// If the limit is negative or NaN.
#[track_caller]
pub fn clip_by_norm(tensors: &mut [Tensor<f32>], limit: f64) -> f64 {
    let norm = global_norm(&*tensors);
    let factor = norm_factor(norm, limit) as f32;
    if factor != 1.0 {
        for tensor in tensors {
            tensor.make_mut().iter_mut().for_each(|x| *x *= factor);
        }
    }
    norm
}

/// Moves every number into [-limit, limit]; NaN stays NaN. A Wasserstein critic does this to its
/// parameters. Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1.
///
/// # Panics
/// If the limit is negative or NaN.
#[track_caller]
pub fn clip_by_value<'a>(tensors: impl IntoIterator<Item = &'a mut Tensor<f32>>, limit: f32) {
    assert!(
        limit >= 0.0,
        "clip_by_value: expected a limit of at least 0, found {limit}"
    );
    for tensor in tensors {
        tensor
            .make_mut()
            .iter_mut()
            .for_each(|x| *x = x.clamp(-limit, limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradients() -> Vec<Tensor<f32>> {
        vec![Tensor::full([3, 3], 1.0), Tensor::new([2], &[0.0, 4.0])]
    }

    #[test]
    fn the_norm_is_of_all_tensors_together() {
        assert_eq!(global_norm(&gradients()), 5.0);
        assert_eq!(global_norm(&[]), 0.0);
        // The squares overflow f32.
        assert_eq!(
            global_norm(&[Tensor::new([1], &[1e30])]),
            f64::from(1e30f32)
        );
        // More than one piece, the last one ragged.
        let long = Tensor::full([3 * PIECE + 5], 0.5);
        let expected = (f64::from(3 * PIECE as u32 + 5) * 0.25).sqrt();
        assert_eq!(global_norm(&[long, Tensor::full([1], 0.0)]), expected);
    }

    #[test]
    fn clipping_by_norm_keeps_the_direction() {
        let mut clipped = gradients();
        assert_eq!(clip_by_norm(&mut clipped, 2.5), 5.0);
        assert_eq!(global_norm(&clipped), 2.5);
        assert_eq!(clipped[1].data(), [0.0, 2.0]);
        let mut small = gradients();
        assert_eq!(clip_by_norm(&mut small, 5.0), 5.0);
        assert_eq!(small, gradients());
    }

    #[test]
    fn what_is_not_finite_is_not_hidden() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut gradients = [Tensor::new([2], &[1.0, bad])];
            clip_by_norm(&mut gradients, 1.0);
            assert!(gradients[0].data()[1].is_nan());
        }
    }

    #[test]
    fn clipping_by_value_is_elementwise() {
        let mut tensors = [Tensor::new([3], &[-3.0, 0.5, f32::INFINITY])];
        clip_by_value(&mut tensors, 1.0);
        assert_eq!(tensors[0].data(), [-1.0, 0.5, 1.0]);
    }
}
