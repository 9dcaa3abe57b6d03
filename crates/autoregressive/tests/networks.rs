//! What models.md asks of networks of causal layers: exact likelihoods, causality both ways,
//! derivatives, samples that are those of whole passes, and that they can learn.

use autoregressive::causal::{Positions, Values};
use autoregressive::density::{Density, Naive, nll, nll_of};
use autoregressive::sequential::{Draw, draw};
use autoregressive::{
    Autoregressive, Local, Pixels, RnnSizes, TransformerSizes, diagonal_bilstm, image_transformer,
    row_lstm,
};
use grad::{Tape, Tensor, Var};
use nn::model::{Batch, Classes, ImageSpec, Model, Step};
use nn::optim::{Optimiser, OptimiserState};
use nn::random::{Stream, stream, uniform};
use nn::{Builder, Params};
use std::sync::Arc;

const RNN: RnnSizes = RnnSizes {
    hidden: 6,
    layers: 2,
    head: 6,
};

const TRANSFORMER: TransformerSizes = TransformerSizes {
    channels: 8,
    layers: 2,
    heads: 2,
    inner: 12,
    local: Local::Full,
    norm_before: true,
    positions: Positions::Learned,
    values: Values::Embedded,
    dropout: 0.0,
    classes: None,
};

const SEQUENCE: Local = Local::Sequence {
    query: 5,
    memory: 4,
};

const IMAGE: Local = Local::Image {
    block: [2, 3],
    flange: [1, 1],
};

fn transformers() -> Vec<(&'static str, TransformerSizes)> {
    vec![
        ("full", TRANSFORMER),
        (
            "local-1d",
            TransformerSizes {
                local: SEQUENCE,
                norm_before: false,
                positions: Positions::Sinusoidal,
                ..TRANSFORMER
            },
        ),
        (
            "local-2d",
            TransformerSizes {
                local: IMAGE,
                values: Values::Real,
                ..TRANSFORMER
            },
        ),
    ]
}

/// Runs a check on a small model of each kind, with parameters that make conditionals far from
/// uniform.
macro_rules! for_each_model {
    ($check:ident, $spec:expr, $pixels:expr, $seed:expr) => {
        let (model, params) = enlarged($seed, |b| row_lstm(b, $spec, $pixels, RNN));
        $check("row-lstm", &model, &params);
        let (model, params) = enlarged($seed, |b| diagonal_bilstm(b, $spec, $pixels, RNN));
        $check("diagonal-bilstm", &model, &params);
        for (name, sizes) in transformers() {
            let (model, params) = enlarged($seed, |b| image_transformer(b, $spec, $pixels, sizes));
            $check(name, &model, &params);
        }
    };
}

fn enlarged<M>(seed: u64, make: impl Fn(&mut Builder) -> M) -> (M, Params<f32>) {
    let mut params = Params::new();
    let model = make(&mut Builder::new(&mut params, seed));
    for (i, param) in params.iter_mut().enumerate() {
        let mut noise = stream(&[seed, i as u64]);
        let moved = |w: &mut f32| *w = 1.7 * *w + 0.3 * (uniform(&mut noise) as f32 - 0.5);
        param.value.make_mut().iter_mut().for_each(moved);
    }
    (model, params)
}

/// Random images `[count, H, W, C]` of the spec's levels.
fn images(spec: &ImageSpec, count: usize, noise: &mut Stream) -> Tensor<f64> {
    let top = (spec.levels - 1) as f64;
    Tensor::from_fn(spec.shape(count), |_| {
        (uniform(noise) * spec.levels as f64).floor() / top
    })
}

/// Every image of the spec.
fn all_images(spec: &ImageSpec) -> Tensor<f64> {
    let (dims, levels) = (spec.dims(), spec.levels);
    let count = levels.pow(dims as u32);
    Tensor::from_fn(spec.shape(count), |i| {
        let level = i / dims / levels.pow((i % dims) as u32) % levels;
        level as f64 / (levels - 1) as f64
    })
}

