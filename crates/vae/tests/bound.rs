//! What models.md asks of every autoencoder and variational autoencoder: the loss it begins with,
//! the bound and how it tightens, exact answers where they are known, and that it can learn.

mod common;

use common::{Source, batch_of};
use grad::{Tape, Tensor, Var};
use nn::layers::Mode;
use nn::model::{Batch, ImageSpec, Model, SampleRequest, Sampler, Step};
use nn::optim::{Optimiser, OptimiserState};
use nn::random::{normal, normal_tensor, stream};
use nn::{Builder, Params};
use vae::{Autoencoder, Layout, MODELS, Pca, Vae};

const SPEC: ImageSpec = ImageSpec::new(3, 4, 1, 2);

fn small(seed: u64) -> (Vae, Params<f32>) {
    let mut params = Params::new();
    let vae = Vae::new(&mut Builder::new(&mut params, seed), SPEC, &[16, 8], 2);
    (vae, params)
}

fn binary_batch(len: usize, seed: u64) -> Batch {
    batch_of(SPEC, len, seed)
}

#[test]
fn the_loss_begins_near_d_ln_2() {
    // Small logits: every pixel costs ln 2. The posterior is near the prior, the KL near 0.
    let spec = ImageSpec::binary_mnist();
    for name in ["vae", "conv-vae"] {
        let entry = MODELS.iter().find(|entry| entry.name == name).unwrap();
        let (model, params) = entry.build_for(&entry.defaults(), spec, 1).unwrap();
        let batch = batch_of(spec, 8, 2);
        let (tape, p) = (Tape::new(), params.constants());
        let loss = model.loss(&Step::new(&tape, &p, &batch));
        assert!(loss.is_nats);
        let nats = f64::from(loss.sum.item()) / 8.0;
        let expected = 784.0 * std::f64::consts::LN_2;
        assert!(
            (nats - expected).abs() < 0.05 * expected,
            "{name}: {nats} nats"
        );
    }
}

/// p(x) of every one of the 2^12 images by integrating over the two-dimensional code on a grid,
/// in f64: it sums to one, and the importance bound comes down to it as samples are added.
#[test]
fn the_bound_tightens_towards_the_true_likelihood() {
    let (vae, mut params) = small(3);
    // A model that uses its code: untrained weights, enlarged.
    for param in params
        .iter_mut()
        .filter(|param| param.name.ends_with("weight"))
    {
        param.value = param.value.map(|w| 2.0 * w);
    }
    let batch = binary_batch(6, 8);
    let p64 = params.cast::<f64>().constants();

    // log p(x|z) on the grid; trapezoids over [-6, 6]^2 are exact to far below the tolerance.
    let side = 121;
    let step = 12.0 / (side - 1) as f64;
    let z = Tensor::from_fn([side * side, 2], |i| {
        let point = i / 2;
        let place = if i % 2 == 0 {
            point / side
        } else {
            point % side
        };
        -6.0 + step * place as f64
    });
    let log_prior: Vec<f64> = (z.data().chunks(2))
        .map(|z| -0.5 * (z[0] * z[0] + z[1] * z[1]) - (2.0 * std::f64::consts::PI).ln())
        .collect();
    let logits = vae.logits(&p64, &Var::constant(z)).into_value();
    // log p(z) and what of log p(x|z) = sum x l - softplus(l) does not depend on x.
    let base: Vec<f64> = (logits.data().chunks(SPEC.dims()).zip(&log_prior))
        .map(|(logits, prior)| {
            let softplus = |l: &f64| l.max(0.0) + (-l.abs()).exp().ln_1p();
            prior - logits.iter().map(softplus).sum::<f64>()
        })
        .collect();
    let nll = |image: &[f64]| -> f64 {
        let mass: f64 = (logits.data().chunks(SPEC.dims()).zip(&base))
            .map(|(logits, base)| {
                (base + logits.iter().zip(image).map(|(l, x)| l * x).sum::<f64>()).exp()
            })
            .sum();
        -(mass * step * step).ln()
    };

    let all: f64 = (0..1u32 << 12)
        .map(|bits| {
            let image: Vec<f64> = (0..12).map(|d| f64::from(bits >> d & 1)).collect();
            (-nll(&image)).exp()
        })
        .sum();
    assert!((all - 1.0).abs() < 1e-6, "p(x) sums to {all}");

    let truth: f64 = (batch.images.cast::<f64>().data().chunks(SPEC.dims()))
        .map(nll)
        .sum();
    let p = params.constants();
    let bound = |samples| -> f64 {
        let runs = 40;
        let total: f64 = (0..runs)
            .map(|run| {
                let noise: Vec<u64> = (0..6).map(|i| 1000 * run + i).collect();
                vae.nats(&p, &Batch::new(batch.images.clone(), noise), samples)
                    .iter()
                    .sum::<f64>()
            })
            .sum();
        total / runs as f64
    };
    let (one, ten, many) = (bound(1), bound(10), bound(1000));
    assert!(one > ten && ten > many - 0.01, "{one} {ten} {many}");
    assert!(
        many > truth - 0.05 && many < truth + 0.1,
        "{many}, the truth is {truth}"
    );
}

