//! The judge inside training: a score of samples against a split.

use crate::verdict::{LEAST, Verdict, class_warnings};
use crate::witness::{Seen, Witness};
use crate::{classes, kid};
use grad::Tensor;
use nn::Bound;
use nn::model::{
    Better, Classes, Figure, ImageSource, ImageSpec, Model, SampleRequest, ScoreInfo, SetAsk,
    SetScore,
};
use nn::random::{stream, uniform, word};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// The order of a split's images, of which the first stand for the data and the next for the floor.
pub const HALVES: u64 = 0x6861_6c76_6573;
/// Samples that are drawn together.
const TOGETHER: usize = 500;

/// Images, and the class that each is of or was asked to be of, where that is known.
pub struct Drawn {
    /// `[N, H, W, C]` in [0, 1].
    pub images: Tensor<f32>,
    /// The classes.
    pub classes: Option<Arc<[u32]>>,
}

/// `count` images from the model's own distribution. A model of binary pixels that gives their
/// probabilities has the pixels drawn, since those and not the probabilities are its images.
///
/// # Panics
/// If the model does not make images.
pub fn draw(model: &dyn Model, p: &Bound<f32>, spec: &ImageSpec, count: usize, seed: u64) -> Drawn {
    let sampler = model.sampler().expect("asked of models that make images");
    let dims = spec.dims();
    let asked = model.classes().map(|n| Classes::InTurn.list(count, n));
    let images = Tensor::build(spec.shape(count), |out| {
        for (k, out) in out.chunks_mut(TOGETHER * dims.max(1)).enumerate() {
            let range = k * TOGETHER..k * TOGETHER + out.len() / dims.max(1);
            let mut request = SampleRequest::new(range.len(), seed.wrapping_add(k as u64));
            if let Some(asked) = &asked {
                request = request.classes(Classes::Each(asked[range].into()));
            }
            out.copy_from_slice(sampler.sample(p, &request).data());
        }
        if spec.is_binary() {
            let mut stream = stream(&[seed, word("pixels")]);
            for x in out.iter_mut() {
                let u = uniform(&mut stream) as f32;
                if *x != 0.0 && *x != 1.0 {
                    *x = f32::from(u8::from(u < *x));
                }
            }
        }
    });
    Drawn {
        images,
        classes: asked,
    }
}

/// `count` images of a source in an order that the seed names, those after the first `skip`; less,
/// if there are not so many.
pub fn real(source: &dyn ImageSource, skip: usize, count: usize, seed: u64) -> Drawn {
    let order = kid::shuffled(source.len(), seed);
    let chosen: Vec<u32> = order
        .iter()
        .skip(skip)
        .take(count)
        .map(|&i| i as u32)
        .collect();
    let spec = source.spec();
    let dims = spec.dims();
    let mut classes = Vec::with_capacity(chosen.len());
    let images = Tensor::build(spec.shape(chosen.len()), |out| {
        let parts = out
            .chunks_mut(TOGETHER * dims.max(1))
            .zip(chosen.chunks(TOGETHER));
        for (out, indices) in parts {
            let batch = source.batch(indices);
            out.copy_from_slice(batch.images.data());
            classes.extend(
                batch
                    .labels
                    .iter()
                    .flat_map(|labels| labels.iter().copied()),
            );
        }
    });
    Drawn {
        images,
        classes: (classes.len() == chosen.len()).then(|| classes.into()),
    }
}

/// The judge as a score: samples of a model against the images of a split, seen by a witness.
///
/// The kernel distance comes first, so it is what a model without a score of its own is selected
/// by. Half of the split's images stand for the data, the other half for the floor: what real
/// images would get.
pub struct SampleScore {
    witness: Arc<Witness>,
    model: Box<dyn Model>,
    spec: ImageSpec,
    classes: usize,
    most: usize,
    data: OnceLock<Data>,
    /// Of the samples that were judged last.
    shares: Mutex<Vec<f64>>,
}