#[test]
fn probabilities_of_all_images_sum_to_one() {
    fn check<M: Autoregressive>(name: &str, model: &M, params: &Params<f32>) {
        let p = params.cast::<f64>().constants();
        let nll = nll(model, &p, &all_images(&model.spec()), 0);
        let sum: f64 = nll.value().data().iter().map(|nll| (-nll).exp()).sum();
        let spec = model.spec();
        assert!(
            (sum - 1.0).abs() < 1e-10,
            "{name}, {spec:?}: p(x) sums to {sum}"
        );
    }
    for spec in [
        ImageSpec::new(2, 2, 1, 2),
        ImageSpec::new(3, 3, 1, 2),
        ImageSpec::new(2, 2, 1, 5),
        ImageSpec::new(2, 2, 3, 2),
        ImageSpec::new(1, 2, 3, 3),
    ] {
        for_each_model!(check, spec, Pixels::of(&spec), 1);
        let logistics = Pixels::Logistics {
            levels: spec.levels,
            components: 2,
        };
        for_each_model!(check, spec, logistics, 2);
    }
}

/// For each dimension those that the architecture shows it, worked out set by set.
fn seen(name: &str, spec: &ImageSpec) -> Vec<Vec<bool>> {
    let ImageSpec {
        height,
        width,
        channels,
        ..
    } = *spec;
    let (dims, pixels) = (spec.dims(), height * width);
    let none = |n: usize| vec![vec![false; n]; n];
    let add = |to: &mut Vec<bool>, from: &[bool]| {
        to.iter_mut().zip(from).for_each(|(to, &from)| *to |= from);
    };
    if let Some((_, sizes)) = transformers().into_iter().find(|(n, _)| *n == name) {
        let pattern = sizes.local.pattern(spec);
        let turns = pattern.turns(dims);
        let mut tokens = none(dims);
        for pair in turns.windows(2) {
            tokens[pair[1].position][pair[0].position] = true;
        }
        for _ in 0..sizes.layers {
            let mut next = none(dims);
            for (i, next) in next.iter_mut().enumerate() {
                let keys = (0..dims).filter(|&j| pattern.sees(i, j));
                keys.for_each(|j| add(next, &tokens[j]));
            }
            tokens = next;
        }
        return tokens;
    }
    let at = |row: isize, col: isize| {
        let inside = (0..height as isize).contains(&row) && (0..width as isize).contains(&col);
        inside.then(|| row as usize * width + col as usize)
    };
    let place = |i: usize| ((i / width) as isize, (i % width) as isize);
    let mut stream = none(pixels);
    for (i, stream) in stream.iter_mut().enumerate() {
        let (row, col) = place(i);
        for (r, c) in (-3..=0).flat_map(|r| (-3..=3).map(move |c| (r, c))) {
            if (r, c) < (0, 0)
                && let Some(from) = at(row + r, col + c)
            {
                stream[from] = true;
            }
        }
    }
    for _ in 0..RNN.layers {
        let mut h = none(pixels);
        for i in 0..pixels {
            let (row, col) = place(i);
            let mut own = stream[i].clone();
            if name == "row-lstm" {
                if let Some(from) = at(row, col - 1) {
                    add(&mut own, &stream[from]);
                }
                for from in (-1..=1).filter_map(|c| at(row - 1, col + c)) {
                    add(&mut own, &h[from]);
                }
            } else {
                // From both corners, and what comes from the right has seen whole rows.
                own[..i].fill(true);
            }
            h[i] = own;
        }
        for (stream, h) in stream.iter_mut().zip(&h) {
            add(stream, h);
        }
    }
    let sees = |k: usize, j: usize| match (k / channels, j / channels) {
        (to, from) if to == from => j < k,
        (to, from) => stream[to][from],
    };
    (0..dims)
        .map(|k| (0..dims).map(|j| sees(k, j)).collect())
        .collect()
}

/// |d logits of dimension k / d x_j|, summed over a few images and signs of the parameters.
fn dependence<M: Autoregressive>(model: &M, params: &Params<f32>) -> Vec<Vec<f64>> {
    let spec = model.spec();
    let (dims, width) = (spec.dims(), model.pixels().width());
    let mut sums = vec![vec![0.0; dims]; dims];
    for seed in 0..6 {
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
            let both = sums.iter_mut().zip(gradient.data());
            both.for_each(|(sum, g)| *sum += g.abs());
        }
    }
    sums
}

