//! `genzoo models`: what there is, from the tables.

use crate::output::{print, table, thousands};
use crate::registry;
use nn::model::{Accepts, Entry, ImageSpec, Preset, Recipe};
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Describe this one: its hyper-parameters with meaning and default, and its recipe.
    model: Option<String>,
}

/// What parameters are counted for: MNIST, binary where the model takes that.
fn mnist(entry: &Entry) -> ImageSpec {
    let binary = ImageSpec::binary_mnist();
    match (entry.accepts)(&entry.defaults()) {
        Accepts::Levels => binary.with_levels(256),
        Accepts::Binary | Accepts::Any => binary,
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.model {
        None => print(list()?)?,
        Some(name) => print(describe(registry::find(&name)?)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// How many parameters it has and what it can do, of one that is built.
fn facts(entry: &Entry) -> anyhow::Result<[String; 2]> {
    let (model, params) = entry.build_for(&entry.defaults(), mnist(entry), 0)?;
    let parameters = thousands(params.count() as u64);
    Ok([parameters, model.abilities().join(", ")])
}

fn list() -> anyhow::Result<String> {
    let head = ["MODEL", "PARAMETERS", "PAPER", "WHAT IT CAN DO"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for entry in registry::models() {
        let [parameters, abilities] = facts(entry)?;
        rows.push(vec![
            entry.name.into(),
            parameters,
            entry.paper.into(),
            abilities,
        ]);
    }
    let note = "Parameters at the default hyper-parameters on 28x28 images, binary where that is \
        possible.\n`genzoo models MODEL` describes one.";
    Ok(format!("{}\n\n{note}", table(&rows)))
}

fn describe(entry: &Entry) -> anyhow::Result<String> {
    let rows = |rows: &[(&str, String)]| {
        let row = |(name, value): &(&str, String)| vec![format!("  {name}"), value.clone()];
        table(&rows.iter().map(row).collect::<Vec<_>>())
    };
    let [parameters, abilities] = facts(entry)?;
    let spec = mnist(entry);
    let kind = if spec.is_binary() { "binary" } else { "grey" };
    let parameters = format!("{parameters} at these defaults on 28x28 {kind} images");
    let mut lines = vec![
        ("paper", entry.paper.into()),
        ("parameters", parameters),
        ("can do", abilities),
        ("pixels", (entry.accepts)(&entry.defaults()).name().into()),
    ];
    if entry.needs_labels {
        lines.push(("labels", "needed".into()));
    }
    let facts = rows(&lines);
    let hypers: Vec<Vec<String>> = (entry.hypers.iter())
        .map(|hyper| {
            vec![
                format!("  {}={}", hyper.name, hyper.default),
                hyper.meaning.into(),
            ]
        })
        .collect();
    let recipe = rows(&recipe(&entry.recipe_for(&entry.defaults(), spec)));
    let hypers = if hypers.is_empty() {
        "  none".into()
    } else {
        table(&hypers)
    };
    let presets: String = entry.presets.iter().map(|of| preset(entry, of)).collect();
    Ok(format!(
        "{}: {}\n\n{facts}\n\nHyper-parameters, for --set:\n{hypers}\n\n\
         Recipe, unless told otherwise (genzoo train {}):\n{recipe}{presets}",
        entry.name, entry.title, entry.name,
    ))
}

/// A preset: what it is for, how to use it, what it sets.
fn preset(entry: &Entry, preset: &Preset) -> String {
    let settings = preset.settings.lines().filter(|line| !line.is_empty());
    let settings: String = settings.map(|line| format!("\n  {line}")).collect();
    format!(
        "\n\nPreset {}: {}\n(genzoo train {} --preset {}):{settings}",
        preset.name, preset.about, entry.name, preset.name
    )
}

fn recipe(recipe: &Recipe) -> Vec<(&'static str, String)> {
    let optimiser = |phase: &nn::model::Phase| {
        let phase_name = if recipe.phases.len() > 1 {
            format!("{}: ", phase.name)
        } else {
            String::new()
        };
        format!(
            "{phase_name}{}, learning rate {}",
            phase.optimiser.name(),
            phase.optimiser.lr()
        )
    };
    let optimisers: Vec<_> = recipe.phases.iter().map(optimiser).collect();
    let mut rows = vec![
        ("optimiser", optimisers.join("; ")),
        ("schedule", format!("{:?}", recipe.schedule).to_lowercase()),
        ("batch size", recipe.batch_size.to_string()),
        ("epochs", recipe.epochs.to_string()),
    ];
    rows.extend(
        recipe
            .clip_norm
            .map(|norm| ("gradient norm", format!("at most {norm}"))),
    );
    rows.extend(
        recipe
            .ema
            .map(|decay| ("average", format!("exponential, decay {decay}"))),
    );
    rows
}
