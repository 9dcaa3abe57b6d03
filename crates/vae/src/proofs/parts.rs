//! Priors, pixels and gradients of all parts, held against what is known of them.

use crate::bound::importance_bound;
use crate::model::{Given, Vae};
use crate::network::Layout;
use crate::output::Output;
use crate::prior::{Prior, log_normal};
use grad::{Tape, Tensor, Var};
use nn::dist::gaussian;
use nn::model::{DataSummary, ImageSpec};
use nn::random::{normal_tensor, stream, uniform};
use nn::{Bound, Builder, Params};
use std::f64::consts::TAU;

/// Mixture densities term by term, and the divergence from one against what samples say.
#[test]
fn priors_are_what_they_say() {
    let mut params = Params::new();
    let mut b = Builder::new(&mut params, 3);
    let spec = ImageSpec::new(2, 3, 1, 2);
    let vae = Vae::new(&mut b, spec, &[5], 2);
    let mixture = Prior::mixture(&mut b, 3, 2);
    let vamp = Prior::vamp(&mut b.scope("other"), 4, spec, &DataSummary::unknown(spec));
    let logits = params.find("prior.logits").unwrap();
    params.get_mut(logits).value = Tensor::new([3], &[0.5, -1.0, 0.0]);
    let spread = params.find("prior.log_var").unwrap();
    params.get_mut(spread).value = Tensor::from_fn([3, 2], |i| 0.3 * i as f32 - 0.8);
    let p = params.cast::<f64>().constants();
    let z: Tensor<f64> = normal_tensor([5, 2], &mut stream(&[2]));
    let z = Var::constant(z);
    for prior in [mixture, vamp] {
        let parts = prior.as_mixture(&p, |x| vae.posterior_of(&p, x)).unwrap();
        let vae_log = parts.log_prob(&z);
        for (i, found) in vae_log.value().data().iter().enumerate() {
            let count = parts.mu.shape()[0];
            let terms: Vec<f64> = (0..count)
                .map(|k| {
                    let row = |v: &Var<f64>| v.slice(0, k..k + 1);
                    let log_p = gaussian::log_prob(
                        &z.slice(0, i..i + 1),
                        &row(&parts.mu),
                        &row(&parts.log_var),
                    );
                    log_p.item() + parts.log_weights.value().data()[k]
                })
                .collect();
            let expected = nn::stats::logsumexp(&terms);
            assert!(
                (found - expected).abs() < 1e-9,
                "{prior:?}: {found} {expected}"
            );
        }
    }
    // N(0, 1)^2 at 0 and at (1, 2).
    let z = Var::constant(Tensor::new([2, 2], &[0.0, 0.0, 1.0, 2.0]));
    let log_p = log_normal::<f64>(&z);
    assert!((log_p.value().data()[0] + TAU.ln()).abs() < 1e-12);
    assert!((log_p.value().data()[1] + TAU.ln() + 2.5).abs() < 1e-12);
}

/// By finite differences: every prior, conv stages with blocks, spread pixels, classes.
#[test]
fn gradients_agree_with_finite_differences() {
    let spec = ImageSpec::new(5, 4, 1, 4);
    for (kind, classes, each) in [
        ("normal", 3, true),
        ("mixture", 0, false),
        ("vamp", 0, true),
    ] {
        let mut params = Params::new();
        let mut b = Builder::new(&mut params, 7);
        let layout = Layout {
            hidden: vec![6],
            channels: vec![2, 3],
            blocks: 1,
            is_linear: false,
            classes,
            keeps_size: true,
        };
        let first = |shape, _: &mut nn::random::Stream| Tensor::full(shape, -1.0);
        let shared = (!each).then(|| b.scope("pixels").param("log_var", [1], first));
        let output = Output::Gaussian { levels: 4, shared };
        let vae = Vae::with(&mut b, spec, layout, 2, output);
        let prior = match kind {
            "mixture" => Prior::mixture(&mut b, 3, 2),
            "vamp" => Prior::vamp(&mut b, 2, spec, &DataSummary::unknown(spec)),
            _ => Prior::Normal,
        };
        let vae = vae.prior(prior);
        let mut noise = stream(&[4]);
        let mut uniform = || Tensor::from_fn([2, 20], |_| uniform(&mut noise));
        let given = Given {
            x: Var::constant(uniform()),
            u: Some(uniform()),
            y: (classes > 0).then(|| crate::network::one_hot(&[2, 0], classes)),
        };
        let eps = Var::constant(normal_tensor([6, 2], &mut stream(&[6])));
        let values: Vec<Tensor<f64>> = params.iter().map(|param| param.value.cast()).collect();
        let loss = |vars: &[Var<f64>]| {
            let p = Bound::from_vars(vars.to_vec());
            vae.weighted(&p, &given, &eps, 0.7)
        };
        // Kinks of ReLU lie within the step of a few numbers: the bulk must agree.
        let tape = Tape::new();
        let vars: Vec<Var<f64>> = values.iter().map(|value| tape.var(value.clone())).collect();
        let wrt: Vec<&Var<f64>> = vars.iter().collect();
        let gradients = tape.gradients(&loss(&vars).sum(), &wrt);
        for (i, gradient) in gradients.iter().enumerate() {
            for j in (0..gradient.len()).step_by(1 + gradient.len() / 4) {
                let at = |delta: f64| {
                    let mut values = values.clone();
                    values[i].make_mut()[j] += delta;
                    let vars: Vec<_> = values.into_iter().map(Var::constant).collect();
                    loss(&vars).sum().item()
                };
                let h = 1e-6;
                let expected = (at(h) - at(-h)) / (2.0 * h);
                let found = gradient.data()[j];
                let name = &params.iter().nth(i).unwrap().name;
                assert!(
                    (found - expected).abs() < 1e-5 * (1.0 + expected.abs()),
                    "{kind} {name}[{j}]: {found}, expected {expected}"
                );
            }
        }
    }
}

/// Levels of one pixel under a Gaussian spread out: the mean of the density over each level's
/// stretch adds up to what the Gaussian has within [0, 1), so the bound is one.
#[test]
fn spread_pixels_are_a_bound() {
    let mut params = Params::<f32>::new();
    let shared = params.add("log_var".into(), Tensor::new([1], &[-3.0]), true);
    let output = Output::Gaussian {
        levels: 4,
        shared: Some(shared),
    };
    let p = params.cast::<f64>().constants();
    let parts = 2000;
    let mass: f64 = (0..4)
        .map(|level| {
            let x = Tensor::full([parts, 1], f64::from(level) / 3.0);
            let u = Tensor::from_fn([parts, 1], |i| (i as f64 + 0.5) / parts as f64);
            let mu = Var::constant(Tensor::full([parts, 1], 0.45));
            let nats = output.nll(&p, &mu, &x, Some(&u));
            nats.value()
                .data()
                .iter()
                .map(|nats| (-nats).exp() / parts as f64)
                .sum::<f64>()
        })
        .sum();
    // The standard deviation is .223: within [0, 1] lies all but .0287.
    assert!((mass - 0.9713).abs() < 1e-3, "{mass}");
    let weights = Var::constant(Tensor::new([1, 2], &[0.0, 2f64.ln()]));
    assert!((importance_bound(&weights).item() + 1.5f64.ln()).abs() < 1e-12);
}
