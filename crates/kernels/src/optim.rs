//! Steps of the usual optimisers, each in one pass over parameters, gradient and moments.
//!
//! Hyper-parameters have the names of the papers; slices of one step all have one length. Like all
//! elementwise kernels, long ones are cut at fixed places and spread over threads, so a step gives
//! the same bytes on any number of them.

use crate::element::Element;
use crate::elementwise::{Lanewise, lanewise};
use crate::simd::Vector;

/// The gradient that a rule works with.
#[inline(always)]
fn gradient<V: Vector>(p: V, g: V, scale: f64, l2: f64) -> V {
    p.mul_add(V::constant(l2), g * V::constant(scale))
}

/// A moment that has faded, as that of a dead unit does, ends at 0: it would stay subnormal for
/// good, and arithmetic with subnormal numbers takes many times as long. What is left out is far
/// below the epsilon of any rule.
#[inline(always)]
fn faded<V: Vector>(moment: V) -> V {
    V::select(moment.abs().lt(V::constant(1e-36)), V::zero(), moment)
}

/// Stochastic gradient descent with momentum (Sutskever et al. 2013).
///
/// u = momentum u + g; p -= learning_rate u, or learning_rate (g + momentum u) if `nesterov`,
/// with g = gradient_scale gradient + l2 p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Size of a step.
    pub learning_rate: f64,
    /// What is kept of the velocity, in \[0, 1).
    pub momentum: f64,
    /// Whether the gradient counts as taken after the momentum's step.
    pub nesterov: bool,
    /// Factor of the gradient: 1 / B makes a mean of a sum, and clipping is another factor.
    pub gradient_scale: f64,
    /// Factor of the parameter that is added to its gradient.
    pub l2: f64,
}

impl Sgd {
    /// One step; `u` is the velocity, zero at first.
    ///
    /// # Panics
    /// If the lengths differ.
    #[track_caller]
    pub fn update<T: Element>(&self, p: &mut [T], g: &[T], u: &mut [T]) {
        lanewise(*self, [p, u], [g]);
    }

    /// One step without momentum, which needs no velocity: p -= learning_rate g.
    ///
    /// # Panics
    /// If the lengths differ.
    #[track_caller]
    pub fn update_plain<T: Element>(&self, p: &mut [T], g: &[T]) {
        lanewise(*self, [p], [g]);
    }
}

impl Lanewise<2, 1> for Sgd {
    #[inline(always)]
    fn apply<V: Vector>(self, [p, u]: [V; 2], [g]: [V; 1]) -> [V; 2] {
        let momentum = V::constant(self.momentum);
        let g = gradient(p, g, self.gradient_scale, self.l2);
        let u = faded(u.mul_add(momentum, g));
        let step = if self.nesterov {
            u.mul_add(momentum, g)
        } else {
            u
        };
        [step.neg_mul_add(V::constant(self.learning_rate), p), u]
    }
}

impl Lanewise<1, 1> for Sgd {
    #[inline(always)]
    fn apply<V: Vector>(self, [p]: [V; 1], [g]: [V; 1]) -> [V; 1] {
        let g = gradient(p, g, self.gradient_scale, self.l2);
        [g.neg_mul_add(V::constant(self.learning_rate), p)]
    }
}

/// Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1) and, with `decay`, AdamW (Loshchilov
/// and Hutter 2019, arXiv:1711.05101, algorithm 2).
///
/// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
/// p -= learning_rate (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) + decay p),
/// with g = gradient_scale gradient + l2 p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Size of a step; alpha in the paper.
    pub learning_rate: f64,
    /// What is kept of the first moment.
    pub beta1: f64,
    /// What is kept of the second moment.
    pub beta2: f64,
    /// Keeps the division finite.
    pub epsilon: f64,
    /// Factor of the gradient: 1 / B makes a mean of a sum, and clipping is another factor.
    pub gradient_scale: f64,
    /// Factor of the parameter that is added to its gradient, and so to the moments.
    pub l2: f64,
    /// Factor of the parameter that is subtracted beside the moments: AdamW's lambda.
    pub decay: f64,
}

impl Adam {
    /// Step number `t`, counted from 1; the moments `m` and `v` are zero at first.
    ///
    /// # Panics
    /// If the lengths differ, or `t` is 0.
    #[track_caller]
    pub fn update<T: Element>(&self, t: u64, p: &mut [T], g: &[T], m: &mut [T], v: &mut [T]) {
        self.at(t).update(p, g, m, v);
    }

