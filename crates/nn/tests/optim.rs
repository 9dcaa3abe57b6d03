//! Every optimiser against its formula in f64, one number at a time.

use grad::Tensor;
use nn::optim::{Optimiser, OptimiserState};
use nn::random::{self, normal_tensor};
use nn::{ParamId, Params};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One parameter under PyTorch's definition of each rule; `a` and `b` are its moments.
#[derive(Default)]
struct Reference {
    t: i32,
    a: f64,
    b: f64,
}

impl Reference {
    fn step(&mut self, optimiser: &Optimiser, factor: f64, p: f64, g: f64) -> f64 {
        self.t += 1;
        let lr = optimiser.lr() * factor;
        let adam = |state: &mut Reference, beta1: f64, beta2: f64, eps: f64| {
            state.a = beta1 * state.a + (1.0 - beta1) * g;
            state.b = beta2 * state.b + (1.0 - beta2) * g * g;
            let m = state.a / (1.0 - beta1.powi(state.t));
            let v = state.b / (1.0 - beta2.powi(state.t));
            m / (v.sqrt() + eps)
        };
        let [momentum, alpha, beta1, beta2, eps, weight_decay] =
            ["momentum", "alpha", "beta1", "beta2", "eps", "weight_decay"]
                .map(|name| optimiser.get(name).unwrap_or(f64::NAN));
        match optimiser.kind() {
            "sgd" => {
                self.a = momentum * self.a + g;
                let nesterov = optimiser.get("nesterov") == Some(1.0);
                let ahead = if nesterov {
                    g + momentum * self.a
                } else {
                    self.a
                };
                p - lr * ahead
            }
            "rms-prop" => {
                self.a = alpha * self.a + (1.0 - alpha) * g * g;
                p - lr * g / (self.a.sqrt() + eps)
            }
            "adagrad" => {
                self.a += g * g;
                p - lr * g / (self.a.sqrt() + eps)
            }
            "adam" => p - lr * adam(self, beta1, beta2, eps),
            "adam-w" => p * (1.0 - lr * weight_decay) - lr * adam(self, beta1, beta2, eps),
            // Of vectors; matrices have a test of their own.
            "muon" => p - lr * adam(self, 0.9, 0.999, 1e-8),
            other => panic!("{other}: expected a formula to compare it with"),
        }
    }
}

fn all() -> Vec<Optimiser> {
    vec![
        Optimiser::sgd(0.1),
        Optimiser::momentum(0.05, 0.9),
        Optimiser::momentum(0.05, 0.9).with("nesterov", 1.0),
        Optimiser::rms_prop(0.01),
        Optimiser::rms_prop(0.01)
            .with("alpha", 0.9)
            .with("eps", 1e-6),
        Optimiser::adagrad(0.1),
        Optimiser::adam(0.01),
        Optimiser::adam_with(0.01, 0.5, 0.9),
        Optimiser::adam_w(0.01),
        Optimiser::adam_w(0.01)
            .with("beta1", 0.0)
            .with("beta2", 0.99)
            .with("eps", 1e-3)
            .with("weight_decay", 0.5),
        Optimiser::muon(0.01),
    ]
}

fn params(lengths: &[usize], seed: u64) -> (Params<f32>, Vec<ParamId>) {
    let mut params = Params::new();
    let ids = (lengths.iter().enumerate()).map(|(i, &length)| {
        let value = normal_tensor([length], &mut random::stream(&[seed, i as u64]));
        params.add(format!("layer.{i}"), value, true)
    });
    let ids = ids.collect();
    (params, ids)
}

/// Gradients of step `step`, some of them 0.
fn gradients(params: &Params<f32>, ids: &[ParamId], step: u64) -> Vec<Tensor<f32>> {
    let draw = |(i, id): (usize, &ParamId)| {
        let mut stream = random::stream(&[step, i as u64, 1]);
        let shape = *params[*id].value.shape();
        normal_tensor::<f32>(shape, &mut stream).map(|g| if g.abs() < 0.1 { 0.0 } else { g })
    };
    ids.iter().enumerate().map(draw).collect()
}

fn check(optimiser: &Optimiser, lengths: &[usize], scale: f64) {
    let (mut params, mut ids) = params(lengths, 4);
    ids.reverse();
    let mut state = OptimiserState::new(optimiser.clone(), &params, ids.clone());
    let mut references: Vec<Vec<(Reference, f64)>> = (ids.iter())
        .map(|&id| {
            let start = |&p: &f32| (Reference::default(), f64::from(p));
            params[id].value.data().iter().map(start).collect()
        })
        .collect();
    for step in 0..12 {
        let factor = 1.0 / (1.0 + step as f64);
        let gradients = gradients(&params, &ids, step);
        state.step_scaled(&mut params, &gradients, factor, scale);
        for ((&id, reference), gradient) in ids.iter().zip(&mut references).zip(&gradients) {
            let found = params[id].value.data();
            for (i, (state, p)) in reference.iter_mut().enumerate() {
                *p = state.step(optimiser, factor, *p, scale * f64::from(gradient.data()[i]));
                let error = (f64::from(found[i]) - *p).abs();
                assert!(
                    error <= 2e-6 * p.abs().max(1.0),
                    "{optimiser:?}, step {step}, {i} of {}: expected {p}, found {}",
                    found.len(),
                    found[i]
                );
            }
        }
    }
    assert_eq!(state.step_count(), 12);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_rule_follows_its_formula(
        lengths in proptest::collection::vec(0usize..70, 1..4),
        scale in prop_oneof![Just(1.0), 0.01f64..2.0],
    ) {
        for optimiser in all() {
            check(&optimiser, &lengths, scale);
        }
    }
}

