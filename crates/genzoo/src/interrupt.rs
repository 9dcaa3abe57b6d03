//! Ctrl-C, and the signals by which a system asks a program to end (TERM, HUP): the first asks
//! for an orderly end, the second ends at once. Files are replaced whole, so an end in the middle
//! of a save leaves the old checkpoint.

use crate::output::note;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of a program that such a signal has ended.
pub(crate) const CODE: u8 = 130;

static RAISED: AtomicBool = AtomicBool::new(false);

/// Raised at the first of these signals from now on.
pub(crate) fn flag() -> anyhow::Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if RAISED.swap(true, Ordering::Relaxed) {
            process::exit(CODE.into());
        }
        note("\nstopping after this step (Ctrl-C again quits at once) ...");
    })?;
    Ok(&RAISED)
}
