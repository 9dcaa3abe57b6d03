//! `genzoo latent RUN dimensions`: how much each dimension of the code tells about the image.

use super::space::{Codes, Space};
use crate::draw::{Axes, Canvas, Span, class_colour};
use crate::finished::From;
use crate::output::table;
use dataset::Split;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Which images [default: valid:0..2000 or as many as there are].
    #[arg(long, value_name = "SPLIT[:A..B]")]
    from: Option<From>,
    /// The PNG file to write.
    #[arg(long, value_name = "FILE", default_value = "dimensions.png")]
    out: PathBuf,
}

const IMAGES: usize = 2000;
/// A dimension is active if its mean varies more than this. Burda et al. 2016, section 5.
const ACTIVE: f64 = 0.01;

/// A dimension over some images.
pub(super) struct Dimension {
    pub(super) index: usize,
    /// KL(q(z_j|x) || N(0, 1)) in nats, where the model gives a distribution.
    pub(super) kl: Option<f64>,
    /// Mean and variance of the mean code.
    mean: f64,
    variance: f64,
    /// Mean standard deviation of q(z_j|x).
    spread: Option<f64>,
}

impl Dimension {
    /// One about which nothing is known.
    pub(super) fn unknown(index: usize) -> Dimension {
        Dimension {
            index,
            kl: None,
            mean: 0.0,
            variance: 0.0,
            spread: None,
        }
    }

    fn is_active(&self) -> bool {
        self.variance > ACTIVE
    }
}

/// All dimensions, the most active first: by divergence, or without one by variance.
pub(super) fn of(codes: &Codes) -> Vec<Dimension> {
    let width = codes.mean.first().map_or(0, Vec::len);
    let n = codes.mean.len() as f64;
    let mut all: Vec<Dimension> = (0..width)
        .map(|index| {
            let column = || codes.mean.iter().map(|code| f64::from(code[index]));
            let mean = column().sum::<f64>() / n;
            let variance = column().map(|z| (z - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
            let spreads = codes.spread.as_ref();
            let sds = || {
                spreads
                    .into_iter()
                    .flatten()
                    .map(|code| f64::from(code[index]))
            };
            let kl = |(mu, sd): (f64, f64)| 0.5 * (sd * sd + mu * mu - 1.0) - sd.ln();
            Dimension {
                index,
                kl: spreads.map(|_| column().zip(sds()).map(kl).sum::<f64>() / n),
                mean,
                variance,
                spread: spreads.map(|_| sds().sum::<f64>() / n),
            }
        })
        .collect();
    all.sort_by(|a, b| {
        let key = |of: &Dimension| of.kl.unwrap_or(of.variance);
        key(b).total_cmp(&key(a))
    });
    all
}

pub(super) fn draw(space: &Space, args: &Args) -> anyhow::Result<String> {
    let from = args.from.clone().unwrap_or(From {
        split: Split::Valid,
        range: None,
    });
    let most = if args.from.is_some() {
        usize::MAX
    } else {
        IMAGES
    };
    let codes = space.encode(&from, most)?;
    let all = of(&codes);
    let has_kl = codes.spread.is_some();
    let height = |of: &Dimension| of.kl.unwrap_or(of.variance);
    let top = all.iter().map(height).fold(0.0, f64::max);
    let span = Span {
        low: 0.0,
        high: (1.1 * top).max(1e-3),
    };
    let across = Span {
        low: 0.0,
        high: all.len() as f64,
    };
    let bar = (500 / all.len().max(1)).clamp(4, 120);
    let size = [bar * all.len(), 320];
    let active = all.iter().filter(|of| of.is_active()).count();
    let mut canvas = Canvas::new(
        (size[0] + Axes::LEFT + 30).max(640),
        size[1] + Axes::BELOW + 90,
    );
    let title = format!(
        "{}: {active} of {} dimensions active",
        space.run.entry.name,
        all.len()
    );
    canvas.text(12, 12, &title, Canvas::BLACK);
    let axes = Axes::new(Axes::LEFT as i64, 70, size, across, span);
    let every = (Canvas::LETTER * 3).div_ceil(bar).max(1);
    let marks: Vec<(f64, String)> = (all.iter().enumerate())
        .filter(|(i, _)| i % every == 0)
        .map(|(i, of)| (i as f64 + 0.5, of.index.to_string()))
        .collect();
    let what = match has_kl {
        true => "mean KL from N(0, 1), nats",
        false => "variance of the code",
    };
    axes.frame_with(&mut canvas, ["dimension of the code", what], Some(&marks));
    for (i, of) in all.iter().enumerate() {
        let [x, y] = axes.place(i as f64, height(of));
        let [_, bottom] = axes.place(0.0, 0.0);
        let colour = if of.is_active() {
            class_colour(0)
        } else {
            Canvas::GREY
        };
        let size = [bar.saturating_sub(2).max(1), (bottom - y).max(1) as usize];
        canvas.rectangle(x + 1, y, size, colour);
    }
    canvas.picture().save(&args.out)?;
    let number = |x: Option<f64>| x.map_or("?".into(), |x| format!("{x:.3}"));
    let mut rows = vec![
        [
            "dimension",
            "KL, nats",
            "mean",
            "variance",
            "spread",
            "active",
        ]
        .map(String::from)
        .to_vec(),
    ];
    rows.extend(all.iter().map(|of| {
        let active = if of.is_active() { "yes" } else { "no" };
        vec![
            of.index.to_string(),
            number(of.kl),
            format!("{:.3}", of.mean),
            format!("{:.3}", of.variance),
            number(of.spread),
            active.into(),
        ]
    }));
    Ok(format!(
        "{}\n\n{active} of {} dimensions active on {} images; bars in {}",
        table(&rows),
        all.len(),
        codes.mean.len(),
        args.out.display()
    ))
}
