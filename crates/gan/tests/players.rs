//! What holds for the players: gradients of both orders, who is changed when, whose statistics.

use gan::{Discriminator, Gan, Images, Objective, Sizes, Turns};
use grad::{Tape, Tensor, Var};
use nn::layers::Mode;
use nn::model::{Batch, ImageSpec, Model, Sampler, Spread, Step};
use nn::random::{normal_tensor, stream, uniform_tensor};
use nn::{Bound, Builder, Params, Update};
use std::sync::Arc;
use train::{Engine, Pace, Pool, Tally};

const SPEC: ImageSpec = ImageSpec::new(8, 8, 1, 256);

fn built(sizes: Sizes, objective: Objective) -> (Gan, Params<f32>) {
    let mut params = Params::new();
    let gan = Gan::new(&mut Builder::new(&mut params, 3), sizes, objective);
    (gan, params)
}

/// Larger than first values, so that no derivative is lost among others.
fn livened(params: &Params<f32>) -> Params<f64> {
    let mut params = params.cast::<f64>();
    for (i, param) in params.iter_mut().enumerate() {
        if param.trainable {
            let noise = normal_tensor::<f64>(*param.value.shape(), &mut stream(&[9, i as u64]));
            let values = param.value.make_mut();
            for (x, n) in values.iter_mut().zip(noise.data()) {
                *x += 0.15 * n;
            }
        }
    }
    params
}

/// The same after so many steps that spectral norm has found its singular vectors: from then on the
/// derivative of their value is that which takes them for constants.
fn settled(gan: &Gan, mut params: Params<f64>) -> Params<f64> {
    let spec = gan.sizes.spec;
    let x = Var::constant(Tensor::zeros(spec.shape(1)));
    let classes = spec.classes.map(|_| Arc::from([0u32]));
    for _ in 0..400 {
        let p = params.constants().in_mode(Mode::Train);
        gan.discriminator.forward(&p, &x, classes.as_ref());
        for (id, update) in p.take_updates() {
            let Update::Mean(value) = update else {
                panic!("a mean")
            };
            params.get_mut(id).value = value;
        }
    }
    params
}

/// The whole loss of the critic, penalty included: derivatives by every parameter of the critic
/// against central differences, in f64. The penalty's gradient by the images is inside, so these
/// are second derivatives.
fn critic_gradients_are_right(sizes: Sizes, classes: Option<Arc<[u32]>>) {
    let (mut gan, params) = built(sizes, Objective::Wasserstein);
    gan.penalty = Some(10.0);
    let params = settled(&gan, livened(&params));
    let mut s = stream(&[4]);
    let shape = gan.sizes.spec.shape(3);
    let [real, fake] = [(), ()].map(|()| uniform_tensor::<f64>(shape, -1.0, 1.0, &mut s));
    let share = uniform_tensor([3, 1], 0.0, 1.0, &mut s);
    let images = Images {
        real: &real,
        fake: &fake,
        classes: classes.as_ref(),
        share: &share,
    };
    let loss = |params: &Params<f64>, want: bool| {
        let tape = Tape::new();
        let p = params.bind_where(&tape, |param| param.name.starts_with("discriminator."));
        let loss = gan.examine(&tape, &p, &images).loss.sum();
        let wrt: Vec<_> = p.recorded().collect();
        let vars: Vec<&Var<f64>> = wrt.iter().map(|(_, var)| *var).collect();
        let gradients = if want {
            tape.gradients(&loss, &vars)
        } else {
            Vec::new()
        };
        let ids: Vec<_> = wrt.iter().map(|(id, _)| *id).collect();
        (loss.item(), ids, gradients)
    };
    let (_, ids, gradients) = loss(&params, true);
    assert!(!ids.is_empty());
    let mut checked = 0;
    for (id, gradient) in ids.iter().zip(&gradients) {
        let count = gradient.len();
        let size = gradient
            .data()
            .iter()
            .fold(1e-2, |m: f64, g| m.max(g.abs()));
        // A few of each tensor, the same in every run.
        for k in 0..count.min(6) {
            let i = k * count / count.min(6);
            let mut moved = params.cast::<f64>();
            let mut at = |by: f64| {
                moved.get_mut(*id).value.make_mut()[i] = params[*id].value.data()[i] + by;
                loss(&moved, false).0
            };
            // Small enough that no leaky ReLU passes its kink.
            let h = 1e-6;
            let expected = (at(h) - at(-h)) / (2.0 * h);
            let found = gradient.data()[i];
            let name = &params[*id].name;
            assert!(
                (expected - found).abs() < 1e-5 * size,
                "{name}[{i}]: {expected} {found}"
            );
            checked += 1;
        }
    }
    assert!(checked > 20);
}

