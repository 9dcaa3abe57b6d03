//! The convolutional models: exact likelihoods, causality both ways and blind spots, derivatives
//! in f64, sampling from what earlier pixels left behind, and how near to the best they can be
//! trained.

use autoregressive::density::{Naive, nll, nll_of};
use autoregressive::sequential::{Draw, draw};
use autoregressive::{Autoregressive, GatedPixelCnn, GatedSizes, PixelCnn, Pixels};
use grad::{Tape, Tensor, Var};
use nn::model::{Classes, ImageSpec};
use nn::optim::{Optimiser, OptimiserState};
use nn::random::{Stream, stream, uniform};
use nn::{Builder, Params};
use std::sync::Arc;

const BINARY: ImageSpec = ImageSpec::new(3, 4, 1, 2);

/// Runs a check on a small model of each kind: its name, a model and parameters large enough to
/// make conditionals far from uniform, and how many blocks or layers it has.
macro_rules! for_each_model {
    ($check:ident, $spec:expr, $layers:expr, $seed:expr) => {
        let (model, params) = enlarged($seed, |b| {
            PixelCnn::new(b, $spec, Pixels::of(&$spec), 24, $layers, 18)
        });
        $check("pixelcnn", &model, &params, $layers);
        let sizes = GatedSizes {
            channels: 12,
            layers: $layers,
            head: 18,
            classes: None,
        };
        let (model, params) = enlarged($seed, |b| {
            GatedPixelCnn::new(b, $spec, Pixels::of(&$spec), sizes)
        });
        $check("gated-pixelcnn", &model, &params, $layers);
    };
}

fn enlarged<M>(seed: u64, make: impl Fn(&mut Builder) -> M) -> (M, Params<f32>) {
    let mut params = Params::new();
    let model = make(&mut Builder::new(&mut params, seed));
    for param in params.iter_mut() {
        param.value = param.value.map(|w| 1.7 * w);
    }
    (model, params)
}

/// Random images [count, H, W, C] of the spec's levels.
fn images(spec: &ImageSpec, count: usize, noise: &mut Stream) -> Tensor<f64> {
    let top = (spec.levels - 1) as f64;
    let shape = [count, spec.height, spec.width, spec.channels];
    Tensor::from_fn(shape, |_| {
        (uniform(noise) * spec.levels as f64).floor() / top
    })
}

/// Every image of the spec.
fn all_images(spec: &ImageSpec) -> Tensor<f64> {
    let (dims, levels) = (spec.dims(), spec.levels);
    let count = levels.pow(dims as u32);
    let shape = [count, spec.height, spec.width, spec.channels];
    Tensor::from_fn(shape, |i| {
        let level = i / dims / levels.pow((i % dims) as u32) % levels;
        level as f64 / (levels - 1) as f64
    })
}

#[test]
fn probabilities_of_all_images_sum_to_one() {
    fn check<M: Autoregressive>(name: &str, model: &M, params: &Params<f32>, _: usize) {
        let p = params.cast::<f64>().constants();
        let nll = nll(model, &p, &all_images(&model.spec()), 0);
        let sum: f64 = nll.value().data().iter().map(|nll| (-nll).exp()).sum();
        let spec = model.spec();
        assert!(
            (sum - 1.0).abs() < 1e-10,
            "{name}, {spec:?}: p(x) sums to {sum}"
        );
    }
    let kinds = [
        BINARY,
        ImageSpec::new(2, 3, 1, 4),
        ImageSpec::new(2, 2, 3, 2),
        ImageSpec::new(1, 2, 3, 3),
    ];
    for spec in kinds {
        for_each_model!(check, spec, 2, 1);
    }
}

/// Which pixels a pixel of PixelCNN sees: by the taps of its layers, inside the image.
fn reach(spec: &ImageSpec, blocks: usize) -> Vec<Vec<bool>> {
    let (h, w) = (spec.height as isize, spec.width as isize);
    let pixels = (h * w) as usize;
    let step = |seen: &[Vec<bool>], radius: isize, centre: bool| -> Vec<Vec<bool>> {
        let of_pixel = |to: usize| {
            let (row, col) = (to as isize / w, to as isize % w);
            let mut sum = vec![false; pixels];
            for dr in -radius..=0 {
                for dc in -radius..=radius {
                    let before = (dr, dc) < (0, 0) || centre && (dr, dc) == (0, 0);
                    let (r, c) = (row + dr, col + dc);
                    if before && (0..h).contains(&r) && (0..w).contains(&c) {
                        let from = &seen[(r * w + c) as usize];
                        sum.iter_mut()
                            .zip(from)
                            .for_each(|(sum, from)| *sum |= from);
                    }
                }
            }
            sum
        };
        (0..pixels).map(of_pixel).collect()
    };
    let own: Vec<Vec<bool>> = (0..pixels)
        .map(|i| (0..pixels).map(|j| i == j).collect())
        .collect();
    let first = step(&own, 3, false);
    (0..blocks).fold(first, |seen, _| step(&seen, 1, true))
}

