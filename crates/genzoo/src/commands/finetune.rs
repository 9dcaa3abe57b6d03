//! `genzoo finetune`: a classifier on a trained encoder, beside the same network from random
//! weights, for some numbers of labels. Hinton & Salakhutdinov 2006; Erhan et al. 2010.

use crate::draw::{Axes, Canvas, Colour, Span, class_colour};
use crate::failure;
use crate::finished::Finished;
use crate::output::{print, print_json, table, thousands};
use classifier::Headed;
use dataset::{Dataset, Split};
use nn::model::{Phase, Recipe};
use nn::optim::Optimiser;
use nn::random;
use nn::schedule::Schedule;
use nn::stats::Estimate;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use train::{Engine, Evaluation, Images, Pace, Pool, Tally};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory of a run of a model with an encoder.
    run: PathBuf,
    /// How many labelled images to learn from, as many of each class; several with commas.
    #[arg(
        long,
        value_name = "N|all,..",
        value_delimiter = ',',
        default_value = "100,1000"
    )]
    labels: Vec<Labels>,
    /// Leave the trained encoder as it is and train the classifier on it alone. The network from
    /// random weights is trained whole in any case.
    #[arg(long)]
    freeze: bool,
    /// How often to do all that, each time with other images and other random weights.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,
    /// Steps of each training.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Images a step.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch_size: u32,
    /// Learning rate of Adam, which falls to 0 along a cosine.
    #[arg(long, value_name = "X", default_value_t = 1e-3, value_parser = super::above_zero)]
    lr: f32,
    /// Other data than the run's own, of the same shape.
    #[arg(long, value_name = "NAME|DIR")]
    data: Option<String>,
    /// The PNG file to write.
    #[arg(long, value_name = "FILE", default_value = "finetune.png")]
    out: PathBuf,
    /// Threads; they do not change results [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads())]
    threads: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// How many labelled images.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Labels {
    Some(usize),
    All,
}

impl FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Labels, String> {
        match text.trim() {
            "all" => Ok(Labels::All),
            number => match number.parse() {
                Ok(n) if n > 0 => Ok(Labels::Some(n)),
                _ => Err(format!(
                    "expected a number of labels or `all`, found {text:?}"
                )),
            },
        }
    }
}

/// What came of a number of labels.
#[derive(Serialize)]
struct Line {
    labels: usize,
    pretrained: Figure,
    random: Figure,
    /// Of the pairs with the same images and the same head.
    difference: Figure,
}

/// A mean over the repetitions, with its standard error.
#[derive(Clone, Copy, Serialize)]
struct Figure {
    accuracy: f64,
    standard_error: Option<f64>,
}

impl Figure {
    fn of(values: &[f64]) -> Figure {
        let estimate = Estimate::of(values);
        Figure {
            accuracy: estimate.mean,
            standard_error: Some(estimate.standard_error).filter(|error| error.is_finite()),
        }
    }

    fn text(self) -> String {
        let error = self
            .standard_error
            .map_or(String::new(), |e| format!(" +- {:.2}", 100.0 * e));
        format!("{:.2}%{error}", 100.0 * self.accuracy)
    }
}

