//! Every causal layer: its steps are its whole, to the last bit. The diagonal scan against the
//! paper's skewed maps.

use autoregressive::causal::{
    At, Attention, Begin, Causal, Centred, DiagonalBiLstm, Dropped, Masked, Norm, Pass, Positions,
    Relu, Residual, RowLstm, Sublayer, Tokens, Values, Widened,
};
use grad::kernels::attention::Pattern;
use grad::kernels::gemm::Activation;
use grad::{Tensor, Var};
use nn::masks::Causal as Mask;
use nn::model::ImageSpec;
use nn::random::{normal_tensor, stream};
use nn::{Builder, Params};

const COUNT: usize = 3;

/// Holds a layer's steps against its whole on maps `[3, height, width, channels]`. Places come in
/// this order; each comes once for each colour.
fn check(
    name: &str,
    [height, width, channels]: [usize; 3],
    colours: usize,
    order: impl Fn(usize) -> usize,
    make: impl Fn(&mut Builder) -> Box<dyn Dynamic>,
) {
    let mut params = Params::new();
    let layer = make(&mut Builder::new(&mut params, 7));
    for (i, param) in params.iter_mut().enumerate() {
        // No parameter stays at 0 or 1, and states are far from small.
        let noise: Tensor<f32> = normal_tensor(*param.value.shape(), &mut stream(&[9, i as u64]));
        let noise = noise.data().iter();
        let values = param.value.make_mut().iter_mut();
        values
            .zip(noise)
            .for_each(|(w, noise)| *w = 1.5 * *w + 0.1 * noise);
    }
    let p = params.constants();
    let x: Tensor<f32> = normal_tensor([COUNT, height, width, channels], &mut stream(&[8]));
    let whole = layer.whole(&Pass::new(&p), &Var::constant(x.clone()));
    let steps = layer.steps(&p);
    let begin = Begin {
        count: COUNT,
        size: [height, width],
        classes: None,
    };
    let mut cache = steps.begin(&begin);
    let places = height * width;
    let outputs = whole.value().len() / COUNT / places;
    for turn in 0..places * colours {
        let dimension = order(turn);
        let (place, colour) = (dimension / colours, dimension % colours);
        let at = At {
            pixel: [place / width, place % width],
            colour,
            dimension,
            turn,
        };
        let column: Vec<f32> = (x.data().chunks_exact(places * channels))
            .flat_map(|image| &image[place * channels..][..channels])
            .copied()
            .collect();
        let y = cache.step(at, &column).to_vec();
        cache.fix(at, &column);
        if colour + 1 == colours {
            for (image, y) in y.chunks_exact(outputs).enumerate() {
                let expected =
                    &whole.value().data()[(image * places + place) * outputs..][..outputs];
                assert_eq!(y, expected, "{name}: image {image}, place {place}");
            }
        }
    }
}

/// Makes a layer.
type Make<'a> = &'a dyn Fn(&mut Builder) -> Box<dyn Dynamic>;

/// [`Causal`] in f32, as an object.
trait Dynamic {
    fn whole(&self, pass: &Pass<f32>, x: &Var<f32>) -> Var<f32>;
    fn steps(&self, p: &nn::Bound<f32>) -> Box<dyn autoregressive::causal::Steps>;
}

impl<L: Causal> Dynamic for L {
    fn whole(&self, pass: &Pass<f32>, x: &Var<f32>) -> Var<f32> {
        Causal::whole(self, pass, x)
    }
    fn steps(&self, p: &nn::Bound<f32>) -> Box<dyn autoregressive::causal::Steps> {
        Causal::steps(self, p)
    }
}

#[test]
fn masked_convolutions() {
    for colours in [1, 3] {
        for (mask, k) in [(Mask::A, 7), (Mask::B, 3), (Mask::B, 1)] {
            for activation in [Activation::Identity, Activation::Relu] {
                let make = |b: &mut Builder| -> Box<dyn Dynamic> {
                    Box::new(Masked::new(b, [6, 9], [k, k], mask, colours, activation))
                };
                check(&format!("{mask:?} {k}"), [5, 6, 6], colours, |i| i, make);
            }
        }
    }
}

