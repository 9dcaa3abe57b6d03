//! Each layer against its formula as plain loops, and its derivatives against finite differences.

use super::*;
use crate::init::Init;
use crate::masks::{Causal, causal_taps};
use crate::params::{Bound, Builder, ParamId, Params};
use crate::random;
use grad::check::{self, Order};
use grad::{Tensor, Var};
use proptest::prelude::*;

/// A layer with its parameters in f64, random ones in place of ones and zeros.
fn make<L>(new: impl FnOnce(&mut Builder) -> L) -> (L, Params<f64>) {
    let mut params = Params::new();
    let layer = new(&mut Builder::new(&mut params, 1));
    let mut params = params.cast::<f64>();
    let mut stream = random::stream(&[2]);
    for param in params.iter_mut().filter(|param| param.trainable) {
        param.value = random::uniform_tensor(*param.value.shape(), -1.0, 1.0, &mut stream);
    }
    (layer, params)
}

fn noise(shape: &[usize]) -> Tensor<f64> {
    random::normal_tensor(shape, &mut random::stream(&[3]))
}

/// The value in f64, after the derivatives by x and by all trained parameters have been checked
/// to second order and the value in f32 against that in f64.
fn check(
    params: &Params<f64>,
    x: &Tensor<f64>,
    forward: impl Fn(&Bound<f64>, &Var<f64>) -> Var<f64>,
    forward_f32: impl Fn(&Bound<f32>, &Var<f32>) -> Var<f32>,
) -> Tensor<f64> {
    let mut inputs = vec![x.clone()];
    inputs.extend(
        params
            .iter()
            .filter(|p| p.trainable)
            .map(|p| p.value.clone()),
    );
    let bound = |vars: &[Var<f64>]| {
        let mut vars = vars.iter().cloned();
        Bound::from_vars(params.iter().map(|param| match param.trainable {
            true => vars.next().unwrap(),
            false => Var::constant(param.value.clone()),
        }))
    };
    let f = |vars: &[Var<f64>]| forward(&bound(&vars[1..]), &vars[0]);
    check::gradients("layer", &inputs, f, Order::Second).unwrap();
    let y = forward(&params.constants(), &Var::constant(x.clone())).into_value();
    let y32 = forward_f32(&params.cast().constants(), &Var::constant(x.cast())).into_value();
    near(&y32.cast(), y.data(), 1e-4);
    y
}

/// `check!(params, x, |p, x| expression)`: the expression is compiled for f64 and for f32.
macro_rules! check {
    ($params:expr, $x:expr, |$p:ident, $v:ident| $forward:expr) => {
        check($params, $x, |$p, $v| $forward, |$p, $v| $forward)
    };
}

#[track_caller]
fn near(found: &Tensor<f64>, expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.data().iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= tolerance * b.abs().max(1.0),
            "{i}: found {a}, expected {b}"
        );
    }
}

