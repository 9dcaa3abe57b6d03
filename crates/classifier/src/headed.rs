//! A classifier on the encoder of another model: what it has learned without labels is where
//! learning with few labels begins. Hinton & Salakhutdinov 2006; Erhan et al. 2010.

use crate::classify::{Classify, Network};
use grad::Var;
use nn::model::{Model, Spread};
use nn::{Bound, Builder, Params};

/// The encoder of a model as a network.
pub struct Encoded {
    model: Box<dyn Model>,
    width: usize,
}

/// A classifier whose network is the encoder of another model: its logits are linear in the code.
pub type Headed = Classify<Encoded>;

/// The model has no encoder whose code can be differentiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEncoder;

impl Headed {
    /// A head of `classes` logits on the encoder of `model`, whose parameters `params` holds; the
    /// head's are added under `head`, drawn from `seed`.
    ///
    /// # Errors
    /// If the model has no encoder with derivatives ([`nn::model::Encoder::embedder`]).
    ///
    /// # Panics
    /// If the model has parameters of that name already.
    pub fn on(
        model: Box<dyn Model>,
        params: &mut Params<f32>,
        classes: usize,
        seed: u64,
    ) -> Result<Headed, NoEncoder> {
        let latent = model.latent().ok_or(NoEncoder)?;
        latent
            .encoder()
            .and_then(|it| it.embedder())
            .ok_or(NoEncoder)?;
        let width = latent.shape().iter().product();
        let mut b = Builder::new(params, seed);
        Ok(Classify::new(&mut b, Encoded { model, width }, classes))
    }
}

impl Network for Encoded {
    fn width(&self) -> usize {
        self.width
    }

    fn hidden(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32> {
        let encoder = self.model.latent().and_then(|latent| latent.encoder());
        let embedder = encoder.and_then(|encoder| encoder.embedder());
        let code = embedder.expect("looked at before").embed(p, x);
        code.reshape([x.shape()[0], self.width])
    }

    fn spread(&self, batch_size: usize) -> Spread {
        self.model.spread(batch_size)
    }
}
