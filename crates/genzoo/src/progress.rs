//! What is shown while a run goes on: a bar on a terminal, plain lines elsewhere.

use crate::output::thousands;
use indicatif::{ProgressBar, ProgressStyle};
use nn::model::Figure;
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use train::{Event, Observer, Progress};

/// The bar has this many parts.
const PARTS: u64 = 1000;
/// How often the bar's text changes.
const REFRESH: Duration = Duration::from_millis(200);
/// How often a line appears where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows loss, images per second and time left on standard error.
pub(crate) struct Display {
    bar: Option<ProgressBar>,
    started: Instant,
    /// The share of the run that was done when this began.
    begun: f64,
    shown: Instant,
    /// Images and sum of losses since the text last changed.
    images: usize,
    loss: f64,
    steps: usize,
    /// The epoch of the last event.
    epoch: u64,
}

impl Display {
    /// For a run of which the share `done` is done.
    pub(crate) fn new(done: f64) -> Display {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {percent:>3}%  {msg}");
            let bar = ProgressBar::new(PARTS);
            bar.set_style(style.expect("a valid template").progress_chars("=> "));
            bar
        });
        let now = Instant::now();
        Display {
            bar,
            started: now,
            begun: done,
            shown: now,
            images: 0,
            loss: 0.0,
            steps: 0,
            epoch: 1,
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn time_left(&self, done: f64) -> String {
        let gone = self.started.elapsed().as_secs_f64();
        let share = done - self.begun;
        if share <= 0.0 {
            return "? left".into();
        }
        format!("{} left", duration(gone * (1.0 - done).max(0.0) / share))
    }
}

impl Observer for Display {
    fn step(&mut self, progress: &Progress) {
        self.images += progress.images;
        self.loss += progress.loss;
        self.steps += 1;
        let since = self.shown.elapsed();
        if since
            < if self.bar.is_some() {
                REFRESH
            } else {
                LINE_EVERY
            }
        {
            return;
        }
        let rate = self.images as f64 / since.as_secs_f64();
        let text = format!(
            "loss {:.2}, {} images/s, {}",
            self.loss / self.steps as f64,
            thousands(rate as u64),
            self.time_left(progress.done)
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position((progress.done * PARTS as f64) as u64);
                bar.set_message(text);
            }
            None => eprintln!("{:3.0}%  {text}", 100.0 * progress.done),
        }
        (self.shown, self.images, self.loss, self.steps) = (Instant::now(), 0, 0.0, 0);
    }

    fn event(&mut self, event: &Event) {
        if !event.is_valid() {
            self.epoch = event.epoch;
        }
    }

    fn epoch(&mut self, train: Option<&Event>, valid: &[Figure]) {
        let mut text = format!("epoch {:>3}", self.epoch);
        if let Some(event) = train {
            let nats = event.nats.map(|nats| ("nats", nats));
            let parts = event.parts.iter().map(|(name, mean)| (&name[..], *mean));
            let all: Vec<String> = (nats.into_iter().chain(parts))
                .map(|(name, mean)| format!("{name} {}", figure(mean)))
                .collect();
            text += &format!("  train {}", all.join(", "));
        }
        if !valid.is_empty() {
            let all: Vec<String> = (valid.iter())
                .map(|of| format!("{} {}", of.info.name, figure(of.value)))
                .collect();
            text += &format!("  valid {}", all.join(", "));
        }
        if let Some(event) = train {
            text += &format!("  {} images/s", thousands(event.images_per_second as u64));
        }
        self.line(&text);
        // The time of the validation is not the next steps'.
        self.shown = Instant::now();
        (self.images, self.loss, self.steps) = (0, 0.0, 0);
    }
}

/// A figure with four digits that mean something, and two places at the least above 1.
pub(crate) fn figure(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        size if size >= 1.0 => format!("{x:.2}"),
        size if size >= 1e-4 => format!("{x:.4}"),
        _ => format!("{x:.2e}"),
    }
}

/// Seconds as a person says them: 42s, 3m05s, 2h07m.
pub(crate) fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_have_two_units_at_most() {
        let all = [0.4, 59.6, 185.0, 7620.0].map(super::duration);
        assert_eq!(all, ["0s", "1m00s", "3m05s", "2h07m"]);
    }
}