fn value(params: &Params<f64>, id: ParamId) -> &[f64] {
    params[id].value.data()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn linear_is_a_product(
        leading in proptest::collection::vec(1usize..4, 1..3),
        inputs in 1usize..5,
        outputs in 1usize..5,
        bias: bool,
    ) {
        let (layer, params) = make(|b| Linear::with(b, inputs, outputs, Init::FanIn, bias));
        prop_assert_eq!(layer.bias().is_some(), bias);
        let x = noise(&[&leading[..], &[inputs]].concat());
        let y = check!(&params, &x, |p, x| layer.forward(p, x));
        let w = value(&params, layer.weight());
        let mut expected = Vec::new();
        for row in x.data().chunks(inputs) {
            for o in 0..outputs {
                let b = layer.bias().map_or(0.0, |bias| value(&params, bias)[o]);
                expected.push(b + (0..inputs).map(|i| row[i] * w[i * outputs + o]).sum::<f64>());
            }
        }
        near(&y, &expected, 1e-12);
        prop_assert_eq!(&y.shape()[..], &[&leading[..], &[outputs]].concat()[..]);
    }

    #[test]
    fn conv_is_a_sum_over_taps(
        size in [3usize..6, 3usize..6],
        channels in [1usize..3, 1usize..3],
        kernel in prop_oneof![Just([1, 1]), Just([3, 3]), Just([1, 3]), Just([2, 3])],
        stride in [1usize..3, 1usize..3],
        dilation in [1usize..3, 1usize..3],
        padding in [0usize..2, 0usize..3, 0usize..2, 0usize..3],
        masked: bool,
    ) {
        let [top, bottom, left, right] = padding;
        let padding = Padding { top: top + 1, bottom: bottom + 1, left: left + 1, right: right + 1 };
        let taps = Taps::from_fn(kernel[0], kernel[1], |r, c| !masked || (r, c) <= (0, 1));
        let (layer, params) = make(|b| Conv::new(b, channels[0], channels[1], kernel));
        let layer = layer.stride(stride).dilation(dilation).padding(padding).taps(taps);
        let x = noise(&[2, size[0], size[1], channels[0]]);
        let y = check!(&params, &x, |p, x| layer.forward(p, x));

        let [_, h, w, out] = y.shape()[..] else { panic!() };
        let (weight, bias) = (value(&params, layer.weight()), value(&params, layer.bias().unwrap()));
        let pixel = |n: usize, i: isize, j: isize, k: usize| {
            let inside = |at: isize, extent: usize| (0..extent as isize).contains(&at);
            if !inside(i, size[0]) || !inside(j, size[1]) {
                return 0.0;
            }
            x.data()[((n * size[0] + i as usize) * size[1] + j as usize) * channels[0] + k]
        };
        let expected = Tensor::<f64>::from_fn(*y.shape(), |at| {
            let (n, i, j, o) = (at / (h * w * out), at / (w * out) % h, at / out % w, at % out);
            let mut sum = bias[o];
            for (r, c) in taps.iter() {
                for k in 0..channels[0] {
                    let row = (i * stride[0] + r * dilation[0]) as isize - padding.top as isize;
                    let column = (j * stride[1] + c * dilation[1]) as isize - padding.left as isize;
                    let tap = (r * kernel[1] + c) * channels[0] + k;
                    sum += pixel(n, row, column, k) * weight[tap * out + o];
                }
            }
            sum
        });
        near(&y, expected.data(), 1e-12);
    }

    /// <conv x, y> = <x, transposed conv y>, and both gradients agree with finite differences.
    #[test]
    fn conv_transpose_is_the_adjoint(
        size in [2usize..4, 2usize..4],
        channels in [1usize..3, 1usize..3],
        kernel in 1usize..5,
        stride in 1usize..3,
        padding in 0usize..2,
        more in 0usize..2,
    ) {
        prop_assume!(more < stride && padding < kernel);
        let (up, params) = make(|b| {
            ConvTranspose::with(b, channels[0], channels[1], [kernel; 2], Init::FanIn, false)
                .stride([stride; 2])
                .padding(Padding::uniform(padding))
                .output_padding([more; 2])
        });
        let (down, _) = make(|b| {
            Conv::with(b, channels[1], channels[0], [kernel; 2], Init::FanIn, false)
                .stride([stride; 2])
                .padding(Padding::uniform(padding))
        });
        let small = noise(&[2, size[0], size[1], channels[0]]);
        let extent = |n: usize| (n - 1) * stride + kernel + more - 2 * padding;
        prop_assume!(size.iter().all(|&n| (n - 1) * stride + kernel + more > 2 * padding));
        let large = check!(&params, &small, |p, x| up.forward(p, x));
        prop_assert_eq!(large.shape()[..].to_vec(), [2, extent(size[0]), extent(size[1]), channels[1]]);

        let other = noise(large.shape());
        let brought_down =
            down.forward(&params.constants(), &Var::constant(other.clone())).into_value();
        prop_assert_eq!(brought_down.shape(), small.shape());
        let dot = |a: &Tensor<f64>, b: &Tensor<f64>| -> f64 {
            a.data().iter().zip(b.data()).map(|(a, b)| a * b).sum()
        };
        let (a, b) = (dot(&brought_down, &small), dot(&other, &large));
        prop_assert!((a - b).abs() < 1e-10 * (1.0 + a.abs()), "{a} {b}");
    }

    #[test]
    fn layer_norm_normalises_the_last_axis(
        leading in proptest::collection::vec(1usize..4, 1..3),
        channels in 2usize..6,
    ) {
        let (layer, params) = make(|b| LayerNorm::new(b, channels));
        let x = noise(&[&leading[..], &[channels]].concat());
        let y = check!(&params, &x, |p, x| layer.forward(p, x));
        let (gain, bias) = (value(&params, ParamId::nth(0)), value(&params, ParamId::nth(1)));
        let mut expected = Vec::new();
        for row in x.data().chunks(channels) {
            let mean = row.iter().sum::<f64>() / channels as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / channels as f64;
            let scale = 1.0 / (variance + 1e-5).sqrt();
            expected.extend((0..channels).map(|c| (row[c] - mean) * scale * gain[c] + bias[c]));
        }
        near(&y, &expected, 1e-10);
    }

    #[test]
    fn batch_norm_normalises_channels(
        leading in proptest::collection::vec(1usize..4, 1..4),
        channels in 1usize..4,
    ) {
        let rows: usize = leading.iter().product();
        prop_assume!(rows > 1);
        let (layer, params) = make(|b| BatchNorm::new(b, channels));
        let x = noise(&[&leading[..], &[channels]].concat());
        let y = check!(&params, &x, |p, x| layer.forward(p, x, Mode::Train));
        let (gain, bias) = (value(&params, ParamId::nth(0)), value(&params, ParamId::nth(1)));
        let column = |c: usize| x.data().iter().skip(c).step_by(channels).copied();
        let mut expected = vec![0.0; x.len()];
        let mut running = Vec::new();
        for c in 0..channels {
            let mean = column(c).sum::<f64>() / rows as f64;
            let squares = column(c).map(|x| (x - mean).powi(2)).sum::<f64>();
            let scale = gain[c] / (squares / rows as f64 + 1e-5).sqrt();
            for (r, x) in column(c).enumerate() {
                expected[r * channels + c] = (x - mean) * scale + bias[c];
            }
            running.push((0.1 * mean, 0.9 + 0.1 * squares / (rows - 1) as f64));
        }
        near(&y, &expected, 1e-10);

        // The running statistics it leaves, and evaluation with them.
        let p = params.constants();
        layer.forward(&p, &Var::constant(x.clone()), Mode::Train);
        let mut params = params.clone();
        for (id, update) in p.take_updates() {
            params.get_mut(id).value = update.apply(&params[id].value);
        }
        near(&params[ParamId::nth(2)].value, &running.iter().map(|r| r.0).collect::<Vec<_>>(), 1e-12);
        near(&params[ParamId::nth(3)].value, &running.iter().map(|r| r.1).collect::<Vec<_>>(), 1e-12);
        let y = check!(&params, &x, |p, x| layer.forward(p, x, Mode::Evaluate));
        let expected: Vec<f64> = (x.data().iter().enumerate())
            .map(|(i, x)| {
                let c = i % channels;
                (x - running[c].0) / (running[c].1 + 1e-5).sqrt() * gain[c] + bias[c]
            })
            .collect();
        near(&y, &expected, 1e-10);
    }
}

