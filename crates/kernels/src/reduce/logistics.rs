//! Mixtures of discretised logistic distributions.

use super::line;
use super::rows::{Out, RowKernel, check, rows};
use crate::element::Element;
use crate::elementwise::unary::{Exp, Log, Sigmoid, Softplus, Tanh};
use crate::simd::Vector;

/// Scales are not smaller than e^-7, an eighth of a level of 256, as in the code of Salimans et
/// al.; and not so large that f32 cannot tell the chance of a single level from 0.
pub const LOG_SCALES: [f64; 2] = [-7.0, 20.0];

/// nll\[r\] = -ln p(x\[r\]), in nats, of a mixture of logistic distributions that are each rounded
/// to the nearest of `levels` levels, where the first and the last take all that lies beyond; and
/// its gradient by the parameters, in the same pass. (Salimans et al. 2017, arXiv:1701.05517,
/// section 2.1.)
///
/// The levels span \[-1, 1\]. With the level at c = 2 x - 1, half a level h, scale s (its logarithm
/// kept within [`LOG_SCALES`]), a = (c + h - mu) / s and b = (c - h - mu) / s, a component has
///
/// ```text
/// p = sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b - a)),   a - b = 2 h / s
/// ```
///
/// so that ln p is a sum of three terms none of which cancels, however far the level lies in a
/// tail. The first level has b = -inf, the last a = inf: there just one of the three remains.
///
/// Shapes: parameters `[rows, 3, components]` are logits of the weights, means mu and logarithms of
/// the scales; x `[rows]`, numbers level / (levels - 1) in \[0, 1\]; nll `[rows]`; gradient like
/// parameters.
///
/// # Panics
/// If the lengths do not fit, or there are fewer than two levels.
#[track_caller]
#[inline]
pub fn logistic_mixture<T: Element>(
    parameters: &[T],
    x: &[T],
    levels: usize,
    nll: &mut [T],
    gradient: &mut [T],
) {
    T::logistic_mixture(parameters, x, levels, nll, gradient)
}

#[track_caller]
pub(crate) fn logistic_mixture_body<T: Element>(
    parameters: &[T],
    x: &[T],
    levels: usize,
    nll: &mut [T],
    gradient: &mut [T],
) {
    assert!(levels > 1, "logistic_mixture: {levels} levels");
    let width = parameters.len() / x.len().max(1);
    assert!(
        width.is_multiple_of(3) && width * x.len() == parameters.len(),
        "logistic_mixture: {} parameters for {} numbers",
        parameters.len(),
        x.len()
    );
    check("logistic_mixture", "nll", nll.len(), x.len());
    check(
        "logistic_mixture",
        "gradient",
        gradient.len(),
        parameters.len(),
    );
    let kernel = Mixture {
        parameters,
        x,
        half: 1.0 / (levels - 1) as f64,
    };
    let out = [
        Out {
            data: nll,
            width: 1,
        },
        Out {
            data: gradient,
            width,
        },
    ];
    rows(kernel, x.len(), 32 * width, out);
}

#[derive(Clone, Copy)]
struct Mixture<'a, T> {
    parameters: &'a [T],
    x: &'a [T],
    half: f64,
}

