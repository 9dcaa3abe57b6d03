//! The `genzoo` command with a model of one's own beside those that it has:
//!
//! ```sh
//! cargo run --release -- models mean-gan
//! cargo run --release -- train mean-gan --epochs 3 --set latents=8
//! ```

mod mean_gan;

use nn::model::Entry;
use std::process::ExitCode;

/// The models of this program: a new one is a file and a name here.
const MODELS: &[Entry] = &[mean_gan::ENTRY];

fn main() -> ExitCode {
    genzoo::run(MODELS)
}
