//! `genzoo latent RUN interpolate A B`: along a line, and along an arc whose points are as long as
//! the codes at its ends (White 2016, arXiv:1609.04468).

use super::space::{Space, Table};
use super::wrong;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Where it begins: an image such as test:3, or a PNG file.
    #[arg(value_name = "A")]
    from: String,
    /// Where it ends.
    #[arg(value_name = "B")]
    to: String,
    /// Images in a row, the ends with them.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=64))]
    steps: u32,
    /// The PNG file to write.
    #[arg(long, value_name = "FILE", default_value = "interpolate.png")]
    out: PathBuf,
}

/// From a code to another: where one is at t in [0, 1].
type Way = fn(&[f32], &[f32], f32) -> Vec<f32>;

/// (1 - t) a + t b.
fn straight(a: &[f32], b: &[f32], t: f32) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + t * (b - a)).collect()
}

/// sin((1 - t) angle) / sin(angle) a + sin(t angle) / sin(angle) b; along the line where the angle
/// is so small, or so near half a turn, that there is no such arc.
fn spherical(a: &[f32], b: &[f32], t: f32) -> Vec<f32> {
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter()
            .zip(y)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum()
    };
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    let angle = cosine.clamp(-1.0, 1.0).acos();
    if angle.is_nan() || angle.sin() <= 1e-3 {
        return straight(a, b, t);
    }
    let weight = |t: f64| ((t * angle).sin() / angle.sin()) as f32;
    let (left, right) = (weight(1.0 - f64::from(t)), weight(f64::from(t)));
    a.iter().zip(b).map(|(a, b)| left * a + right * b).collect()
}

pub(super) fn draw(space: &Space, args: &Args) -> anyhow::Result<String> {
    let end = |text: &str| -> anyhow::Result<(Vec<f32>, Vec<f32>)> {
        let batch = space.named(text)?;
        if batch.len() != 1 {
            let message = format!("{text}: expected one image, found {}", batch.len());
            return Err(wrong(message, "name an image such as test:3"));
        }
        let code = space.encode_batch(&batch)?.mean.swap_remove(0);
        Ok((batch.images.data().to_vec(), code))
    };
    let ((first, a), (last, b)) = (end(&args.from)?, end(&args.to)?);
    let steps = args.steps as usize;
    let share = |i: usize| i as f32 / (steps - 1) as f32;
    let row = |way: Way| {
        let codes: Vec<Vec<f32>> = (0..steps).map(|i| way(&a, &b, share(i))).collect();
        let mut images = vec![first.clone()];
        images.extend(space.decode(&codes, None));
        images.push(last.clone());
        images
    };
    let rows = [
        ("line".to_string(), row(straight)),
        ("arc".to_string(), row(spherical)),
    ];
    let mut columns = vec!["A".to_string()];
    columns.extend((0..steps).map(|i| format!("{:.2}", share(i))));
    columns.push("B".into());
    let title = format!(
        "{}: from {} (A) to {} (B)",
        space.run.entry.name, args.from, args.to
    );
    let table = Table {
        title: &title,
        columns: &columns,
        rows: &rows,
    };
    table.picture(space).save(&args.out)?;
    Ok(format!(
        "{steps} images along a line and along an arc in {}",
        args.out.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_begin_and_end_alike_and_the_arc_keeps_its_length() {
        let (a, b) = ([3.0f32, 0.0], [0.0f32, 3.0]);
        for way in [straight, spherical] {
            for (t, end) in [(0.0, a), (1.0, b)] {
                let z = way(&a, &b, t);
                assert!(z.iter().zip(end).all(|(z, end)| (z - end).abs() < 1e-6));
            }
        }
        let middle = spherical(&a, &b, 0.5);
        assert!((middle[0].hypot(middle[1]) - 3.0).abs() < 1e-6);
        assert_eq!(straight(&a, &b, 0.5), [1.5, 1.5]);
        // Opposite ends, and no length at all: along the line.
        assert_eq!(spherical(&a, &[-3.0, 0.0], 0.5), [0.0, 0.0]);
        assert_eq!(spherical(&[0.0, 0.0], &b, 0.5), [0.0, 1.5]);
    }
}
