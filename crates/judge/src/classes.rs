//! The classes of samples as a classifier tells them.

/// How many of each class there are, as shares that sum to one.
///
/// # Panics
/// If a class is not below `count`, or there are no images.
#[track_caller]
pub fn shares(classes: &[u32], count: usize) -> Vec<f64> {
    assert!(!classes.is_empty(), "shares: expected images");
    let mut counts = vec![0usize; count];
    for &class in classes {
        counts[class as usize] += 1;
    }
    counts
        .iter()
        .map(|&n| n as f64 / classes.len() as f64)
        .collect()
}

/// Half the sum of the differences: 0 for equal shares, 1 where they have no class in common.
pub fn total_variation(a: &[f64], b: &[f64]) -> f64 {
    0.5 * a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>()
}

/// The share of images that are of the class that was asked for.
pub fn asked(found: &[u32], asked: &[u32]) -> f64 {
    let right = found.iter().zip(asked).filter(|(a, b)| a == b).count();
    right as f64 / found.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_their_distance() {
        let a = shares(&[0, 1, 1, 3], 4);
        assert_eq!(a, [0.25, 0.5, 0.0, 0.25]);
        let b = shares(&[2, 2], 4);
        assert_eq!(total_variation(&a, &b), 1.0);
        assert_eq!(total_variation(&a, &a), 0.0);
        assert_eq!(asked(&[1, 2, 3, 3], &[1, 2, 0, 3]), 0.75);
    }
}
