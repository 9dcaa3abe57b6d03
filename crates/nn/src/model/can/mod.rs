//! What models can do beside being trained and judged: a trait for each ability.

mod code;
mod complete;
mod features;
mod latent;
mod sample;

pub use code::Coder;
pub use complete::{Completer, CompletionRequest};
pub use features::{Classifier, Features};
pub use latent::{Embedder, Encoder, Latent};
pub use sample::{Classes, SampleRequest, Sampler, Takes};
