//! The bound of a variational autoencoder: its derivatives, how it tightens towards a likelihood
//! that is known by integration, and how near to the best it can be trained.

use grad::{Tape, Tensor, Var};
use nn::model::{Batch, ImageSpec};
use nn::optim::OptimiserState;
use nn::random::{normal_tensor, stream, uniform};
use nn::{Builder, Params};
use vae::Vae;

const SPEC: ImageSpec = ImageSpec::new(3, 4, 1, 2);

fn small(seed: u64) -> (Vae, Params<f32>) {
    let mut params = Params::new();
    let vae = Vae::new(&mut Builder::new(&mut params, seed), SPEC, &[16, 8], 2);
    (vae, params)
}

fn binary_batch(len: usize, seed: u64) -> Batch {
    let mut noise = stream(&[seed]);
    let images = Tensor::from_fn(SPEC.shape(len), |_| f32::from(uniform(&mut noise) < 0.3));
    Batch::new(images, (0..len as u64).collect::<Vec<_>>())
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (vae, params) = small(2);
    let params = params.cast::<f64>();
    let batch = binary_batch(3, 5);
    let x = batch.images.cast::<f64>().reshape([3, SPEC.dims()]);
    let eps = normal_tensor::<f64>([3, 2], &mut stream(&[9]));
    let loss = |params: &Params<f64>, tape: &Tape<f64>| {
        let p = params.bind(tape);
        let elbo = vae.elbo(&p, &Var::constant(x.clone()), &Var::constant(eps.clone()));
        (p, (elbo.reconstruction + elbo.kl).sum())
    };
    let tape = Tape::new();
    let (p, value) = loss(&params, &tape);
    let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
    let gradients = tape.gradients(&value, &wrt);
    for (id, gradient) in params.ids().zip(&gradients) {
        for i in (0..gradient.len()).step_by(1 + gradient.len() / 7) {
            let at = |delta: f64| {
                let mut moved = params.clone();
                moved.get_mut(id).value.make_mut()[i] += delta;
                loss(&moved, &Tape::new()).1.item()
            };
            let h = 1e-6;
            let expected = (at(h) - at(-h)) / (2.0 * h);
            let found = gradient.data()[i];
            assert!(
                (found - expected).abs() <= 1e-6 * (1.0 + expected.abs()),
                "{}[{i}]: expected {expected}, found {found}",
                params[id].name
            );
        }
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
        let (point, axis) = (i / 2, i % 2);
        -6.0 + step
            * (if axis == 0 {
                point / side
            } else {
                point % side
            }) as f64
    });
    let log_prior: Vec<f64> = (z.data().chunks(2))
        .map(|z| -0.5 * (z[0] * z[0] + z[1] * z[1]) - (2.0 * std::f64::consts::PI).ln())
        .collect();
    let logits = vae.logits(&p64, &Var::constant(z)).into_value();
    let nll = |image: &[f64]| -> f64 {
        let mass: f64 = (logits.data().chunks(SPEC.dims()).zip(&log_prior))
            .map(|(logits, prior)| {
                let log_p: f64 = (logits.iter().zip(image))
                    .map(|(l, x)| l * x - l.max(0.0) - (-l.abs()).exp().ln_1p())
                    .sum();
                (log_p + prior).exp()
            })
            .sum();
        -(mass * step * step).ln()
    };

    let all: f64 = (0..1u32 << 12)
        .step_by(1)
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
                let batch = Batch::new(batch.images.clone(), noise);
                vae.nats(&p, &batch, samples).iter().sum::<f64>()
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

#[test]
fn one_batch_can_be_overfitted() {
    let (vae, mut params) = small(4);
    let batch = binary_batch(4, 6);
    let x = Var::constant(batch.images.reshape([4, SPEC.dims()]));
    let ids: Vec<_> = params.ids().collect();
    let mut optimiser = OptimiserState::new(nn::optim::Optimiser::adam(0.01), &params, ids);
    let mut noise = stream(&[1]);
    let mut last = f32::INFINITY;
    for _ in 0..1500 {
        let tape = Tape::new();
        let p = params.bind(&tape);
        let eps = Var::constant(normal_tensor([4, 2], &mut noise));
        let elbo = vae.elbo(&p, &x, &eps);
        let loss = (elbo.reconstruction + elbo.kl).mean();
        last = loss.item();
        let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
        let gradients = tape.gradients(&loss, &wrt);
        drop((p, tape));
        optimiser.step(&mut params, &gradients, 1.0);
    }
    // Four equally likely images: the best any model can do is ln 4 each.
    assert!(
        last < 4f32.ln() + 1.2,
        "{last} nats after 1500 steps; ln 4 = {}",
        4f32.ln()
    );
}
