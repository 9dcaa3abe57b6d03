//! `genzoo data`: what there is, bringing more in, and looking at one.

use crate::output::{print, table, thousands};
use crate::{data_source, failure};
use dataset::{Cache, Dataset, Source, Split, formats::FORMATS};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the data sets that are there and the formats that can be imported.
    List,
    /// Import a directory of data files once, into the cache.
    Import {
        /// The directory, or one data file.
        dir: PathBuf,
    },
    /// Describe one data set and check it against its checksum.
    Inspect {
        /// A name or a directory.
        #[arg(value_name = "NAME|DIR")]
        data: String,
    },
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List => print(list()?)?,
        Command::Import { dir } => {
            if !dir.exists() {
                let message = format!("{}: expected a directory, found nothing", dir.display());
                return Err(failure::failed(message, "import takes a path, not a name"));
            }
            let cache = Cache::from_environment()?;
            let data = Dataset::open(&Source::Path(dir), &cache)?;
            print(format!(
                "{} ({} images) is in {}",
                data.name(),
                counts(&data),
                cache.directory().display()
            ))?;
        }
        Command::Inspect { data } => print(inspect(&data_source::open(&data)?.1)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Images of train, valid and test.
fn counts(data: &Dataset) -> String {
    Split::ALL
        .map(|split| thousands(data.split(split).len() as u64))
        .join(" / ")
}

fn list() -> anyhow::Result<String> {
    let cache = Cache::from_environment()?;
    let mut rows = vec![
        ["NAME", "TRAIN / VALID / TEST", "SHAPE", "FROM"]
            .map(String::from)
            .to_vec(),
    ];
    let datasets = cache.datasets()?;
    if !datasets.iter().any(|data| data.name() == Source::GLYPHS) {
        rows.push(
            [Source::GLYPHS, "made on first use", "28x28x1", "built in"]
                .map(String::from)
                .to_vec(),
        );
    }
    for data in &datasets {
        let from = if data.name() == Source::GLYPHS {
            "built in"
        } else {
            data.source()
        };
        let (name, shape) = (data.name().to_string(), data.shape().to_string());
        rows.push(vec![name, counts(data), shape, from.into()]);
    }
    let formats: Vec<_> = FORMATS
        .iter()
        .map(|format| vec![format!("  {}", format.name), format.about.into()])
        .collect();
    Ok(format!(
        "{}\n\nFormats that `genzoo data import DIR` and `--data DIR` know, by content, gzip or not:\n{}\n\n\
         Imported data sets are in {} (GENZOO_CACHE puts them elsewhere).",
        table(&rows),
        table(&formats),
        cache.directory().display()
    ))
}

fn inspect(data: &Dataset) -> anyhow::Result<String> {
    data.verify().map_err(|error| {
        let hint = "delete its file in the cache: it is imported again when it is next used";
        failure::failed(format!("{}: {error}", data.name()), hint)
    })?;
    let mut rows = vec![
        vec!["name".into(), data.name().into()],
        vec!["from".into(), data.source().into()],
        vec![
            "ignored".into(),
            match data.ignored().collect::<Vec<_>>()[..] {
                [] => "no other files".into(),
                ref names => names.join(", "),
            },
        ],
        vec![
            "shape".into(),
            format!("{} (height x width x channels)", data.shape()),
        ],
        vec!["levels".into(), data.levels().to_string()],
        vec![
            "checksum".into(),
            format!("{:016x}, as at import", data.fingerprint()),
        ],
    ];
    for split in Split::ALL {
        let view = data.split(split);
        let mut text = format!("{} images", thousands(view.len() as u64));
        if !view.is_empty() {
            let sum: u64 = view.pixels().iter().map(|&level| u64::from(level)).sum();
            let top = (view.pixels().len() as u64 * u64::from(data.levels() - 1)) as f64;
            text += &format!(", mean pixel {:.4}", sum as f64 / top);
        }
        if let Some(classes) = data.classes() {
            let mut of_class = vec![0u64; classes as usize];
            for label in (0..view.len()).filter_map(|i| view.label(i)) {
                of_class[label as usize] += 1;
            }
            let of_class: Vec<_> = of_class.iter().map(u64::to_string).collect();
            text += &format!(", of each class {}", of_class.join(" "));
        }
        rows.push(vec![split.name().into(), text]);
    }
    Ok(table(&rows))
}
