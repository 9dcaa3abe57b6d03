//! Shapes, broadcasting patterns, transposes and convolution geometries drawn at random, against
//! plain loops and finite differences.

use grad::check::{Order, gradients};
use grad::kernels::conv::{Conv2d, Padding, Taps};
use grad::{Shape, Tape, Tensor, Var};
use proptest::prelude::*;

fn values(shape: impl Into<Shape>, seed: u64) -> Tensor<f64> {
    let mut state = seed;
    Tensor::from_fn(shape, |_| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 31) as f64 * 2.0 - 1.0
    })
}

/// Two shapes that broadcast: a common shape with some extents 1 and some leading axes missing.
fn broadcastable() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    let operand = |rank: usize| (prop::collection::vec(any::<bool>(), rank), 0..=rank);
    prop::collection::vec(1usize..4, 0..=4)
        .prop_flat_map(move |shape| {
            let rank = shape.len();
            (Just(shape), operand(rank), operand(rank))
        })
        .prop_map(|(shape, a, b)| {
            let shrink = |(ones, skipped): (Vec<bool>, usize)| -> Vec<usize> {
                let extent = |(&extent, one): (&usize, bool)| if one { 1 } else { extent };
                shape.iter().zip(ones).map(extent).skip(skipped).collect()
            };
            (shrink(a), shrink(b))
        })
}

/// The number of `x` that belongs to place `i` of `shape`, stretched to it.
fn stretched(x: &Tensor<f64>, shape: &Shape, i: usize) -> f64 {
    let skipped = shape.rank() - x.shape().rank();
    let along = |axis: usize| {
        let place = i / shape.strides()[axis + skipped] % shape[axis + skipped];
        (place % x.shape()[axis]) * x.shape().strides()[axis]
    };
    x.data()[(0..x.shape().rank()).map(along).sum::<usize>()]
}

#[derive(Clone, Debug)]
struct Geometry(Conv2d);

fn geometry() -> impl Strategy<Value = Geometry> {
    let image = (1usize..3, 1usize..6, 1usize..6, 1usize..4);
    let kernel = (1usize..4, 1usize..4);
    let steps = ([1usize..3, 1..3], [1usize..3, 1..3]);
    let padding = [0usize..3, 0..3, 0..3, 0..3];
    (image, 1usize..4, kernel, steps, padding, any::<u16>()).prop_map(
        |((b, h, w, c), out, (kh, kw), (stride, dilation), [top, bottom, left, right], mask)| {
            let padding = Padding {
                top,
                bottom,
                left,
                right,
            };
            let taps = Taps::from_fn(kh, kw, |r, c| mask >> (r * kw + c) & 1 == 1);
            Geometry(
                Conv2d::new([b, h, w, c], out, [kh, kw])
                    .with_stride(stride)
                    .with_dilation(dilation)
                    .with_padding(padding)
                    .with_taps(taps),
            )
        },
    )
}

impl Geometry {
    fn shapes(&self) -> [Shape; 3] {
        let g = &self.0;
        [
            Shape::new(&[g.batch, g.in_height, g.in_width, g.in_channels]),
            Shape::new(&[g.kernel[0], g.kernel[1], g.in_channels, g.out_channels]),
            Shape::new(&[g.batch, g.out_height(), g.out_width(), g.out_channels]),
        ]
    }
}

