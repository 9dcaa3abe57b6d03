//! Every option of the models: it trains, is judged and draws, or is refused in a line.

mod common;

use common::{Source, batch_of};
use grad::{Tape, Var};
use nn::Params;
use nn::model::{Ask, Batch, Built, Entry, ImageSpec, Model, SampleRequest, Scored, SetAsk, Step};
use vae::MODELS;

/// All figures of the model on a batch, by name.
fn judge(
    model: &dyn Model,
    params: &Params<f32>,
    spec: ImageSpec,
    batch: &Batch,
) -> Vec<(String, f64)> {
    let source = Source(spec, batch.clone());
    let ask = SetAsk::new(params, &source, &source, 1);
    let (tape, p) = (Tape::new(), params.constants());
    let mut figures = Vec::new();
    for score in model.scores() {
        match score {
            Scored::Images(score) => {
                let prepared = score.prepare(&ask);
                let columns = score.of(&Step::new(&tape, &p, batch), &Ask::new(3, &prepared));
                for (info, column) in score.about().iter().zip(columns) {
                    let mean = column.iter().sum::<f64>() / column.len() as f64;
                    figures.push((info.name.to_string(), mean));
                }
            }
            Scored::Set(score) => {
                let all = score.of(&ask);
                figures.extend(all.iter().map(|of| (of.info.name.to_string(), of.value)));
            }
        }
    }
    figures
}

fn build(name: &str, spec: ImageSpec, set: &[(&str, &str)]) -> Result<Built, String> {
    let entry: &Entry = MODELS.iter().find(|entry| entry.name == name).unwrap();
    let mut hypers = entry.small_hypers();
    for (key, value) in set {
        hypers.set(key, value).unwrap();
    }
    entry
        .build_for(&hypers, spec, 1)
        .map_err(|error| error.to_string())
}

#[test]
fn every_option_trains_is_judged_and_draws() {
    let binary = ImageSpec::new(6, 6, 1, 2).with_classes(3);
    let grey = ImageSpec::new(7, 9, 1, 16).with_classes(3);
    let colour = ImageSpec::new(8, 6, 3, 256).with_classes(3);
    type Case<'a> = (&'a str, ImageSpec, &'a [(&'a str, &'a str)]);
    let cases: &[Case] = &[
        ("vae", binary, &[]),
        (
            "vae",
            binary,
            &[
                ("conditional", "true"),
                ("prior", "mixture"),
                ("prior_components", "3"),
            ],
        ),
        (
            "vae",
            binary,
            &[
                ("prior", "vamp"),
                ("prior_components", "4"),
                ("samples", "3"),
            ],
        ),
        ("vae", binary, &[("samples", "4"), ("doubly", "true")]),
        (
            "vae",
            binary,
            &[("free_bits", "0.3"), ("beta", "0.5"), ("warm_up", "10")],
        ),
        (
            "vae",
            colour,
            &[("pixels", "logistics"), ("components", "2")],
        ),
        ("vae", grey, &[("pixels", "softmax")]),
        (
            "conv-vae",
            binary,
            &[("conditional", "true"), ("samples", "2")],
        ),
        (
            "conv-vae",
            grey,
            &[("pixels", "gaussian"), ("variance", "each")],
        ),
        (
            "conv-vae",
            colour,
            &[
                ("pixels", "gaussian"),
                ("prior", "vamp"),
                ("prior_components", "2"),
            ],
        ),
        (
            "conv-vae",
            colour,
            &[("pixels", "logistics"), ("blocks", "0")],
        ),
        ("autoencoder", grey, &[("noise", "salt-and-pepper")]),
        (
            "autoencoder",
            binary,
            &[("linear", "true"), ("loss", "bernoulli")],
        ),
        ("conv-autoencoder", colour, &[("noise", "gaussian")]),
    ];
    for (name, spec, set) in cases {
        let what = format!("{name} {set:?}");
        let (model, params) = build(name, *spec, set).unwrap();
        let batch = batch_of(*spec, 5, 3);
        let tape = Tape::new();
        let p = params.bind(&tape);
        let loss = model.loss(&Step::new(&tape, &p, &batch)).sum;
        let wrt: Vec<&Var<f32>> = p.recorded().map(|(_, var)| var).collect();
        let gradients = tape.gradients(&loss, &wrt);
        assert!(loss.item().is_finite(), "{what}");
        for ((id, _), gradient) in p.recorded().zip(&gradients) {
            let finite = gradient.data().iter().all(|g| g.is_finite());
            assert!(finite, "{what}: {}", params[id].name);
        }
        let moved = gradients
            .iter()
            .filter(|g| g.data().iter().any(|&g| g != 0.0))
            .count();
        assert!(
            moved + 2 >= gradients.len(),
            "{what}: {moved} of {}",
            gradients.len()
        );
        for (figure, value) in judge(&*model, &params, *spec, &batch) {
            assert!(value.is_finite(), "{what}: {figure}");
        }
        let p = params.constants();
        let latent = model.latent().unwrap();
        let z = latent.prior(&p, 3, 1);
        assert_eq!(z.shape()[1..], latent.shape()[..]);
        let images = latent.decode(&p, &z, Some(&[0, 1, 2].into()));
        assert_eq!(images.shape()[..], spec.shape(3), "{what}");
        assert!(
            images.data().iter().all(|x| (0.0..=1.0).contains(x)),
            "{what}"
        );
        let Some(sampler) = model.sampler() else {
            continue;
        };
        let takes = sampler.takes();
        for sampler_name in takes.samplers.iter().chain(takes.fitted) {
            let mut request = SampleRequest::new(4, 2).temperature(0.8);
            request.sampler = Some(sampler_name.to_string());
            request.truncation = Some(1.5);
            let draw = |request: &SampleRequest| match takes.fitted.contains(sampler_name) {
                false => sampler.sample(&p, request),
                true => sampler.sample_fitted(&p, request, &Source(*spec, batch.clone())),
            };
            let images = draw(&request);
            assert_eq!(images.shape()[..], spec.shape(4), "{what}");
            assert!(
                images.data().iter().all(|x| (0.0..=1.0).contains(x)),
                "{what} {sampler_name}"
            );
            request.count = 2;
            let (few, many) = (draw(&request), images.data());
            for (a, b) in few.data().iter().zip(many) {
                assert!(
                    (a - b).abs() < 1e-5,
                    "{what} {sampler_name}: images do not depend on the count"
                );
            }
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused_in_a_line() {
    let plain = ImageSpec::new(6, 6, 1, 2);
    let error = |name, spec, set: &[(&str, &str)]| build(name, spec, set).err().unwrap();
    for (set, word) in [
        (&[("conditional", "true")][..], "labels"),
        (&[("beta", "-1")], "beta"),
        (&[("free_bits", "1"), ("samples", "2")], "free_bits"),
        (&[("free_bits", "1"), ("prior", "vamp")], "free_bits"),
        (&[("pixels", "gaussian")], "levels"),
    ] {
        let error = error("vae", plain, set);
        assert!(error.contains(word) && !error.contains('\n'), "{error}");
    }
    let labelled = plain.with_classes(2);
    let set = [("conditional", "true"), ("prior", "vamp")];
    assert!(error("vae", labelled, &set).contains("vamp"));
    assert!(error("conv-vae", plain, &[("channels", "2,2,2")]).contains("6x6"));
    assert!(error("conv-vae", plain, &[("blocks", "1.5")]).contains("1.5"));
    assert!(error("autoencoder", plain, &[("corruption", "1.5")]).contains("1.5"));
}
