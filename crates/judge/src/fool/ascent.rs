//! Images that a class or a unit answers to most, by gradient ascent on the pixels.
//!
//! D. Erhan et al. 2009; K. Simonyan et al. 2014, arXiv:1312.6034. Plain ascent finds images that
//! the classifier is sure of and a person cannot read (A. Nguyen et al. 2015, arXiv:1412.1897).
//! What makes them readable: jitter and Fourier parameters (C. Olah et al. 2017), blur (J. Yosinski
//! et al. 2015, arXiv:1506.06579), total variation (A. Mahendran and A. Vedaldi 2015,
//! arXiv:1412.0035).

use super::fourier::Waves;
use grad::{Tape, Tensor, Var};
use nn::Params;
use nn::model::Classifier;
use nn::random::{Stream, stream, uniform};

/// What an image is to bring forth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The logit of a class.
    Class(usize),
    /// The mean of a channel of one of the layers of [`Classifier::layers`].
    Unit {
        /// Which layer.
        layer: usize,
        /// Which of its channels.
        channel: usize,
    },
}

/// A way to climb.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ascent {
    /// Steps.
    pub steps: usize,
    /// The root mean square of a step, in units of pixels (of coefficients, with `fourier`).
    pub size: f32,
    /// Pixels that the image is moved by at random before each step, at most, both ways.
    pub jitter: usize,
    /// The deviation of a blur after each step, in pixels; none at 0.
    pub blur: f32,
    /// What the mean difference of neighbouring pixels counts against the goal.
    pub variation: f64,
    /// Climb along frequencies, not along pixels.
    pub fourier: bool,
}

impl Ascent {
    /// Without anything that makes images readable.
    pub const PLAIN: Ascent = Ascent {
        steps: 128,
        size: 0.02,
        jitter: 0,
        blur: 0.0,
        variation: 0.0,
        fourier: false,
    };

    /// An image for each goal, `[goals, H, W, C]`, beginning with these images (a row of it for
    /// each goal). Where it climbs along frequencies it begins with noise in their place.
    ///
    /// # Panics
    /// If there is not a start for each goal, or a goal is none of the classifier's.
    #[track_caller]
    pub fn climb(
        &self,
        classifier: &dyn Classifier,
        params: &Params<f32>,
        start: &Tensor<f32>,
        goals: &[Goal],
        seed: u64,
    ) -> Tensor<f32> {
        assert_eq!(
            start.shape()[0],
            goals.len(),
            "ascent: a start for each goal"
        );
        let pixels = super::in_parts(start, |first, x| {
            let goals = &goals[first..first + x.shape()[0]];
            let mut random = stream(&[seed, first as u64]);
            let x = match self.fourier {
                true => self.along_waves(classifier, params, &x, goals, &mut random),
                false => self.along_pixels(classifier, params, x, goals, &mut random),
            };
            x.data().to_vec()
        });
        Tensor::new(*start.shape(), &pixels)
    }

    fn along_pixels(
        &self,
        classifier: &dyn Classifier,
        params: &Params<f32>,
        mut x: Tensor<f32>,
        goals: &[Goal],
        random: &mut Stream,
    ) -> Tensor<f32> {
        for _ in 0..self.steps {
            let gradient = self.gradient(classifier, params, &x, goals, random);
            step(&mut x, &gradient, self.size, goals.len());
            if self.blur > 0.0 {
                x = blurred(&x, self.blur);
            }
            x.make_mut().iter_mut().for_each(|x| *x = x.clamp(0.0, 1.0));
        }
        x
    }

    fn along_waves(
        &self,
        classifier: &dyn Classifier,
        params: &Params<f32>,
        start: &Tensor<f32>,
        goals: &[Goal],
        random: &mut Stream,
    ) -> Tensor<f32> {
        let waves = Waves::new(start.shape()[1], start.shape()[2]);
        let mut coefficients = Tensor::from_fn(*start.shape(), |_| {
            (0.02 * nn::random::normal(random)) as f32
        });
        for _ in 0..self.steps {
            let tape = Tape::new();
            let c = tape.var(coefficients.clone());
            let x = waves.pictures(&c);
            let g = self.gradient(classifier, params, x.value(), goals, random);
            let along = (x * Var::constant(g)).sum();
            let gradient = tape.into_gradients(&along, &[&c]).remove(0);
            step(&mut coefficients, &gradient, self.size, goals.len());
        }
        waves.pictures(&Var::constant(coefficients)).into_value()
    }

    /// How each pixel should change.
    fn gradient(
        &self,
        classifier: &dyn Classifier,
        params: &Params<f32>,
        x: &Tensor<f32>,
        goals: &[Goal],
        random: &mut Stream,
    ) -> Tensor<f32> {
        let by = [(); 2].map(|()| {
            let span = (2 * self.jitter + 1) as f64;
            (uniform(random) * span) as isize - self.jitter as isize
        });
        let (tape, p) = (Tape::new(), params.constants());
        let var = tape.var(rolled(x, by));
        let mut sum = reached(classifier, &p, &var, goals);
        if self.variation > 0.0 {
            sum = sum - variation(&var) * self.variation;
        }
        let gradient = tape.into_gradients(&sum, &[&var]).remove(0);
        rolled(&gradient, by.map(|by| -by))
    }
}