#[test]
fn second_derivatives_of_the_convolutional_critic() {
    let spec = SPEC.with_size(12, 12);
    critic_gradients_are_right(Sizes::convolutions(spec, 3, 2).bare_discriminator(), None);
}

#[test]
fn second_derivatives_of_the_critic_with_layer_norm() {
    let spec = SPEC.with_channels(3).with_size(12, 12);
    critic_gradients_are_right(Sizes::convolutions(spec, 3, 2).layer_norm(), None);
}

#[test]
fn second_derivatives_of_the_conditional_spectral_critic() {
    let spec = SPEC.with_size(12, 12).with_classes(3);
    let sizes = Sizes::convolutions(spec, 3, 2)
        .bare_discriminator()
        .spectral();
    critic_gradients_are_right(sizes, Some([0, 2, 1].into()));
}

#[test]
fn second_derivatives_of_the_perceptron_critic() {
    critic_gradients_are_right(Sizes::perceptrons(SPEC, 3, &[7, 5]), None);
}

/// The penalty through a generator: images that are made by transposed convolutions, differentiated
/// twice by z's side. What the penalty of a latent walk, or any loss on the generator's slope, needs.
#[test]
fn second_derivatives_of_the_generator() {
    let (gan, params) = built(Sizes::convolutions(SPEC, 3, 2), Objective::Hinge);
    let params = livened(&params);
    let z = normal_tensor::<f64>([4, 3], &mut stream(&[8]));
    let names = ["generator.project.weight", "generator.0.weight"];
    let inputs: Vec<Tensor<f64>> = [z]
        .into_iter()
        .chain(names.map(|name| params[params.find(name).unwrap()].value.clone()))
        .collect();
    let f = |x: &[Var<f64>]| {
        let vars = params.iter().map(|param| {
            let place = names.iter().position(|name| *name == param.name);
            place.map_or_else(|| Var::constant(param.value.clone()), |i| x[i + 1].clone())
        });
        let p = Bound::from_vars(vars.collect::<Vec<_>>());
        gan.generator.forward(&p, &x[0], None)
    };
    grad::check::gradients("generator", &inputs, f, grad::check::Order::Second).unwrap();
}

fn batch(spec: ImageSpec, count: usize) -> Batch {
    let images = uniform_tensor(spec.shape(count), 0.0, 1.0, &mut stream(&[5]));
    let noise: Vec<u64> = (0..count as u64).collect();
    let labels: Vec<u32> = (0..count as u32).map(|i| i % 3).collect();
    Batch::new(images, noise).with_labels(labels)
}

/// Which parameters and states a phase reaches, and how many nodes of a tape the other player gets.
#[test]
fn a_phase_reaches_its_own_player_alone() {
    let (gan, params) = built(Sizes::convolutions(SPEC, 3, 2), Objective::NonSaturating);
    let batch = batch(SPEC, 4);
    for (phase, prefix) in [(0, "discriminator."), (1, "generator.")] {
        let tape = Tape::new();
        let p = params.bind_where(&tape, |param| param.name.starts_with(prefix));
        let loss = gan.loss(&Step::new(&tape, &p, &batch).phase(phase));
        for (id, _) in p.take_updates() {
            assert!(
                params[id].name.starts_with(prefix),
                "{} moves",
                params[id].name
            );
        }
        let wrt: Vec<_> = p.recorded().collect();
        assert!(
            wrt.iter()
                .all(|(id, _)| params[*id].name.starts_with(prefix))
        );
        let vars: Vec<&Var<f32>> = wrt.iter().map(|(_, var)| *var).collect();
        let gradients = tape.gradients(&loss.sum, &vars);
        let moved = gradients
            .iter()
            .filter(|g| g.data().iter().any(|&x| x != 0.0))
            .count();
        // A bias right before a batch norm has no effect; none is left in there.
        assert_eq!(moved, gradients.len(), "phase {phase}");
    }
}