/// The estimate does not depend on how the draws are cut into chunks or images into batches.
#[test]
fn an_image_is_judged_alone() {
    let (vae, params) = small(9);
    let p = params.constants();
    let whole = binary_batch(7, 4);
    let many = vae.nats(&p, &whole, 333);
    let images = &whole.images.data()[12 * 3..][..12];
    let alone = Batch::new(Tensor::new(SPEC.shape(1), images), [3]);
    let one = vae.nats(&p, &alone, 333);
    assert!((many[3] - one[0]).abs() < 1e-4, "{} {}", many[3], one[0]);
}

/// Full-batch steps on a model's loss.
fn train(model: &dyn Model, params: &mut Params<f32>, batch: &Batch, steps: usize, lr: f64) {
    let ids: Vec<_> = params.ids().filter(|&id| params[id].trainable).collect();
    let mut optimiser = OptimiserState::new(Optimiser::adam(lr), params, ids);
    for step in 0..steps {
        let tape = Tape::new();
        let p = params.bind(&tape);
        let mut batch = batch.clone();
        let noise = |i: usize| (step * batch.len() + i) as u64;
        batch.noise = (0..batch.len()).map(noise).collect();
        let loss = model.loss(&Step::new(&tape, &p, &batch)).sum;
        let wrt: Vec<&Var<f32>> = p.recorded().map(|(_, var)| var).collect();
        let gradients = tape.gradients(&loss, &wrt);
        drop((p, tape));
        let done = step as f64 / steps as f64;
        let factor = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        optimiser.step_scaled(params, &gradients, factor, 1.0 / batch.len() as f64);
    }
}

#[test]
fn one_batch_can_be_overfitted() {
    let (vae, mut params) = small(4);
    let batch = binary_batch(4, 6);
    train(&vae, &mut params, &batch, 1500, 0.01);
    let p = params.constants();
    let nats = vae.nats(&p, &batch, 100).iter().sum::<f64>() / 4.0;
    // Four equally likely images: the best any model can do is ln 4 each.
    assert!(
        nats < 4f64.ln() + 1.0,
        "{nats} nats after 1500 steps; ln 4 = {}",
        4f64.ln()
    );
}