impl<T: Element> RowKernel<T, 2> for Mixture<'_, T> {
    #[inline(always)]
    fn row<V: Vector<Element = T>>(self, row: usize, [nll, gradient]: [&mut [T]; 2]) {
        let components = gradient.len() / 3;
        let parameters = &self.parameters[row * gradient.len()..][..gradient.len()];
        let (logits, others) = parameters.split_at(components);
        let (mus, log_scales) = others.split_at(components);
        let (g_logits, g_others) = gradient.split_at_mut(components);
        let (g_mus, g_log_scales) = g_others.split_at_mut(components);

        // Each component's logit + ln p, and the derivatives of its ln p, go to where the
        // gradient will be.
        let x = self.x[row].to_f64();
        let level = Level::<V>::new(x, self.half);
        let mut i = 0;
        while i < components {
            let part = level.component(
                V::load_partial(&mus[i..]),
                V::load_partial(&log_scales[i..]),
            );
            let joint = V::load_partial(&logits[i..]) + part.log_p;
            joint.store_partial(&mut g_logits[i..]);
            part.by_mu.store_partial(&mut g_mus[i..]);
            part.by_log_scale.store_partial(&mut g_log_scales[i..]);
            i += V::LANES;
        }

        let (prior_max, joint_max) = (line::max::<V>(logits), line::max::<V>(g_logits));
        let prior_sum = line::sum_exp(logits, V::splat(prior_max));
        let joint_sum = line::sum_exp(g_logits, V::splat(joint_max));
        let prior_log = line::log::<V>(prior_sum);
        nll[0] = (prior_log - line::log::<V>(joint_sum)) + (prior_max - joint_max);

        // By the logits: prior - posterior weight; by the others: -posterior weight * derivative.
        let (prior_max, joint_max) = (V::splat(prior_max), V::splat(joint_max));
        let over_prior = V::one() / V::splat(prior_sum);
        let over_joint = V::one() / V::splat(joint_sum);
        let mut i = 0;
        while i < components {
            let prior = (V::load_partial(&logits[i..]) - prior_max).apply(Exp) * over_prior;
            let posterior = (V::load_partial(&g_logits[i..]) - joint_max).apply(Exp) * over_joint;
            (prior - posterior).store_partial(&mut g_logits[i..]);
            let by_mu = V::load_partial(&g_mus[i..]);
            (-(posterior * by_mu)).store_partial(&mut g_mus[i..]);
            let by_log_scale = V::load_partial(&g_log_scales[i..]);
            (-(posterior * by_log_scale)).store_partial(&mut g_log_scales[i..]);
            i += V::LANES;
        }
    }
}

/// What all components of a row share.
#[derive(Clone, Copy)]
struct Level<V> {
    /// c + h and c - h.
    ends: [V; 2],
    half: V,
    /// 1 where a is finite, else 0.
    not_last: V,
    /// 1 where b is finite, else 0.
    not_first: V,
}

/// ln p of some components and its derivatives.
struct Component<V> {
    log_p: V,
    by_mu: V,
    by_log_scale: V,
}

impl<V: Vector> Level<V> {
    #[inline(always)]
    fn new(x: f64, half: f64) -> Level<V> {
        let has = |condition: bool| if condition { 1.0 } else { 0.0 };
        let centre = 2.0 * x - 1.0;
        // Within half a level of the ends, whatever rounding x went through.
        Level {
            ends: [V::constant(centre + half), V::constant(centre - half)],
            half: V::constant(half),
            not_last: V::constant(has(x <= 1.0 - 0.5 * half)),
            not_first: V::constant(has(x >= 0.5 * half)),
        }
    }

    #[inline(always)]
    fn component(self, mu: V, log_scale: V) -> Component<V> {
        let [least, largest] = [V::constant(LOG_SCALES[0]), V::constant(LOG_SCALES[1])];
        // The order of the arguments lets NaN through.
        let kept = largest.min(least.max(log_scale));
        let inverse = (-kept).apply(Exp);
        let a = (self.ends[0] - mu) * inverse;
        let b = (self.ends[1] - mu) * inverse;
        let within = self.not_first * self.not_last;
        // 1 - e^-d = 2 t / (1 + t) with t = tanh(d / 2): exact also for small d.
        let half_width = inverse * self.half;
        let t = half_width.apply(Tanh);
        let log_width = ((t + t) / (V::one() + t)).apply(Log);
        let log_p = within * log_width
            - self.not_last * (-a).apply(Softplus)
            - self.not_first * b.apply(Softplus);
        let by_a = self.not_last * (-a).apply(Sigmoid);
        let by_minus_b = self.not_first * b.apply(Sigmoid);
        // The derivative of ln(1 - e^-d) by d is e^-d / (1 - e^-d) = (1 - t) / (2 t).
        let by_width = within * half_width * ((V::one() - t) / t);
        let by_log_scale = by_minus_b * b - by_a * a - by_width;
        Component {
            log_p,
            by_mu: inverse * (by_minus_b - by_a),
            by_log_scale: V::select(kept.eq(log_scale), by_log_scale, V::zero()),
        }
    }
}
