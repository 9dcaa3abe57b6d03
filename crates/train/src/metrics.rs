//! What is reported while a run goes on.

use crate::directory;
use crate::error::{Error, io};
use dataset::Split;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Training steps done.
    pub step: u64,
    /// The epoch these steps belong to, 1 for the first.
    pub epoch: u64,
    /// `train`: a mean over the steps since the last such event. `valid`: a mean over the split.
    pub split: String,
    /// -log p or a bound on it, per image; null where the model cannot tell.
    pub nats: Option<f64>,
    /// Images of this event over the time they took.
    pub images_per_second: f64,
    /// Since the run began, without the time it lay still.
    pub seconds: f64,
    /// Parts of the loss by name, per image.
    #[serde(flatten)]
    pub parts: BTreeMap<String, f64>,
}

impl Event {
    /// Whether this is about the validation split.
    pub fn is_valid(&self) -> bool {
        self.split == Split::Valid.name()
    }
}

/// Sums over images, by name, in a fixed order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    sums: Vec<(String, Sum)>,
}

/// A sum over images and how many those were.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    value: f64,
    images: u64,
}

impl Tally {
    /// Adds a sum over `images` images.
    pub fn add(&mut self, name: &str, value: f64, images: u64) {
        let sum = match self.sums.iter().position(|(known, _)| known == name) {
            Some(position) => &mut self.sums[position].1,
            None => {
                self.sums.push((name.into(), Sum::default()));
                &mut self.sums.last_mut().expect("just pushed").1
            }
        };
        sum.value += value;
        sum.images += images;
    }

    /// Adds all sums of another tally.
    pub fn merge(&mut self, other: &Tally) {
        for (name, sum) in &other.sums {
            self.add(name, sum.value, sum.images);
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// The mean under this name.
    pub fn mean(&self, name: &str) -> Option<f64> {
        self.means()
            .find(|(known, _)| *known == name)
            .map(|(_, mean)| mean)
    }

    /// The means over images, in the order the names first appeared.
    pub fn means(&self) -> impl Iterator<Item = (&str, f64)> {
        self.sums
            .iter()
            .map(|(name, sum)| (&name[..], sum.value / sum.images as f64))
    }

    /// As text that [`decode`](Self::decode) reads back to the last bit.
    pub(crate) fn encode(&self) -> String {
        let sums: Vec<_> = (self.sums.iter())
            .map(|(name, sum)| (name, sum.value.to_bits(), sum.images))
            .collect();
        serde_json::to_string(&sums).expect("names and numbers are valid JSON")
    }

    pub(crate) fn decode(text: &str) -> Option<Tally> {
        let sums: Vec<(String, u64, u64)> = serde_json::from_str(text).ok()?;
        let sum = |(name, bits, images)| {
            (
                name,
                Sum {
                    value: f64::from_bits(bits),
                    images,
                },
            )
        };
        Some(Tally {
            sums: sums.into_iter().map(sum).collect(),
        })
    }
}

/// `metrics.jsonl`, open for appending.
pub(crate) struct Log {
    file: File,
    path: PathBuf,
}

/// A log that was opened, and what was found in it.
pub(crate) struct Opened {
    pub(crate) log: Log,
    /// The last event.
    pub(crate) last: Option<Event>,
    /// The numbers of lines that are no events, 1 for the first.
    pub(crate) strange: Vec<usize>,
}

impl Log {
    /// Opens the log of a run that has done `step` steps: events from after its checkpoint, or cut
    /// off in the middle, are dropped, for they will happen again. Lines that are no events stay
    /// where they are.
    pub(crate) fn open(path: &Path, step: u64) -> Result<Opened, Error> {
        let (mut last, mut strange) = (None, Vec::new());
        if path.exists() {
            let bytes = directory::read(path)?;
            let mut kept = Vec::new();
            for (i, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
                match serde_json::from_slice::<Event>(line) {
                    _ if !line.ends_with(b"\n") => {}
                    Ok(event) if event.step > step => {}
                    Ok(event) if event.seconds.is_finite() && event.seconds >= 0.0 => {
                        kept.extend(line);
                        last = Some(event);
                    }
                    _ => {
                        kept.extend(line);
                        strange.push(i + 1);
                    }
                }
            }
            if kept != bytes {
                directory::write_whole(path, &kept)?;
            }
        }
        let options = OpenOptions::new().create(true).append(true).open(path);
        let file = options.map_err(io(path, "open"))?;
        let log = Log {
            file,
            path: path.to_owned(),
        };
        Ok(Opened { log, last, strange })
    }

    pub(crate) fn write(&mut self, event: &Event) -> Result<(), Error> {
        let mut line = serde_json::to_vec(event).expect("an event is valid JSON");
        line.push(b'\n');
        // One write: a line is there whole or, after a crash, cut off and then dropped.
        self.file.write_all(&line).map_err(io(&self.path, "write"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(step: u64) -> Event {
        Event {
            step,
            epoch: 1,
            split: "train".into(),
            nats: Some(100.5),
            images_per_second: 1e4,
            seconds: 0.25,
            parts: BTreeMap::from([("kl".into(), 20.0)]),
        }
    }

    #[test]
    fn a_line_has_these_keys_in_this_order() {
        assert_eq!(
            serde_json::to_string(&event(7)).unwrap(),
            r#"{"step":7,"epoch":1,"split":"train","nats":100.5,"images_per_second":10000.0,"seconds":0.25,"kl":20.0}"#
        );
    }

    #[test]
    fn resuming_drops_what_will_happen_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("metrics.jsonl");
        let Opened { mut log, last, .. } = Log::open(&path, 0).unwrap();
        assert_eq!(last, None);
        for step in [10, 20, 30] {
            log.write(&event(step)).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let Opened { mut log, last, .. } = Log::open(&path, 20).unwrap();
        assert_eq!(last, Some(event(20)));
        log.write(&event(30)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn lines_that_are_no_events_stay_and_are_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("metrics.jsonl");
        let line = |event: &Event| serde_json::to_string(event).unwrap();
        let late = Event {
            seconds: -1e9,
            ..event(20)
        };
        let text = format!("{}\n{{\"step\":1\n{}\n", line(&event(10)), line(&late));
        std::fs::write(&path, &text).unwrap();
        let opened = Log::open(&path, 20).unwrap();
        assert_eq!((opened.last, opened.strange), (Some(event(10)), vec![2, 3]));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn tallies_come_back_to_the_last_bit() {
        let mut tally = Tally::default();
        tally.add("nats", 0.1 + 0.2, 3);
        tally.add("kl", f64::MIN_POSITIVE, 1);
        tally.add("nats", 1e300, 2);
        assert_eq!(Tally::decode(&tally.encode()), Some(tally.clone()));
        assert_eq!(tally.mean("kl"), Some(f64::MIN_POSITIVE));
        assert_eq!(Tally::decode("[[1]]"), None);
    }
}
