//! Every model of the command: the tables of the crates, one behind the other, and those of
//! whoever calls [`run`](crate::run) from a program of their own.

use crate::failure;
use crate::suggest::did_you_mean;
use nn::model::{Entry, Preset};
use std::sync::OnceLock;

/// The tables of this workspace.
const TABLES: &[&[Entry]] = &[
    autoregressive::MODELS,
    vae::MODELS,
    gan::MODELS,
    flow::MODELS,
    markov::MODELS,
    classifier::MODELS,
];

static FROM_OUTSIDE: OnceLock<&'static [Entry]> = OnceLock::new();

/// Adds models of another crate. Only the first call does.
pub(crate) fn add(models: &'static [Entry]) {
    let _ = FROM_OUTSIDE.set(models);
}

/// All models.
pub fn models() -> impl Iterator<Item = &'static Entry> {
    let others = FROM_OUTSIDE.get().copied().unwrap_or_default();
    TABLES.iter().copied().chain([others]).flatten()
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
    use nn::model::ImageSpec;

    #[test]
    fn names_are_unique_and_entries_build() {
        let mut names = std::collections::HashSet::new();
        for entry in models() {
            assert!(names.insert(entry.name), "{} occurs twice", entry.name);
            let spec = match (entry.accepts)(&entry.defaults()).levels(2) {
                true => ImageSpec::binary_mnist(),
                false => ImageSpec::binary_mnist().with_levels(256),
            };
            let (model, params) = entry.build_for(&entry.defaults(), spec, 0).unwrap();
            assert!(params.count() > 0, "{}", entry.name);
            assert!(!model.abilities().is_empty(), "{}", entry.name);
            let recipe = entry.recipe_for(&entry.defaults(), spec);
            assert!(!recipe.phases.is_empty(), "{}", entry.name);
            for text in [entry.title, entry.paper] {
                assert!(!text.is_empty() && !text.contains('\n'), "{}", entry.name);
            }
            entry.small_hypers();
        }
    }

    #[test]
    fn presets_are_configurations() {
        use dataset::{Dataset, Examples, ImageShape};
        let data = |side: usize, channels: usize, levels: u32| {
            let shape = ImageShape {
                height: side,
                width: side,
                channels,
            };
            let pixels = vec![1; 2 * shape.len()];
            let images = Examples {
                pixels: &pixels,
                labels: Some(&[0, 1]),
            };
            Dataset::in_memory("tiny", shape, levels, [images; 3]).unwrap()
        };
        let data = [
            data(28, 1, 2),
            data(28, 1, 256),
            data(28, 3, 256),
            data(32, 3, 256),
        ];
        for entry in models() {
            let mut names = std::collections::HashSet::new();
            for preset in entry.presets {
                assert!(names.insert(preset.name), "{}: {}", entry.name, preset.name);
                assert!(!preset.about.is_empty() && !preset.about.contains('\n'));
                let fits = data.iter().any(|data| {
                    let layer = train::parse(preset.settings, preset.name).unwrap();
                    let layers = vec![(layer, preset.name)];
                    let Ok(config) = train::Config::resolve(entry, "tiny", data, layers) else {
                        return false;
                    };
                    let hypers = config.hypers(entry).unwrap();
                    entry.build_for(&hypers, config.image, 0).is_ok()
                });
                assert!(fits, "{}: {} fits no images", entry.name, preset.name);
            }
        }
    }
}
