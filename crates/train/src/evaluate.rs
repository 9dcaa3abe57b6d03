//! How likely a model finds images.

use crate::images::Images;
use grad::kernels::parallel;
use nn::Params;
use nn::model::{Model, Spread};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Images a lane of a model that trains without lanes.
const INTRA_OP_LANE: usize = 32;

/// -log p(x) in nats of every image, or a bound on it, in order; nothing if `stop` was raised
/// meanwhile or the model cannot tell.
///
/// Lanes run side by side on the [`Pool`](crate::Pool) this is called in. Their number and each
/// image's noise do not depend on the threads, so neither do the figures.
pub fn nats(
    model: &dyn Model,
    params: &Params<f32>,
    images: &Images,
    batch_size: usize,
    samples: usize,
    stop: &AtomicBool,
) -> Option<Vec<f64>> {
    model.likelihood()?;
    let lane = match model.spread(batch_size) {
        Spread::Lanes(size) => size.max(1),
        Spread::IntraOp => INTRA_OP_LANE,
    };
    let indices: Vec<u32> = (0..images.len() as u32).collect();
    let lanes: Option<Vec<Vec<f64>>> = indices
        .par_chunks(lane)
        .map(|indices| {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            parallel::serial(|| {
                let bound = params.constants();
                Some(
                    model
                        .likelihood()?
                        .nats(&bound, &images.batch(indices), samples),
                )
            })
        })
        .collect();
    Some(lanes?.concat())
}