fn dot(a: &Tensor<f64>, b: &Tensor<f64>) -> f64 {
    a.data().iter().zip(b.data()).map(|(a, b)| a * b).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn broadcasting_is_numpys((a, b) in broadcastable(), seed in any::<u64>()) {
        let (a, b) = (values(&a[..], seed), values(&b[..], !seed).map(|x| x + x.signum()));
        let shape = a.shape().broadcast(b.shape()).unwrap();
        let (va, vb) = (Var::constant(a.clone()), Var::constant(b.clone()));
        type Case = (Var<f64>, fn(f64, f64) -> f64);
        let cases: [Case; 6] = [
            (&va + &vb, |a, b| a + b),
            (&va - &vb, |a, b| a - b),
            (&va * &vb, |a, b| a * b),
            (&va / &vb, |a, b| a / b),
            (va.max(&vb), f64::max),
            (va.min(&vb), f64::min),
        ];
        for (found, f) in cases {
            let expected = Tensor::from_fn(shape, |i| {
                f(stretched(&a, &shape, i), stretched(&b, &shape, i))
            });
            prop_assert_eq!(found.into_value(), expected);
        }
        let mask = Tensor::from_fn(shape, |i| (i % 3 != 1) as u8 as f64);
        let expected = Tensor::from_fn(shape, |i| {
            stretched(if i % 3 != 1 { &a } else { &b }, &shape, i)
        });
        prop_assert_eq!(Var::select(&mask, &va, &vb).into_value(), expected);
        let expected = Tensor::from_fn(shape, |i| stretched(&a, &shape, i));
        prop_assert_eq!(va.broadcast_to(shape).into_value(), expected.clone());
        // The adjoint: <sum_to(y), x> = <y, broadcast_to(x)>.
        let y = values(shape, seed ^ 5);
        let left = dot(Var::constant(y.clone()).sum_to(*a.shape()).value(), &a);
        prop_assert!((left - dot(&y, &expected)).abs() < 1e-12 * (1.0 + left.abs()));
    }

    #[test]
    fn gradients_of_broadcasts((a, b) in broadcastable(), seed in any::<u64>()) {
        let inputs = [values(&a[..], seed), values(&b[..], !seed).map(|x| x + 1.5 * x.signum())];
        let f = |x: &[Var<f64>]| (&x[0] * &x[1] - &x[0]) / &x[1];
        gradients("broadcast", &inputs, f, Order::Second)
            .map_err(|mismatch| TestCaseError::fail(mismatch.to_string()))?;
    }

    #[test]
    fn matmul_is_rows_times_columns(
        [batch, m, k, n] in [1usize..4, 0usize..5, 0usize..5, 0usize..5],
        (ta, tb) in any::<(bool, bool)>(),
        seed in any::<u64>(),
    ) {
        let matrix = |rows, cols, t| if t { [batch, cols, rows] } else { [batch, rows, cols] };
        let (a, b) = (values(matrix(m, k, ta), seed), values(matrix(k, n, tb), !seed));
        let at = |x: &Tensor<f64>, z, i, j, t| {
            let [_, _, cols] = x.shape()[..] else { unreachable!() };
            let rows_cols = x.shape()[1] * cols;
            x.data()[z * rows_cols + if t { j * cols + i } else { i * cols + j }]
        };
        let expected = Tensor::from_fn([batch, m, n], |at_| {
            let (z, i, j) = (at_ / (m * n), at_ / n % m, at_ % n);
            let terms = (0..k).map(|p| at(&a, z, i, p, ta) * at(&b, z, p, j, tb));
            terms.sum::<f64>()
        });
        let found = Var::constant(a.clone()).matmul_with(&Var::constant(b.clone()), ta, tb);
        prop_assert_eq!(found.shape(), expected.shape());
        for (e, f) in expected.data().iter().zip(found.value().data()) {
            prop_assert!((e - f).abs() < 1e-12);
        }
        let f = |x: &[Var<f64>]| x[0].matmul_with(&x[1], ta, tb);
        gradients("matmul", &[a, b], f, Order::Second)
            .map_err(|mismatch| TestCaseError::fail(mismatch.to_string()))?;
    }

    #[test]
    fn sums_over_any_axes(
        shape in prop::collection::vec(1usize..5, 0..=5),
        chosen in any::<u8>(),
        seed in any::<u64>(),
    ) {
        let axes: Vec<_> = (0..shape.len()).filter(|axis| chosen >> axis & 1 == 1).collect();
        let x = values(&shape[..], seed);
        let kept: Vec<_> = (0..shape.len())
            .map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] })
            .collect();
        let kept = Shape::new(&kept);
        let mut expected = vec![0.0; kept.elements()];
        for i in 0..x.len() {
            let along = |axis: usize| {
                (i / x.shape().strides()[axis] % shape[axis] % kept[axis]) * kept.strides()[axis]
            };
            expected[(0..shape.len()).map(along).sum::<usize>()] += x.data()[i];
        }
        let x = Var::constant(x);
        let (keep, drop) = (x.sum_axes_keep(&axes), x.sum_axes(&axes));
        prop_assert_eq!(*keep.shape(), kept);
        prop_assert_eq!(drop.shape().rank(), shape.len() - axes.len());
        for (e, (k, d)) in expected.iter().zip(keep.value().data().iter().zip(drop.value().data())) {
            prop_assert!((e - k).abs() < 1e-12 && k == d);
        }
    }

    #[test]
    fn the_convolution_family_is_one_trilinear_form(
        geometry in geometry(),
        seed in any::<u64>(),
    ) {
        // <x * w, y> is the same number from all three sides.
        let g = geometry.0;
        let [x, w, y] = geometry.shapes().map(|shape| {
            Var::constant(values(shape, seed ^ shape.elements() as u64))
        });
        let forward = dot(x.conv2d(&w, g).value(), y.value());
        let by_input = dot(y.conv2d_input_gradient(&w, g).value(), x.value());
        let by_weight = dot(x.conv2d_weight_gradient(&y, g).value(), w.value());
        let near = |a: f64, b: f64| (a - b).abs() < 1e-11 * (1.0 + a.abs() + x.value().len() as f64);
        prop_assert!(near(forward, by_input) && near(forward, by_weight));
    }

    #[test]
    fn permute_and_flip_move_every_number(
        shape in prop::collection::vec(1usize..5, 1..=5),
        seed in any::<u64>(),
    ) {
        let rank = shape.len();
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.sort_by_key(|&axis| seed.rotate_left(13 * axis as u32));
        let x = values(&shape[..], seed);
        let permuted = Var::constant(x.clone()).permute(&axes);
        for i in 0..x.len() {
            let place = |axis: usize| i / x.shape().strides()[axis] % shape[axis];
            let to: usize = (0..rank).map(|j| place(axes[j]) * permuted.shape().strides()[j]).sum();
            prop_assert_eq!(permuted.value().data()[to], x.data()[i]);
        }
        let axis = (seed % rank as u64) as usize;
        let twice = Var::constant(x.clone()).flip(axis).flip(axis);
        prop_assert_eq!(twice.into_value(), x);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn gradients_of_convolutions(geometry in geometry(), seed in any::<u64>()) {
        let [x, w, _] = geometry.shapes().map(|shape| values(shape, seed ^ shape.elements() as u64));
        prop_assume!(x.len() * w.len() < 1500);
        let f = |x: &[Var<f64>]| x[0].conv2d(&x[1], geometry.0);
        gradients("conv2d", &[x, w], f, Order::Second)
            .map_err(|mismatch| TestCaseError::fail(mismatch.to_string()))?;
    }
}