/// What all trainings have in common.
struct Task<'a> {
    args: &'a Args,
    run: &'a Finished,
    data: &'a Dataset,
    classes: usize,
    /// The training images of each class.
    of_class: Vec<Vec<u32>>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let run = Finished::open(&args.run)?;
    let data = run.data(args.data.as_ref())?;
    let Some(classes) = data.classes().map(|n| n as usize) else {
        let message = format!(
            "{}: expected images with labels, these have none",
            data.name()
        );
        return Err(failure::failed(
            message,
            "--data chooses other data of the same shape",
        ));
    };
    let view = data.split(Split::Train);
    let mut of_class = vec![Vec::new(); classes];
    for i in 0..view.len() {
        if let Some(label) = view.label(i) {
            of_class[label as usize].push(i as u32);
        }
    }
    if data.split(Split::Test).is_empty() {
        let message = format!("{}: the test split is empty", data.name());
        return Err(failure::failed(
            message,
            "--data chooses other data of the same shape",
        ));
    }
    let task = Task {
        args: &args,
        run: &run,
        data: &data,
        classes,
        of_class,
    };
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    let mut lines = Vec::new();
    for &labels in &args.labels {
        let count = task.count(labels)?;
        let (mut trained, mut random) = (Vec::new(), Vec::new());
        for seed in 0..u64::from(args.seeds) {
            let images = task.choose(count, seed);
            for (pretrained, into) in [(true, &mut trained), (false, &mut random)] {
                into.push(pool.run(|| task.accuracy(&images, pretrained, seed))?);
            }
        }
        let pairs = trained.iter().zip(&random);
        let difference: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
        lines.push(Line {
            labels: count,
            pretrained: Figure::of(&trained),
            random: Figure::of(&random),
            difference: Figure::of(&difference),
        });
        eprintln!(
            "{} labels: trained encoder {}, random weights {}",
            thousands(count as u64),
            Figure::of(&trained).text(),
            Figure::of(&random).text()
        );
    }
    plot(&task, &lines, &args.out)?;
    if args.json {
        print_json(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![
        ["labels", "trained encoder", "random weights", "difference"]
            .map(String::from)
            .to_vec(),
    ];
    rows.extend(lines.iter().map(|line| {
        let figures = [line.pretrained, line.random, line.difference].map(Figure::text);
        [&[thousands(line.labels as u64)][..], &figures[..]].concat()
    }));
    print(format!(
        "{}\n\naccuracy on {} test images, mean and standard error of {} repetitions; drawn in {}",
        table(&rows),
        thousands(data.split(Split::Test).len() as u64),
        args.seeds,
        args.out.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

impl Task<'_> {
    /// How many images these are.
    fn count(&self, labels: Labels) -> anyhow::Result<usize> {
        let there: usize = self.of_class.iter().map(Vec::len).sum();
        match labels {
            Labels::All => Ok(there),
            Labels::Some(n) if n <= there => Ok(n),
            Labels::Some(n) => {
                let message =
                    format!("--labels {n}: the data have {there} training images with labels");
                Err(failure::usage(message, "`all` takes all of them"))
            }
        }
    }

    /// Training images, as nearly as can be as many of each class.
    fn choose(&self, count: usize, seed: u64) -> Vec<u32> {
        let mut orders: Vec<Vec<u32>> = (self.of_class.iter().enumerate())
            .map(|(class, images)| {
                let order = dataset::permutation(images.len(), seed, class as u64);
                order.iter().map(|&i| images[i as usize]).collect()
            })
            .collect();
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count {
            for images in &mut orders {
                if chosen.len() < count {
                    chosen.extend(images.pop());
                }
            }
        }
        chosen
    }

    /// The accuracy on the test split after training on these images.
    fn accuracy(&self, images: &[u32], pretrained: bool, seed: u64) -> anyhow::Result<f64> {
        let (args, config) = (self.args, &self.run.config);
        let entry = self.run.entry;
        let hypers = config.hypers(entry)?;
        let weights = random::mix(&[config.seed, seed, random::word("finetune")]);
        let (model, mut params) = entry.build_for(&hypers, config.image, weights)?;
        if pretrained {
            params = self.run.trained.params.clone();
        }
        let model = Headed::on(model, &mut params, self.classes, weights).map_err(|_| {
            self.run
                .cannot("has no encoder that a classifier can be put on")
        })?;
        let frozen = args.freeze && pretrained;
        let phase = Phase::new("loss", Optimiser::adam(f64::from(args.lr)));
        let phase = phase.of(if frozen { "head." } else { "" });
        let size = (args.batch_size as usize).min(images.len());
        let mut engine = Engine::new(
            Box::new(model),
            params,
            Recipe::of(vec![phase]).batch_size(size),
        );
        let steps = u64::from(args.steps);
        let mut tally = Tally::default();
        let (mut order, mut place, mut epoch) = (Vec::new(), 0, 0);
        for step in 0..steps {
            if place + size > order.len() {
                order = dataset::permutation(images.len(), seed, epoch);
                (place, epoch) = (0, epoch + 1);
            }
            let part: Vec<u32> = order[place..place + size]
                .iter()
                .map(|&i| images[i as usize])
                .collect();
            place += size;
            let source = Images::training(self.data, config.binarize, seed, epoch);
            let pace = Pace {
                lr_factor: Schedule::Cosine.factor(step, steps),
                done: step as f64 / steps as f64,
            };
            engine.step(size, &|range| source.batch(&part[range]), pace, &mut tally)?;
        }
        let [train, test] = [Split::Train, Split::Test]
            .map(|split| Images::evaluation(self.data, split, config.binarize));
        let evaluation = Evaluation {
            model: engine.model(),
            params: engine.evaluated(),
            train: &train,
            split: &test,
            batch_size: 128,
            samples: 1,
            seed,
            thorough: true,
        };
        let measured = evaluation.run(&engine.model().scores(), &AtomicBool::new(false));
        Ok(measured.expect("nobody stops it")[0].figure.value)
    }
}

/// Accuracies against the number of labels, with twice the standard error on either side.
fn plot(task: &Task, lines: &[Line], path: &Path) -> anyhow::Result<()> {
    const SIZE: [usize; 2] = [560, 380];
    let ends = |figure: Figure| {
        let error = 2.0 * figure.standard_error.unwrap_or(0.0);
        [
            figure.accuracy - error,
            figure.accuracy,
            figure.accuracy + error,
        ]
        .map(|x| 100.0 * x)
    };
    let all = lines.iter().flat_map(|line| [line.pretrained, line.random]);
    let y = Span::of(all.flat_map(ends));
    let log = |line: &Line| (line.labels as f64).log10();
    let (low, high) = lines
        .iter()
        .map(log)
        .fold((f64::MAX, f64::MIN), |(low, high), x| {
            (low.min(x), high.max(x))
        });
    let x = Span {
        low: low - 0.3,
        high: high + 0.3,
    };
    let mut canvas = Canvas::new(Axes::LEFT + SIZE[0] + 40, 130 + SIZE[1] + Axes::BELOW);
    let how = if task.args.freeze {
        ", encoder frozen"
    } else {
        ""
    };
    let title = format!("{} as a classifier{how}", task.run.entry.name);
    canvas.text(12, 12, &title, Canvas::BLACK);
    let axes = Axes::new(Axes::LEFT as i64, 110, SIZE, x, y);
    let marks: Vec<(f64, String)> = lines
        .iter()
        .map(|line| (log(line), thousands(line.labels as u64)))
        .collect();
    axes.frame_with(
        &mut canvas,
        [
            "labelled images",
            "test accuracy, % (bars: two standard errors)",
        ],
        Some(&marks),
    );
    type Series = (&'static str, Colour, fn(&Line) -> Figure);
    let series: [Series; 2] = [
        ("trained encoder", class_colour(0), |line| line.pretrained),
        ("random weights", class_colour(3), |line| line.random),
    ];
    for (i, (name, colour, figure)) in series.into_iter().enumerate() {
        let left = 20 + 280 * i as i64;
        canvas.disc(left, 51, 6, colour);
        canvas.text(left + 14, 44, name, Canvas::BLACK);
        let mut sorted: Vec<&Line> = lines.iter().collect();
        sorted.sort_by_key(|line| line.labels);
        let points: Vec<[i64; 2]> = sorted
            .iter()
            .map(|line| axes.place(log(line), 100.0 * figure(line).accuracy))
            .collect();
        for pair in points.windows(2) {
            canvas.line(pair[0], pair[1], colour);
        }
        for line in lines {
            axes.error_bar(&mut canvas, log(line), ends(figure(line)), colour);
        }
    }
    canvas.picture().save(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_counts_or_all() {
        assert_eq!("all".parse(), Ok(Labels::All));
        assert_eq!("100".parse(), Ok(Labels::Some(100)));
        for text in ["0", "-1", "some", ""] {
            assert!(text.parse::<Labels>().is_err(), "{text}");
        }
    }
}
