//! Distributions sum to one, divergences agree with what sampling says, derivatives with finite
//! differences.

use super::{bernoulli, categorical, gaussian};
use crate::random;
use grad::check::{self, Order};
use grad::{Tensor, Var};
use proptest::prelude::*;

fn var(shape: &[usize], seed: u64) -> Var<f64> {
    Var::constant(random::normal_tensor(shape, &mut random::stream(&[seed])))
}

fn near(found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs();
    assert!(
        error <= tolerance * expected.abs().max(1.0),
        "found {found}, expected {expected}"
    );
}

/// `count` copies of a row [1, ..]: `[count, ..]`.
fn repeat(x: &Var<f64>, count: usize) -> Var<f64> {
    let row = x.value();
    let shape = row.shape().with(0, count);
    Var::constant(Tensor::from_fn(shape, |i| row.data()[i % row.len()]))
}

/// The mean of these nats must be `expected` within 5 standard errors.
fn agrees(nats: &Tensor<f64>, expected: f64) {
    let estimate = crate::stats::Estimate::of(nats.data());
    let error = (estimate.mean - expected).abs();
    assert!(
        error <= 5.0 * estimate.standard_error,
        "{estimate:?}, expected {expected}"
    );
}

fn stream_of(i: usize) -> random::Stream {
    random::stream(&[77, i as u64])
}

const DRAWS: usize = 20_000;

#[test]
fn bernoulli_sums_to_one() {
    let logits = var(&[1, 5], 1);
    let all = Tensor::from_fn([32, 5], |i| f64::from((i / 5) as u32 >> (i % 5) & 1));
    let log_p = bernoulli::log_prob(&repeat(&logits, 32), &Var::constant(all.clone()));
    near(log_p.exp().sum().item(), 1.0, 1e-12);
    let entropy = -(log_p.exp() * &log_p).sum().item();
    near(bernoulli::entropy(&logits).item(), entropy, 1e-12);
    let other = var(&[1, 5], 2);
    let log_q = bernoulli::log_prob(&repeat(&other, 32), &Var::constant(all));
    let kl = (log_p.exp() * (&log_p - &log_q)).sum().item();
    near(bernoulli::kl(&logits, &other).item(), kl, 1e-12);
    assert_eq!(bernoulli::kl(&logits, &logits).item(), 0.0);
}

#[test]
fn bernoulli_is_safe_at_the_ends() {
    let logits = Var::constant(Tensor::<f32>::new([1, 4], &[100.0, -100.0, 1e4, -1e4]));
    let right = Var::constant(Tensor::new([1, 4], &[1.0, 0.0, 1.0, 0.0]));
    let wrong = Var::constant(Tensor::new([1, 4], &[0.0, 1.0, 0.0, 1.0]));
    // 2 e^-100 and terms of its size: subnormal, not NaN.
    let tiny = |nats: f32| (0.0..1e-41).contains(&nats);
    assert!(tiny(bernoulli::nll(&logits, &right).item()));
    assert_eq!(bernoulli::nll(&logits, &wrong).item(), 20_200.0);
    assert!(tiny(bernoulli::entropy(&logits).item()));
}

#[test]
fn bernoulli_samples_have_the_right_entropy() {
    let (logits, other) = (var(&[1, 6], 3), var(&[1, 6], 4));
    let many = repeat(&logits, DRAWS);
    let x = Var::constant(bernoulli::sample(many.value(), stream_of));
    let log_p = bernoulli::log_prob(&many, &x);
    agrees(
        log_p.scale(-1.0).value(),
        bernoulli::entropy(&logits).item(),
    );
    let log_q = bernoulli::log_prob(&repeat(&other, DRAWS), &x);
    agrees(
        (log_p - log_q).value(),
        bernoulli::kl(&logits, &other).item(),
    );
}

#[test]
fn categorical_sums_to_one() {
    // Two choices among three: nine events.
    let (logits, other) = (var(&[1, 2, 3], 5), var(&[1, 2, 3], 6));
    let events: Vec<u32> = (0..9).flat_map(|i| [i / 3, i % 3]).collect();
    let log_p = categorical::log_prob(&repeat(&logits, 9), events.clone().into());
    let log_q = categorical::log_prob(&repeat(&other, 9), events.into());
    near(log_p.exp().sum().item(), 1.0, 1e-12);
    let entropy = -(log_p.exp() * &log_p).sum().item();
    near(categorical::entropy(&logits).item(), entropy, 1e-12);
    let kl = (log_p.exp() * (&log_p - &log_q)).sum().item();
    near(categorical::kl(&logits, &other).item(), kl, 1e-12);
    assert_eq!(categorical::kl(&logits, &logits).item(), 0.0);
}

#[test]
fn categorical_samples_have_the_right_entropy() {
    let (logits, other) = (var(&[1, 2, 5], 7), var(&[1, 2, 5], 8));
    let many = repeat(&logits, DRAWS);
    let x: std::sync::Arc<[u32]> = categorical::sample(many.value(), stream_of).into();
    let log_p = categorical::log_prob(&many, x.clone());
    agrees(
        log_p.scale(-1.0).value(),
        categorical::entropy(&logits).item(),
    );
    let log_q = categorical::log_prob(&repeat(&other, DRAWS), x);
    agrees(
        (log_p - log_q).value(),
        categorical::kl(&logits, &other).item(),
    );
}

#[test]
fn impossible_classes_are_never_drawn() {
    let logits = Tensor::<f64>::from_fn([500, 3], |i| [f64::NEG_INFINITY, 0.0, -800.0][i % 3]);
    assert!(
        categorical::sample(&logits, stream_of)
            .iter()
            .all(|&k| k == 1)
    );
}

