//! A network on images of 4 pixels, whose chain is a matrix of 16 by 16.

use grad::{Tape, Tensor};
use markov::{Gsn, MODELS};
use nn::hyper::Hypers;
use nn::model::{Batch, DataSummary, ImageSpec, Model, SampleRequest, Setup, Step};
use nn::optim::{Optimiser, OptimiserState};
use nn::random::{stream, uniform};
use nn::{Builder, Params};

const SPEC: ImageSpec = ImageSpec::new(2, 2, 1, 2);
const CORRUPTION: f64 = 0.4;

fn bits(n: usize) -> [f64; 4] {
    [0, 1, 2, 3].map(|j| (n >> j & 1) as f64)
}

/// Where the chain of these transitions ends, from anywhere.
fn stationary(transitions: &[[f64; 16]; 16]) -> [f64; 16] {
    let mut p = [1.0 / 16.0; 16];
    for _ in 0..10_000 {
        let mut next = [0.0; 16];
        for (from, row) in transitions.iter().enumerate() {
            for (to, t) in row.iter().enumerate() {
                next[to] += p[from] * t;
            }
        }
        p = next;
    }
    p
}

fn transitions(means: &[f32]) -> [[f64; 16]; 16] {
    // T(x -> x') = sum over x~ of C(x~ | x) P(x' | x~).
    let mut transitions = [[0.0; 16]; 16];
    for (from, row) in transitions.iter_mut().enumerate() {
        for between in 0..16 {
            let c = corruption(from, between);
            let means = &means[4 * between..][..4];
            for (to, t) in row.iter_mut().enumerate() {
                let pick = |p: f64, x: f64| if x > 0.5 { p } else { 1.0 - p };
                let draw = means
                    .iter()
                    .zip(bits(to))
                    .map(|(&p, x)| pick(f64::from(p), x));
                *t += c * draw.product::<f64>();
            }
        }
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-5);
    }
    transitions
}

/// C(x~ | x).
fn corruption(from: usize, to: usize) -> f64 {
    let one = |(x, y)| CORRUPTION / 2.0 + if x == y { 1.0 - CORRUPTION } else { 0.0 };
    bits(from).into_iter().zip(bits(to)).map(one).product()
}

/// p(x_i = 1 | x~) under these data: the best that a network can say of each pixel.
fn ideal(data: &[f64; 16]) -> Vec<f32> {
    let of = |between: usize| {
        let joint = |n: usize| data[n] * corruption(n, between);
        let all: f64 = (0..16).map(joint).sum();
        [0, 1, 2, 3].map(|i| ((0..16).map(|n| joint(n) * bits(n)[i]).sum::<f64>() / all) as f32)
    };
    (0..16).flat_map(of).collect()
}

fn distance(a: &[f64; 16], b: &[f64; 16]) -> f64 {
    a.iter().zip(b).map(|(a, b)| 0.5 * (a - b).abs()).sum()
}

/// A network of one hidden layer, trained on a distribution over the 16 images.
fn trained(data: &[f64; 16]) -> (Hypers, Box<dyn Model>, Params<f32>) {
    let entry = MODELS.iter().find(|entry| entry.name == "gsn").unwrap();
    let mut hypers = entry.defaults();
    for (key, value) in [("hidden", "64"), ("walkback", "1"), ("sigma", "0")] {
        hypers.set(key, value).unwrap();
    }
    let (model, mut params) = entry.build_for(&hypers, SPEC, 1).unwrap();
    let mut noise = stream(&[4]);
    let ids: Vec<_> = params.ids().collect();
    let mut optimiser = OptimiserState::new(Optimiser::adam(0.01), &params, ids);
    for n in 0..1500u64 {
        let draw = |_| {
            let mut left = uniform(&mut noise);
            let found = data.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            bits(found.unwrap_or(0)).map(|x| x as f32)
        };
        let images: Vec<f32> = (0..200).flat_map(draw).collect();
        let words: Vec<u64> = (0..200).map(|i| 1000 * n + i).collect();
        let batch = Batch::new(Tensor::new([200, 2, 2, 1], &images), words);
        let tape = Tape::new();
        let p = params.bind(&tape);
        let loss = model.loss(&Step::new(&tape, &p, &batch).at(n, 0.0)).sum;
        let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
        let gradients = tape.gradients(&loss, &wrt);
        drop((p, tape));
        let rate = if n < 1000 { 1.0 } else { 0.1 };
        optimiser.step_summed(&mut params, [&gradients, &[]], rate, 1.0 / 200.0);
    }
    (hypers, model, params)
}

