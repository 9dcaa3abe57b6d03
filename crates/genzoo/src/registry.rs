//! Every model of the workspace: the tables of the crates, one behind the other.

use crate::failure;
use crate::suggest::did_you_mean;
use nn::model::{Entry, Preset};

const TABLES: [&[Entry]; 3] = [autoregressive::MODELS, vae::MODELS, gan::MODELS];

/// All models.
pub(crate) fn models() -> impl Iterator<Item = &'static Entry> {
    TABLES.into_iter().flatten()
}

/// The model of this name.
pub(crate) fn find(name: &str) -> anyhow::Result<&'static Entry> {
    let found = models().find(|entry| entry.name == name);
    found.ok_or_else(|| {
        let names: Vec<_> = models().map(|entry| entry.name).collect();
        let message = format!("no model {name:?}; there are {}", names.join(", "));
        let hint = did_you_mean(name, names).unwrap_or("`genzoo models` describes them".into());
        failure::usage(message, hint)
    })
}

/// The preset of this name.
pub(crate) fn preset(entry: &Entry, name: &str) -> anyhow::Result<&'static Preset> {
    let found = entry.presets.iter().find(|preset| preset.name == name);
    found.ok_or_else(|| {
        let names: Vec<_> = entry.presets.iter().map(|preset| preset.name).collect();
        let list = if names.is_empty() {
            "none".into()
        } else {
            names.join(", ")
        };
        let message = format!("no preset {name:?} of {}; there is {list}", entry.name);
        let describe = format!("`genzoo models {}` describes them", entry.name);
        failure::usage(message, did_you_mean(name, names).unwrap_or(describe))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::hyper::Hypers;
    use nn::model::ImageSpec;

    #[test]
    fn names_are_unique_and_entries_build() {
        let mut names = std::collections::HashSet::new();
        for entry in models() {
            assert!(names.insert(entry.name), "{} occurs twice", entry.name);
            let hypers = Hypers::defaults(entry.name, entry.hypers);
            let spec = ImageSpec {
                height: 28,
                width: 28,
                channels: 1,
                levels: 2,
                classes: Some(10),
            };
            let (_, params) = (entry.build)(&hypers, &spec, 0).unwrap();
            assert!(params.count() > 0, "{}", entry.name);
            let recipe = (entry.recipe)();
            assert!(!recipe.phases.is_empty(), "{}", entry.name);
            for text in [entry.title, entry.paper, entry.abilities] {
                assert!(!text.is_empty() && !text.contains('\n'), "{}", entry.name);
            }
        }
    }

    #[test]
    fn presets_are_configurations() {
        use dataset::{Dataset, Examples, ImageShape};
        let shape = ImageShape {
            height: 28,
            width: 28,
            channels: 1,
        };
        let images = Examples {
            pixels: &[1; 2 * 784],
            labels: Some(&[0, 1]),
        };
        let splits = [images, images, images];
        let data = Dataset::in_memory("tiny", shape, 2, splits).unwrap();
        for entry in models() {
            let mut names = std::collections::HashSet::new();
            for preset in entry.presets {
                assert!(names.insert(preset.name), "{}: {}", entry.name, preset.name);
                assert!(!preset.about.is_empty() && !preset.about.contains('\n'));
                let layer = train::parse(preset.settings, preset.name).unwrap();
                let config =
                    train::Config::resolve(entry, "tiny", &data, vec![(layer, preset.name)]);
                let config = config.unwrap_or_else(|e| panic!("{}: {e}", entry.name));
                let hypers = config.hypers(entry).unwrap();
                assert!((entry.build)(&hypers, &config.image, 0).is_ok());
            }
        }
    }
}
