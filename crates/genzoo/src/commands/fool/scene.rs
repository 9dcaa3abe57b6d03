//! A classifier with images: what attacks and ascents make of them, as pictures.

use super::{Args, Outcome, Row};
use crate::picture::Picture;
use grad::{Tensor, Var};
use judge::chart::{Chart, Series};
use judge::fool::{Ascent, Attack, Ball, Goal, answers, saliency, smooth_saliency};
use nn::Params;
use nn::model::Classifier;
use nn::random::{stream, uniform};
use std::path::Path;

/// Images that pictures show.
const SHOWN: usize = 10;
/// Units of a layer that are drawn.
const UNITS: usize = 16;
/// Draws of the smooth saliency, and the deviation of their noise.
const SMOOTH: (usize, f32) = (16, 0.15);

/// A classifier with images to fool it.
pub(super) struct Scene<'a> {
    pub(super) classifier: &'a dyn Classifier,
    pub(super) params: &'a Params<f32>,
    pub(super) images: Tensor<f32>,
    pub(super) labels: Vec<u32>,
    pub(super) classes: usize,
}

impl Scene<'_> {
    /// The share of images that are told right.
    pub(super) fn accuracy(&self, images: &Tensor<f32>) -> f64 {
        let told = answers(self.classifier, self.params, images, &self.labels);
        let right = told
            .iter()
            .zip(&self.labels)
            .filter(|(it, label)| it.class == **label);
        right.count() as f64 / self.labels.len() as f64
    }

    /// Images after an attack.
    fn fooled(&self, args: &Args, ball: Ball, epsilon: f32, steps: u32) -> Tensor<f32> {
        let attack = Attack {
            ball,
            epsilon,
            steps: steps as usize,
            targeted: args.target.is_some(),
        };
        let goals = match args.target {
            Some(target) => vec![target; self.labels.len()],
            None => self.labels.clone(),
        };
        attack.run(self.classifier, self.params, &self.images, &goals)
    }

    /// What becomes of the images under this attack.
    pub(super) fn attacked(&self, args: &Args, ball: Ball, epsilon: f32, steps: u32) -> Outcome {
        let images = self.fooled(args, ball, epsilon, steps);
        let reached = args.target.map(|target| {
            let told = answers(self.classifier, self.params, &images, &self.labels);
            let reached = told.iter().filter(|it| it.class == target).count();
            reached as f64 / told.len() as f64
        });
        Outcome {
            accuracy: self.accuracy(&images),
            reached,
        }
    }

    /// Writes all pictures; tells what is on each.
    pub(super) fn draw(
        &self,
        args: &Args,
        attacks: &[Row],
        out: &Path,
    ) -> anyhow::Result<Vec<String>> {
        let mut told = Vec::new();
        let mut keep = |name: &str, what: &str, rows: &[Tensor<f32>]| -> anyhow::Result<()> {
            let path = out.join(name);
            stack(rows).save(&path)?;
            told.push(format!("{}  {what}", path.display()));
            Ok(())
        };
        let first = self.of_each_class();
        let pick = |images: &Tensor<f32>| rows(images, &first);
        let largest = args.epsilon.iter().copied().fold(0.0, f32::max);
        let images = pick(&self.images);
        let fooled = pick(&self.fooled(args, Ball::Infinity, largest, args.steps));
        let change = zip(&fooled, &images, |a, b| {
            0.5 + 0.5 * (a - b) / largest.max(1e-6)
        });
        keep(
            "adversarial.png",
            "images, the same after the largest l-inf change, and the change",
            &[images.clone(), fooled, change],
        )?;
        let labels: Vec<u32> = first.iter().map(|&i| self.labels[i]).collect();
        let sharp = saliency(self.classifier, self.params, &images, &labels);
        let smooth = smooth_saliency(self.classifier, self.params, &images, &labels, SMOOTH);
        keep(
            "saliency.png",
            "images, which pixels their class depends on, and the same averaged over noise",
            &[
                images.clone(),
                wide(&sharp, &images),
                wide(&smooth, &images),
            ],
        )?;
        let classes: Vec<Tensor<f32>> = self.ways(args).into_iter().map(|(_, x)| x).collect();
        keep(
            "classes.png",
            "a class in each column; rows: from noise, from images, then from noise with jitter, \
             blur, total variation, Fourier parameters, and jitter with Fourier parameters",
            &classes,
        )?;
        for (layer, units) in self.units(args).into_iter().enumerate() {
            let what = format!("what units of hidden layer {layer} answer to most");
            keep(&format!("units-{layer}.png"), &what, &[units])?;
        }
        for (ball, what) in [
            ("l-inf", "largest change of a pixel"),
            ("l2", "Euclidean change"),
        ] {
            let of = |name: &str, outcome: fn(&Row) -> &Outcome| Series {
                name: name.into(),
                points: (attacks.iter().filter(|row| row.ball == ball))
                    .map(|row| (f64::from(row.epsilon), 100.0 * outcome(row).accuracy))
                    .collect(),
                joined: true,
            };
            let chart = Chart {
                title: "Accuracy under attack",
                x: what,
                y: "%",
                series: vec![
                    of("one step", |row| &row.fast),
                    of("many steps", |row| &row.projected),
                ],
            };
            let path = out.join(format!("accuracy-{ball}.svg"));
            train::write_whole(&path, chart.svg().as_bytes())?;
            told.push(format!("{}  accuracy against epsilon", path.display()));
        }
        Ok(told)
    }

    /// The first image of each of the first classes.
    fn of_each_class(&self) -> Vec<usize> {
        let classes = 0..self.classes.min(SHOWN) as u32;
        let first = classes.filter_map(|class| self.labels.iter().position(|&it| it == class));
        first.collect()
    }

    /// Images of the classes, climbed to in several ways.
    fn ways(&self, args: &Args) -> Vec<(&'static str, Tensor<f32>)> {
        let goals: Vec<Goal> = (0..self.classes.min(SHOWN)).map(Goal::Class).collect();
        let noise = self.noise(goals.len(), args.seed);
        let start: Vec<usize> = (0..goals.len())
            .map(|i| (i + 1) % self.labels.len())
            .collect();
        let images = rows(&self.images, &start);
        let plain = Ascent {
            steps: args.ascent_steps as usize,
            ..Ascent::PLAIN
        };
        let jitter = Ascent { jitter: 2, ..plain };
        let fourier = Ascent {
            fourier: true,
            size: 0.01,
            ..plain
        };
        let ways = [
            ("noise", plain, &noise),
            ("images", plain, &images),
            ("jitter", jitter, &noise),
            ("blur", Ascent { blur: 0.6, ..plain }, &noise),
            (
                "variation",
                Ascent {
                    variation: 30.0,
                    ..jitter
                },
                &noise,
            ),
            ("fourier", fourier, &noise),
            (
                "fourier and jitter",
                Ascent {
                    jitter: 2,
                    ..fourier
                },
                &noise,
            ),
        ];
        let climb = |(name, ascent, start): (&'static str, Ascent, &Tensor<f32>)| {
            (
                name,
                ascent.climb(self.classifier, self.params, start, &goals, args.seed),
            )
        };
        ways.into_iter().map(climb).collect()
    }

    /// For each hidden layer that the classifier shows, what its first units answer to.
    fn units(&self, args: &Args) -> Vec<Tensor<f32>> {
        let p = self.params.constants();
        let one = Var::constant(rows(&self.images, &[0]));
        let layers = self.classifier.layers(&p, &one);
        let ascent = Ascent {
            steps: args.ascent_steps as usize,
            jitter: 1,
            fourier: true,
            size: 0.01,
            ..Ascent::PLAIN
        };
        let of = |(layer, answer): (usize, &Var<f32>)| {
            let units = answer.shape().last_extent().min(UNITS);
            let goals: Vec<Goal> = (0..units)
                .map(|channel| Goal::Unit { layer, channel })
                .collect();
            let noise = self.noise(units, args.seed);
            ascent.climb(self.classifier, self.params, &noise, &goals, args.seed)
        };
        layers.iter().enumerate().map(of).collect()
    }

    /// Grey with a little noise.
    fn noise(&self, count: usize, seed: u64) -> Tensor<f32> {
        let mut shape = self.images.shape().to_vec();
        shape[0] = count;
        let mut random = stream(&[seed, count as u64]);
        Tensor::from_fn(&shape[..], |_| 0.4 + 0.2 * uniform(&mut random) as f32)
    }
}

