//! The subcommands: one file each, with its arguments and what it does.

pub(crate) mod bench;
pub(crate) mod complete;
pub(crate) mod compress;
pub(crate) mod data;
pub(crate) mod eval;
#[cfg(feature = "explore")]
pub(crate) mod explore;
pub(crate) mod finetune;
pub(crate) mod fool;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod judge;
pub(crate) mod latent;
pub(crate) mod models;
pub(crate) mod sample;
pub(crate) mod train;

/// `KEY=VALUE`.
fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().into(), value.trim().into()))
}

/// A temperature: what logits are divided by.
fn temperature(text: &str) -> Result<f32, String> {
    let number = text.parse().ok();
    let number = number.filter(|t: &f32| t.is_finite() && *t >= 1e-3);
    number.ok_or_else(|| "expected a number of at least 0.001".into())
}

/// A number above 0.
fn above_zero(text: &str) -> Result<f32, String> {
    let number = text.parse().ok();
    let number = number.filter(|x: &f32| x.is_finite() && *x > 0.0);
    number.ok_or_else(|| "expected a number above 0".into())
}

/// Height, width and, unless it is 1, colours: `32x32x3`.
fn image(text: &str) -> Result<[usize; 3], String> {
    let wrong =
        || format!("expected HxW or HxWxC with C 1 or 3, as 28x28 or 32x32x3, found {text:?}");
    let extents: Option<Vec<usize>> = text.split('x').map(|n| n.trim().parse().ok()).collect();
    match extents.as_deref() {
        Some(&[height, width]) => Some([height, width, 1]),
        Some(&[height, width, channels @ (1 | 3)]) => Some([height, width, channels]),
        _ => None,
    }
    .filter(|[height, width, _]| (1..=4096).contains(height) && (1..=4096).contains(width))
    .ok_or_else(wrong)
}

/// A number of threads.
fn threads() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=1024)
}
