//! `genzoo latent RUN arithmetic`: mean codes added and subtracted. Radford et al. 2016,
//! arXiv:1511.06434, section 6.3.2.

use super::space::{Space, Table, mean};
use super::wrong;
use crate::finished::From;
use dataset::Split;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// What is added: a class, images as test:0..16, or a PNG file; several with commas.
    #[arg(long, value_name = "WHAT,..", value_delimiter = ',', required = true)]
    plus: Vec<String>,
    /// What is subtracted.
    #[arg(long, value_name = "WHAT,..", value_delimiter = ',')]
    minus: Vec<String>,
    /// The PNG file to write.
    #[arg(long, value_name = "FILE", default_value = "arithmetic.png")]
    out: PathBuf,
}

/// The training images that a class's mean code is taken over.
const IMAGES: usize = 10_000;

/// The mean code of what a word names, and the word as the picture shows it.
fn term(space: &Space, text: &str) -> anyhow::Result<(String, Vec<f32>)> {
    let Ok(class) = text.parse::<u32>() else {
        let codes = space.encode_batch(&space.named(text)?)?;
        return Ok((text.into(), mean(&codes.mean)));
    };
    let from = From {
        split: Split::Train,
        range: None,
    };
    let codes = space.encode(&from, IMAGES)?;
    let Some(labels) = codes.labels else {
        let message = format!("{text}: the data have no labels, so there is no class");
        return Err(wrong(message, "name images instead, as test:0..16"));
    };
    let of_class = codes
        .mean
        .into_iter()
        .zip(labels)
        .filter(|(_, label)| *label == class);
    let of_class: Vec<Vec<f32>> = of_class.map(|(code, _)| code).collect();
    if of_class.is_empty() {
        let message = format!("{text}: no image of this class among the training images");
        return Err(wrong(message, "`genzoo data inspect` counts the classes"));
    }
    Ok((format!("class {class}"), mean(&of_class)))
}

pub(super) fn draw(space: &Space, args: &Args) -> anyhow::Result<String> {
    let mut sum = vec![0.0; space.width()];
    let (mut columns, mut codes) = (Vec::new(), Vec::new());
    for (words, sign) in [(&args.plus, 1.0), (&args.minus, -1.0)] {
        for text in words {
            let (word, code) = term(space, text)?;
            sum.iter_mut()
                .zip(&code)
                .for_each(|(sum, z)| *sum += sign * z);
            let sign = match (sign < 0.0, columns.is_empty()) {
                (true, _) => "- ",
                (_, true) => "",
                _ => "+ ",
            };
            columns.push(format!("{sign}{word}"));
            codes.push(code);
        }
    }
    columns.push("= sum".into());
    codes.push(sum);
    let title = format!(
        "{}: mean codes, and the image of their sum",
        space.run.entry.name
    );
    let table = Table {
        title: &title,
        columns: &columns,
        rows: &[(String::new(), space.decode(&codes, None))],
    };
    table.picture(space).save(&args.out)?;
    Ok(format!("{} in {}", columns.join(" "), args.out.display()))
}