#[test]
fn recurrent_layers() {
    for colours in [1, 3] {
        for size in [[5, 6], [1, 4], [4, 1], [3, 9]] {
            for hidden in [4, 17] {
                let shape = [size[0], size[1], 8];
                let row = |b: &mut Builder| -> Box<dyn Dynamic> {
                    Box::new(RowLstm::new(b, 8, hidden, colours))
                };
                check("row lstm", shape, colours, |i| i, row);
                let diagonal = |b: &mut Builder| -> Box<dyn Dynamic> {
                    Box::new(DiagonalBiLstm::new(b, 8, hidden, colours))
                };
                check("diagonal bilstm", shape, colours, |i| i, diagonal);
            }
        }
    }
}

#[test]
fn attention() {
    let length = 60;
    for pattern in [
        Pattern::Causal { strict: false },
        Pattern::Local {
            query: 16,
            memory: 16,
        },
        Pattern::Local2d {
            size: [6, 10],
            query: [4, 4],
            flange: [2, 3],
        },
    ] {
        let turns = pattern.turns(length);
        for (channels, heads) in [(8, 1), (12, 3), (32, 2)] {
            let make = |b: &mut Builder| -> Box<dyn Dynamic> {
                Box::new(Attention::new(b, channels, heads, pattern, length))
            };
            let order = |i: usize| turns[i].position;
            check(
                &format!("{pattern:?}"),
                [1, length, channels],
                1,
                order,
                make,
            );
        }
    }
}

#[test]
fn tokens() {
    let kinds = [Values::Embedded, Values::Real];
    for (values, positions) in kinds.into_iter().flat_map(|values| {
        [Positions::Learned, Positions::Sinusoidal].map(|positions| (values, positions))
    }) {
        for channels in [1, 3] {
            let spec = ImageSpec::new(3, 4, channels, 5);
            let mut params = Params::new();
            let order: Vec<u32> = (0..spec.dims() as u32).rev().collect();
            let kinds = (values, positions);
            let layer = Tokens::new(
                &mut Builder::new(&mut params, 1),
                &spec,
                &order,
                7,
                kinds,
                None,
            );
            let p = params.constants();
            let shape = spec.shape(COUNT);
            let x = Tensor::from_fn(shape, |i| (i * i % 5) as f32 / 4.0);
            let whole = Causal::whole(&layer, &Pass::new(&p), &Var::constant(x.clone()));
            let steps = Causal::steps(&layer, &p);
            let begin = Begin {
                count: COUNT,
                size: [3, 4],
                classes: None,
            };
            let mut cache = steps.begin(&begin);
            for (turn, &d) in order.iter().enumerate() {
                let (d, pixel) = (d as usize, d as usize / channels);
                let at = At {
                    pixel: [pixel / 4, pixel % 4],
                    colour: d % channels,
                    dimension: d,
                    turn,
                };
                let pixels: Vec<f32> = (x.data().chunks_exact(spec.dims()))
                    .flat_map(|image| &image[pixel * channels..][..channels])
                    .copied()
                    .collect();
                let y = cache.step(at, &pixels).to_vec();
                cache.fix(at, &pixels);
                for (image, y) in y.chunks_exact(7).enumerate() {
                    let expected = &whole.value().data()[(image * spec.dims() + d) * 7..][..7];
                    assert_eq!(y, expected, "{values:?} {positions:?}, {d}");
                }
            }
        }
    }
}

#[test]
fn compositions() {
    let linear = |b: &mut Builder, name: &str, io, activation| {
        Masked::pointwise(&mut b.scope(name), io, activation)
    };
    let pair = |b: &mut Builder| {
        let first = linear(b, "0", [6, 10], Activation::Relu);
        (first, linear(b, "1", [10, 6], Activation::Identity))
    };
    let spec = ImageSpec::new(4, 5, 1, 4);
    let kinds: [(&str, Make); 6] = [
        ("widened", &|b| {
            let first = Masked::new(
                &mut b.scope("a"),
                [6, 8],
                [3, 3],
                Mask::A,
                1,
                Activation::Relu,
            );
            Box::new(Widened((first, DiagonalBiLstm::new(b, 8, 5, 1))))
        }),
        ("residual", &|b| Box::new(Residual(pair(b)))),
        ("before", &|b| {
            let norm = Norm::new(&mut b.scope("norm"), 6);
            Box::new(Sublayer::Before(Residual((
                norm,
                Dropped::new(pair(b), 0.3, "a"),
            ))))
        }),
        ("behind", &|b| {
            let norm = Norm::new(&mut b.scope("norm"), 6);
            Box::new(Sublayer::Behind((
                Residual(Dropped::new(pair(b), 0.3, "a")),
                norm,
            )))
        }),
        ("list", &|b| {
            let layer = |i: usize| Residual((pair(&mut b.scope(i)), Relu));
            Box::new((0..3).map(layer).collect::<Vec<_>>())
        }),
        ("centred", &|b| {
            let first = Masked::new(b, [6, 4], [3, 3], Mask::A, 1, Activation::Identity);
            Box::new((Centred::new(&spec, first), Relu))
        }),
    ];
    for (name, make) in kinds {
        check(name, [4, 5, 6], 1, |i| i, make);
    }
}