#[test]
fn the_gradient_penalty_of_a_linear_critic_is_exact() {
    // |d (w x) / dx| = |w|, so the penalty (|w| - 1)^2 has the gradient 2 (|w| - 1) w / |w|.
    let w = Tensor::new([3, 1], &[0.6, -1.2, 0.4]);
    let norm = 1.4;
    let tape = Tape::new();
    let (x, critic) = (tape.var(values([2, 3], 1)), tape.var(w.clone()));
    let score = x.matmul(&critic).sum();
    let gx = &tape.gradients_recorded(&score, &[&x])[0];
    let penalty = (gx.square().sum_axes(&[1]).sqrt() - 1.0).square().mean();
    assert!((penalty.item() - (norm - 1.0f64).powi(2)).abs() < 1e-12);
    let g = &tape.gradients(&penalty, &[&critic])[0];
    for (g, w) in g.data().iter().zip(w.data()) {
        assert!((g - 2.0 * (norm - 1.0) * w / norm).abs() < 1e-12);
    }
}

/// A sum over millions of numbers is as right as one over hundreds: partial sums are added pairwise.
#[test]
fn long_sums_are_right() {
    let count = 1 << 24;
    let x = Var::constant(Tensor::full([2, count / 2], 0.1f32));
    let exact = f64::from(0.1f32) * count as f64;
    for (sum, expected) in [
        (x.sum().item(), exact),
        (x.sum_axes(&[1]).value().data()[1], exact / 2.0),
        (x.mean().item(), exact / count as f64),
    ] {
        let error = (f64::from(sum) - expected).abs() / expected;
        assert!(error < 2e-5, "{sum}, expected {expected}");
    }
}
