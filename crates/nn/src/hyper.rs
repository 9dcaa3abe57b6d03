//! Hyper-parameters: what `--set key=value` reaches, with meaning and default.

use std::fmt;

/// A hyper-parameter of a model, as its table lists it.
#[derive(Clone, Copy, Debug)]
pub struct Hyper {
    /// The key of `--set`.
    pub name: &'static str,
    /// What it means, in a line.
    pub meaning: &'static str,
    /// Its default; also fixes its kind.
    pub default: Value,
}

/// The most of anything that makes a model deep: its layers are made one by one.
const DEEPEST: usize = 4096;
/// The most of anything else.
const WIDEST: usize = 1 << 20;
/// What makes a model deep, or how often something is done for each image.
const OF_DEPTH: [&str; 10] = [
    "layers",
    "blocks",
    "levels",
    "heads",
    "components",
    "orderings",
    "masks",
    "flows",
    "steps",
    "samples",
];

impl Hyper {
    /// The largest count it can be set to.
    fn most(&self) -> usize {
        if OF_DEPTH.contains(&self.name) {
            DEEPEST
        } else {
            WIDEST
        }
    }
}

/// The kinds of hyper-parameters and, in a [`Hyper`], the default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A count of at least 1.
    Count(usize),
    /// Counts of at least 1, separated by commas.
    Counts(&'static [usize]),
    /// A finite number.
    Number(f64),
    /// `true` or `false`.
    Flag(bool),
    /// One of these words; the first is the default.
    Choice(&'static [&'static str]),
}

impl Value {
    fn kind(&self, most: usize) -> String {
        match self {
            Value::Count(_) => format!("a count from 1 to {most}"),
            Value::Counts(_) => format!("counts from 1 to {most}, separated by commas"),
            Value::Number(_) => "a finite number".into(),
            Value::Flag(_) => "true or false".into(),
            Value::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }

    /// Whether several values are one value of this kind.
    fn is_list(&self) -> bool {
        matches!(self, Value::Counts(_))
    }

    fn accepts(&self, text: &str, most: usize) -> bool {
        let count = |text: &str| text.trim().parse().is_ok_and(|n| (1..=most).contains(&n));
        match self {
            Value::Count(_) => count(text),
            Value::Counts(_) => text.split(',').all(count),
            Value::Number(_) => text.parse::<f64>().is_ok_and(f64::is_finite),
            Value::Flag(_) => text.parse::<bool>().is_ok(),
            Value::Choice(words) => words.contains(&text),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Count(n) => write!(f, "{n}"),
            Value::Counts(list) => {
                let list: Vec<_> = list.iter().map(usize::to_string).collect();
                f.write_str(&list.join(","))
            }
            Value::Number(x) => write!(f, "{x}"),
            Value::Flag(flag) => write!(f, "{flag}"),
            Value::Choice(words) => f.write_str(words[0]),
        }
    }
}

/// A hyper-parameter was set that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HyperError {
    /// No such key.
    #[error("{model} has no hyper-parameter {found:?}; it has {}", expected.join(", "))]
    Unknown {
        /// The model.
        model: &'static str,
        /// The key that was set.
        found: String,
        /// The keys there are.
        expected: Vec<&'static str>,
    },
    /// A value of the wrong kind.
    #[error("{model}: {name}: expected {expected}, found {found:?}")]
    Value {
        /// The model.
        model: &'static str,
        /// The key.
        name: &'static str,
        /// What the key takes.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// A value that does not go with the data or with another value.
    #[error("{model}: {reason}")]
    Unfit {
        /// The model.
        model: &'static str,
        /// Expected and found, in a line.
        reason: String,
    },
}

/// A model's hyper-parameters: its defaults and what was set instead.
#[derive(Clone, Debug)]
pub struct Hypers {
    model: &'static str,
    values: Vec<(&'static Hyper, String)>,
}

impl Hypers {
    /// The defaults of `table`.
    pub fn defaults(model: &'static str, table: &'static [Hyper]) -> Hypers {
        let values = table.iter().map(|hyper| (hyper, hyper.default.to_string()));
        Hypers {
            model,
            values: values.collect(),
        }
    }

