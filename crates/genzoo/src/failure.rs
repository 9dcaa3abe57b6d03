//! Errors as the user sees them: a line, perhaps a hint, and an exit code.

use crate::output::note;
use crate::suggest::did_you_mean;
use anyhow::Error;
use nn::hyper::HyperError;
use std::fmt;
use std::process::ExitCode;

/// The exit code of a wrong command line.
const USAGE: u8 = 2;

/// Something the command itself has found to be wrong.
#[derive(Debug)]
struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The command line is wrong: exit code 2.
pub(crate) fn usage(message: impl fmt::Display, hint: impl Into<String>) -> Error {
    let hint = Some(hint.into()).filter(|hint| !hint.is_empty());
    Failure {
        message: message.to_string(),
        hint,
        code: USAGE,
    }
    .into()
}

/// Anything else is wrong: exit code 1.
pub(crate) fn failed(message: impl fmt::Display, hint: impl Into<String>) -> Error {
    Failure {
        message: message.to_string(),
        hint: Some(hint.into()).filter(|hint: &String| !hint.is_empty()),
        code: 1,
    }
    .into()
}

/// An error about a hyper-parameter from the command line, with the near key.
pub(crate) fn hyper_usage(error: HyperError) -> Error {
    let (model, near) = match &error {
        HyperError::Unknown {
            model,
            found,
            expected,
        } => (*model, did_you_mean(found, expected.iter().copied())),
        HyperError::Value { model, .. } | HyperError::Unfit { model, .. } => (*model, None),
        _ => return error.into(),
    };
    let list = format!("`genzoo models {model}` describes them");
    usage(&error, near.unwrap_or(list))
}

/// Prints an error and tells the exit code.
pub(crate) fn report(error: &Error) -> ExitCode {
    let (code, hint) = judge(error);
    note(format!("error: {}", plain(&chain(error))));
    if let Some(hint) = hint.filter(|hint| !hint.is_empty()) {
        note(format!("hint: {}", plain(&hint)));
    }
    ExitCode::from(code)
}

/// One line, whatever the system or a file's name holds: a terminal obeys control characters.
fn plain(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        match c {
            '\n' => line.push(' '),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// The error and its causes, without those that it already quotes.
fn chain(error: &Error) -> String {
    error.chain().fold(String::new(), |message, cause| {
        let cause = cause.to_string();
        match &message[..] {
            "" => cause,
            said if said.contains(&cause) => message,
            said => format!("{said}: {cause}"),
        }
    })
}

fn judge(error: &Error) -> (u8, Option<String>) {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return (failure.code, failure.hint.clone());
    }
    if let Some(error) = error.downcast_ref::<dataset::Error>() {
        return match error {
            dataset::Error::Unknown { name, known } => {
                let near = did_you_mean(name, known.iter().map(String::as_str));
                (
                    USAGE,
                    near.or(Some("`genzoo data list` lists what is there".into())),
                )
            }
            dataset::Error::Unrecognised { .. } => (
                1,
                Some("`genzoo data list` lists the formats that are known".into()),
            ),
            _ => (1, None),
        };
    }
    (
        1,
        error
            .downcast_ref::<train::Error>()
            .and_then(hint)
            .map(Into::into),
    )
}

fn hint(error: &train::Error) -> Option<&'static str> {
    use train::Error;
    Some(match error {
        Error::Exists { .. } => "--resume goes on with it, --out puts a new run elsewhere",
        Error::Locked { .. } => "wait until it has ended, or stop it; reading needs no lock",
        Error::NoRun { .. } => "a run is a directory that `genzoo train` has made",
        Error::NotFinite { .. } => {
            "training diverged; the last checkpoint is from before: go on from it with \
             --resume and a lower --lr"
        }
        Error::Tensors { .. } | Error::Checkpoint { .. } => {
            "nothing was changed; put the file back as it was written, or begin a new run"
        }
        Error::Data { expected, .. } if expected.starts_with("binary pixels") => {
            "grey pixels are not a Bernoulli likelihood: use --binarize dynamic or static, or where \
             the model has the option another distribution, as --set pixels=logistics"
        }
        _ => return None,
    })
}
