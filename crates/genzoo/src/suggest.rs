//! The near word.

/// `did you mean "..."?` for the nearest of `known`, if one is near.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let near = nearest(word, known)?;
    Some(format!("did you mean {near:?}?"))
}

fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let scored = known.into_iter().map(|other| {
        // A beginning is as good as one typing error.
        let begun = word.len() > 1 && other.starts_with(&word);
        (
            if begun {
                1
            } else {
                distance(&word, &other.to_lowercase())
            },
            other,
        )
    });
    let (distance, other) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + word.chars().count() / 4).then_some(other)
}

/// The fewest insertions, deletions, replacements and swaps of neighbours from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = [
            "vae",
            "conv-vae",
            "pixelcnn",
            "gated-pixelcnn",
            "made",
            "nade",
        ];
        let near = |word| nearest(word, known);
        assert_eq!(near("vea"), Some("vae"));
        assert_eq!(near("VAE"), Some("vae"));
        assert_eq!(near("pixel-cnn"), Some("pixelcnn"));
        assert_eq!(near("gated"), Some("gated-pixelcnn"));
        assert_eq!(near("transformer"), None);
        assert_eq!(near(""), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn a_swap_of_neighbours_is_one_error() {
        assert_eq!(distance("hidden", "hiddne"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "axc"), 1);
    }
}
