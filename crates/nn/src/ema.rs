//! The exponential moving average of parameters.

use crate::params::Params;
use crate::save::{Lookup, ParamsError};
use grad::Tensor;

/// A slow copy of the parameters, a <- decay a + (1 - decay) p after each step, which often
/// evaluates better than the parameters themselves. Polyak & Juditsky 1992.
///
/// It begins as a copy, so it follows the first 1 / (1 - decay) steps late. What is not trained
/// (running statistics) is an average already and is copied.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f32,
    average: Params<f32>,
}

impl Ema {
    /// The average of parameters that so far are these.
    ///
    /// # Panics
    /// If the decay is not in [0, 1].
    #[track_caller]
    pub fn new(decay: f32, params: &Params<f32>) -> Ema {
        assert!(
            (0.0..=1.0).contains(&decay),
            "Ema: expected a decay from 0 to 1, found {decay}"
        );
        Ema {
            decay,
            average: params.clone(),
        }
    }

    /// Takes the parameters after a step into account. Allocates nothing once the average has
    /// memory of its own.
    ///
    /// # Panics
    /// If these are other parameters than those it began with.
    #[track_caller]
    pub fn update(&mut self, params: &Params<f32>) {
        assert_eq!(
            params.len(),
            self.average.len(),
            "Ema: the number of parameters has changed"
        );
        for (average, param) in self.average.iter_mut().zip(params.iter()) {
            assert_eq!(
                (&average.name, average.value.shape()),
                (&param.name, param.value.shape()),
                "Ema: a parameter has changed its name or shape"
            );
            let keep = if param.trainable { self.decay } else { 0.0 };
            for (a, &p) in average.value.make_mut().iter_mut().zip(param.value.data()) {
                // Exact for keep = 0, and a fixed point where a = p.
                *a = p + keep * (*a - p);
            }
        }
    }

    /// The averages, under the names of the parameters.
    pub fn params(&self) -> &Params<f32> {
        &self.average
    }

    /// The decay of a step.
    pub fn decay(&self) -> f32 {
        self.decay
    }

    /// The averages under their names, for [`write_tensors`](crate::save::write_tensors).
    pub fn tensors(&self) -> impl Iterator<Item = (String, &Tensor<f32>)> {
        self.average.tensors()
    }

    /// Takes the averages from `lookup`.
    ///
    /// # Errors
    /// If one is missing or has another shape. Then nothing has changed.
    pub fn restore(&mut self, lookup: &mut Lookup) -> Result<(), ParamsError> {
        self.average.restore_from(lookup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(weight: f32, mean: f32) -> Params<f32> {
        let mut params = Params::new();
        params.add("weight".into(), Tensor::full([3], weight), true);
        params.add("mean".into(), Tensor::full([1], mean), false);
        params
    }

    #[test]
    fn it_forgets_by_its_decay() {
        let mut ema = Ema::new(0.75, &params(1.0, 1.0));
        ema.update(&params(5.0, 5.0));
        ema.update(&params(5.0, 6.0));
        // 5 - 4 * 0.75^2
        assert_eq!(ema.params().iter().next().unwrap().value.data(), [2.75; 3]);
        assert_eq!(ema.params().iter().nth(1).unwrap().value.data(), [6.0]);
    }

    #[test]
    fn it_comes_back_from_its_tensors() {
        let mut ema = Ema::new(0.9, &params(1.0, 2.0));
        ema.update(&params(3.0, 4.0));
        let mut other = Ema::new(0.9, &params(0.0, 0.0));
        other
            .restore(&mut |name| {
                ema.tensors()
                    .find(|(n, _)| n == name)
                    .map(|(_, t)| t.clone())
            })
            .unwrap();
        assert!(ema.tensors().eq(other.tensors()));
        let error = other.restore(&mut |_| None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tensor \"weight\": expected shape [3], found no tensor of this name"
        );
    }

    #[test]
    fn the_first_update_does_not_touch_what_it_was_copied_from() {
        let start = params(1.0, 1.0);
        let mut ema = Ema::new(0.5, &start);
        ema.update(&params(2.0, 2.0));
        assert_eq!(start.iter().next().unwrap().value.data(), [1.0; 3]);
    }
}
