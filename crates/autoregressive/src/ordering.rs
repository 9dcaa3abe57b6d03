//! Orderings of the dimensions, and of units.

use nn::random::{stream, uniform};
use std::sync::Arc;

/// The numbers below n in a random order that the words name.
pub(crate) fn permutation(n: usize, words: &[u64]) -> Arc<[u32]> {
    let mut noise = stream(words);
    let mut list: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        list.swap(i, (uniform(&mut noise) * (i + 1) as f64) as usize);
    }
    list.into()
}

/// Where each number went: inverse\[permutation\[i\]\] = i.
pub(crate) fn inverse(permutation: &[u32]) -> Arc<[u32]> {
    let mut inverse = vec![0; permutation.len()];
    for (i, &to) in permutation.iter().enumerate() {
        inverse[to as usize] = i as u32;
    }
    inverse.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inverse_undoes_its_permutation() {
        let order = permutation(50, &[3]);
        let back = inverse(&order);
        assert!((0..50).all(|i| back[order[i] as usize] == i as u32));
        assert_ne!(order, permutation(50, &[4]));
    }
}