/// These rows of a tensor.
fn rows(images: &Tensor<f32>, list: &[usize]) -> Tensor<f32> {
    let dims = images.len() / images.shape()[0];
    let pixels: Vec<f32> = (list.iter())
        .flat_map(|&i| &images.data()[i * dims..(i + 1) * dims])
        .copied()
        .collect();
    let mut shape = images.shape().to_vec();
    shape[0] = list.len();
    Tensor::new(&shape[..], &pixels)
}

fn zip(a: &Tensor<f32>, b: &Tensor<f32>, f: impl Fn(f32, f32) -> f32) -> Tensor<f32> {
    Tensor::from_fn(*a.shape(), |i| f(a.data()[i], b.data()[i]))
}

/// One channel repeated as often as `like` has channels.
fn wide(map: &Tensor<f32>, like: &Tensor<f32>) -> Tensor<f32> {
    let channels = like.shape().last_extent();
    Tensor::from_fn(*like.shape(), |i| map.data()[i / channels])
}

/// A picture with a tensor of images in each row.
fn stack(list: &[Tensor<f32>]) -> Picture {
    let columns = list[0].shape()[0];
    let pixels: Vec<f32> = list
        .iter()
        .flat_map(|images| images.data())
        .copied()
        .collect();
    let mut shape = list[0].shape().to_vec();
    shape[0] = columns * list.len();
    Picture::grid(&Tensor::new(&shape[..], &pixels), columns)
}