#[test]
fn activations_are_part_of_the_layer() {
    let (linear, linear_params) = make(|b| Linear::new(b, 3, 4));
    let (conv, conv_params) = make(|b| Conv::with(b, 3, 4, [1, 1], Init::FanIn, false));
    let x = noise(&[2, 3]);
    let image = Var::constant(x.reshape([2, 1, 1, 3]));
    let x = Var::constant(x);
    let leaky = Activation::LeakyRelu(0.25);
    let expect = |y: Var<f64>| y.value().map(|y| if y > 0.0 { y } else { 0.25 * y });
    let p = linear_params.constants();
    near(
        linear.forward_with(&p, &x, leaky).value(),
        expect(linear.forward(&p, &x)).data(),
        1e-15,
    );
    let p = conv_params.constants();
    near(
        conv.forward_with(&p, &image, leaky).value(),
        expect(conv.forward(&p, &image)).data(),
        1e-15,
    );
}

#[test]
fn a_masked_weight_is_multiplied_and_kept() {
    let (layer, params) = make(|b| Linear::new(b, 2, 2));
    let mask = Tensor::<f64>::new([2, 2], &[1.0, 0.0, 0.0, 1.0]);
    let before = params[layer.weight()].value.clone();
    let x = noise(&[3, 2]);
    let y = check(
        &params,
        &x,
        |p, x| layer.forward_masked(p, x, &Var::constant(mask.clone()), Activation::Identity),
        |p, x| layer.forward_masked(p, x, &Var::constant(mask.cast()), Activation::Identity),
    );
    let bias = value(&params, layer.bias().unwrap());
    for (y, x) in y.data().chunks(2).zip(x.data().chunks(2)) {
        for i in 0..2 {
            let expected = x[i] * before.data()[3 * i] + bias[i];
            assert!((y[i] - expected).abs() < 1e-12);
        }
    }
    assert_eq!(params[layer.weight()].value, before);
}