/// The sum of what all goals have reached.
fn reached(
    classifier: &dyn Classifier,
    p: &nn::Bound<f32>,
    x: &Var<f32>,
    goals: &[Goal],
) -> Var<f32> {
    let layers = match goals.iter().any(|goal| matches!(goal, Goal::Unit { .. })) {
        true => classifier.layers(p, x),
        false => Vec::new(),
    };
    let logits = goals.iter().any(|goal| matches!(goal, Goal::Class(_)));
    let logits = logits.then(|| classifier.logits(p, x));
    let each = goals.iter().enumerate().map(|(i, goal)| match *goal {
        Goal::Class(class) => {
            let logits = logits.as_ref().expect("made above");
            logits.slice(0, i..i + 1).slice(1, class..class + 1).sum()
        }
        Goal::Unit { layer, channel } => {
            let of = &layers[layer];
            let axis = of.shape().rank() - 1;
            of.slice(0, i..i + 1)
                .slice(axis, channel..channel + 1)
                .mean()
        }
    });
    each.reduce(|sum, term| sum + term)
        .expect("there is a goal")
}

/// The mean difference of neighbouring pixels, down and along, summed over images.
fn variation(x: &Var<f32>) -> Var<f32> {
    let dims = (x.shape().elements() / x.shape()[0].max(1)) as f64;
    let along = |axis: usize| {
        let n = x.shape()[axis];
        (n > 1).then(|| (x.slice(axis, 1..n) - x.slice(axis, 0..n - 1)).abs().sum())
    };
    let sums = [along(1), along(2)].into_iter().flatten();
    let sum = sums.reduce(|a, b| a + b);
    sum.map_or_else(|| Var::constant(Tensor::scalar(0.0)), |sum| sum / dims)
}

/// Each image moves along its own gradient by a step of this root mean square; without a gradient
/// it stays.
fn step(x: &mut Tensor<f32>, gradient: &Tensor<f32>, size: f32, images: usize) {
    let dims = x.len() / images.max(1);
    let rows = x.make_mut().chunks_exact_mut(dims);
    for (x, g) in rows.zip(gradient.data().chunks_exact(dims)) {
        let square = g.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>() / dims as f64;
        if square > 0.0 {
            let scale = size / square.sqrt() as f32;
            x.iter_mut().zip(g).for_each(|(x, g)| *x += scale * g);
        }
    }
}

/// Images moved down and to the right; what leaves on one side comes back on the other.
fn rolled(x: &Tensor<f32>, [down, right]: [isize; 2]) -> Tensor<f32> {
    if (down, right) == (0, 0) {
        return x.clone();
    }
    let [_, h, w, c] = x.shape()[..] else {
        panic!("rolled: expected [N, H, W, C]")
    };
    let from = |at: usize, by: isize, n: usize| (at as isize - by).rem_euclid(n as isize) as usize;
    Tensor::from_fn(*x.shape(), |i| {
        let (n, y, col, ch) = (i / (h * w * c), i / (w * c) % h, i / c % w, i % c);
        x.data()[((n * h + from(y, down, h)) * w + from(col, right, w)) * c + ch]
    })
}

/// Images after a Gaussian blur; beyond the rim is what lies on it.
fn blurred(x: &Tensor<f32>, deviation: f32) -> Tensor<f32> {
    let [_, h, w, c] = x.shape()[..] else {
        panic!("blurred: expected [N, H, W, C]")
    };
    let reach = (3.0 * deviation).ceil() as isize;
    let weight = |k: isize| (-0.5 * (k as f32 / deviation).powi(2)).exp();
    let total: f32 = (-reach..=reach).map(weight).sum();
    let along = |x: &Tensor<f32>, n: usize, stride: usize| {
        Tensor::from_fn(*x.shape(), |i| {
            let at = (i / stride % n) as isize;
            let near = |k: isize| {
                let to = (at + k).clamp(0, n as isize - 1) - at;
                weight(k) * x.data()[(i as isize + to * stride as isize) as usize]
            };
            (-reach..=reach).map(near).sum::<f32>() / total
        })
    };
    along(&along(x, h, w * c), w, c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolling_comes_back_and_blurring_keeps_the_level() {
        let x = Tensor::from_fn([2, 3, 4, 2], |i| i as f32);
        let there = rolled(&x, [1, -2]);
        assert_eq!(there.data()[(4 + 2) * 2], x.data()[0]);
        assert_eq!(rolled(&there, [-1, 2]), x);
        let flat = blurred(&Tensor::full([1, 5, 5, 1], 0.3), 1.0);
        assert!(flat.data().iter().all(|x| (x - 0.3).abs() < 1e-6));
    }

    #[test]
    fn variation_is_the_mean_of_differences() {
        let x = Tensor::new([1, 2, 2, 1], &[0.0, 1.0, 0.0, 1.0]);
        assert_eq!(variation(&Var::constant(x)).item(), 0.5);
    }
}
