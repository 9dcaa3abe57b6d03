//! What an update rule is, and an optimiser: a rule with its settings.

use super::pass::Matrix;
use super::rules::RULES;
use grad::Shape;
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The most settings that a rule has.
pub(super) const MOST: usize = 5;

/// How gradients change parameters: one file in `rules/`, one name in [`RULES`].
pub(super) struct Rule {
    /// Its name in configurations.
    pub(super) kind: &'static str,
    /// Its name in a line of text.
    pub(super) name: &'static str,
    /// What can be set, the learning rate first.
    pub(super) settings: &'static [Setting],
    /// What is remembered of a parameter of this shape.
    pub(super) moments: fn(&Optimiser, &Shape) -> &'static [&'static str],
    /// What it does to numbers in one step.
    pub(super) at: fn(&Optimiser, Step) -> Box<Update>,
    /// What it does instead to tensors that are [matrices](super::pass::sides).
    pub(super) matrices: Option<fn(&Optimiser, Step) -> Box<MatrixUpdate>>,
}

/// Changes numbers p by their gradients g and moments, as many as [`Rule::moments`] names; what
/// is not used is empty.
pub(super) type Update = dyn Fn(&mut [f32], &[f32], [&mut [f32]; 2]) + Sync;

/// Changes a whole matrix.
pub(super) type MatrixUpdate = dyn Fn(&mut Matrix) + Sync;

/// What the steps of all parameters have in common.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// Counted from 1.
    pub(super) t: u64,
    pub(super) lr_factor: f64,
    pub(super) gradient_scale: f64,
}

/// A number that a rule can be told.
pub(super) struct Setting {
    name: &'static str,
    default: f64,
    range: Range,
}

enum Range {
    Positive,
    NotNegative,
    /// The weight of the past in a running mean.
    Decay,
    /// 0 or 1, written as false or true.
    Flag,
}

impl Setting {
    const fn new(name: &'static str, default: f64, range: Range) -> Setting {
        Setting {
            name,
            default,
            range,
        }
    }

    /// The learning rate, the first setting of every rule. It has no default.
    pub(super) const LR: Setting = Setting::new("lr", f64::NAN, Range::Positive);

    pub(super) const fn positive(name: &'static str, default: f64) -> Setting {
        Setting::new(name, default, Range::Positive)
    }

    pub(super) const fn not_negative(name: &'static str, default: f64) -> Setting {
        Setting::new(name, default, Range::NotNegative)
    }

    pub(super) const fn decay(name: &'static str, default: f64) -> Setting {
        Setting::new(name, default, Range::Decay)
    }

    pub(super) const fn flag(name: &'static str, default: bool) -> Setting {
        Setting::new(name, if default { 1.0 } else { 0.0 }, Range::Flag)
    }

    fn check(&self, value: f64) -> Result<(), String> {
        let (fits, expected) = match self.range {
            Range::Positive => (value > 0.0 && value.is_finite(), "a number above 0"),
            Range::NotNegative => (value >= 0.0 && value.is_finite(), "a number of at least 0"),
            Range::Decay => ((0.0..1.0).contains(&value), "a number from 0 to below 1"),
            Range::Flag => (value == 0.0 || value == 1.0, "true or false"),
        };
        if fits {
            Ok(())
        } else {
            Err(format!("{}: expected {expected}, found {value}", self.name))
        }
    }
}

/// An update rule with its settings, such as [`Optimiser::adam`].
///
/// As TOML or JSON it is a table whose `kind` is one of [`Optimiser::kinds`], with the learning
/// rate as `lr`; of the other settings those that are missing have their defaults.
///
/// ```
/// use nn::optim::Optimiser;
///
/// let optimiser = Optimiser::adam_w(1e-3).with("weight_decay", 0.1);
/// assert_eq!(optimiser.get("beta1"), Some(0.9));
/// assert_eq!(optimiser.check(), Ok(()));
/// ```
#[derive(Clone)]
pub struct Optimiser {
    rule: &'static Rule,
    values: [f64; MOST],
}

impl Optimiser {
    /// The rule with its defaults.
    pub(super) fn of(rule: &'static Rule, lr: f64) -> Optimiser {
        let mut values = [0.0; MOST];
        for (value, setting) in values.iter_mut().zip(rule.settings) {
            *value = setting.default;
        }
        values[0] = lr;
        Optimiser { rule, values }
    }

    /// The rule of this kind with its defaults, if there is one.
    pub fn named(kind: &str, lr: f64) -> Option<Optimiser> {
        let rule = RULES.iter().copied().find(|rule| rule.kind == kind)?;
        Some(Optimiser::of(rule, lr))
    }

