//! Mixtures of discretised logistic distributions.

use super::rows::{Out, RowKernel, check, rows};
use crate::buffer::Buffer;
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
        width.is_multiple_of(3)
            && width * x.len() == parameters.len()
            && (width > 0 || x.is_empty()),
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
    // Whole blocks, and what is left of the last one.
    let whole = x.len() / BLOCK * BLOCK;
    let (nll, nll_rest) = nll.split_at_mut(whole);
    let (gradient, gradient_rest) = gradient.split_at_mut(whole * width);
    let blocks = [
        (0, BLOCK, nll, gradient),
        (whole, x.len() - whole, nll_rest, gradient_rest),
    ];
    for (first, block, nll, gradient) in blocks {
        let kernel = Mixture {
            parameters: &parameters[first * width..],
            x: &x[first..],
            half: 1.0 / (levels - 1) as f64,
        };
        let out = [
            Out {
                width: block,
                data: nll,
            },
            Out {
                width: block * width,
                data: gradient,
            },
        ];
        let count = out[0].data.len() / block.max(1);
        rows(kernel, count, 8 * block * width, out);
    }
}

/// How many rows are worked on at a time: a multiple of the lanes of every vector. The lanes of a
/// vector hold one component of so many rows, because components are few.
const BLOCK: usize = 16;

#[derive(Clone, Copy)]
struct Mixture<'a, T> {
    parameters: &'a [T],
    x: &'a [T],
    half: f64,
}

impl<T: Element> RowKernel<T, 2> for Mixture<'_, T> {
    #[inline(always)]
    fn row<V: Vector<Element = T>>(self, block: usize, [nll, gradient]: [&mut [T]; 2]) {
        let rows = nll.len();
        let width = gradient.len() / rows;
        let x = &self.x[block * rows..][..rows];
        let parameters = &self.parameters[block * rows * width..][..rows * width];
        // Parameters and gradient of `LANES` rows, transposed: a vector for each parameter.
        let mut columns = Buffer::recycled(2 * width * V::LANES);
        let (p, g) = columns.split_at_mut(width * V::LANES);
        let mut first = 0;
        while first < rows {
            let lanes = V::LANES.min(rows - first);
            p.fill(T::ZERO);
            for lane in 0..lanes {
                let row = &parameters[(first + lane) * width..][..width];
                for (k, &value) in row.iter().enumerate() {
                    p[k * V::LANES + lane] = value;
                }
            }
            let level = Level::new(V::load_partial(&x[first..]), self.half);
            level
                .mixture(p, g)
                .store_partial(&mut nll[first..][..lanes]);
            for lane in 0..lanes {
                let row = &mut gradient[(first + lane) * width..][..width];
                for (k, value) in row.iter_mut().enumerate() {
                    *value = g[k * V::LANES + lane];
                }
            }
            first += V::LANES;
        }
    }
}

/// What all components of some rows share.
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

/// ln p of a component and its derivatives.
struct Component<V> {
    log_p: V,
    by_mu: V,
    by_log_scale: V,
}

impl<V: Vector> Level<V> {
    #[inline(always)]
    fn new(x: V, half: f64) -> Level<V> {
        let centre = (x + x) - V::one();
        let h = V::constant(half);
        // Within half a level of the ends, whatever rounding x went through.
        let (low, high) = (V::constant(0.5 * half), V::constant(1.0 - 0.5 * half));
        Level {
            ends: [centre + h, centre - h],
            half: h,
            not_last: high.if_lt(x, V::zero(), V::one()),
            not_first: x.if_lt(low, V::zero(), V::one()),
        }
    }

    /// -ln p of some rows, from the columns `p` of their parameters, and the columns `g` of its
    /// gradient.
    #[inline(always)]
    fn mixture(self, p: &[V::Element], g: &mut [V::Element]) -> V {
        let components = p.len() / (3 * V::LANES);
        // Each component's logit + ln p, and the derivatives of its ln p, go to where the gradient
        // will be.
        let least = V::constant(f64::NEG_INFINITY);
        let (mut prior_max, mut joint_max) = (least, least);
        for k in 0..components {
            let (logit, mu) = (k * V::LANES, (components + k) * V::LANES);
            let log_scale = (2 * components + k) * V::LANES;
            let part = self.component(V::load(&p[mu..]), V::load(&p[log_scale..]));
            let prior = V::load(&p[logit..]);
            let joint = prior + part.log_p;
            prior_max = prior_max.max(prior);
            joint_max = joint_max.max(joint);
            joint.store(&mut g[logit..]);
            part.by_mu.store(&mut g[mu..]);
            part.by_log_scale.store(&mut g[log_scale..]);
        }
        let (mut prior_sum, mut joint_sum) = (V::zero(), V::zero());
        for k in 0..components {
            let prior = (V::load(&p[k * V::LANES..]) - prior_max).apply(Exp);
            let joint = (V::load(&g[k * V::LANES..]) - joint_max).apply(Exp);
            prior_sum = prior_sum + prior;
            joint_sum = joint_sum + joint;
        }
        // By the logits: prior - posterior weight; by the others: -posterior weight * derivative.
        let (over_prior, over_joint) = (V::one() / prior_sum, V::one() / joint_sum);
        for k in 0..components {
            let (logit, mu) = (k * V::LANES, (components + k) * V::LANES);
            let log_scale = (2 * components + k) * V::LANES;
            let prior = (V::load(&p[logit..]) - prior_max).apply(Exp) * over_prior;
            let posterior = (V::load(&g[logit..]) - joint_max).apply(Exp) * over_joint;
            (prior - posterior).store(&mut g[logit..]);
            (-(posterior * V::load(&g[mu..]))).store(&mut g[mu..]);
            (-(posterior * V::load(&g[log_scale..]))).store(&mut g[log_scale..]);
        }
        (prior_sum.apply(Log) - joint_sum.apply(Log)) + (prior_max - joint_max)
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