#[test]
fn a_causal_convolution_sees_what_came_before() {
    for (causal, sees_itself) in [(Causal::A, false), (Causal::B, true)] {
        let (layer, params) = make(|b| Conv::new(b, 1, 1, [3, 3]));
        let layer = layer
            .padding(Padding::same(3))
            .taps(causal_taps([3, 3], causal));
        let tape = grad::Tape::new();
        let x = tape.var(noise(&[1, 3, 3, 1]));
        let y = layer.forward(&params.constants(), &x).reshape([9]);
        for k in 0..9 {
            let gradient = tape.gradients(&y.slice(0, k..k + 1), &[&x]).remove(0);
            for (j, &g) in gradient.data().iter().enumerate() {
                let (rows, columns) = ((k / 3).abs_diff(j / 3), (k % 3).abs_diff(j % 3));
                let seen = (j < k || (sees_itself && j == k)) && rows <= 1 && columns <= 1;
                assert_eq!(g != 0.0, seen, "{causal:?}: pixel {k} and pixel {j}");
            }
        }
    }
}

#[test]
fn batch_norm_follows_two_batches_in_one_step() {
    let (layer, params) = make(|b| BatchNorm::new(b, 1));
    let p = params.constants();
    for mean in [1.0, 3.0] {
        let x = Tensor::new([2, 1], &[mean - 1.0, mean + 1.0]);
        layer.forward(&p, &Var::constant(x), Mode::Train);
    }
    let mean = p.latest(ParamId::nth(2));
    assert!((mean.item() - (0.9 * 0.1 + 0.1 * 3.0)).abs() < 1e-12);
    let (_, last) = (p.take_updates().into_iter())
        .rfind(|(id, _)| id.index() == 2)
        .unwrap();
    assert_eq!(last.apply(&params[ParamId::nth(2)].value), mean);
}

#[test]
fn an_embedding_is_a_table() {
    let (layer, params) = make(|b| Embedding::new(b, 4, 3));
    let indices: std::sync::Arc<[u32]> = [2, 0, 2].into();
    let p = params.constants();
    let y = layer.forward(&p, indices.clone());
    let table = value(&params, layer.weight());
    near(
        y.value(),
        &[&table[6..9], &table[0..3], &table[6..9]].concat(),
        0.0,
    );
    let f =
        |vars: &[Var<f64>]| layer.forward(&Bound::from_vars(vars.iter().cloned()), indices.clone());
    check::gradients(
        "embedding",
        &[params[layer.weight()].value.clone()],
        f,
        Order::Second,
    )
    .unwrap();
}

#[test]
fn dropout_keeps_the_mean_and_the_rows_apart() {
    let dropout = Dropout::new(0.3);
    let ones = Var::constant(Tensor::<f64>::ones([4, 10_000]));
    let stream_of = |i: usize| random::stream(&[5, i as u64]);
    let y = dropout.forward(&ones, stream_of);
    for row in y.value().data().chunks(10_000) {
        assert!(
            row.iter()
                .all(|&y| y == 0.0 || (y - 1.0 / 0.7).abs() < 1e-12)
        );
        let mean = row.iter().sum::<f64>() / 1e4;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
    }
    // Row 2 alone gives the same as row 2 among others.
    let alone = dropout.forward(&Var::constant(Tensor::<f64>::ones([1, 10_000])), |_| {
        stream_of(2)
    });
    assert_eq!(alone.value().data(), &y.value().data()[20_000..30_000]);
    assert_eq!(
        Dropout::new(0.0).forward(&ones, stream_of).value(),
        ones.value()
    );
    let x = noise(&[2, 3]);
    let f = |x: &[Var<f64>]| dropout.forward(&x[0], stream_of);
    check::gradients("dropout", &[x], f, Order::Second).unwrap();
}

#[test]
#[should_panic(expected = "conv: expected x of shape [B, H, W, 3], found [2, 5, 5, 4]")]
fn a_wrong_image_is_named() {
    let (layer, params) = make(|b| Conv::new(b, 3, 1, [3, 3]));
    layer.forward(&params.constants(), &Var::constant(noise(&[2, 5, 5, 4])));
}
