//! Attacks on a classifier whose best attack is known, and on one that is not linear.

use grad::{Tensor, Var};
use judge::fool::{Answer, Ascent, Attack, Ball, Goal, answers, saliency, smooth_saliency};
use nn::layers::{Activation, Linear};
use nn::model::Classifier;
use nn::random::{stream, uniform_tensor};
use nn::{Bound, Builder, Params};

const SHAPE: [usize; 4] = [60, 4, 4, 1];

/// Pixels to logits, with or without a hidden layer.
struct Net {
    hidden: Option<Linear>,
    head: Linear,
}

fn net(hidden: bool) -> (Net, Params<f32>) {
    let mut params = Params::new();
    let mut b = Builder::new(&mut params, 4);
    let hidden = hidden.then(|| Linear::new(&mut b.scope("hidden"), 16, 12));
    let inputs = hidden.as_ref().map_or(16, Linear::outputs);
    let head = Linear::new(&mut b.scope("head"), inputs, 3);
    (Net { hidden, head }, params)
}

impl Classifier for Net {
    fn logits(&self, p: &Bound<f32>, x: &Var<f32>) -> Var<f32> {
        let x = x.reshape([x.shape()[0], 16]);
        match &self.hidden {
            Some(layer) => self
                .head
                .forward(p, &layer.forward_with(p, &x, Activation::Relu)),
            None => self.head.forward(p, &x),
        }
    }

    fn layers(&self, p: &Bound<f32>, x: &Var<f32>) -> Vec<Var<f32>> {
        let x = x.reshape([x.shape()[0], 16]);
        let layers = self.hidden.iter();
        layers
            .map(|layer| layer.forward_with(p, &x, Activation::Relu))
            .collect()
    }
}

fn images() -> Tensor<f32> {
    uniform_tensor(SHAPE, 0.0, 1.0, &mut stream(&[1]))
}

/// What the net says of them, so all are right before an attack.
fn labels(net: &Net, params: &Params<f32>, images: &Tensor<f32>) -> Vec<u32> {
    let any = vec![0; images.shape()[0]];
    answers(net, params, images, &any)
        .iter()
        .map(|it| it.class)
        .collect()
}

fn attack(ball: Ball, epsilon: f32, steps: usize) -> Attack {
    Attack {
        ball,
        epsilon,
        steps,
        targeted: false,
    }
}

#[test]
fn epsilon_0_changes_nothing_and_all_stays_in_the_ball_and_in_range() {
    let (net, params) = net(true);
    let x = images();
    let labels = labels(&net, &params, &x);
    for ball in [Ball::Infinity, Ball::Euclidean] {
        for steps in [1, 7] {
            assert_eq!(attack(ball, 0.0, steps).run(&net, &params, &x, &labels), x);
            let epsilon = 0.3;
            let y = attack(ball, epsilon, steps).run(&net, &params, &x, &labels);
            assert_ne!(y, x);
            assert!(y.data().iter().all(|y| (0.0..=1.0).contains(y)));
            for (x, y) in x.data().chunks(16).zip(y.data().chunks(16)) {
                let changes = x.iter().zip(y).map(|(x, y)| (x - y).abs());
                let size = match ball {
                    Ball::Infinity => changes.fold(0.0, f32::max),
                    Ball::Euclidean => changes.map(|d| d * d).sum::<f32>().sqrt(),
                };
                assert!(size <= epsilon * 1.00001, "{ball:?} {steps}: {size}");
            }
        }
    }
}

/// For every image: if one step fools, many do, and the loss is no smaller.
#[test]
fn many_steps_are_never_weaker_than_one() {
    for hidden in [false, true] {
        let (net, params) = net(hidden);
        let x = images();
        let labels = labels(&net, &params, &x);
        for ball in [Ball::Infinity, Ball::Euclidean] {
            let mut fooled = [0; 2];
            for epsilon in [0.02, 0.1, 0.3] {
                let of = [1, 10].map(|steps| {
                    let y = attack(ball, epsilon, steps).run(&net, &params, &x, &labels);
                    answers(&net, &params, &y, &labels)
                });
                for ((one, many), &label) in of[0].iter().zip(&of[1]).zip(&labels) {
                    let fools = |of: &Answer| of.class != label;
                    assert!(!fools(one) || fools(many));
                    assert!(fools(many) != fools(one) || many.loss >= one.loss - 1e-5);
                    fooled[0] += usize::from(fools(one));
                    fooled[1] += usize::from(fools(many));
                }
            }
            assert!(
                fooled[0] > 0 && fooled[1] >= fooled[0],
                "{ball:?} {fooled:?}"
            );
        }
    }
}