#[test]
fn a_restored_optimiser_goes_on_as_if_nothing_had_been() {
    for optimiser in all() {
        let (mut params, ids) = params(&[3, 20], 5);
        let mut state = OptimiserState::new(optimiser.clone(), &params, ids.clone());
        for step in 0..3 {
            let gradients = gradients(&params, &ids, step);
            state.step(&mut params, &gradients, 1.0);
        }
        let mut saved: BTreeMap<String, Tensor<f32>> = state
            .tensors()
            .map(|(name, tensor)| (name, tensor.clone()))
            .collect();
        let mut again = OptimiserState::new(optimiser.clone(), &params, ids.clone());
        again
            .restore(state.step_count(), &mut |name| saved.remove(name))
            .unwrap();
        assert!(saved.is_empty());
        let mut params_again = params.clone();
        for step in 3..6 {
            let gradients = gradients(&params, &ids, step);
            state.step(&mut params, &gradients, 1.0);
            again.step(&mut params_again, &gradients, 1.0);
        }
        for (a, b) in params.iter().zip(params_again.iter()) {
            assert_eq!(a.value, b.value, "{optimiser:?}");
        }
    }
}

#[test]
fn a_failed_restore_changes_nothing() {
    let (params, ids) = params(&[2, 3], 6);
    let mut state = OptimiserState::new(Optimiser::adam(0.1), &params, ids);
    let names: Vec<String> = state.tensors().map(|(name, _)| name).collect();
    assert_eq!(names, ["layer.0.m", "layer.0.v", "layer.1.m", "layer.1.v"]);
    let mut lookup = |name: &str| {
        (name != "layer.1.v").then(|| Tensor::ones([if name.contains('0') { 2 } else { 3 }]))
    };
    let error = state.restore(9, &mut lookup).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor \"layer.1.v\": expected shape [3], found no tensor of this name"
    );
    assert_eq!(state.step_count(), 0);
    assert!(
        state
            .tensors()
            .all(|(_, moment)| moment.data().iter().all(|&m| m == 0.0))
    );
}

#[test]
fn steps_are_in_place() {
    for optimiser in all() {
        let (mut params, ids) = params(&[64], 7);
        let mut state = OptimiserState::new(optimiser, &params, ids.clone());
        let place = |params: &Params<f32>| params[ids[0]].value.data().as_ptr();
        let before = place(&params);
        let gradients = gradients(&params, &ids, 0);
        state.step(&mut params, &gradients, 1.0);
        assert_eq!(place(&params), before);
    }
}

#[test]
fn learning_rates_can_be_changed() {
    for optimiser in all() {
        let doubled = optimiser.clone().with_lr(2.0 * optimiser.lr());
        assert_eq!(doubled.lr(), 2.0 * optimiser.lr());
        assert_eq!(doubled.clone().with_lr(optimiser.lr()), optimiser);
        assert_eq!(doubled.name(), optimiser.name());
    }
}

#[test]
#[should_panic(expected = "the gradient of layer.0 must have its shape")]
fn a_wrong_gradient_is_named() {
    let (mut params, ids) = params(&[3], 8);
    let mut state = OptimiserState::new(Optimiser::sgd(0.1), &params, ids);
    state.step(&mut params, &[Tensor::zeros([1, 3])], 1.0);
}

/// As configurations have it: a rule is told by its kind, and what is not told has its default.
#[test]
fn every_kind_is_read_and_written() {
    for kind in Optimiser::kinds() {
        let optimiser = Optimiser::named(kind, 0.5).unwrap();
        assert_eq!(optimiser.check(), Ok(()));
        let text = serde_json::to_string(&optimiser).unwrap();
        let read: Optimiser = serde_json::from_str(&text).unwrap();
        assert_eq!(read, optimiser);
        let short = format!(r#"{{"lr": 0.5, "kind": "{kind}"}}"#);
        let read: Optimiser = serde_json::from_str(&short).unwrap();
        assert_eq!(read, optimiser);
    }
    assert_eq!(Optimiser::named("adm", 0.5), None);
    for (text, expected) in [
        (r#"{"kind": "adam"}"#, "missing field `lr`"),
        (r#"{"lr": 1}"#, "missing field `kind`"),
        (
            r#"{"kind": "adm", "lr": 1}"#,
            "kind: expected sgd, rms-prop,",
        ),
        (
            r#"{"kind": "sgd", "lr": 1, "beta1": 0}"#,
            "unknown field `beta1`, expected lr,",
        ),
        (r#"{"kind": "sgd", "lr": true}"#, "lr: expected a number"),
        (
            r#"{"kind": "sgd", "lr": 1, "nesterov": 1}"#,
            "nesterov: expected true or false",
        ),
    ] {
        let error = serde_json::from_str::<Optimiser>(text).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    let error = Optimiser::adam_with(1e-3, 0.9, 1.0).check().unwrap_err();
    assert_eq!(error, "beta2: expected a number from 0 to below 1, found 1");
}
