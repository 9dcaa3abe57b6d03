//! New images.

use crate::model::ImageSource;
use crate::params::Bound;
use grad::Tensor;
use std::sync::Arc;

/// Which classes images are made of, where a model is conditional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Classes {
    /// The classes in turn: image i is of class i modulo their number.
    InTurn,
    /// All images of one class.
    All(u32),
    /// The class of each image.
    Each(Arc<[u32]>),
}

impl Classes {
    /// The class of image `i` of a model that knows `classes` of them.
    ///
    /// # Panics
    /// If there is no class for this image.
    #[track_caller]
    pub fn of(&self, i: usize, classes: usize) -> u32 {
        match self {
            Classes::InTurn => (i % classes.max(1)) as u32,
            Classes::All(class) => *class,
            Classes::Each(list) => list[i],
        }
    }

    /// The classes of `count` images.
    ///
    /// # Panics
    /// If there are not so many.
    #[track_caller]
    pub fn list(&self, count: usize, classes: usize) -> Arc<[u32]> {
        (0..count).map(|i| self.of(i, classes)).collect()
    }
}

impl From<Option<u32>> for Classes {
    /// All images of this class; without one, the classes in turn.
    fn from(class: Option<u32>) -> Classes {
        class.map_or(Classes::InTurn, Classes::All)
    }
}

/// What to sample.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SampleRequest {
    /// How many images.
    pub count: usize,
    /// Equal seeds give equal images.
    pub seed: u64,
    /// The classes, where the model is conditional.
    pub classes: Classes,
    /// 1 for the model's own distribution, less for more likely images.
    pub temperature: f32,
    /// Steps of a chain, for models that run one; without a number the model's own.
    pub steps: Option<usize>,
    /// The largest size of a number of the code, for models that draw one: numbers beyond it are
    /// drawn again.
    pub truncation: Option<f32>,
    /// Which of [`Takes::samplers`] is asked for; without a name the first.
    pub sampler: Option<String>,
}

impl SampleRequest {
    /// So many images from the model's own distribution, the classes in turn.
    pub fn new(count: usize, seed: u64) -> SampleRequest {
        SampleRequest {
            count,
            seed,
            classes: Classes::InTurn,
            temperature: 1.0,
            steps: None,
            truncation: None,
            sampler: None,
        }
    }

    /// The same of these classes.
    pub fn classes(self, classes: impl Into<Classes>) -> SampleRequest {
        let classes = classes.into();
        SampleRequest { classes, ..self }
    }

    /// The same at this temperature.
    pub fn temperature(self, temperature: f32) -> SampleRequest {
        SampleRequest {
            temperature,
            ..self
        }
    }
}

/// Which options of a [`SampleRequest`] mean something to a model. Commands refuse the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Takes {
    /// A temperature.
    pub temperature: bool,
    /// How many steps its chain makes unless told otherwise, if it runs one.
    pub steps: Option<usize>,
    /// A truncation of the code.
    pub truncation: bool,
    /// Its samplers by name, where it has several; the first is the default.
    pub samplers: &'static [&'static str],
    /// More samplers by name, which look at the training images first
    /// ([`Sampler::sample_fitted`]).
    pub fitted: &'static [&'static str],
}

impl Takes {
    /// None of them.
    pub const NOTHING: Takes = Takes {
        temperature: false,
        steps: None,
        truncation: false,
        samplers: &[],
        fitted: &[],
    };

    /// Also a temperature.
    pub const fn temperature(self) -> Takes {
        Takes {
            temperature: true,
            ..self
        }
    }

    /// Also a number of steps, by default so many.
    pub const fn steps(self, default: usize) -> Takes {
        let steps = Some(default);
        Takes { steps, ..self }
    }

    /// Also a truncation.
    pub const fn truncation(self) -> Takes {
        Takes {
            truncation: true,
            ..self
        }
    }

    /// Also the name of one of these samplers.
    pub const fn samplers(self, samplers: &'static [&'static str]) -> Takes {
        Takes { samplers, ..self }
    }

    /// Also the name of one of these samplers, which look at the training images first.
    pub const fn fitted(self, fitted: &'static [&'static str]) -> Takes {
        Takes { fitted, ..self }
    }
}

/// A model that makes new images.
pub trait Sampler: Sync {
    /// Which options it takes.
    fn takes(&self) -> Takes {
        Takes::NOTHING
    }

    /// Images `[count, H, W, C]` with pixels in [0, 1]. Image i of a seed does not depend on how
    /// many are asked for.
    fn sample(&self, p: &Bound<f32>, request: &SampleRequest) -> Tensor<f32>;

    /// The same by a sampler that looks at the training images first, as evaluation sees them: one
    /// of [`Takes::fitted`].
    fn sample_fitted(
        &self,
        p: &Bound<f32>,
        request: &SampleRequest,
        _train: &dyn ImageSource,
    ) -> Tensor<f32> {
        self.sample(p, request)
    }
}