/// Which pixels a pixel of Gated PixelCNN must see at the least: all before it, without a blind
/// spot, as far as 3 and 1 for each layer after the first.
fn square(spec: &ImageSpec, layers: usize) -> Vec<Vec<bool>> {
    let (w, far) = (spec.width, 2 + layers);
    let pixels = spec.height * w;
    let sees = |to: usize, from: usize| {
        from < to && to / w - from / w <= far && (to % w).abs_diff(from % w) <= far
    };
    (0..pixels)
        .map(|to| (0..pixels).map(|from| sees(to, from)).collect())
        .collect()
}

#[test]
fn each_dimension_depends_on_earlier_ones_alone_and_on_all_it_should_see() {
    fn check<M: Autoregressive>(name: &str, model: &M, params: &Params<f32>, layers: usize) {
        let spec = model.spec();
        let found = dependence(model, params);
        let is_gated = name == "gated-pixelcnn";
        let reach = if is_gated {
            square(&spec, layers)
        } else {
            reach(&spec, layers)
        };
        for (k, row) in found.iter().enumerate() {
            for (j, &size) in row.iter().enumerate() {
                let (to, from) = (k / spec.channels, j / spec.channels);
                let seen = if to == from { j < k } else { reach[to][from] };
                if seen {
                    assert!(size > 0.0, "{name}, {spec:?}: {k} does not see {j}");
                } else if j >= k || !is_gated {
                    assert!(size == 0.0, "{name}, {spec:?}: {k} sees {j}: {size}");
                }
            }
        }
    }
    let grey = ImageSpec::new(6, 9, 1, 2);
    for_each_model!(check, grey, 3, 5);
    let colour = ImageSpec::new(4, 6, 3, 4);
    for_each_model!(check, colour, 2, 6);
}

/// |d logits of dimension k / d x_j|, summed over a few images and signs of the parameters: some
/// units are at rest for any one choice. [k][j].
fn dependence<M: Autoregressive>(model: &M, params: &Params<f32>) -> Vec<Vec<f64>> {
    let spec = model.spec();
    let (dims, width) = (spec.dims(), model.pixels().width());
    let mut sums = vec![vec![0.0; dims]; dims];
    for seed in 0..8 {
        let mut params = params.cast::<f64>();
        let mut signs = stream(&[seed, 2]);
        for param in params.iter_mut() {
            let flip = |w: &mut f64| *w *= if uniform(&mut signs) < 0.5 { -1.0 } else { 1.0 };
            param.value.make_mut().iter_mut().for_each(flip);
        }
        let p = params.constants();
        let tape = Tape::new();
        let x = tape.var(images(&spec, 1, &mut stream(&[seed])));
        let logits = model.logits(&p, &x, 0).reshape([dims, width]);
        let mut noise = stream(&[seed, 1]);
        let mix = Tensor::from_fn([1, width], |_| 1.0 + uniform(&mut noise));
        let logits = logits * Var::constant(mix);
        for (k, sums) in sums.iter_mut().enumerate() {
            let gradient = &tape.gradients(&logits.slice(0, k..k + 1).sum(), &[&x])[0];
            sums.iter_mut()
                .zip(gradient.data())
                .for_each(|(sum, g)| *sum += g.abs());
        }
    }
    sums
}

#[test]
fn gradients_agree_with_finite_differences() {
    fn check<M: Autoregressive>(name: &str, model: &M, params: &Params<f32>, _: usize) {
        let params = params.cast::<f64>();
        let x = images(&model.spec(), 3, &mut stream(&[8]));
        let loss = |params: &Params<f64>, tape: &Tape<f64>| {
            let p = params.bind(tape);
            let sum = nll(model, &p, &x, 0).sum();
            (p, sum)
        };
        let tape = Tape::new();
        let (p, value) = loss(&params, &tape);
        let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
        let gradients = tape.gradients(&value, &wrt);
        for (id, gradient) in params.ids().zip(&gradients) {
            for i in (0..gradient.len()).step_by(1 + gradient.len() / 11) {
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
                    "{name}: {}[{i}]: expected {expected}, found {found}",
                    params[id].name
                );
            }
        }
    }
    for_each_model!(check, BINARY, 2, 3);
    let colour = ImageSpec::new(2, 3, 3, 3);
    for_each_model!(check, colour, 1, 3);
}