#[test]
fn each_dimension_depends_on_exactly_what_it_should_see() {
    fn check<M: Autoregressive>(name: &str, model: &M, params: &Params<f32>) {
        let spec = model.spec();
        let (found, seen) = (dependence(model, params), seen(name, &spec));
        let order: Vec<usize> = (0..spec.dims()).map(|i| model.dimension(0, i)).collect();
        let turn = |d: usize| order.iter().position(|&o| o == d).unwrap();
        for (k, row) in found.iter().enumerate() {
            for (j, &size) in row.iter().enumerate() {
                assert!(!seen[k][j] || turn(j) < turn(k), "{name}: {k} is shown {j}");
                assert_eq!(
                    size > 0.0,
                    seen[k][j],
                    "{name}, {spec:?}: {j} in {k}: {size}"
                );
            }
        }
    }
    let grey = ImageSpec::new(7, 9, 1, 2);
    for_each_model!(check, grey, Pixels::of(&grey), 5);
    let colour = ImageSpec::new(4, 5, 3, 4);
    for_each_model!(check, colour, Pixels::of(&colour), 6);
    // What the papers say of the two scans: a triangle, and everything.
    let (wide, last) = (ImageSpec::new(9, 24, 1, 2), 9 * 24 - 24);
    assert!(
        !seen("row-lstm", &wide)[last][23],
        "far to the right, a row LSTM sees nothing"
    );
    assert!((0..last).all(|j| seen("diagonal-bilstm", &wide)[last][j]));
}

#[test]
fn gradients_agree_with_finite_differences() {
    fn check<M: Autoregressive>(name: &str, model: &M, params: &Params<f32>) {
        let params = params.cast::<f64>();
        let x = images(&model.spec(), 2, &mut stream(&[8]));
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
            for i in (0..gradient.len()).step_by(1 + gradient.len() / 5) {
                let at = |delta: f64| {
                    let mut moved = params.clone();
                    moved.get_mut(id).value.make_mut()[i] += delta;
                    loss(&moved, &Tape::new()).1.item()
                };
                let h = 1e-6;
                let expected = (at(h) - at(-h)) / (2.0 * h);
                let found = gradient.data()[i];
                assert!(
                    (found - expected).abs() <= 2e-6 * (1.0 + expected.abs()),
                    "{name}: {}[{i}]: expected {expected}, found {found}",
                    params[id].name
                );
            }
        }
    }
    let colour = ImageSpec::new(2, 3, 3, 3);
    for_each_model!(check, colour, Pixels::of(&colour), 3);
}

#[test]
fn cached_samples_are_the_naive_ones_to_the_last_bit() {
    fn check<M: Autoregressive>(name: &str, model: &M, params: &Params<f32>) {
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
        use autoregressive::sequential::Ready;
        let (mut fast, mut slow) = (fast.begin(3, None), slow.begin(3, None));
        let mut noise = stream(&[4]);
        for d in 0..spec.dims() {
            assert_eq!(
                fast.conditional(),
                slow.conditional(),
                "{name}, {spec:?}, {d}"
            );
            let top = (spec.levels - 1) as f32;
            let mut level = || (uniform(&mut noise) as f32 * spec.levels as f32).floor() / top;
            let values = [level(), level(), level()];
            fast.fix(&values);
            slow.fix(&values);
        }
    }
    let grey = ImageSpec::new(7, 6, 1, 2);
    for_each_model!(check, grey, Pixels::of(&grey), 7);
    let colour = ImageSpec::new(4, 4, 3, 5);
    for_each_model!(check, colour, Pixels::of(&colour), 8);
}

#[test]
fn local_attention_is_full_attention_where_its_window_covers_everything() {
    let spec = ImageSpec::new(4, 5, 3, 3);
    let x = images(&spec, 3, &mut stream(&[1]));
    let nats = |local| {
        let sizes = TransformerSizes {
            local,
            ..TRANSFORMER
        };
        let (model, params) = enlarged(4, |b| image_transformer(b, spec, Pixels::of(&spec), sizes));
        nll(&model, &params.cast::<f64>().constants(), &x, 0).into_value()
    };
    let full = nats(Local::Full);
    let covering = [
        Local::Sequence {
            query: 60,
            memory: 1,
        },
        Local::Sequence {
            query: 7,
            memory: 60,
        },
        // Rows as they lie: the order is the same.
        Local::Image {
            block: [1, 5],
            flange: [4, 1],
        },
        Local::Image {
            block: [9, 9],
            flange: [1, 1],
        },
    ];
    for local in covering {
        for (found, full) in nats(local).data().iter().zip(full.data()) {
            assert!((found - full).abs() < 1e-10, "{local:?}: {found} {full}");
        }
    }
    assert!((nats(SEQUENCE).data()[0] - full.data()[0]).abs() > 1e-3);
}