#[test]
#[should_panic(expected = "no class can be drawn")]
fn nothing_is_drawn_from_nan() {
    categorical::sample(&Tensor::<f64>::new([1, 2], &[0.0, f64::NAN]), stream_of);
}

#[test]
fn gaussian_integrates_to_one() {
    let (mu, log_var) = (var(&[1, 1], 9), var(&[1, 1], 10));
    const STEPS: usize = 4000;
    let step = 40.0 / STEPS as f64;
    let x = Var::constant(Tensor::from_fn([STEPS, 1], |i| {
        (i as f64 + 0.5) * step - 20.0
    }));
    let log_p = gaussian::log_prob(&x, &repeat(&mu, STEPS), &repeat(&log_var, STEPS));
    near(log_p.exp().sum().item() * step, 1.0, 1e-9);
    let entropy = -(log_p.exp() * &log_p).sum().item() * step;
    near(gaussian::entropy(&log_var).item(), entropy, 1e-9);
}

#[test]
fn gaussian_divergences_agree_with_sampling() {
    let rows: Vec<Var<f64>> = (11..15).map(|seed| var(&[1, 3], seed)).collect();
    let [mu, log_var, nu, log_tau] = &rows[..] else {
        panic!()
    };
    let many: Vec<Var<f64>> = rows.iter().map(|row| repeat(row, DRAWS)).collect();
    let z = gaussian::reparameterise(&many[0], &many[1], &var(&[DRAWS, 3], 15));
    let log_p = gaussian::log_prob(&z, &many[0], &many[1]);
    agrees(log_p.scale(-1.0).value(), gaussian::entropy(log_var).item());
    let log_q = gaussian::log_prob(&z, &many[2], &many[3]);
    agrees(
        (&log_p - log_q).value(),
        gaussian::kl(mu, log_var, nu, log_tau).item(),
    );
    let zeros = Var::constant(Tensor::zeros([DRAWS, 3]));
    let log_prior = gaussian::log_prob(&z, &zeros, &zeros);
    agrees(
        (log_p - log_prior).value(),
        gaussian::kl_standard(mu, log_var).item(),
    );
}

#[test]
fn no_gaussian_diverges_from_itself() {
    let (mu, log_var) = (var(&[2, 3], 16), var(&[2, 3], 17));
    assert_eq!(
        gaussian::kl(&mu, &log_var, &mu, &log_var).value().data(),
        [0.0, 0.0]
    );
    let zeros = Var::constant(Tensor::<f64>::zeros([2, 3]));
    assert_eq!(
        gaussian::kl_standard(&zeros, &zeros).value().data(),
        [0.0, 0.0]
    );
    let general = gaussian::kl(&mu, &log_var, &zeros, &zeros);
    let special = gaussian::kl_standard(&mu, &log_var);
    for (a, b) in general.value().data().iter().zip(special.value().data()) {
        near(*a, *b, 1e-14);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn derivatives_agree_with_finite_differences(
        rows in 1usize..4,
        event in proptest::collection::vec(1usize..4, 0..3),
        seed: u64,
    ) {
        let shape = [&[rows], &event[..]].concat();
        let draw = |i: u64| random::normal_tensor::<f64>(&shape[..], &mut random::stream(&[seed, i]));
        // |logit| has a kink at 0, where its two second-order terms cancel in exact arithmetic only.
        let away = |x: &Tensor<f64>| x.map(|x| x + 0.1f64.copysign(x));
        let bits = Var::constant(draw(9).map(|x| f64::from(x > 0.0)));
        let four: Vec<_> = (0..4).map(draw).collect();
        let two = &four[..2];
        let second = Order::Second;
        let classes = [&shape[..], &[3]].concat();
        let logits = |i: u64| random::normal_tensor::<f64>(&classes[..], &mut random::stream(&[seed, i]));
        let targets: std::sync::Arc<[u32]> =
            draw(8).data().iter().map(|x| (x.abs() * 10.0) as u32 % 3).collect();

        check::gradients("bernoulli nll", &two[..1], |x| bernoulli::nll(&x[0], &bits), second).unwrap();
        check::gradients("bernoulli entropy", &[away(&two[0])], |x| bernoulli::entropy(&x[0]), second)
            .unwrap();
        check::gradients("bernoulli kl", two, |x| bernoulli::kl(&x[0], &x[1]), second).unwrap();
        check::gradients(
            "categorical nll",
            &[logits(10)],
            |x| categorical::nll(&x[0], targets.clone()),
            Order::First,
        )
        .unwrap();
        check::gradients("categorical entropy", &[logits(11)], |x| categorical::entropy(&x[0]), second)
            .unwrap();
        check::gradients(
            "categorical kl",
            &[logits(12), logits(13)],
            |x| categorical::kl(&x[0], &x[1]),
            second,
        )
        .unwrap();
        check::gradients(
            "gaussian log_prob",
            &four[..3],
            |x| gaussian::log_prob(&x[0], &x[1], &x[2]),
            second,
        )
        .unwrap();
        check::gradients("gaussian entropy", &two[..1], |x| gaussian::entropy(&x[0]), second).unwrap();
        check::gradients("gaussian kl_standard", two, |x| gaussian::kl_standard(&x[0], &x[1]), second)
            .unwrap();
        check::gradients("gaussian kl", &four, |x| gaussian::kl(&x[0], &x[1], &x[2], &x[3]), second)
            .unwrap();
        check::gradients(
            "reparameterise",
            &four[..3],
            |x| gaussian::reparameterise(&x[0], &x[1], &x[2]),
            second,
        )
        .unwrap();
    }
}
