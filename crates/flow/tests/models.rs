//! What every flow of the table promises.

mod common;

use common::{Drawn, MAKERS, SPEC, fresh, jacobian_log_dets, largest_difference, small};
use flow::{At, Histogram, Layer};
use grad::{Tape, Tensor, Var};
use nn::model::{
    Batch, CompletionRequest, ImageSource, ImageSpec, Model, SampleRequest, Sampler, Step,
};
use nn::random::word;
use std::sync::Arc;

fn batch(spec: ImageSpec, count: u32) -> Batch {
    let source = Drawn { spec, count: 64 };
    source.batch(&(0..count).collect::<Vec<_>>())
}

/// y in (0, 1), as dequantised images are.
fn pixels(spec: ImageSpec, count: usize) -> Tensor<f64> {
    common::uniforms(&spec.shape(count), 4).map(|u| 0.02 + 0.96 * u)
}

#[test]
fn the_table_and_the_makers_agree() {
    let names: Vec<_> = flow::MODELS.iter().map(|entry| entry.name).collect();
    assert_eq!(
        names,
        MAKERS.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
}

#[test]
fn log_determinants_of_whole_models_are_those_of_the_jacobian() {
    for (name, _) in MAKERS {
        for spec in [SPEC.with_size(4, 4), SPEC.with_size(2, 2).with_channels(3)] {
            let (model, params) = small(name, spec, &[("conditional", "true")]);
            let params = params.cast::<f64>();
            let p = params.constants();
            let y = pixels(spec, 2);
            let classes: Arc<[u32]> = [3, 8].into();
            let at = At::new(&p).classes(Some(&classes));
            let (_, found) = Layer::<f64>::forward(&model.flow, &at, &Var::constant(y.clone()));
            let expected = jacobian_log_dets(&model.flow, &p, Some(&classes), &y);
            for (found, expected) in found.value().data().iter().zip(expected) {
                let off = (found - expected).abs();
                assert!(off < 1e-7, "{name}: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn codes_become_images_and_the_same_codes_again() {
    for (name, _) in MAKERS {
        let (model, params) = small(name, SPEC, &[]);
        let z = common::normals(&[4, SPEC.dims()], 5);
        let double = params.cast::<f64>();
        let p = double.constants();
        let y = Layer::<f64>::inverse(&model.flow, &At::new(&p), &Var::constant(z.clone()));
        let (back, _) = Layer::<f64>::forward(&model.flow, &At::new(&p), &y);
        let off = largest_difference(&z, back.value());
        assert!(off < 1e-6, "{name}: {off:e} in f64");
        // From the side of the data, in single precision: far below the step between levels.
        let y = pixels(SPEC, 4).cast::<f32>();
        let p = params.constants();
        let (z, _) = Layer::<f32>::forward(&model.flow, &At::new(&p), &Var::constant(y.clone()));
        let back = Layer::<f32>::inverse(&model.flow, &At::new(&p), &z);
        let off = largest_difference(&y, back.value());
        assert!(off < 1e-4, "{name}: {off:e} in f32");
    }
}

#[test]
fn encoding_is_exact() {
    for (name, _) in MAKERS {
        let (model, params) = small(name, SPEC, &[]);
        let p = params.constants();
        let batch = batch(SPEC, 12);
        let tape = Tape::new();
        let latent = model.latent().unwrap();
        let z = latent
            .encoder()
            .unwrap()
            .encode(&Step::new(&tape, &p, &batch));
        assert_eq!(z.shape()[..], [12, SPEC.dims()]);
        let back = latent.decode(&p, &z, None);
        let off = largest_difference(&batch.images, &back);
        assert!(off < 1e-6, "{name}: off by {off}");
    }
}

#[test]
fn the_class_changes_the_density_and_the_samples() {
    for (name, _) in MAKERS {
        let (model, params) = small(name, SPEC, &[("conditional", "true")]);
        assert_eq!(model.classes(), Some(10), "{name}");
        let double = params.cast::<f64>();
        let p = double.constants();
        let y = Var::constant(pixels(SPEC, 3));
        let density = |class: u32| {
            let classes: Arc<[u32]> = vec![class; 3].into();
            model.log_density(&At::new(&p).classes(Some(&classes)), &y)
        };
        let off = largest_difference(density(0).value(), density(1).value());
        assert!(off > 1e-3, "{name}: {off}");
        let p = params.constants();
        let sample = |class: u32| model.sample(&p, &SampleRequest::new(2, 1).classes(Some(class)));
        assert_ne!(sample(0), sample(1), "{name}");
    }
}

#[test]
fn a_sample_does_not_depend_on_how_many_there_are() {
    for (name, _) in MAKERS {
        let (model, params) = small(name, SPEC, &[]);
        let p = params.constants();
        let few = model.sample(&p, &SampleRequest::new(3, 9));
        let many = model.sample(&p, &SampleRequest::new(11, 9));
        assert_eq!(few.data(), &many.data()[..few.len()], "{name}");
        let levels =
            |x: &f32| (x * 255.0 - (x * 255.0).round()).abs() < 1e-4 && (0.0..=1.0).contains(x);
        assert!(many.data().iter().all(levels), "{name}");
        // At temperature 0 nothing is left of the draws.
        let cold = model.sample(&p, &SampleRequest::new(2, 9).temperature(1e-30));
        let (a, b) = cold.data().split_at(SPEC.dims());
        assert_eq!(a, b, "{name}");
    }
}

#[test]
fn completion_keeps_what_is_given_and_finds_likelier_images() {
    for (name, _) in MAKERS {
        let (model, params) = small(name, SPEC, &[]);
        let p = params.constants();
        let batch = batch(SPEC, 3);
        let known: Vec<bool> = (0..SPEC.dims()).map(|d| d < 18).collect();
        let request = CompletionRequest::new(batch.images.clone(), known.clone(), 2);
        let Some(completer) = model.completer() else {
            assert_eq!(*name, "iaf");
            continue;
        };
        let completed = completer.complete(&p, &request);
        let begun = model.sample(&p, &SampleRequest::new(3, 2));
        let mixed = Tensor::from_fn(*completed.shape(), |i| match known[i % SPEC.dims()] {
            true => batch.images.data()[i],
            false => begun.data()[i],
        });
        for (i, (&x, &y)) in batch.images.data().iter().zip(completed.data()).enumerate() {
            assert!(!known[i % SPEC.dims()] || x == y, "{name}: pixel {i}");
        }
        let density = |x: &Tensor<f32>| {
            let y = x.map(|x| ((x * 255.0).round() + 0.5) / 256.0);
            model
                .log_density(&At::new(&p), &Var::constant(y))
                .sum()
                .item()
        };
        assert!(density(&completed) > density(&mixed), "{name}");
    }
}

#[test]
fn first_values_follow_the_data_and_constant_pixels_stay_finite() {
    for (name, _) in MAKERS {
        for norm in ["act", "batch"] {
            let has = flow::MODELS.iter().any(|entry| {
                entry.name == *name && entry.hypers.iter().any(|hyper| hyper.name == "norm")
            });
            let set: &[_] = if has { &[("norm", norm)] } else { &[] };
            let (model, params) = fresh(name, SPEC, set);
            let batch = batch(SPEC, 32);
            let tape = Tape::new();
            let p = params.bind(&tape);
            let loss = model.loss(&Step::new(&tape, &p, &batch));
            let bits = f64::from(loss.sum.item()) / 32.0 / 36.0 / std::f64::consts::LN_2;
            // The border is known, so even a model that has learned nothing beats uniform noise.
            assert!(
                bits > 0.0 && bits < 8.5,
                "{name}, {norm}: {bits} bits a dimension"
            );
            let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
            let gradients = tape.gradients(&loss.sum, &wrt);
            let finite = |g: &Tensor<f32>| g.data().iter().all(|x| x.is_finite());
            assert!(gradients.iter().all(finite), "{name}, {norm}");
        }
    }
}

#[test]
fn the_histogram_is_that_of_the_training_images() {
    let spec = ImageSpec::new(1, 2, 1, 4);
    struct Two(ImageSpec);
    impl ImageSource for Two {
        fn spec(&self) -> ImageSpec {
            self.0
        }
        fn len(&self) -> usize {
            2
        }
        fn batch(&self, indices: &[u32]) -> Batch {
            let third = 1.0 / 3.0;
            let images = [[0.0, third], [0.0, 1.0]];
            let pixels: Vec<f32> = indices.iter().flat_map(|&i| images[i as usize]).collect();
            let noise: Vec<u64> = indices
                .iter()
                .map(|&i| word("noise") ^ u64::from(i))
                .collect();
            Batch::new(Tensor::new(self.0.shape(indices.len()), &pixels), noise)
        }
    }
    let histogram = Histogram::of(&Two(spec));
    // Two images and one of each of four levels: 3 of 6 and 2 of 6.
    let nats = histogram.nats(&Two(spec).batch(&[0]));
    assert!((nats[0] - (2f64.ln() + 3f64.ln())).abs() < 1e-12);
}

#[test]
fn sides_that_cannot_be_halved_are_refused_in_a_line() {
    let refused = |name: &str, spec: ImageSpec, set: &[(&str, &str)]| {
        let entry = flow::MODELS
            .iter()
            .find(|entry| entry.name == name)
            .unwrap();
        let mut hypers = entry.small_hypers();
        set.iter()
            .for_each(|(key, value)| hypers.set(key, value).unwrap());
        entry.build_for(&hypers, spec, 0).err().unwrap().to_string()
    };
    assert_eq!(
        refused("realnvp", SPEC, &[("scales", "2")]),
        "realnvp: scales=2: images of 6 x 6 cannot be halved so often; scales=1 is the most"
    );
    assert_eq!(
        refused("glow", SPEC.with_size(5, 6), &[]),
        "glow: scales=1: images of 5 x 6 cannot be halved so often; even sides are needed"
    );
    assert_eq!(
        refused("maf", SPEC, &[("logit", "0.5")]),
        "maf: logit: expected a number from 0 to below 0.5, found 0.5"
    );
    assert_eq!(
        refused("nice", SPEC.without_classes(), &[("conditional", "true")]),
        "nice: conditional needs images with labels; these have none"
    );
}

#[test]
fn every_flow_can_learn() {
    use nn::optim::{Optimiser, OptimiserState};
    for (name, _) in MAKERS {
        let (model, mut params) = fresh(name, SPEC, &[("dequantise", "variational")]);
        let ids = params.ids().filter(|&id| params[id].trainable).collect();
        let mut adam = OptimiserState::new(Optimiser::adam(3e-3), &params, ids);
        let batch = batch(SPEC, 16);
        let mut losses = Vec::new();
        for _ in 0..60 {
            let gradients = {
                let tape = Tape::new();
                let p = params.bind(&tape);
                let loss = model.loss(&Step::new(&tape, &p, &batch)).sum;
                losses.push(loss.item() / 16.0);
                let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
                tape.gradients(&loss, &wrt)
            };
            adam.step_scaled(&mut params, &gradients, 1.0, 1.0 / 16.0);
        }
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        assert!(last < first - 5.0, "{name}: from {first} to {last} nats");
        // What began at zero, learned noise included, has moved.
        let moved = params.iter().filter(|param| param.name.contains("last"));
        for param in moved {
            assert!(
                param.value.data().iter().any(|&x| x != 0.0),
                "{name}: {}",
                param.name
            );
        }
    }
}