/// For a linear classifier of two classes the least change that fools is known: |d| / |w|_1 in the
/// largest change and |d| / |w|_2 in the Euclidean one, for logits d apart with weights w apart,
/// where no pixel meets its range.
#[test]
fn a_linear_classifier_falls_exactly_where_it_must() {
    let mut params = Params::new();
    let head = Linear::new(&mut Builder::new(&mut params, 2), 16, 2);
    let weights: Vec<f32> = (0..16).flat_map(|i| [0.0, 1.0 - 0.1 * i as f32]).collect();
    params.get_mut(head.weight()).value = Tensor::new([16, 2], &weights);
    params.get_mut(head.bias().unwrap()).value = Tensor::zeros([2]);
    let net = Net { hidden: None, head };
    let x = Tensor::full([1, 4, 4, 1], 0.5);
    let apart: Vec<f32> = weights.iter().skip(1).step_by(2).copied().collect();
    let logit: f32 = apart.iter().map(|w| 0.5 * w).sum();
    assert!(logit > 0.0);
    let least = [
        logit / apart.iter().map(|w| w.abs()).sum::<f32>(),
        logit / apart.iter().map(|w| w * w).sum::<f32>().sqrt(),
    ];
    for (ball, least) in [Ball::Infinity, Ball::Euclidean].into_iter().zip(least) {
        for steps in [1, 8] {
            let class = |epsilon: f32| {
                let y = attack(ball, epsilon, steps).run(&net, &params, &x, &[1]);
                answers(&net, &params, &y, &[1])[0].class
            };
            assert_eq!(class(0.98 * least), 1, "{ball:?} {steps}");
            assert_eq!(class(1.02 * least), 0, "{ball:?} {steps}");
        }
    }
}

#[test]
fn a_target_is_reached_where_it_can_be() {
    let (net, params) = net(true);
    let x = images();
    let goals = vec![2; SHAPE[0]];
    let of = |epsilon: f32| {
        let attack = Attack {
            targeted: true,
            ..attack(Ball::Infinity, epsilon, 20)
        };
        let y = attack.run(&net, &params, &x, &goals);
        answers(&net, &params, &y, &goals)
            .iter()
            .filter(|it| it.class == 2)
            .count()
    };
    assert!(of(1.0) > of(0.0), "{} {}", of(1.0), of(0.0));
    assert!(of(0.3) >= of(0.1));
}

/// A classifier that does not look at its image has no gradient: nothing moves.
#[test]
fn without_a_gradient_nothing_moves() {
    let (net, mut params) = net(false);
    let weight = net.head.weight();
    params.get_mut(weight).value = Tensor::zeros([16, 3]);
    let x = images();
    for ball in [Ball::Infinity, Ball::Euclidean] {
        let y = attack(ball, 0.2, 5).run(&net, &params, &x, &[0; SHAPE[0]]);
        for (x, y) in x.data().iter().zip(y.data()) {
            assert!((x - y).abs() < 1e-6);
        }
    }
    let map = saliency(&net, &params, &x, &[0; SHAPE[0]]);
    assert!(map.data().iter().all(|&x| x == 0.0));
}

/// Climbing raises what it climbs to, along pixels and along waves, for classes and for units. What
/// makes images readable stands in its way, but keeps them in range.
#[test]
fn ascent_raises_its_goal() {
    let (net, params) = net(true);
    let start = Tensor::full([5, 4, 4, 1], 0.5);
    let goals = [
        Goal::Class(0),
        Goal::Class(1),
        Goal::Class(2),
        Goal::Unit {
            layer: 0,
            channel: 3,
        },
        Goal::Unit {
            layer: 0,
            channel: 4,
        },
    ];
    let reached = |x: &Tensor<f32>| {
        let p = params.constants();
        let x = Var::constant(x.clone());
        let (logits, layers) = (net.logits(&p, &x), net.layers(&p, &x));
        let at = |i: usize| match goals[i] {
            Goal::Class(class) => logits.value().data()[3 * i + class],
            Goal::Unit { layer, channel } => layers[layer].value().data()[12 * i + channel],
        };
        (0..5).map(at).collect::<Vec<f32>>()
    };
    let before = reached(&start);
    let plain = Ascent {
        steps: 40,
        ..Ascent::PLAIN
    };
    let fourier = Ascent {
        fourier: true,
        ..plain
    };
    let regular = Ascent {
        jitter: 1,
        blur: 0.3,
        variation: 0.1,
        ..plain
    };
    for ascent in [plain, fourier, regular] {
        let x = ascent.climb(&net, &params, &start, &goals, 3);
        assert!(x.data().iter().all(|x| (0.0..=1.0).contains(x)));
        for (i, (after, before)) in reached(&x).iter().zip(&before).enumerate() {
            // A unit that is off everywhere has nothing to climb.
            let off = i > 2 && *after == 0.0;
            assert!(
                off || ascent == regular || after > before,
                "{ascent:?}: {after} {before}"
            );
        }
    }
}

/// The slope of a linear classifier is its weights, with and without noise.
#[test]
fn saliency_is_the_size_of_the_weights() {
    let (net, params) = net(false);
    let x = images();
    let classes = vec![1; SHAPE[0]];
    let weights = &params[net.head.weight()].value;
    let sizes: Vec<f32> = (0..16).map(|i| weights.data()[3 * i + 1].abs()).collect();
    let most = sizes.iter().copied().fold(0.0, f32::max);
    let sharp = saliency(&net, &params, &x, &classes);
    let smooth = smooth_saliency(&net, &params, &x, &classes, (3, 0.2));
    for map in [sharp, smooth] {
        for (found, size) in map.data().chunks(16).flatten().zip(sizes.iter().cycle()) {
            assert!((found - size / most).abs() < 1e-5);
        }
    }
}