    /// The kinds of rules that there are.
    pub fn kinds() -> impl ExactSizeIterator<Item = &'static str> {
        RULES.iter().map(|rule| rule.kind)
    }

    /// Its kind, as configurations name it.
    pub fn kind(&self) -> &'static str {
        self.rule.kind
    }

    /// Its name in a line of text.
    pub fn name(&self) -> &'static str {
        self.rule.name
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        self.values[0]
    }

    /// The same rule with another learning rate.
    pub fn with_lr(mut self, lr: f64) -> Optimiser {
        self.values[0] = lr;
        self
    }

    /// A setting by its name; flags are 0 or 1. None if the rule has none of this name.
    pub fn get(&self, setting: &str) -> Option<f64> {
        self.settings()
            .find(|(it, _)| it.name == setting)
            .map(|(_, value)| value)
    }

    /// The same rule with another value of a setting; flags are 0 or 1.
    ///
    /// # Panics
    /// If the rule has no setting of this name.
    #[track_caller]
    pub fn with(mut self, setting: &str, value: f64) -> Optimiser {
        let at = (self.rule.settings.iter()).position(|it| it.name == setting);
        let at = at.unwrap_or_else(|| panic!("{} has no setting {setting}", self.rule.name));
        self.values[at] = value;
        self
    }

    /// # Errors
    /// What keeps it from working, if anything does: a setting that is out of its range.
    pub fn check(&self) -> Result<(), String> {
        self.settings()
            .try_for_each(|(setting, value)| setting.check(value))
    }

    fn settings(&self) -> impl Iterator<Item = (&'static Setting, f64)> {
        self.rule.settings.iter().zip(self.values)
    }

    /// The values in the order of the rule's settings.
    pub(super) fn values(&self) -> [f64; MOST] {
        self.values
    }

    pub(super) fn moments(&self, shape: &Shape) -> &'static [&'static str] {
        (self.rule.moments)(self, shape)
    }

    pub(super) fn at(&self, step: Step) -> Box<Update> {
        (self.rule.at)(self, step)
    }

    pub(super) fn matrices(&self, step: Step) -> Option<Box<MatrixUpdate>> {
        self.rule.matrices.map(|at| at(self, step))
    }
}

impl PartialEq for Optimiser {
    fn eq(&self, other: &Optimiser) -> bool {
        self.rule.kind == other.rule.kind && self.values == other.values
    }
}

impl fmt::Debug for Optimiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(self.rule.name);
        for (setting, value) in self.settings() {
            shown.field(setting.name, &value);
        }
        shown.finish()
    }
}

const KIND: &str = "kind";

impl Serialize for Optimiser {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.rule.settings.len()))?;
        map.serialize_entry(KIND, self.rule.kind)?;
        for (setting, value) in self.settings() {
            match setting.range {
                Range::Flag => map.serialize_entry(setting.name, &(value != 0.0))?,
                _ => map.serialize_entry(setting.name, &value)?,
            }
        }
        map.end()
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Flag(bool),
    Number(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Optimiser {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Optimiser, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Optimiser;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table with the kind of an optimiser and its settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Optimiser, A::Error> {
        let mut optimiser = None;
        let mut settings: Vec<(String, Value)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            match value {
                Value::Text(kind) if key == KIND => {
                    let expected: Vec<_> = Optimiser::kinds().collect();
                    let unknown = || {
                        let expected = expected.join(", ");
                        A::Error::custom(format!("kind: expected {expected}, found {kind:?}"))
                    };
                    optimiser = Some(Optimiser::named(&kind, f64::NAN).ok_or_else(unknown)?);
                }
                value => settings.push((key, value)),
            }
        }
        let mut optimiser = optimiser.ok_or_else(|| A::Error::missing_field(KIND))?;
        let told_lr = settings.iter().any(|(key, _)| key == Setting::LR.name);
        for (key, value) in settings {
            let rule = optimiser.rule;
            let Some(at) = rule.settings.iter().position(|it| it.name == key) else {
                let known: Vec<_> = rule.settings.iter().map(|it| it.name).collect();
                let known = known.join(", ");
                return Err(A::Error::custom(format!(
                    "unknown field `{key}`, expected {known}"
                )));
            };
            optimiser.values[at] = match (&rule.settings[at].range, value) {
                (Range::Flag, Value::Flag(flag)) => f64::from(u8::from(flag)),
                (Range::Flag, _) => {
                    return Err(A::Error::custom(format!("{key}: expected true or false")));
                }
                (_, Value::Number(number)) => number,
                _ => return Err(A::Error::custom(format!("{key}: expected a number"))),
            };
        }
        if !told_lr {
            return Err(A::Error::missing_field(Setting::LR.name));
        }
        Ok(optimiser)
    }
}