    /// Sets one. A list may stand in brackets; one number in brackets is a list, too.
    ///
    /// # Errors
    /// If there is no such key or the value is not of its kind.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), HyperError> {
        let model = self.model;
        let Some((hyper, slot)) = self.values.iter_mut().find(|(hyper, _)| hyper.name == name)
        else {
            return Err(HyperError::Unknown {
                model,
                found: name.into(),
                expected: self.values.iter().map(|(hyper, _)| hyper.name).collect(),
            });
        };
        let (value, kind) = (value.trim(), &hyper.default);
        let inside = value
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let accepted = match inside {
            Some(list) if kind.is_list() => list,
            _ => value,
        };
        let most = hyper.most();
        if !kind.accepts(accepted, most) {
            let list = inside.is_some() || value.contains(',');
            let single = if list && !kind.is_list() {
                ", not a list"
            } else {
                ""
            };
            return Err(HyperError::Value {
                model,
                name: hyper.name,
                expected: format!("{}{single}", kind.kind(most)),
                found: value.into(),
            });
        }
        *slot = accepted.into();
        Ok(())
    }

    /// Every key with its value as text, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Hyper, &str)> {
        self.values
            .iter()
            .map(|(hyper, value)| (*hyper, &value[..]))
    }

    /// An error about a value of this model that is of the right kind but does not fit.
    pub fn unfit(&self, reason: impl Into<String>) -> HyperError {
        HyperError::Unfit {
            model: self.model,
            reason: reason.into(),
        }
    }

    #[track_caller]
    fn text(&self, name: &str) -> &str {
        let found = self.values.iter().find(|(hyper, _)| hyper.name == name);
        let (_, value) =
            found.unwrap_or_else(|| panic!("{} declares no hyper-parameter {name}", self.model));
        value
    }

    #[track_caller]
    fn parsed<V: std::str::FromStr>(&self, name: &str) -> V {
        let value = self.text(name).trim().parse().ok();
        value.unwrap_or_else(|| panic!("{}: {name} is of another kind", self.model))
    }

    /// The value of a [`Value::Count`].
    ///
    /// # Panics
    /// This and its siblings: if the model's table has no such key of this kind.
    #[track_caller]
    pub fn count(&self, name: &str) -> usize {
        self.parsed(name)
    }

    /// The value of a [`Value::Counts`].
    #[track_caller]
    pub fn counts(&self, name: &str) -> Vec<usize> {
        let parse = |n: &str| n.trim().parse().expect("`set` accepts counts only");
        self.text(name).split(',').map(parse).collect()
    }

    /// The value of a [`Value::Number`].
    #[track_caller]
    pub fn number(&self, name: &str) -> f64 {
        self.parsed(name)
    }

    /// The value of a [`Value::Flag`].
    #[track_caller]
    pub fn flag(&self, name: &str) -> bool {
        self.parsed(name)
    }

    /// The value of a [`Value::Choice`].
    #[track_caller]
    pub fn choice(&self, name: &str) -> &str {
        self.text(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Hyper] = &[
        Hyper {
            name: "hidden",
            meaning: "units",
            default: Value::Counts(&[400, 30]),
        },
        Hyper {
            name: "beta",
            meaning: "weight of the KL",
            default: Value::Number(1.0),
        },
    ];

    #[test]
    fn values_are_checked_when_they_are_set() {
        let mut hypers = Hypers::defaults("vae", TABLE);
        assert_eq!(hypers.counts("hidden"), [400, 30]);
        hypers.set("hidden", "8, 9,10").unwrap();
        assert_eq!(hypers.counts("hidden"), [8, 9, 10]);
        hypers.set("hidden", "[7]").unwrap();
        assert_eq!(hypers.counts("hidden"), [7]);
        let error = |name, value| {
            Hypers::defaults("vae", TABLE)
                .set(name, value)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error("hiden", "3"),
            "vae has no hyper-parameter \"hiden\"; it has hidden, beta"
        );
        assert_eq!(
            error("hidden", "3,0"),
            "vae: hidden: expected counts from 1 to 1048576, separated by commas, found \"3,0\""
        );
        assert_eq!(
            error("beta", "NaN"),
            "vae: beta: expected a finite number, found \"NaN\""
        );
        for list in ["[1]", "1,2", "[1,2]", "[[1]]"] {
            assert_eq!(
                error("beta", list),
                format!("vae: beta: expected a finite number, not a list, found {list:?}")
            );
        }
        assert!(error("hidden", "[[3]]").contains("expected counts"));
    }
}
