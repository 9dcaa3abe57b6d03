//! What is said of judged images.

use crate::output::{table, thousands};
use judge::Verdict;
use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) subject: String,
    pub(super) judge: String,
    pub(super) judge_accuracy: Option<f64>,
    pub(super) data: String,
    pub(super) split: &'static str,
    pub(super) images: usize,
    pub(super) samples: Measures,
    pub(super) real: Measures,
    pub(super) class_shares: Vec<f64>,
    pub(super) class_shares_of_real: Vec<f64>,
    pub(super) asked_class: Option<f64>,
    pub(super) nearest_training_image: Nearest,
}

/// The measures of a set of images.
#[derive(Serialize)]
pub(super) struct Measures {
    pub(super) kernel_distance: f64,
    pub(super) kernel_distance_half_width: Option<f64>,
    pub(super) frechet_distance: f64,
    pub(super) precision: f64,
    pub(super) recall: f64,
    pub(super) density: f64,
    pub(super) coverage: f64,
    pub(super) told_apart: f64,
    pub(super) told_apart_standard_error: f64,
    pub(super) class_imbalance: f64,
}

/// Root mean squared differences of pixels to the nearest training image.
#[derive(Serialize)]
pub(super) struct Nearest {
    pub(super) of_samples: f64,
    pub(super) of_real: f64,
}

impl Measures {
    pub(super) fn of(verdict: &Verdict) -> Measures {
        let width = verdict.kernel.half_width;
        Measures {
            kernel_distance: verdict.kernel.value,
            kernel_distance_half_width: Some(width).filter(|width| width.is_finite()),
            frechet_distance: verdict.frechet,
            precision: verdict.balls.precision,
            recall: verdict.balls.recall,
            density: verdict.balls.density,
            coverage: verdict.balls.coverage,
            told_apart: verdict.two_sample.accuracy,
            told_apart_standard_error: verdict.two_sample.standard_error,
            class_imbalance: verdict.imbalance,
        }
    }
}

impl Report {
    pub(super) fn text(&self) -> String {
        let count = thousands(self.images as u64);
        let accuracy = self.judge_accuracy.map_or(String::new(), |accuracy| {
            format!(", right on {:.2}% of real images", 100.0 * accuracy)
        });
        let mut text = format!(
            "{count} {} against {count} {} images of {}\nseen by {}{accuracy}; it is not \
             Inception, so no figure compares with those of papers\n\n{}\n\n{}",
            self.subject,
            self.split,
            self.data,
            self.judge,
            table(&self.rows()),
            table(&self.classes()),
        );
        if let Some(asked) = self.asked_class {
            text += &format!(
                "\n\n{:.2}% of samples are of the class asked for",
                100.0 * asked
            );
        }
        let Nearest {
            of_samples,
            of_real,
        } = self.nearest_training_image;
        text += &format!(
            "\n\nnearest training image, root mean squared difference of pixels: samples \
             {of_samples:.4}, {} images {of_real:.4} (copies of training images would be near 0)",
            self.split
        );
        for warning in judge::class_warnings(&self.class_shares, &self.class_shares_of_real) {
            text += &format!("\nwarning: {warning}");
        }
        if self.images < 1000 {
            text += "\nfewer than 1,000 images: the Fréchet distance is mostly bias, and all \
                     figures are rough";
        }
        text
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let kernel = |of: &Measures| match of.kernel_distance_half_width {
            Some(width) => format!("{:.5} +- {width:.5}", of.kernel_distance),
            None => format!("{:.5}", of.kernel_distance),
        };
        let line = |name: &str, show: &dyn Fn(&Measures) -> String, better: &str| {
            vec![
                name.into(),
                show(&self.samples),
                show(&self.real),
                better.into(),
            ]
        };
        let three = |of: f64| format!("{of:.3}");
        vec![
            ["measure", "samples", "real against real", "better"]
                .map(String::from)
                .to_vec(),
            line("kernel distance (KID)", &kernel, "lower"),
            line(
                "Fréchet distance",
                &|of| three(of.frechet_distance),
                "lower",
            ),
            line("precision (fidelity)", &|of| three(of.precision), "higher"),
            line("recall (variety)", &|of| three(of.recall), "higher"),
            line("density (fidelity)", &|of| three(of.density), "higher"),
            line("coverage (variety)", &|of| three(of.coverage), "higher"),
            line(
                "told apart, held out",
                &|of| {
                    format!(
                        "{:.3} +- {:.3}",
                        of.told_apart, of.told_apart_standard_error
                    )
                },
                "0.5",
            ),
            line("class imbalance", &|of| three(of.class_imbalance), "lower"),
        ]
    }

    /// A line of shares for samples and data.
    fn classes(&self) -> Vec<Vec<String>> {
        let row = |name: &str, shares: &[f64]| {
            let shares = shares.iter().map(|share| format!("{:.1}%", 100.0 * share));
            [name.to_string()].into_iter().chain(shares).collect()
        };
        let heads = (0..self.class_shares.len()).map(|class| class.to_string());
        vec![
            ["class".to_string()].into_iter().chain(heads).collect(),
            row("samples", &self.class_shares),
            row("real", &self.class_shares_of_real),
        ]
    }
}