/// Images of six independent directions whose variances fall.
fn directions(count: usize) -> (ImageSpec, Batch) {
    let spec = ImageSpec::new(2, 4, 1, 256);
    let mut noise = stream(&[11]);
    let basis: Vec<Vec<f64>> = (0..6)
        .map(|_| (0..8).map(|_| normal(&mut noise)).collect())
        .collect();
    let mut pixels = Vec::new();
    for _ in 0..count {
        let mut image = [0.5f64; 8];
        for (k, direction) in basis.iter().enumerate() {
            let size = 0.09 * 0.6f64.powi(k as i32) * normal(&mut noise);
            image
                .iter_mut()
                .zip(direction)
                .for_each(|(x, d)| *x += size * d);
        }
        pixels.extend(image.iter().map(|&x| x as f32));
    }
    let noise = (0..count as u64).collect::<Vec<_>>();
    (
        spec,
        Batch::new(Tensor::new(spec.shape(count), &pixels), noise),
    )
}

/// A linear autoencoder: its error is the sum of the eigenvalues that PCA discards, its decoder
/// spans the space of the first components. Baldi & Hornik 1989.
#[test]
fn a_linear_autoencoder_is_pca() {
    let (spec, batch) = directions(200);
    let pca = Pca::of(&Source(spec, batch.clone()), 3);
    let images = || batch.images.data().chunks(8);
    let kept: f64 = images().map(|image| pca.squared_error(image)).sum::<f64>() / 200.0;
    // The discarded eigenvalues: the whole variance less that along the components.
    let along = |direction: &[f64]| -> f64 {
        let square = |image: &[f32]| {
            let centred = image.iter().zip(&pca.mean).map(|(&x, m)| f64::from(x) - m);
            centred
                .zip(direction)
                .map(|(x, d)| x * d)
                .sum::<f64>()
                .powi(2)
        };
        images().map(square).sum::<f64>() / 200.0
    };
    let axes: Vec<Vec<f64>> = (0..8)
        .map(|i| (0..8).map(|j| f64::from(i == j)).collect())
        .collect();
    let variance: f64 = axes.iter().map(|axis| along(axis)).sum();
    let discarded = variance - pca.components.iter().map(|c| along(c)).sum::<f64>();
    assert!(
        (kept - discarded).abs() < 1e-6 * variance,
        "{kept} {discarded}"
    );

    let mut params = Params::new();
    let layout = Layout {
        is_linear: true,
        ..Layout::default()
    };
    let model = Autoencoder::new(&mut Builder::new(&mut params, 2), spec, layout, 3);
    train(&model, &mut params, &batch, 6000, 0.02);
    let (tape, p) = (Tape::new(), params.constants());
    assert_eq!(p.mode(), Mode::Evaluate);
    let error = f64::from(model.loss(&Step::new(&tape, &p, &batch)).sum.item()) / 200.0;
    assert!(
        error > 0.999 * discarded && error < 1.01 * discarded,
        "{error}, PCA {discarded}"
    );
    // Each row of the decoder's matrix lies within the components' space.
    let weight = &params[params.find("pixels.weight").unwrap()].value;
    for row in weight.data().chunks(8) {
        let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
        let square: f64 = row.iter().map(|x| x * x).sum();
        let dot = |c: &Vec<f64>| c.iter().zip(&row).map(|(c, x)| c * x).sum::<f64>().powi(2);
        let within: f64 = pca.components.iter().map(dot).sum();
        assert!(within > 0.995 * square, "{within} of {square}");
    }
}

#[test]
fn samples_depend_on_the_seed_alone() {
    let (vae, params) = small(5);
    let p = params.constants();
    let sample = |seed| vae.sample(&p, &SampleRequest::new(4, seed));
    assert_eq!(sample(1), sample(1));
    assert_ne!(sample(1), sample(2));
}

#[test]
fn normal_noise_is_each_images_own() {
    let whole = binary_batch(4, 1).normal(3, 7);
    let part = Batch::new(Tensor::zeros(SPEC.shape(1)), [2]);
    assert_eq!(part.normal(3, 7).data(), &whole.data()[6..9]);
    let drawn: Tensor<f32> = normal_tensor([4], &mut stream(&[1]));
    assert!(drawn.data().iter().all(|x| x.is_finite()));
}