#[test]
fn cached_samples_are_the_naive_ones_to_the_last_bit() {
    fn check<M: Autoregressive>(name: &str, model: &M, params: &Params<f32>, _: usize) {
        let spec = model.spec();
        let bound = params.constants();
        let (fast, slow) = (model.conditionals(&bound, 0), Naive::new(model, params, 0));
        // More images than walk together, and one alone.
        for (count, seed, temperature) in [(35, 1, 1.0), (1, 2, 0.7)] {
            let what = Draw {
                count,
                seed,
                classes: &Classes::InTurn,
                temperature,
                given: None,
            };
            let (a, b) = (draw(&*fast, &what), draw(&slow, &what));
            assert_eq!(a.data(), b.data(), "{name}, {spec:?}");
        }
        // Not the samples alone: every parameter.
        let (mut fast, mut slow) = (fast.begin(3, None), slow_walk(&slow));
        let mut noise = stream(&[4]);
        for d in 0..spec.dims() {
            assert_eq!(
                fast.conditional(),
                slow.conditional(),
                "{name}, {spec:?}, {d}"
            );
            let level = || (uniform(&mut noise) * spec.levels as f64).floor();
            let values: Vec<f32> = std::iter::repeat_with(level)
                .map(|level| (level / (spec.levels - 1) as f64) as f32)
                .take(3)
                .collect();
            fast.fix(&values);
            slow.fix(&values);
        }
    }
    let grey = ImageSpec::new(9, 7, 1, 2);
    for_each_model!(check, grey, 3, 7);
    let colour = ImageSpec::new(5, 4, 3, 5);
    for_each_model!(check, colour, 2, 8);
}

fn slow_walk<'a>(
    slow: &'a impl autoregressive::sequential::Conditionals,
) -> Box<dyn autoregressive::sequential::Walk + 'a> {
    slow.begin(3, None)
}

#[test]
fn one_batch_can_be_overfitted() {
    fn check<M: Autoregressive>(name: &str, model: &M, params: &Params<f32>, _: usize) {
        let x = images(&model.spec(), 4, &mut stream(&[6])).cast::<f32>();
        let mut params = params.clone();
        let ids: Vec<_> = params.ids().collect();
        let mut optimiser = OptimiserState::new(Optimiser::adam(0.01), &params, ids);
        let mut last = f32::INFINITY;
        for step in 0..2000 {
            let tape = Tape::new();
            let p = params.bind(&tape);
            let loss = nll(model, &p, &x, 0).mean();
            last = loss.item();
            let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
            let gradients = tape.gradients(&loss, &wrt);
            drop(p);
            optimiser.step(&mut params, &gradients, 1.0 - f64::from(step) / 2000.0);
        }
        // Four equally likely images: the best any model can do is ln 4 each.
        let best = 4f32.ln();
        assert!(last < best + 0.1, "{name}: {last} nats; ln 4 = {best}");
    }
    for_each_model!(check, BINARY, 2, 4);
    let colour = ImageSpec::new(3, 3, 3, 8);
    for_each_model!(check, colour, 2, 4);
}

#[test]
fn a_class_enters_every_gate_and_samples_follow_it() {
    let spec = ImageSpec::new(4, 5, 1, 2).with_classes(3);
    let sizes = GatedSizes {
        channels: 6,
        layers: 3,
        head: 6,
        classes: Some(3),
    };
    let (model, mut params) =
        enlarged(2, |b| GatedPixelCnn::new(b, spec, Pixels::Bernoulli, sizes));
    for param in params
        .iter_mut()
        .filter(|param| param.name.contains(".class."))
    {
        let mut noise = stream(&[nn::random::word(&param.name)]);
        param.value = Tensor::from_fn(*param.value.shape(), |_| 2.0 * uniform(&mut noise) as f32);
    }
    // Each table: two gates a layer, but for the last layer's vertical one.
    let tape = Tape::new();
    let p = params.bind(&tape);
    let x = images(&spec, 4, &mut stream(&[3])).cast::<f32>();
    let labels: Arc<[u32]> = [0, 2, 0, 2].into();
    let loss = nll_of(&model, &p, &x, Some(&labels), 0).sum();
    let tables: Vec<_> = (p.recorded())
        .filter(|(id, _)| params[*id].name.contains(".class."))
        .map(|(_, var)| var)
        .collect();
    assert_eq!(tables.len(), 5);
    for gradient in tape.gradients(&loss, &tables) {
        for (class, row) in gradient.data().chunks(12).enumerate() {
            assert_eq!(row.iter().any(|&g| g != 0.0), class != 1, "class {class}");
        }
    }
    // Cached = naive for a class and for the classes in turn, and classes differ.
    let bound = params.constants();
    let (fast, slow) = (
        model.conditionals(&bound, 0),
        Naive::new(&model, &params, 0),
    );
    let mut drawn = Vec::new();
    for class in [None, Some(0), Some(2)] {
        let what = Draw {
            count: 7,
            seed: 5,
            classes: &Classes::from(class),
            temperature: 1.0,
            given: None,
        };
        let images = draw(&*fast, &what);
        assert_eq!(images.data(), draw(&slow, &what).data(), "{class:?}");
        drawn.push(images);
    }
    assert_ne!(drawn[1].data(), drawn[2].data());
}