/// Through the engine: while the critic has its turn, not a bit of the generator changes, its
/// running statistics included; when the turn ends, both have changed.
#[test]
fn a_frozen_player_receives_exactly_no_update() {
    let spec = SPEC.without_classes();
    for entry in gan::MODELS
        .iter()
        .filter(|entry| entry.name.starts_with("wgan"))
    {
        let mut hypers = entry.small_hypers();
        hypers.set("discriminator_steps", "3").unwrap();
        hypers.set("long_discriminator_steps", "1").unwrap();
        let (model, params) = entry.build_for(&hypers, spec, 1).unwrap();
        let before = params.clone();
        let mut engine = Engine::new(model, params, entry.recipe_for(&hypers, spec));
        let whole = batch(spec, 6);
        let images = |range: std::ops::Range<usize>| {
            let dims = spec.dims();
            let part = &whole.images.data()[range.start * dims..range.end * dims];
            let images = Tensor::new(spec.shape(range.len()), part);
            Batch::new(images, &whole.noise[range])
        };
        for step in 0..3 {
            let mut tally = Tally::default();
            let pool = Pool::new(Some(1)).unwrap();
            pool.run(|| engine.step(6, &images, Pace::STEADY, &mut tally))
                .unwrap();
            let changed = |prefix: &str| {
                let pairs = engine.params().iter().zip(before.iter());
                let of = pairs.filter(|(now, _)| now.name.starts_with(prefix));
                of.filter(|(now, old)| now.value != old.value).count()
            };
            let turn_ends = step == 2;
            assert!(changed("discriminator.") > 0, "{}", entry.name);
            assert_eq!(
                changed("generator.") > 0,
                turn_ends,
                "{} {step}",
                entry.name
            );
            let pulled = tally.mean("generator_gradient_norm");
            assert_eq!(pulled.is_some_and(|norm| norm > 0.0), turn_ends);
        }
    }
}

/// In the discriminator's step nothing of the generator is on the tape, so the tape is as long as
/// for images that came from anywhere.
#[test]
fn the_generator_leaves_no_trace_in_the_discriminators_step() {
    let (gan, params) = built(Sizes::convolutions(SPEC, 3, 2), Objective::NonSaturating);
    let batch = batch(SPEC, 4);
    let tape = Tape::new();
    let p = params.bind_where(&tape, |param| param.name.starts_with("discriminator."));
    gan.loss(&Step::new(&tape, &p, &batch));
    let found = tape.len();
    let tape = Tape::new();
    let p = params.bind_where(&tape, |param| param.name.starts_with("discriminator."));
    let images = Tensor::zeros(SPEC.shape(4));
    let images = Images {
        real: &images,
        fake: &images,
        classes: None,
        share: &Tensor::zeros([4, 1]),
    };
    let _loss = gan.examine(&tape, &p, &images).loss.sum();
    assert_eq!(found, tape.len());
}

/// Real and generated images have batch statistics of their own: what the discriminator says of
/// real images does not depend on the generated ones.
#[test]
fn real_images_do_not_see_generated_ones() {
    let (gan, params) = built(Sizes::convolutions(SPEC, 3, 2), Objective::NonSaturating);
    let p = params.constants().in_mode(Mode::Train);
    let real = batch(SPEC, 4).images;
    let [one, other] = [-0.9, 0.3].map(|level| {
        let fake = Tensor::full(SPEC.shape(4), level);
        let images = Images {
            real: &real,
            fake: &fake,
            classes: None,
            share: &Tensor::zeros([4, 1]),
        };
        gan.examine(&Tape::new(), &p, &images).real.into_value()
    });
    assert_eq!(one, other);
}

