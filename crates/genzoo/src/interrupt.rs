//! Ctrl-C: the first asks for an orderly end, the second ends at once.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of a program that Ctrl-C has ended.
pub(crate) const CODE: u8 = 130;

static RAISED: AtomicBool = AtomicBool::new(false);

/// Raised at the first Ctrl-C from now on.
pub(crate) fn flag() -> anyhow::Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if RAISED.swap(true, Ordering::Relaxed) {
            process::exit(CODE.into());
        }
        eprintln!("\nstopping after this step (Ctrl-C again quits at once) ...");
    })?;
    Ok(&RAISED)
}
