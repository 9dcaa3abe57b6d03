//! Bounds of deep machines against likelihoods that are summed over all states.

use grad::{Tape, Tensor};
use markov::{Dbm, exact};
use nn::hyper::Hypers;
use nn::model::{
    Ask, Batch, DataSummary, Entry, ImageSource, ImageSpec, Scored, SetAsk, Setup, Step,
};
use nn::random::{normal, stream};
use nn::stats::{log_mean_exp, logsumexp};
use nn::{Builder, Params};

const SPEC: ImageSpec = ImageSpec::new(2, 3, 1, 2);

/// All 64 images, each with noise of its own.
struct All(u64);

impl ImageSource for All {
    fn spec(&self) -> ImageSpec {
        SPEC
    }
    fn len(&self) -> usize {
        64
    }
    fn batch(&self, indices: &[u32]) -> Batch {
        let pixels: Vec<f32> = indices
            .iter()
            .flat_map(|&n| exact::bits(n as usize, 1, 6))
            .collect();
        let noise: Vec<u64> = indices
            .iter()
            .map(|&n| 1000 * self.0 + u64::from(n))
            .collect();
        Batch::new(Tensor::new(SPEC.shape(indices.len()), &pixels), noise)
    }
}

fn small(name: &str) -> (&'static Entry, Hypers) {
    let entry = markov::MODELS
        .iter()
        .find(|entry| entry.name == name)
        .unwrap();
    let mut hypers = entry.defaults();
    hypers.set("hidden", "4,3").unwrap();
    (entry, hypers)
}

/// Weights that matter.
fn enlarged(mut params: Params<f32>) -> Params<f32> {
    let mut noise = stream(&[77]);
    for param in params.iter_mut().filter(|param| param.trainable) {
        param.value = Tensor::from_fn(*param.value.shape(), |_| 0.7 * normal(&mut noise) as f32);
    }
    params
}

/// What the first score says of each of the 64 images.
fn nats(
    entry: &Entry,
    hypers: &Hypers,
    params: &Params<f32>,
    samples: usize,
    seed: u64,
) -> Vec<f64> {
    let (model, _) = entry.build_for(hypers, SPEC, 1).unwrap();
    let scores = model.scores();
    let Scored::Images(score) = scores[0] else {
        panic!("{}: a score of images", entry.name);
    };
    let prepared = score.prepare(&SetAsk::new(params, &All(0), &All(0), 0));
    let (tape, bound) = (Tape::new(), params.constants());
    let batch = All(seed).batch(&(0..64).collect::<Vec<u32>>());
    let columns = score.of(
        &Step::new(&tape, &bound, &batch),
        &Ask::new(samples, &prepared),
    );
    assert_eq!(columns.len(), 1, "log Z of a small machine is exact");
    columns[0].clone()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// By mean field a bound for each image; by many draws nearly the likelihood.
#[test]
fn dbm_is_bounded_from_above() {
    let (entry, hypers) = small("dbm");
    let data = DataSummary::unknown(SPEC);
    let setup = Setup::new(&hypers, SPEC, &data, 1);
    let mut params = Params::new();
    let dbm = Dbm::new(&mut Builder::new(&mut params, 1), &setup, [4, 3]);
    let params = enlarged(params);
    let machine = dbm.machine(&params.constants());
    let log_z = exact::log_z(&machine).unwrap();
    let truth: Vec<f64> = (0..64)
        .map(|n| {
            let v = exact::bits(n, 1, 6);
            let seconds = (0..8).flat_map(|m| [v.clone(), exact::bits(m, 1, 3)].concat());
            let terms = machine.free_energy(&seconds.collect::<Vec<_>>());
            log_z - logsumexp(&terms.iter().map(|f| -f).collect::<Vec<_>>())
        })
        .collect();
    let mass: f64 = truth.iter().map(|nats| (-nats).exp()).sum();
    assert!((mass - 1.0).abs() < 1e-5, "{mass}");
    let bound = nats(entry, &hypers, &params, 1, 0);
    for (n, (bound, truth)) in bound.iter().zip(&truth).enumerate() {
        assert!(
            bound > &(truth - 1e-4) && bound < &(truth + 1.5),
            "{n}: {bound}, {truth}"
        );
    }
    let drawn = nats(entry, &hypers, &params, 400, 0);
    assert!(
        (mean(&drawn) - mean(&truth)).abs() < 0.03,
        "{drawn:?} {truth:?}"
    );
}

/// One draw an image is a bound on average, and many are nearly the likelihood, which sums to 1.
#[test]
fn dbn_is_bounded_on_average() {
    let (entry, hypers) = small("dbn");
    let (_, params) = entry.build_for(&hypers, SPEC, 1).unwrap();
    let params = enlarged(params);
    let many: Vec<f64> = nats(entry, &hypers, &params, 4000, 0);
    let mass: f64 = many.iter().map(|nats| (-nats).exp()).sum();
    assert!((mass - 1.0).abs() < 0.02, "{mass}");
    let ones: Vec<Vec<f64>> = (0..400)
        .map(|seed| nats(entry, &hypers, &params, 1, seed))
        .collect();
    for n in 0..64 {
        let of_image: Vec<f64> = ones.iter().map(|run| run[n]).collect();
        assert!(
            mean(&of_image) > many[n] - 0.05,
            "{n}: {} {}",
            mean(&of_image),
            many[n]
        );
        let weights: Vec<f64> = of_image.iter().map(|nats| -nats).collect();
        assert!((log_mean_exp(&weights) + many[n]).abs() < 0.5, "{n}");
    }
}
