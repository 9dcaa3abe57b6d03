//! What models can do beside being trained and judged: a trait for each ability.

mod chain;
mod code;
mod complete;
mod features;
mod inspect;
mod latent;
mod sample;

pub use chain::Chain;
pub use code::Coder;
pub use complete::{Completer, CompletionRequest};
pub use features::{Classifier, Features};
pub use inspect::Inspector;
pub use latent::{Embedder, Encoder, Latent};
pub use sample::{Classes, SampleRequest, Sampler, Takes};
