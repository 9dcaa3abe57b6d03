//! Every model of the workspace: the tables of the crates, one behind the other.

use crate::failure;
use crate::suggest::did_you_mean;
use nn::model::Entry;

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
}
