//! What every classifier promises: the loss it begins with, that it can learn, that an image is
//! judged alone, and any size and colour of images.

use classifier::MODELS;
use grad::{Tape, Tensor, Var};
use nn::Params;
use nn::model::{Ask, Batch, ImageSpec, Model, NoPreparation, Prepared, Scored, Step};
use nn::optim::{Optimiser, OptimiserState};
use nn::random::{stream, uniform};

fn batch(spec: ImageSpec, count: usize, seed: u64) -> Batch {
    let mut noise = stream(&[seed]);
    let images = Tensor::from_fn(spec.shape(count), |_| uniform(&mut noise) as f32);
    let labels: Vec<u32> = (0..count)
        .map(|i| (i % spec.classes.unwrap()) as u32)
        .collect();
    Batch::new(images, (0..count as u64).collect::<Vec<_>>()).with_labels(labels)
}

/// Accuracy and cross entropy of each image.
fn judge(model: &dyn Model, params: &Params<f32>, batch: &Batch) -> Vec<Vec<f64>> {
    let (tape, p) = (Tape::new(), params.constants());
    let prepared: Prepared = Box::new(NoPreparation);
    let scores = model.scores();
    let Scored::Images(score) = scores[0] else {
        panic!("a classifier judges single images")
    };
    score.of(&Step::new(&tape, &p, batch), &Ask::new(1, &prepared))
}

#[test]
fn any_size_and_colour_begins_near_the_loss_of_guessing() {
    for entry in MODELS {
        for (height, width, channels) in [(6, 6, 1), (7, 9, 3), (28, 28, 1), (32, 32, 3)] {
            let spec = ImageSpec::new(height, width, channels, 256).with_classes(5);
            let (model, params) = entry.build_for(&entry.small_hypers(), spec, 1).unwrap();
            let columns = judge(&*model, &params, &batch(spec, 20, 3));
            let nats = columns[1].iter().sum::<f64>() / 20.0;
            let name = entry.name;
            assert!(
                (nats - 5f64.ln()).abs() < 1.2,
                "{name} {spec:?}: {nats} nats"
            );
            assert!(columns[0].iter().all(|&hit| hit == 0.0 || hit == 1.0));
            assert_eq!(model.classes(), Some(5));
        }
    }
}

#[test]
fn images_without_labels_and_sizes_too_small_are_refused_in_a_line() {
    for entry in MODELS {
        let spec = ImageSpec::new(28, 28, 1, 256);
        let error = entry
            .build_for(&entry.defaults(), spec, 0)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("labels"), "{error}");
        let mut hypers = entry.defaults();
        hypers.set("dropout", "1").unwrap();
        let error = entry
            .build_for(&hypers, spec.with_classes(3), 0)
            .err()
            .unwrap();
        assert!(error.to_string().ends_with("found 1"), "{error}");
    }
    let entry = MODELS
        .iter()
        .find(|entry| entry.name == "conv-classifier")
        .unwrap();
    let spec = ImageSpec::new(5, 28, 1, 256).with_classes(3);
    let error = entry
        .build_for(&entry.defaults(), spec, 0)
        .err()
        .unwrap()
        .to_string();
    assert!(error.ends_with("found 5x28"), "{error}");
}

#[test]
fn one_batch_can_be_learned_by_heart() {
    for entry in MODELS {
        let spec = ImageSpec::new(8, 8, 1, 256).with_classes(3);
        let mut hypers = entry.small_hypers();
        hypers.set("dropout", "0").unwrap();
        hypers.set("shift", "false").unwrap();
        let (model, mut params) = entry.build_for(&hypers, spec, 2).unwrap();
        let batch = batch(spec, 12, 5);
        let ids = params.ids().filter(|&id| params[id].trainable).collect();
        let mut optimiser = OptimiserState::new(Optimiser::adam(0.02), &params, ids);
        for _ in 0..150 {
            let tape = Tape::new();
            let p = params.bind(&tape);
            let loss = model.loss(&Step::new(&tape, &p, &batch)).sum;
            let wrt: Vec<&Var<f32>> = p.recorded().map(|(_, var)| var).collect();
            let gradients = tape.gradients(&loss, &wrt);
            let updates = p.take_updates();
            drop((p, tape));
            optimiser.step(&mut params, &gradients, 1.0 / 12.0);
            for (id, update) in updates {
                let value = update.apply(&params[id].value);
                params.get_mut(id).value = value;
            }
        }
        let columns = judge(&*model, &params, &batch);
        assert_eq!(columns[0].iter().sum::<f64>(), 12.0, "{}", entry.name);
        let nats = columns[1].iter().sum::<f64>() / 12.0;
        assert!(nats < 0.1, "{}: {nats}", entry.name);
    }
}

#[test]
fn an_image_is_judged_alone_and_its_features_are_the_last_hidden_layer() {
    for entry in MODELS {
        let spec = ImageSpec::new(8, 8, 3, 256).with_classes(4);
        let (model, params) = entry.build_for(&entry.small_hypers(), spec, 2).unwrap();
        let (whole, tape, p) = (batch(spec, 4, 7), Tape::new(), params.constants());
        let alone = Batch::new(
            Tensor::new(spec.shape(1), &whole.images.data()[192..384]),
            [1],
        )
        .with_labels([1]);
        let [many, one] = [&whole, &alone].map(|batch| judge(&*model, &params, batch));
        assert!((many[1][1] - one[1][0]).abs() < 1e-5, "{}", entry.name);

        let features = model.features().unwrap();
        let h = features.features(&Step::new(&tape, &p, &whole));
        assert_eq!(h.shape()[..], [4, features.width()]);
        // The logits are linear in them.
        let head = |name: &str| p[params.find(&format!("head.{name}")).unwrap()].clone();
        let expected = Var::constant(h).matmul(&head("weight")) + head("bias");
        let logits = model
            .classifier()
            .unwrap()
            .logits(&p, &Var::constant(whole.images.clone()));
        for (a, b) in expected.value().data().iter().zip(logits.value().data()) {
            assert!((a - b).abs() < 1e-5, "{}: {a} {b}", entry.name);
        }
    }
}

/// By the pixels as well as by the parameters: what a fooling network follows.
#[test]
fn logits_are_differentiable_by_the_image() {
    for entry in MODELS {
        let spec = ImageSpec::new(6, 6, 1, 256).with_classes(3);
        let (model, params) = entry.build_for(&entry.small_hypers(), spec, 4).unwrap();
        let (p, tape) = (params.constants(), Tape::new());
        let x = tape.var(batch(spec, 2, 1).images);
        let classifier = model.classifier().unwrap();
        let at = |x: &Var<f32>| classifier.logits(&p, x).slice(1, 0..1).sum();
        let gradient = &tape.gradients(&at(&x), &[&x])[0];
        assert!(gradient.data().iter().any(|&g| g != 0.0));
        // Along the gradient the logit rises by its squared length.
        let square: f32 = gradient.data().iter().map(|g| g * g).sum();
        let h = 1e-3 / square.sqrt();
        let moved = |sign: f32| {
            let x = x.value().data().iter().zip(gradient.data());
            let x: Vec<f32> = x.map(|(x, g)| x + sign * h * g).collect();
            at(&Var::constant(Tensor::new(spec.shape(2), &x))).item()
        };
        let slope = (moved(1.0) - moved(-1.0)) / (2.0 * h);
        assert!(
            (slope / square - 1.0).abs() < 0.05,
            "{}: {slope} {square}",
            entry.name
        );
    }
}
