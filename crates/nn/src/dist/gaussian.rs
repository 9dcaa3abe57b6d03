//! Independent Gaussian variables: N(mu, e^log_var).

use super::{same_shape, sum_rows};
use grad::{Element, Var};
use std::f64::consts::TAU;

/// log p(x) = -1/2 sum log 2 pi + log_var + (x - mu)^2 e^-log_var: `[B]`, in nats (of a density).
///
/// x, mu, log_var: `[B, ..]`.
///
/// # Panics
/// If they have different shapes.
#[track_caller]
pub fn log_prob<T: Element>(x: &Var<T>, mu: &Var<T>, log_var: &Var<T>) -> Var<T> {
    same_shape("gaussian::log_prob: x and mu", x.shape(), mu.shape());
    same_shape(
        "gaussian::log_prob: mu and log_var",
        mu.shape(),
        log_var.shape(),
    );
    let squares = (x - mu).square() * log_var.scale(-1.0).exp();
    sum_rows(&(squares + log_var).shift(TAU.ln())).scale(-0.5)
}

/// The entropy, 1/2 sum 1 + log 2 pi + log_var: `[B]`, in nats.
///
/// log_var: `[B, ..]`.
#[track_caller]
pub fn entropy<T: Element>(log_var: &Var<T>) -> Var<T> {
    sum_rows(&log_var.shift(1.0 + TAU.ln())).scale(0.5)
}

/// KL(N(mu, e^log_var) || N(0, 1)) = 1/2 sum e^log_var - 1 - log_var + mu^2: `[B]`, in nats. Kingma
/// & Welling 2014, arXiv:1312.6114, appendix B.
///
/// mu, log_var: `[B, ..]`.
///
/// # Panics
/// If the two have different shapes.
#[track_caller]
pub fn kl_standard<T: Element>(mu: &Var<T>, log_var: &Var<T>) -> Var<T> {
    same_shape(
        "gaussian::kl_standard: mu and log_var",
        mu.shape(),
        log_var.shape(),
    );
    let spread = (log_var.exp() - log_var).shift(-1.0);
    sum_rows(&(spread + mu.square())).scale(0.5)
}

/// KL(N(mu, e^log_var) || N(nu, e^log_tau)) = 1/2 sum e^d - 1 - d + (mu - nu)^2 e^-log_tau, with
/// d = log_var - log_tau: `[B]`, in nats.
///
/// mu, log_var, nu, log_tau: `[B, ..]`.
///
/// # Panics
/// If they have different shapes.
#[track_caller]
pub fn kl<T: Element>(mu: &Var<T>, log_var: &Var<T>, nu: &Var<T>, log_tau: &Var<T>) -> Var<T> {
    same_shape("gaussian::kl: mu and log_var", mu.shape(), log_var.shape());
    same_shape("gaussian::kl: nu and log_tau", nu.shape(), log_tau.shape());
    same_shape("gaussian::kl: both means", mu.shape(), nu.shape());
    let d = log_var - log_tau;
    let spread = (d.exp() - &d).shift(-1.0);
    let distance = (mu - nu).square() * log_tau.scale(-1.0).exp();
    sum_rows(&(spread + distance)).scale(0.5)
}

/// mu + e^(log_var / 2) eps: a draw where eps is standard normal, differentiable in mu and
/// log_var. Kingma & Welling 2014, arXiv:1312.6114, section 2.4.
///
/// mu, log_var, eps, result: `[B, ..]`. In a training step eps is
/// [`Batch::normal`](crate::model::Batch::normal).
///
/// # Panics
/// If they have different shapes.
#[track_caller]
pub fn reparameterise<T: Element>(mu: &Var<T>, log_var: &Var<T>, eps: &Var<T>) -> Var<T> {
    same_shape(
        "gaussian::reparameterise: mu and log_var",
        mu.shape(),
        log_var.shape(),
    );
    same_shape(
        "gaussian::reparameterise: mu and eps",
        mu.shape(),
        eps.shape(),
    );
    mu + log_var.scale(0.5).exp() * eps
}
