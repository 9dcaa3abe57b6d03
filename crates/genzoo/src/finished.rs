//! A run that a command looks at: its model, its parameters and its data.

use crate::{data_source, failure, registry};
use dataset::{Dataset, Split};
use grad::Tensor;
use nn::model::{Entry, Model};
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use train::{Config, Images, RunDir, Trained};

/// What a run has come to.
pub(crate) struct Finished {
    pub(crate) entry: &'static Entry,
    pub(crate) config: Config,
    pub(crate) trained: Trained,
}

impl Finished {
    /// Reads the run in this directory.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Finished> {
        Finished::with(path, |_, config| Ok(config))
    }

    /// The same with some of its configuration changed.
    pub(crate) fn with(
        path: &Path,
        change: impl FnOnce(&'static Entry, Config) -> anyhow::Result<Config>,
    ) -> anyhow::Result<Finished> {
        let dir = RunDir::open(path)?;
        let config = train::read_config(&dir)?;
        let entry = registry::find(&config.model)?;
        let config = change(entry, config)?;
        let trained = Trained::read(&dir, entry, &config)?;
        Ok(Finished {
            entry,
            config,
            trained,
        })
    }

    /// The same with the last parameters, whether or not others were better.
    pub(crate) fn last(self, path: &Path) -> anyhow::Result<Finished> {
        let trained = Trained::read_last(&RunDir::open(path)?, self.entry, &self.config)?;
        Ok(Finished { trained, ..self })
    }

    pub(crate) fn model(&self) -> &dyn Model {
        &*self.trained.model
    }

    /// An error: the model has no such ability.
    pub(crate) fn cannot(&self, what: &str) -> anyhow::Error {
        failure::failed(
            format!("{} {what}", self.entry.name),
            format!("it can do this: {}", self.model().abilities().join(", ")),
        )
    }

    /// Whether the model can be given this class.
    pub(crate) fn check_class(&self, class: Option<u32>) -> anyhow::Result<()> {
        let Some(class) = class else { return Ok(()) };
        match self.model().classes() {
            None => Err(failure::usage(
                format!("--class {class}: this {} knows no classes", self.entry.name),
                "a conditional model is trained with --set conditional=true, where it can be",
            )),
            Some(classes) if class as usize >= classes => Err(failure::usage(
                format!(
                    "--class {class}: expected a class from 0 to {}",
                    classes - 1
                ),
                "",
            )),
            Some(_) => Ok(()),
        }
    }

    /// Whether all pixels that the model has made are numbers.
    pub(crate) fn check_finite(&self, images: &Tensor<f32>) -> anyhow::Result<()> {
        if images.data().iter().all(|x| x.is_finite()) {
            return Ok(());
        }
        Err(failure::failed(
            format!(
                "{}: expected pixels, found numbers that are not finite",
                self.entry.name
            ),
            "its parameters are too large: they were damaged, or training had diverged",
        ))
    }

    /// The run's own data, or others of the same shape.
    pub(crate) fn data(&self, other: Option<&String>) -> anyhow::Result<Dataset> {
        let (_, data) = data_source::open(other.unwrap_or(&self.config.data))?;
        match other {
            Some(_) => self.config.check_image(&data)?,
            None => self.config.check_data(&data)?,
        }
        Ok(data)
    }

    /// These images as evaluation sees them.
    pub(crate) fn images<'d>(
        &self,
        data: &'d Dataset,
        from: &From,
    ) -> anyhow::Result<(Images<'d>, Vec<u32>)> {
        let images = Images::evaluation(data, from.split, self.config.binarize);
        let range = from.range.clone().unwrap_or(0..images.len() as u32);
        if range.is_empty() || range.end as usize > images.len() {
            let message = format!(
                "--from {}:{}..{}: the {} split of {} has {} images",
                from.split,
                range.start,
                range.end,
                from.split,
                data.name(),
                images.len()
            );
            return Err(failure::usage(message, ""));
        }
        Ok((images, range.collect()))
    }
}

/// Images of a data set: `test`, or `test:0..16`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct From {
    pub(crate) split: Split,
    /// All of them if it is not said.
    pub(crate) range: Option<Range<u32>>,
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<From, String> {
        let (split, range) = match text.split_once(':') {
            None => (text, None),
            Some((split, range)) => {
                let parse = |(begin, end): (&str, &str)| -> Option<Range<u32>> {
                    Some(begin.trim().parse().ok()?..end.trim().parse().ok()?)
                };
                let found = range.split_once("..").and_then(parse);
                let wrong = || format!("expected a range such as 0..16, found {range:?}");
                (split, Some(found.ok_or_else(wrong)?))
            }
        };
        let split = split
            .parse()
            .map_err(|error: dataset::ParseNameError| error.to_string())?;
        Ok(From { split, range })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_by_split_and_range() {
        let (split, range) = (Split::Test, Some(0..16));
        assert_eq!("test:0..16".parse(), Ok(From { split, range }));
        assert_eq!("test".parse(), Ok(From { split, range: None }));
        for text in [
            "tests",
            "test:",
            "test:3",
            "test:a..3",
            "test:1..-3",
            ":1..2",
            "",
        ] {
            assert!(text.parse::<From>().is_err(), "{text}");
        }
    }
}
