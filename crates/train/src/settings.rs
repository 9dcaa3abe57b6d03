//! Settings as text: times, hyper-parameters, schedules.

use nn::hyper::{Hypers, Value as Kind};
use nn::schedule::Schedule;
use std::time::Duration;
use toml::{Table, Value};

/// A length of time such as `90s`, `30m`, `2h` or `1h30m`.
///
/// # Errors
/// What was expected and found, if it is none or is zero.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a time such as 90s, 30m or 1h30m, found {text:?}");
    let mut rest = text.trim();
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| c.is_ascii_alphabetic())
            .ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let number = number
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|n| n.is_finite() && *n >= 0.0);
        let unit = match tail.as_bytes()[0] {
            b'h' => 3600.0,
            b'm' => 60.0,
            b's' => 1.0,
            _ => return Err(wrong()),
        };
        seconds += number.ok_or_else(wrong)? * unit;
        rest = tail[1..].trim_start();
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(wrong()),
    }
}

/// The shortest decimal number that reads as `x`: 0.1, not 0.10000000149011612.
pub(crate) fn decimal(x: f32) -> f64 {
    x.to_string().parse().expect("a number prints as a number")
}

/// Hyper-parameters as values of their own kind: a count is an integer, not a string.
pub(crate) fn hypers_to_toml(hypers: &Hypers) -> Table {
    let integer = |text: &str| {
        text.trim()
            .parse()
            .map_or(Value::String(text.into()), Value::Integer)
    };
    let value = |default: &Kind, text: &str| match default {
        Kind::Count(_) => integer(text),
        Kind::Counts(_) => Value::Array(text.split(',').map(integer).collect()),
        Kind::Number(_) => text
            .parse()
            .map_or(Value::String(text.into()), Value::Float),
        Kind::Flag(_) => text
            .parse()
            .map_or(Value::String(text.into()), Value::Boolean),
        Kind::Choice(_) => Value::String(text.into()),
    };
    let pair =
        |(hyper, text): (&nn::hyper::Hyper, &str)| (hyper.name.into(), value(&hyper.default, text));
    hypers.iter().map(pair).collect()
}

/// The text that [`Hypers::set`] takes for a TOML value.
pub(crate) fn hyper_to_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // In brackets: a list of one number is not that number.
        Value::Array(list) => {
            let list: Vec<_> = list.iter().map(hyper_to_text).collect();
            format!("[{}]", list.join(","))
        }
        other => other.to_string(),
    }
}

/// What keeps a schedule from working, if anything does.
pub(crate) fn check_schedule(schedule: &Schedule) -> Result<(), String> {
    match *schedule {
        Schedule::Exponential { decay } if !(decay > 0.0 && decay <= 1.0) => Err(format!(
            "decay: expected a number above 0, at most 1, found {decay}"
        )),
        _ => Ok(()),
    }
}

/// Serde for what is written as text: `Display` and `FromStr`.
pub(crate) mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::fmt::Display;
    use std::str::FromStr;

    pub(crate) fn serialize<S: Serializer>(value: &impl Display, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D, T>(d: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_stays_a_list() {
        let text = |toml: &str| hyper_to_text(&toml.parse::<Table>().unwrap()["x"]);
        assert_eq!(text("x = 20"), "20");
        assert_eq!(text("x = \"relu\""), "relu");
        assert_eq!(text("x = [20]"), "[20]");
        assert_eq!(text("x = [20, 30]"), "[20,30]");
    }

    #[test]
    fn times_have_units() {
        let seconds = |text| parse_time(text).map(|time| time.as_secs_f64());
        assert_eq!(seconds("90s"), Ok(90.0));
        assert_eq!(seconds("30m"), Ok(1800.0));
        assert_eq!(seconds("1h30m"), Ok(5400.0));
        assert_eq!(seconds("0.5h"), Ok(1800.0));
        for text in [
            "", "30", "m", "-5s", "5d", "0s", "1e400s", "5 0s", "é", "5mé", "NaNs", "infs",
        ] {
            let error = seconds(text).unwrap_err();
            assert!(error.ends_with(&format!("found {text:?}")), "{error}");
        }
    }
}
