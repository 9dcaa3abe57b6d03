//! The subcommands: one file each, with its arguments and what it does.

pub(crate) mod bench;
pub(crate) mod complete;
pub(crate) mod compress;
pub(crate) mod data;
pub(crate) mod eval;
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

/// A number of threads.
fn threads() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=1024)
}