    /// What step number `t`, counted from 1, is for all parameters.
    ///
    /// # Panics
    /// If `t` is 0.
    #[track_caller]
    pub fn at(&self, t: u64) -> AdamStep {
        assert!(t > 0, "Adam: steps are counted from 1");
        let t = t as f64;
        AdamStep {
            adam: *self,
            rate: self.learning_rate / (1.0 - self.beta1.powf(t)),
            root: 1.0 / (1.0 - self.beta2.powf(t)).sqrt(),
        }
    }
}

/// [`Adam`] with the corrections of one step, whose powers take as long as some tensors do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    adam: Adam,
    /// learning_rate / (1 - beta1^t).
    rate: f64,
    /// 1 / sqrt(1 - beta2^t).
    root: f64,
}

impl AdamStep {
    /// The step for some parameters; their moments `m` and `v` are zero at first.
    ///
    /// # Panics
    /// If the lengths differ.
    #[track_caller]
    pub fn update<T: Element>(&self, p: &mut [T], g: &[T], m: &mut [T], v: &mut [T]) {
        lanewise(*self, [p, m, v], [g]);
    }
}

impl Lanewise<3, 1> for AdamStep {
    #[inline(always)]
    fn apply<V: Vector>(self, [p, m, v]: [V; 3], [g]: [V; 1]) -> [V; 3] {
        let Adam {
            learning_rate,
            beta1,
            beta2,
            epsilon,
            gradient_scale,
            l2,
            decay,
        } = self.adam;
        let g = gradient(p, g, gradient_scale, l2);
        let m = faded(m.mul_add(V::constant(beta1), g * V::constant(1.0 - beta1)));
        let v = faded(v.mul_add(V::constant(beta2), g * g * V::constant(1.0 - beta2)));
        let scale = v
            .sqrt()
            .mul_add(V::constant(self.root), V::constant(epsilon));
        let kept = p * V::constant(1.0 - learning_rate * decay);
        [kept - m * V::constant(self.rate) / scale, m, v]
    }
}

/// RMSProp (Tieleman and Hinton 2012, lecture 6.5 of Neural Networks for Machine Learning).
///
/// v = rho v + (1 - rho) g^2; p -= learning_rate g / (sqrt(v) + epsilon), with g =
/// gradient_scale gradient + l2 p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// Size of a step.
    pub learning_rate: f64,
    /// What is kept of the second moment.
    pub rho: f64,
    /// Keeps the division finite.
    pub epsilon: f64,
    /// Factor of the gradient: 1 / B makes a mean of a sum, and clipping is another factor.
    pub gradient_scale: f64,
    /// Factor of the parameter that is added to its gradient.
    pub l2: f64,
}

impl RmsProp {
    /// One step; the moment `v` is zero at first.
    ///
    /// # Panics
    /// If the lengths differ.
    #[track_caller]
    pub fn update<T: Element>(&self, p: &mut [T], g: &[T], v: &mut [T]) {
        lanewise(*self, [p, v], [g]);
    }
}

impl Lanewise<2, 1> for RmsProp {
    #[inline(always)]
    fn apply<V: Vector>(self, [p, v]: [V; 2], [g]: [V; 1]) -> [V; 2] {
        let g = gradient(p, g, self.gradient_scale, self.l2);
        let v = faded(v.mul_add(V::constant(self.rho), g * g * V::constant(1.0 - self.rho)));
        let scale = v.sqrt() + V::constant(self.epsilon);
        [p - g * V::constant(self.learning_rate) / scale, v]
    }
}

/// Adagrad (Duchi, Hazan and Singer 2011).
///
/// v += g^2; p -= learning_rate g / (sqrt(v) + epsilon), with g = gradient_scale gradient + l2 p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    /// Size of a step.
    pub learning_rate: f64,
    /// Keeps the division finite.
    pub epsilon: f64,
    /// Factor of the gradient: 1 / B makes a mean of a sum, and clipping is another factor.
    pub gradient_scale: f64,
    /// Factor of the parameter that is added to its gradient.
    pub l2: f64,
}

impl Adagrad {
    /// One step; the sum of squares `v` is zero, or any initial value, at first.
    ///
    /// # Panics
    /// If the lengths differ.
    #[track_caller]
    pub fn update<T: Element>(&self, p: &mut [T], g: &[T], v: &mut [T]) {
        lanewise(*self, [p, v], [g]);
    }
}

impl Lanewise<2, 1> for Adagrad {
    #[inline(always)]
    fn apply<V: Vector>(self, [p, v]: [V; 2], [g]: [V; 1]) -> [V; 2] {
        let g = gradient(p, g, self.gradient_scale, self.l2);
        let v = g.mul_add(g, v);
        let scale = v.sqrt() + V::constant(self.epsilon);
        [p - g * V::constant(self.learning_rate) / scale, v]
    }
}
