//! A model's line in its crate's table.

use super::{DataSummary, ImageSpec, Model, Recipe};
use crate::hyper::{Hyper, HyperError, Hypers};
use crate::optim::Optimiser;
use crate::params::Params;

/// A new model and its initial parameters.
pub type Built = (Box<dyn Model>, Params<f32>);

/// What a model is made from.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Setup<'a> {
    /// Its hyper-parameters.
    pub hypers: &'a Hypers,
    /// What the images look like.
    pub image: ImageSpec,
    /// What is known of the training images, for the first values of parameters.
    pub data: &'a DataSummary<'a>,
    /// Where the first values of parameters begin.
    pub seed: u64,
}

impl<'a> Setup<'a> {
    /// All of it.
    pub fn new(
        hypers: &'a Hypers,
        image: ImageSpec,
        data: &'a DataSummary<'a>,
        seed: u64,
    ) -> Setup<'a> {
        Setup {
            hypers,
            image,
            data,
            seed,
        }
    }
}

/// Settings under a name: a way to train a model that is known to work well.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is for and what it costs, in a line.
    pub about: &'static str,
    /// TOML with the keys of a run's configuration: what differs from the recipe.
    pub settings: &'static str,
}

/// Which pixels a model can be trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// 0 or 1 only.
    Binary,
    /// Any number of levels.
    Any,
    /// More than two levels: a density over continuous values.
    Levels,
}

impl Accepts {
    /// Whether images of so many levels will do.
    pub fn levels(self, levels: usize) -> bool {
        match self {
            Accepts::Binary => levels == 2,
            Accepts::Any => true,
            Accepts::Levels => levels > 2,
        }
    }

    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Accepts::Binary => "binary only",
            Accepts::Any => "binary, grey or RGB",
            Accepts::Levels => "grey or RGB, not binary",
        }
    }
}

/// A model's line in its crate's table: made by [`new`](Self::new) and the methods after it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Entry {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    /// Authors, year, arXiv number.
    pub paper: &'static str,
    /// Its hyper-parameters.
    pub hypers: &'static [Hyper],
    /// How it is trained by default.
    pub recipe: fn(&Setup) -> Recipe,
    /// Other ways to train it.
    pub presets: &'static [Preset],
    /// Which pixels it takes with these hyper-parameters.
    pub accepts: fn(&Hypers) -> Accepts,
    /// Whether the images must have labels.
    pub needs_labels: bool,
    /// Hyper-parameters that make it small enough for a test on images of 6x6 pixels.
    pub small: &'static [(&'static str, &'static str)],
    /// Makes one with fresh parameters; [`make`](Self::make) is how others call it.
    pub build: fn(&Setup) -> Result<Built, HyperError>,
}

fn adam(_: &Setup) -> Recipe {
    Recipe::new("loss", Optimiser::adam(1e-3))
}

fn any(_: &Hypers) -> Accepts {
    Accepts::Any
}

fn binary(_: &Hypers) -> Accepts {
    Accepts::Binary
}

impl Entry {
    /// A model without hyper-parameters that takes any pixels, trained by Adam at 1e-3.
    pub const fn new(
        name: &'static str,
        title: &'static str,
        build: fn(&Setup) -> Result<Built, HyperError>,
    ) -> Entry {
        Entry {
            name,
            title,
            paper: "",
            hypers: &[],
            recipe: adam,
            presets: &[],
            accepts: any,
            needs_labels: false,
            small: &[],
            build,
        }
    }

    /// The same from this paper: authors, year, arXiv number.
    pub const fn paper(self, paper: &'static str) -> Entry {
        Entry { paper, ..self }
    }

    /// The same with these hyper-parameters.
    pub const fn hypers(self, hypers: &'static [Hyper]) -> Entry {
        Entry { hypers, ..self }
    }

    /// The same, trained so.
    pub const fn recipe(self, recipe: fn(&Setup) -> Recipe) -> Entry {
        Entry { recipe, ..self }
    }

    /// The same with other ways to train it.
    pub const fn presets(self, presets: &'static [Preset]) -> Entry {
        Entry { presets, ..self }
    }

    /// The same for the pixels that `accepts` tells.
    pub const fn accepts(self, accepts: fn(&Hypers) -> Accepts) -> Entry {
        Entry { accepts, ..self }
    }

    /// The same for pixels of 0 or 1 only.
    pub const fn binary(self) -> Entry {
        self.accepts(binary)
    }

    /// The same for images with labels only.
    pub const fn labelled(self) -> Entry {
        Entry {
            needs_labels: true,
            ..self
        }
    }

    /// The same with hyper-parameters that are small enough for a test.
    pub const fn small(self, small: &'static [(&'static str, &'static str)]) -> Entry {
        Entry { small, ..self }
    }

    /// The default hyper-parameters.
    pub fn defaults(&self) -> Hypers {
        Hypers::defaults(self.name, self.hypers)
    }

    /// The hyper-parameters for a test.
    ///
    /// # Panics
    /// If [`small`](Self::small) names one that the model does not have, or of another kind.
    #[track_caller]
    pub fn small_hypers(&self) -> Hypers {
        let mut hypers = self.defaults();
        for (key, value) in self.small {
            let set = hypers.set(key, value);
            set.unwrap_or_else(|error| panic!("the sizes for a test of {}: {error}", self.name));
        }
        hypers
    }

    /// A model with fresh parameters.
    ///
    /// # Errors
    /// If the hyper-parameters do not go with the images or with each other, or the machine has not
    /// the memory to train so large a model.
    pub fn make(&self, setup: &Setup) -> Result<Built, HyperError> {
        let (model, params) = (self.build)(setup)?;
        match params.refused() {
            None => Ok((model, params)),
            Some(numbers) => Err(setup.hypers.unfit(format!(
                "expected a model that fits into memory, found one of {numbers} parameters, which takes \
                 {:.1} GB to train",
                numbers as f64 * 16e-9
            ))),
        }
    }

    /// [`make`](Self::make) for such images, whose data are not at hand.
    ///
    /// # Errors
    /// If the hyper-parameters do not go with the images or with each other.
    pub fn build_for(
        &self,
        hypers: &Hypers,
        image: ImageSpec,
        seed: u64,
    ) -> Result<Built, HyperError> {
        let data = DataSummary::unknown(image);
        self.make(&Setup::new(hypers, image, &data, seed))
    }

    /// How such a model is trained by default.
    pub fn recipe_for(&self, hypers: &Hypers, image: ImageSpec) -> Recipe {
        let data = DataSummary::unknown(image);
        (self.recipe)(&Setup::new(hypers, image, &data, 0))
    }
}
