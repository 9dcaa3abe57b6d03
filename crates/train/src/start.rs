//! A run that begins with parameters of another one.

use crate::checkpoint;
use crate::directory::{self, RunDir};
use crate::error::Error;
use grad::{Shape, Tensor};
use nn::{Params, save};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where a run's first parameters come from: `[from]` in its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The directory of a run, or a safetensors file.
    pub run: String,
    /// Only parameters whose names begin so, as `encoder`; all of them if empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// What became of the parameters that were offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Names of parameters that were taken over.
    pub taken: Vec<String>,
    /// Names of the model's parameters under the prefix that the source does not have.
    pub missing: Vec<String>,
    /// Names of the source under the prefix that the model does not have.
    pub left_over: Vec<String>,
    /// Names of both whose shapes differ: the model's shape, then the source's.
    pub reshaped: Vec<(String, Shape, Shape)>,
}

impl Taken {
    /// Whether each parameter under the prefix has found its counterpart.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.left_over.is_empty() && self.reshaped.is_empty()
    }
}

impl std::fmt::Display for Taken {
    /// In a line: how many were taken, and the names of the others.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tensors taken over", self.taken.len())?;
        let reshaped: Vec<String> = (self.reshaped.iter())
            .map(|(name, ours, theirs)| format!("{name} ({ours} here, {theirs} there)"))
            .collect();
        for (what, names) in [
            ("not there", &self.missing),
            ("left over", &self.left_over),
            ("of another shape", &reshaped),
        ] {
            if !names.is_empty() {
                write!(f, "; {what}: {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

impl Start {
    /// The parameters that are offered, by name.
    fn tensors(&self) -> Result<Vec<(String, Tensor<f32>)>, Error> {
        let path = Path::new(&self.run);
        if path.is_file() {
            return read_file(path);
        }
        checkpoint::read_tensors(&RunDir::open(path)?)
    }

    /// Takes over what fits by name and shape.
    ///
    /// # Errors
    /// If the source cannot be read, or nothing of it fits.
    pub fn take(&self, params: &mut Params<f32>) -> Result<Taken, Error> {
        let taken = take(params, self.tensors()?, &self.prefix);
        if taken.taken.is_empty() {
            return Err(Error::NothingTaken {
                source_run: self.run.clone(),
                prefix: self.prefix.clone(),
                found: taken.to_string(),
            });
        }
        Ok(taken)
    }
}

/// The tensors of a safetensors file that came from anywhere.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn read_file(path: &Path) -> Result<Vec<(String, Tensor<f32>)>, Error> {
    let bytes = directory::read(path)?;
    let (tensors, _) = save::read_tensors(&bytes).map_err(|source| Error::Tensors {
        path: path.into(),
        source,
    })?;
    Ok(tensors)
}

/// Takes over what fits by name and shape of those whose names begin so.
pub fn take(params: &mut Params<f32>, tensors: Vec<(String, Tensor<f32>)>, prefix: &str) -> Taken {
    let mut taken = Taken::default();
    let prefix = prefix.trim_end_matches('.');
    let under = |name: &str| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('.'))
    };
    let mut found = Vec::new();
    for (name, value) in tensors.into_iter().filter(|(name, _)| under(name)) {
        let Some(id) = params.find(&name) else {
            taken.left_over.push(name);
            continue;
        };
        found.push(id);
        let param = params.get_mut(id);
        if param.value.shape() == value.shape() {
            param.value = value;
            taken.taken.push(name);
        } else {
            let shapes = (*param.value.shape(), *value.shape());
            taken.reshaped.push((name, shapes.0, shapes.1));
        }
    }
    let missing = params
        .ids()
        .filter(|id| !found.contains(id) && !params[*id].training_only);
    let missing = missing.map(|id| params[id].name.clone());
    taken.missing = missing.filter(|name| under(name)).collect();
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_taken_and_the_rest_is_listed() {
        let mut params = Params::new();
        for (name, extent) in [
            ("encoder.0", 2),
            ("encoder.1", 3),
            ("encoder.2", 1),
            ("head", 4),
        ] {
            params.add(name.into(), Tensor::zeros([extent]), true);
        }
        let tensor = |name: &str, extent: usize| (name.to_string(), Tensor::ones([extent]));
        let offered = || {
            vec![
                tensor("encoder.0", 2),
                tensor("encoder.1", 5),
                tensor("encoder.9", 1),
                tensor("encoders", 1),
                tensor("head", 4),
            ]
        };
        let taken = take(&mut params, offered(), "encoder");
        assert_eq!(
            taken.to_string(),
            "1 tensors taken over; not there: encoder.2; left over: encoder.9; \
             of another shape: encoder.1 ([3] here, [5] there)"
        );
        let sums: Vec<f32> = (params.iter())
            .map(|param| param.value.data().iter().sum())
            .collect();
        assert_eq!(sums, [2.0, 0.0, 0.0, 0.0]);
        assert_eq!(
            take(&mut params, offered(), "").taken,
            ["encoder.0", "head"]
        );
    }
}