#[test]
fn clipping_comes_after_the_critics_step_and_leaves_the_generator_alone() {
    let (mut gan, mut params) = built(Sizes::convolutions(SPEC, 3, 2), Objective::Wasserstein);
    gan.clip = Some(0.01);
    let before = params.clone();
    gan.after_update(1, 0, &mut params);
    let values = |params: &Params<f32>| params.iter().map(|p| p.value.clone()).collect::<Vec<_>>();
    assert_eq!(values(&params), values(&before));
    gan.after_update(0, 0, &mut params);
    for (param, old) in params.iter().zip(before.iter()) {
        let critic = param.name.starts_with("discriminator.") && param.trainable;
        for (&x, &old) in param.value.data().iter().zip(old.value.data()) {
            let expected = if critic { old.clamp(-0.01, 0.01) } else { old };
            assert_eq!(x, expected, "{}", param.name);
        }
    }
}

#[test]
fn turns_and_spread_follow_the_players() {
    let (mut gan, _) = built(Sizes::perceptrons(SPEC, 3, &[4]), Objective::Hinge);
    gan.turns = Turns { steps: 3, long: 1 };
    let plays: Vec<bool> = (0..6).map(|step| gan.is_active(1, step)).collect();
    assert_eq!(plays, [false, false, true, false, false, true]);
    assert!((0..6).all(|step| gan.is_active(0, step)));
    assert!(matches!(gan.spread(64), Spread::Lanes(_)));
    let (gan, _) = built(Sizes::convolutions(SPEC, 3, 2), Objective::Hinge);
    assert_eq!(gan.spread(64), Spread::IntraOp);
}

/// Truncated codes stay in their bounds; the images of a seed do not depend on how many are asked
/// for, and lie in [0, 1].
#[test]
fn samples_are_truncated_and_do_not_depend_on_their_number() {
    use nn::model::{Latent, SampleRequest};
    let sizes = Sizes::convolutions(SPEC.with_classes(3), 3, 2);
    let (gan, params) = built(sizes, Objective::Hinge);
    let p = params.constants();
    let many = gan.sample(&p, &SampleRequest::new(300, 1));
    let few = gan.sample(&p, &SampleRequest::new(2, 1));
    assert_eq!(few.data(), &many.data()[..2 * SPEC.dims()]);
    assert!(many.data().iter().all(|x| (0.0..=1.0).contains(x)));
    let z = gan.prior(&p, 300, 1);
    let classes: Arc<[u32]> = (0..300).map(|i| i % 3).collect();
    assert_eq!(gan.decode(&p, &z, Some(&classes)), many);
    assert!(z.data().iter().any(|x| x.abs() > 1.0));
    let mut request = SampleRequest::new(2, 1);
    request.truncation = Some(0.5);
    assert_ne!(gan.sample(&p, &request), few);
}

/// Images of one class for both players change with the class.
#[test]
fn both_players_hear_the_class() {
    for sizes in [
        Sizes::convolutions(SPEC.with_classes(3), 3, 2),
        Sizes::perceptrons(SPEC.with_classes(3), 3, &[6]),
    ] {
        let (gan, params) = built(sizes, Objective::Hinge);
        let p = params.constants();
        let z = Var::constant(normal_tensor([1, 3], &mut stream(&[2])));
        let image = |class: u32| gan.generator.forward(&p, &z, Some(&[class].into()));
        assert_ne!(image(0).value(), image(1).value());
        let x = image(0);
        let judge = |discriminator: &Discriminator, class: u32| {
            discriminator.forward(&p, &x, Some(&[class].into())).item()
        };
        assert_ne!(judge(&gan.discriminator, 0), judge(&gan.discriminator, 1));
    }
}