/// Row r moved r columns to the right: `[B, H, W, C]` -> `[B, H, W + H - 1, C]`.
fn skew(x: &Var<f64>) -> Var<f64> {
    let height = x.shape()[1];
    let rows: Vec<_> = (0..height)
        .map(|r| x.slice(1, r..r + 1).pad(2, r, height - 1 - r))
        .collect();
    Var::concat(&rows.iter().collect::<Vec<_>>(), 1)
}

/// And back.
fn unskew(x: &Var<f64>, width: usize) -> Var<f64> {
    let rows: Vec<_> = (0..x.shape()[1])
        .map(|r| x.slice(1, r..r + 1).slice(2, r..r + width))
        .collect();
    Var::concat(&rows.iter().collect::<Vec<_>>(), 1)
}

/// The paper's way: columns of the skewed map in turn, each seeing the one before through a 2x1
/// convolution, its own row and the one above.
fn by_columns(x: &Var<f64>, w: &Var<f64>) -> Var<f64> {
    let &[batch, height, width, gates] = &x.shape()[..] else {
        panic!("gates of a map");
    };
    let n = gates / 4;
    let x = skew(x);
    let tap = |i: usize| w.slice(0, i..i + 1).reshape([n, gates]);
    let zeros = || Var::constant(Tensor::zeros([batch, height, n]));
    let (mut h, mut c, mut columns) = (zeros(), zeros(), Vec::new());
    for column in 0..width + height - 1 {
        let own = x
            .slice(2, column..column + 1)
            .reshape([batch, height, gates]);
        // One row further down, with zeros above the first: never a row of below.
        let above = h.pad(1, 1, 0).slice(1, 0..height);
        let rows = |x: &Var<f64>| x.reshape([batch * height, n]);
        let a = rows(&above).matmul(&tap(0)) + rows(&h).matmul(&tap(1));
        let a = own + a.reshape([batch, height, gates]);
        let part = |i: usize| a.slice(2, i * n..(i + 1) * n);
        c = part(1).sigmoid() * &c + part(0).sigmoid() * part(3).tanh();
        h = part(2).sigmoid() * c.tanh();
        // Beside the image there is no state.
        let inside = Tensor::from_fn([1, height, 1], |r| {
            f64::from(u8::from(column >= r && column - r < width))
        });
        let inside = Var::constant(inside);
        (h, c) = (h * &inside, c * &inside);
        columns.push(h.reshape([batch, height, 1, n]));
    }
    unskew(&Var::concat(&columns.iter().collect::<Vec<_>>(), 2), width)
}

#[test]
fn diagonals_are_columns_of_the_skewed_map() {
    for [height, width] in [[4, 5], [5, 3], [1, 4], [6, 1]] {
        let noise = |shape: &[usize], seed| {
            Var::<f64>::constant(normal_tensor(shape, &mut stream(&[seed])))
        };
        let map = noise(&[2, height, width, 8], 1);
        let back = unskew(&skew(&map), width);
        assert_eq!(back.value(), map.value(), "skew and unskew");
        let x = [map, noise(&[2, height, width, 8], 2)];
        let w = [noise(&[2, 2, 8], 3), noise(&[2, 2, 8], 4)];
        let left = by_columns(&x[0], &w[0]);
        let right = by_columns(&x[1].flip(2), &w[1]).flip(2);
        // The right one a row further down, or it shows a pixel what lies right of it.
        let expected = left + right.pad(1, 1, 0).slice(1, 0..height);
        let found = Var::diagonal_bilstm(x.each_ref(), w.each_ref());
        for (found, expected) in found.value().data().iter().zip(expected.value().data()) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }
}
