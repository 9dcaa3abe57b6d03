//! What a model is judged to be on a split.

use crate::images::Images;
use grad::Tape;
use grad::kernels::parallel;
use nn::Params;
use nn::model::{Ask, Figure, Model, Score, Scored, SetAsk, Spread, Step};
use nn::stats::Estimate;
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Images a lane of a model that trains without lanes.
const INTRA_OP_LANE: usize = 32;

/// What to judge, and by what.
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    /// The model, which says how many images a lane has.
    pub model: &'a dyn Model,
    /// Its parameters.
    pub params: &'a Params<f32>,
    /// The training images, as evaluation sees them: what a score prepares itself with.
    pub train: &'a Images<'a>,
    /// The images that are judged.
    pub split: &'a Images<'a>,
    /// Images a training step has.
    pub batch_size: usize,
    /// Draws an image of scores that are stochastic.
    pub samples: usize,
    /// Where the randomness of scores of whole sets begins.
    pub seed: u64,
    /// Whether the figures are to be quoted, and may take their time.
    pub thorough: bool,
}

/// A figure and, where it is a mean over images, the value of each image.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The figure.
    pub figure: Figure,
    /// The value of each image, in order; nothing for a figure of the whole set.
    pub values: Option<Vec<f64>>,
}

impl Evaluation<'_> {
    /// All figures of these scores, in order; nothing if `stop` was raised meanwhile.
    ///
    /// Lanes run side by side on the [`Pool`](crate::Pool) this is called in. Their number and each
    /// image's noise do not depend on the threads, so neither do the figures.
    pub fn run(&self, scores: &[Scored], stop: &AtomicBool) -> Option<Vec<Measured>> {
        let mut measured = Vec::new();
        for score in scores {
            match score {
                Scored::Images(score) => measured.extend(self.of_images(*score, stop)?),
                Scored::Set(score) => {
                    let figures = score.of(&self.ask());
                    let whole = |figure| Measured {
                        figure,
                        values: None,
                    };
                    measured.extend(figures.into_iter().map(whole));
                }
            }
            if stop.load(Ordering::Relaxed) {
                return None;
            }
        }
        Some(measured)
    }

    fn ask(&self) -> SetAsk<'_> {
        SetAsk::new(self.params, self.train, self.split, self.seed).thorough(self.thorough)
    }

    fn of_images(&self, score: &dyn Score, stop: &AtomicBool) -> Option<Vec<Measured>> {
        let about = score.about();
        let lane = match self.model.spread(self.batch_size) {
            Spread::Lanes(size) => size.max(1),
            Spread::IntraOp => INTRA_OP_LANE,
        };
        let prepared = score.prepare(&self.ask());
        let indices: Vec<u32> = (0..self.split.len() as u32).collect();
        let lanes: Option<Vec<Vec<Vec<f64>>>> = indices
            .par_chunks(lane)
            .map(|indices| {
                if stop.load(Ordering::Relaxed) {
                    return None;
                }
                parallel::serial(|| {
                    let (tape, bound) = (Tape::new(), self.params.constants());
                    let batch = self.split.batch(indices);
                    let step = Step::new(&tape, &bound, &batch);
                    let columns = score.of(&step, &Ask::new(self.samples, &prepared));
                    let whole = columns.iter().all(|column| column.len() == indices.len());
                    assert!(
                        whole && columns.len() == about.len(),
                        "a score must give a number for each figure and image"
                    );
                    Some(columns)
                })
            })
            .collect();
        let mut columns = vec![Vec::with_capacity(indices.len()); about.len()];
        for lane in lanes? {
            for (column, part) in columns.iter_mut().zip(lane) {
                column.extend(part);
            }
        }
        let measured = about.into_iter().zip(columns).map(|(info, values)| {
            let Estimate {
                mean,
                standard_error,
            } = Estimate::of(&values);
            Measured {
                figure: Figure {
                    info,
                    value: mean,
                    standard_error,
                },
                values: Some(values),
            }
        });
        let beside = score.beside(&prepared).into_iter().map(|figure| Measured {
            figure,
            values: None,
        });
        Some(measured.chain(beside).collect())
    }
}