/// The transition matrix of a trained network, from what it makes of each corrupted image.
fn matrix(hypers: &Hypers, params: &Params<f32>) -> [[f64; 16]; 16] {
    let data = DataSummary::unknown(SPEC);
    let gsn = Gsn::new(
        &mut Builder::new(&mut Params::new(), 1),
        &Setup::new(hypers, SPEC, &data, 1),
    );
    let all: Vec<f32> = (0..16).flat_map(|n| bits(n).map(|x| x as f32)).collect();
    let means = gsn.next_means(&params.constants(), &Tensor::new([16, 4], &all), 0);
    transitions(means.data())
}

/// Independent pixels: what is drawn pixel by pixel is then the true conditional, and the chain's
/// stationary distribution is that of the data.
#[test]
fn the_stationary_distribution_is_that_of_independent_pixels() {
    let rates = [0.1, 0.7, 0.4, 0.9];
    let of = |n: usize| {
        let pixels = bits(n).into_iter().zip(rates);
        pixels
            .map(|(x, p)| if x > 0.5 { p } else { 1.0 - p })
            .product()
    };
    let data: [f64; 16] = std::array::from_fn(of);
    assert!(distance(&stationary(&transitions(&ideal(&data))), &data) < 1e-6);
    let (hypers, _, params) = trained(&data);
    let ends = stationary(&matrix(&hypers, &params));
    assert!(distance(&ends, &data) < 0.04, "{ends:?}");
}

/// Pixels that hang together: the network's chain ends where the best chain of its kind does, and
/// the sampler's images have that distribution.
#[test]
fn the_stationary_distribution_is_that_of_the_best_chain() {
    let mut data = [0.0; 16];
    for (image, p) in [(0b0000, 0.4), (0b0001, 0.3), (0b1111, 0.2), (0b1110, 0.1)] {
        data[image] = p;
    }
    let best = stationary(&transitions(&ideal(&data)));
    let (hypers, model, params) = trained(&data);
    let ends = stationary(&matrix(&hypers, &params));
    assert!(distance(&ends, &best) < 0.05, "{ends:?}, {best:?}");

    // Samples are means of the last step, whose mean over many chains is that of the images.
    let p = params.constants();
    let count = 20_000;
    let mut request = SampleRequest::new(count, 9);
    request.steps = Some(60);
    let images = model.sampler().unwrap().sample(&p, &request);
    for pixel in 0..4 {
        let sum: f64 = images.data().chunks(4).map(|x| f64::from(x[pixel])).sum();
        let expected: f64 = (0..16).map(|n| ends[n] * bits(n)[pixel]).sum();
        let found = sum / count as f64;
        assert!(
            (found - expected).abs() < 0.015,
            "pixel {pixel}: {expected}, {found}"
        );
    }
    // Frames of a few chains have it, too, and the first frame of a chain is its sample.
    let mut request = SampleRequest::new(300, 3);
    request.steps = Some(3);
    let shown = model.chain().unwrap().frames(&p, &request, 20);
    assert_eq!(shown.shape()[..], [6000, 2, 2, 1]);
    let sum: f64 = shown.data().chunks(4).map(|x| f64::from(x[1])).sum();
    let expected: f64 = (0..16).map(|n| ends[n] * bits(n)[1]).sum();
    assert!(
        (sum / 6000.0 - expected).abs() < 0.04,
        "{expected}, {}",
        sum / 6000.0
    );
}