#[test]
fn a_class_changes_the_images_and_their_likelihood() {
    let spec = ImageSpec::new(4, 4, 1, 2);
    let sizes = TransformerSizes {
        classes: Some(3),
        ..TRANSFORMER
    };
    let (model, params) = enlarged(3, |b| image_transformer(b, spec, Pixels::of(&spec), sizes));
    let p = params.constants();
    let x = images(&spec, 3, &mut stream(&[2])).cast::<f32>();
    let nats = |classes: [u32; 3]| {
        let labels: Arc<[u32]> = classes.into();
        nll_of(&model, &p, &x, Some(&labels), 0).into_value()
    };
    assert_ne!(nats([0, 1, 2]).data(), nats([1, 2, 0]).data());
    let sizes = model.conditionals(&p, 0);
    let slow = Naive::new(&model, &params, 0);
    let what = |classes| Draw {
        count: 9,
        seed: 1,
        classes,
        temperature: 1.0,
        given: None,
    };
    let turn = what(&Classes::InTurn);
    assert_eq!(draw(&*sizes, &turn).data(), draw(&slow, &turn).data());
    let all = Classes::All(2);
    assert_ne!(
        draw(&*sizes, &turn).data(),
        draw(&*sizes, &what(&all)).data()
    );
}

#[test]
fn dropout_is_part_of_training_alone() {
    let spec = ImageSpec::new(4, 4, 1, 2);
    let sizes = TransformerSizes {
        dropout: 0.4,
        ..TRANSFORMER
    };
    let (model, params) = enlarged(3, |b| image_transformer(b, spec, Pixels::of(&spec), sizes));
    let (plain, _) = enlarged(3, |b| {
        image_transformer(b, spec, Pixels::of(&spec), TRANSFORMER)
    });
    let x = images(&spec, 2, &mut stream(&[2])).cast::<f32>();
    let p = params.constants();
    assert_eq!(
        nll(&model, &p, &x, 0).value(),
        nll(&plain, &p, &x, 0).value()
    );
    let loss = |words: [u64; 2]| {
        let tape = Tape::new();
        let batch = Batch::new(x.clone(), words);
        let p = params.bind(&tape);
        Density(model_of(&params, sizes, spec))
            .loss(&Step::new(&tape, &p, &batch))
            .sum
            .item()
    };
    assert_eq!(loss([1, 2]), loss([1, 2]));
    assert_ne!(loss([1, 2]), loss([3, 4]));
}

fn model_of(
    _: &Params<f32>,
    sizes: TransformerSizes,
    spec: ImageSpec,
) -> autoregressive::ImageTransformer {
    image_transformer(
        &mut Builder::new(&mut Params::new(), 3),
        spec,
        Pixels::of(&spec),
        sizes,
    )
}

#[test]
fn one_batch_can_be_overfitted() {
    fn check<M: Autoregressive>(name: &str, model: &M, params: &Params<f32>) {
        let mut params = params.clone();
        let x = images(&model.spec(), 4, &mut stream(&[3])).cast::<f32>();
        let ids = params.ids().collect();
        let mut adam = OptimiserState::new(Optimiser::adam(0.01), &params, ids);
        let mut last = f32::INFINITY;
        for _ in 0..300 {
            let gradients = {
                let tape = Tape::new();
                let p = params.bind(&tape);
                let loss = nll(model, &p, &x, 0).mean();
                last = loss.item();
                let weights: Vec<_> = p.recorded().map(|(_, var)| var).collect();
                tape.gradients(&loss, &weights)
            };
            adam.step(&mut params, &gradients, 1.0);
        }
        // Four images that are equally likely.
        assert!(last < 2.2, "{name}: {last} nats, ln 4 = 1.386");
    }
    let spec = ImageSpec::new(4, 4, 1, 2);
    for_each_model!(check, spec, Pixels::of(&spec), 9);
}

#[test]
fn attention_maps_are_distributions_over_what_is_seen() {
    let spec = ImageSpec::new(4, 5, 1, 2);
    for (name, sizes) in transformers() {
        let (model, params) = enlarged(2, |b| image_transformer(b, spec, Pixels::of(&spec), sizes));
        let x = images(&spec, 2, &mut stream(&[5])).cast::<f32>();
        let maps = model.attention_maps(&params.constants(), &x, None);
        assert_eq!(maps.len(), 2, "{name}");
        let pattern = sizes.local.pattern(&spec);
        for map in &maps {
            assert_eq!(map.shape()[..], [2, 2, 20, 20]);
            for (row, p) in map.data().chunks_exact(20).enumerate() {
                assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                for (j, &p) in p.iter().enumerate() {
                    assert_eq!(p > 0.0, pattern.sees(row % 20, j), "{name} {row} {j} {p}");
                }
            }
        }
    }
}