/// What does not change from time to time.
struct Data {
    real: Seen,
    floor: Verdict,
    shares: Vec<f64>,
}

const ABOUT: [ScoreInfo; 9] = [
    ScoreInfo::metric("kid", "squared features", Better::Lower),
    ScoreInfo::metric("frechet", "squared features", Better::Lower),
    ScoreInfo::metric("frechet_floor", "squared features", Better::Lower),
    ScoreInfo::metric("precision", "share", Better::Higher),
    ScoreInfo::metric("recall", "share", Better::Higher),
    ScoreInfo::metric("density", "balls a sample over k", Better::Higher),
    ScoreInfo::metric("coverage", "share", Better::Higher),
    ScoreInfo::metric("imbalance", "total variation", Better::Lower),
    ScoreInfo::metric("told_apart", "share", Better::Lower),
];

impl SampleScore {
    /// For `model`, whose parameters are given at each asking, on such images of so many classes.
    /// It draws `most` images at most.
    pub fn new(
        witness: Arc<Witness>,
        model: Box<dyn Model>,
        spec: ImageSpec,
        classes: usize,
        most: usize,
    ) -> SampleScore {
        SampleScore {
            witness,
            model,
            spec,
            classes,
            most,
            data: OnceLock::new(),
            shares: Mutex::default(),
        }
    }

    fn last_shares(&self) -> MutexGuard<'_, Vec<f64>> {
        self.shares
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn count(&self, split: &dyn ImageSource) -> usize {
        (split.len() / 2).min(self.most)
    }
}

/// Whether a split has images enough to judge samples by.
pub fn is_enough(images: usize) -> bool {
    images / 2 >= LEAST
}

impl SetScore for SampleScore {
    fn about(&self) -> Vec<ScoreInfo> {
        let asked = ScoreInfo::metric("asked_class", "share", Better::Higher);
        let asked = self.model.classes().map(|_| asked);
        ABOUT.into_iter().chain(asked).collect()
    }

    fn of(&self, ask: &SetAsk) -> Vec<Figure> {
        let count = self.count(ask.split);
        let data = self.data.get_or_init(|| {
            let halves = [0, count].map(|skip| {
                self.witness
                    .look(&real(ask.split, skip, count, HALVES).images)
            });
            let [real, other] = halves;
            Data {
                floor: Verdict::of(&other, &real, self.classes),
                shares: classes::shares(&real.classes, self.classes),
                real,
            }
        });
        let p = ask.params.constants();
        let drawn = draw(&*self.model, &p, &self.spec, count, ask.seed);
        let seen = self.witness.look(&drawn.images);
        let verdict = Verdict::of(&seen, &data.real, self.classes);
        let values = [
            (verdict.kernel.value, verdict.kernel.standard_error),
            (verdict.frechet, f64::NAN),
            (data.floor.frechet, f64::NAN),
            (verdict.balls.precision, f64::NAN),
            (verdict.balls.recall, f64::NAN),
            (verdict.balls.density, f64::NAN),
            (verdict.balls.coverage, f64::NAN),
            (verdict.imbalance, f64::NAN),
            (
                verdict.two_sample.accuracy,
                verdict.two_sample.standard_error,
            ),
        ];
        let asked = drawn
            .classes
            .map(|asked| (classes::asked(&seen.classes, &asked), f64::NAN));
        let figures = self
            .about()
            .into_iter()
            .zip(values.into_iter().chain(asked));
        *self.last_shares() = verdict.shares;
        let figure = |(info, (value, standard_error))| Figure {
            info,
            value,
            standard_error,
        };
        figures.map(figure).collect()
    }

    fn warnings(&self, _figures: &[Figure]) -> Vec<String> {
        let of_data = self.data.get().map(|data| &data.shares[..]);
        of_data.map_or_else(Vec::new, |of_data| {
            class_warnings(&self.last_shares(), of_data)
        })
    }
}
