//! The three kernels against their naive twins, against each other, and on any number of threads.

use kernels::conv::{
    Arranged, Conv2d, Padding, Sums, Taps, Weights, forward, input_gradient,
    weight_and_bias_gradient, weight_gradient,
};
use kernels::gemm::{Activation, Beta, Epilogue};
use kernels::reference::{conv_forward, conv_input_gradient, conv_weight_gradient};
use kernels::testing::{Kind, always};
use kernels::{Element, Isa, parallel};
use proptest::prelude::*;

/// Numbers in [-1, 1] that look random.
fn numbers<T: From<f32>>(seed: u64, len: usize) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0).into()
        })
        .collect()
}

/// Asserts that each number is as near as a sum of `terms` products of size at most 1 allows.
fn near<T: Copy + Into<f64>>(what: &str, terms: usize, found: &[T], expected: &[f64]) {
    let epsilon = if size_of::<T>() == 4 { 6e-8 } else { 1.2e-16 };
    let bound = epsilon * (terms as f64 + 3.0) * (terms as f64 / 3.0 + 2.0).max(4.0);
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let found: f64 = found.into();
        assert!(
            (found - expected).abs() <= bound,
            "{what}: [{at}] is {found}, expected {expected}"
        );
    }
}

/// x, w and gy for a geometry; weights of unused taps are NaN, which must not get anywhere.
fn tensors<T: Element + From<f32>>(g: &Conv2d) -> [Vec<T>; 3] {
    let mut w = numbers::<T>(2, g.w_len());
    let tap = g.in_channels * g.out_channels;
    for r in 0..g.kernel[0] {
        for c in 0..g.kernel[1] {
            if !g.taps.contains(r, c) {
                w[(r * g.kernel[1] + c) * tap..][..tap].fill(f32::NAN.into());
            }
        }
    }
    [numbers(1, g.x_len()), w, numbers(3, g.y_len())]
}

struct Results<T> {
    y: Vec<T>,
    gx: Vec<T>,
    gw: Vec<T>,
    /// gw added to what [`start`] gives.
    gw_sum: Vec<T>,
    gb: Vec<T>,
}

/// What a gradient is added to.
fn start<T: From<f32>>(len: usize) -> Vec<T> {
    numbers(6, len)
}

/// All three kernels into buffers full of NaN.
fn run<T: Element + From<f32>>(
    g: &Conv2d,
    [x, w, gy]: &[Vec<T>; 3],
    plus: Option<&[T]>,
    epilogue: Epilogue<T>,
    (sums, fast): (Sums, Option<Kind>),
) -> Results<T> {
    // Fast sums of any size, not of those for which they are faster.
    always(fast);
    let nan = |len| vec![T::from(f32::NAN); len];
    let is_unwritten = |x: &[T]| x.iter().all(|x| x.partial_cmp(x).is_none());
    let (mut y, mut gx, mut gw) = (nan(g.y_len()), nan(g.x_len()), nan(g.w_len()));
    let kept = Arranged::new();
    // The first call arranges the weights, the second finds them arranged.
    for w in [
        Weights::kept(w, &kept),
        Weights::kept(w, &kept),
        Weights::new(w),
    ] {
        let before = std::mem::replace(&mut y, nan(g.y_len()));
        forward(g, x, w, plus, &mut y, epilogue, sums);
        assert!(is_unwritten(&before) || before == y, "{g:?}");
        let before = std::mem::replace(&mut gx, nan(g.x_len()));
        input_gradient(g, gy, w, Beta::Zero, &mut gx);
        assert!(is_unwritten(&before) || before == gx, "{g:?}");
        let before = start::<T>(gx.len());
        let mut sum = before.clone();
        input_gradient(g, gy, w, Beta::One, &mut sum);
        let added = before.iter().zip(&gx).map(|(&before, &gx)| before + gx);
        assert!(added.eq(sum), "{g:?}");
    }
    weight_gradient(g, x, gy, Beta::Zero, &mut gw);
    let mut gw_sum = start(gw.len());
    weight_gradient(g, x, gy, Beta::One, &mut gw_sum);
    let (mut gw_beside, mut gb) = (nan(gw.len()), nan(g.out_channels));
    weight_and_bias_gradient(g, x, gy, Beta::Zero, &mut gw_beside, &mut gb);
    assert!(gw == gw_beside, "{g:?}");
    always(None);
    Results {
        y,
        gx,
        gw,
        gw_sum,
        gb,
    }
}

/// Every instruction set with both kinds of sums, the fast ones in both ways.
fn ways() -> impl Iterator<Item = (Isa, (Sums, Option<Kind>))> {
    use Kind::{Narrow, Wide};
    let all = [
        (Sums::InOrder, None),
        (Sums::Fast, Some(Wide)),
        (Sums::Fast, Some(Narrow)),
    ];
    Isa::available().flat_map(move |isa| all.map(|sums| (isa, sums)))
}

/// The three kernels on every instruction set against the naive twins.
fn check<T: Element + From<f32> + Into<f64>>(
    g: &Conv2d,
    bias: bool,
    plus: bool,
    activation: Activation,
) {
    let tensors = tensors::<T>(g);
    let [x, w, gy] = &tensors;
    let biases = numbers::<T>(4, g.out_channels);
    let epilogue = Epilogue {
        bias: bias.then_some(&biases[..]),
        activation,
    };
    let addend = numbers::<T>(5, g.y_len());
    let plus = plus.then_some(&addend[..]);
    let y = conv_forward(g, x, w, plus, epilogue);
    let gx = conv_input_gradient(g, gy, w);
    let gw = conv_weight_gradient(g, x, gy);
    for (isa, sums) in ways() {
        let found = isa.scoped(|| run(g, &tensors, plus, epilogue, sums));
        let taps = g.taps.count();
        let what = |kernel| {
            format!(
                "{isa} {sums:?} {kernel} {g:?} {epilogue:?} {}",
                plus.is_some()
            )
        };
        near(&what("forward"), taps * g.in_channels, &found.y, &y);
        near(
            &what("input_gradient"),
            taps * g.out_channels,
            &found.gx,
            &gx,
        );
        let pixels = g.batch * g.out_height() * g.out_width();
        near(&what("weight_gradient"), pixels, &found.gw, &gw);
        let sum: Vec<f64> = (start::<f64>(gw.len()).iter().zip(&gw))
            .map(|(a, b)| a + b)
            .collect();
        near(
            &what("weight_gradient added"),
            pixels + 1,
            &found.gw_sum,
            &sum,
        );
        let channel = |c: usize| gy.iter().skip(c).step_by(g.out_channels);
        let gb: Vec<f64> = (0..g.out_channels)
            .map(|c| channel(c).map(|&gy| gy.into()).sum())
            .collect();
        near(&what("bias gradient"), pixels, &found.gb, &gb);
        let tap = g.in_channels * g.out_channels;
        for (t, gw) in found.gw.chunks_exact(tap.max(1)).enumerate() {
            let used = g.taps.contains(t / g.kernel[1], t % g.kernel[1]);
            let zero = |gw: &T| Into::<f64>::into(*gw).to_bits() == 0;
            assert!(used || gw.iter().all(zero), "{}", what("an unused tap"));
        }
    }
}

fn channels() -> impl Strategy<Value = usize> {
    prop::sample::select(&[1usize, 2, 3, 5, 8, 16, 17, 32, 33, 48][..])
}

fn activation() -> impl Strategy<Value = Activation> {
    prop::sample::select(
        &[
            Activation::Identity,
            Activation::Relu,
            Activation::LeakyRelu(0.2),
        ][..],
    )
}

prop_compose! {
    fn geometry()(
        batch in 0usize..3,
        size in prop::array::uniform2(0usize..18),
        in_channels in channels(),
        out_channels in channels(),
        kernel in prop::array::uniform2(1usize..6),
        stride in prop::array::uniform2(1usize..4),
        dilation in prop::array::uniform2(1usize..3),
        padding in prop::array::uniform4(0usize..4),
        simple in any::<bool>(),
        used in prop_oneof![Just(u64::MAX), Just(0), any::<u64>()],
    ) -> Conv2d {
        let [top, bottom, left, right] = padding;
        let g = Conv2d::new([batch, size[0], size[1], in_channels], out_channels, kernel)
            .with_padding(Padding { top, bottom, left, right })
            .with_taps(Taps::from_fn(kernel[0], kernel[1], |r, c| used >> (r * 5 + c) & 1 == 1));
        if simple { g } else { g.with_stride(stride).with_dilation(dilation) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn small_convolutions_are_right(
        g in geometry(), bias in any::<bool>(), plus in any::<bool>(), act in activation()
    ) {
        check::<f32>(&g, bias, plus, act);
        check::<f64>(&g, bias, plus, act);
    }

    #[test]
    fn gradients_are_adjoints(g in geometry()) {
        let tensors = tensors::<f64>(&g);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for (isa, sums) in ways() {
            let found = isa.scoped(|| run(&g, &tensors, None, Epilogue::NONE, sums));
            let [x, w, gy] = &tensors;
            let w: Vec<_> = w.iter().map(|w| if w.is_nan() { 0.0 } else { *w }).collect();
            let expected = dot(&found.y, gy);
            let bound = 1e-12 * (1.0 + g.flops() as f64).sqrt();
            prop_assert!((dot(x, &found.gx) - expected).abs() <= bound, "{isa} {sums:?} gx {g:?}");
            prop_assert!((dot(&w, &found.gw) - expected).abs() <= bound, "{isa} {sums:?} gw {g:?}");
        }
    }
}

/// The shapes models are made of: each fast path is on this list.
fn shapes() -> Vec<Conv2d> {
    let mask = |k: usize, own: usize| Taps::from_fn(k, k, move |r, c| r * k + c < k * k / 2 + own);
    let same =
        |image, out, k: usize| Conv2d::new(image, out, [k, k]).with_padding(Padding::same(k));
    let halved = |image, out| same(image, out, 3).with_padding(Padding::uniform(1));
    vec![
        same([3, 28, 28, 16], 16, 3).with_taps(mask(3, 1)),
        same([2, 28, 28, 32], 16, 1),
        same([2, 28, 28, 16], 32, 1),
        same([2, 28, 28, 1], 64, 7),
        same([2, 28, 28, 1], 32, 7).with_taps(mask(7, 0)),
        same([2, 12, 29, 1], 40, 7).with_taps(Taps::from_fn(7, 7, |r, _| r < 3)),
        same([1, 10, 14, 2], 33, 6),
        same([2, 11, 9, 3], 17, 8),
        same([1, 12, 16, 1], 48, 9),
        same([2, 9, 28, 64], 64, 3),
        same([2, 14, 14, 64], 33, 3),
        same([2, 32, 32, 3], 20, 5),
        Conv2d::new([3, 14, 14, 64], 40, [4, 4])
            .with_stride([2, 2])
            .with_padding(Padding::uniform(1)),
        Conv2d::new([3, 28, 28, 1], 64, [4, 4])
            .with_stride([2, 2])
            .with_padding(Padding::uniform(1)),
        Conv2d::new([5, 4, 4, 40], 1, [4, 4]),
        Conv2d::new([2, 28, 28, 32], 1, [1, 1]),
        halved([2, 8, 8, 24], 40),
        same([1, 20, 20, 8], 8, 3).with_dilation([2, 3]),
        same([1, 11, 13, 70], 65, 3).with_taps(mask(3, 1)),
        same([1, 9, 13, 64], 64, 5).with_taps(mask(5, 0)),
        same([1, 28, 28, 64], 128, 3).with_taps(Taps::from_fn(3, 3, |r, c| r == 1 && c < 2)),
        Conv2d::new([2, 13, 12, 64], 72, [2, 1]).with_padding(Padding {
            top: 1,
            ..Padding::NONE
        }),
    ]
}

#[test]
fn shapes_of_models_are_right() {
    for g in shapes() {
        check::<f32>(&g, true, true, Activation::Relu);
        check::<f64>(&g, true, false, Activation::LeakyRelu(0.1));
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let shapes = shapes();
    let all = |isa: Isa, sums| -> Vec<Vec<u32>> {
        isa.scoped(|| {
            shapes
                .iter()
                .flat_map(|g| {
                    let found = run::<f32>(g, &tensors(g), None, Epilogue::NONE, sums);
                    [found.y, found.gx, found.gw]
                })
                .map(|values| values.iter().map(|x| x.to_bits()).collect())
                .collect()
        })
    };
    for (isa, sums) in ways() {
        let expected = parallel::serial(|| all(isa, sums));
        for threads in [1, 2, 3, 5] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let found = pool.install(|| all(isa, sums));
            assert!(found == expected, "{isa} {sums:?} on {threads} threads");
        }
    }
}

/// What PixelCNNs learn with: pairs along a row and along a column, and two groups of kernel rows.
#[test]
fn fast_sums_hold_nothing_that_their_taps_do_not_see() {
    let wide = Conv2d::new([1, 9, 11, 64], 64, [3, 3]).with_padding(Padding::uniform(1));
    let b = wide.with_taps(Taps::from_fn(3, 3, |r, c| r * 3 + c <= 4));
    let top = Padding {
        top: 1,
        ..Padding::NONE
    };
    let tall = Conv2d::new([1, 9, 11, 64], 64, [2, 1]).with_padding(top);
    let five = Conv2d::new([1, 9, 11, 64], 64, [5, 5]).with_padding(Padding::uniform(2));
    let five = five.with_taps(Taps::from_fn(5, 5, |r, c| r * 5 + c < 12));
    let narrow = wide.with_taps(Taps::from_fn(3, 3, |r, _| r == 0));
    let kinds = [None, Some(Kind::Narrow)];
    let all = [wide, b, tall, five, narrow];
    for (g, kind) in all.iter().flat_map(|g| kinds.map(|kind| (g, kind))) {
        always(kind);
        let [x, w, _] = tensors::<f32>(g);
        let w: Vec<_> = w
            .iter()
            .map(|w| if w.is_nan() { 0.0 } else { *w })
            .collect();
        let y = |x: &[f32]| {
            let mut y = vec![f32::NAN; g.y_len()];
            let w = Weights::new(&w);
            forward(g, x, w, None, &mut y, Epilogue::NONE, Sums::Fast);
            y
        };
        let (before, pixel) = (y(&x), |pixel: usize| pixel * 64..(pixel + 1) * 64);
        for changed in 0..9 * 11 {
            let mut x = x.clone();
            x[pixel(changed)].iter_mut().for_each(|x| *x += 1e3);
            let after = y(&x);
            let (row, col) = (changed / 11, changed % 11);
            for of in 0..9 * 11 {
                let tap = |at: usize, of: usize, padding: usize| (at + padding).checked_sub(of);
                let tap = tap(row, of / 11, g.padding.top).zip(tap(col, of % 11, g.padding.left));
                let sees = tap.is_some_and(|(r, c)| g.taps.contains(r, c));
                let same = before[pixel(of)] == after[pixel(of)];
                assert!(
                    same != sees,
                    "pixel {of} of {g:?}, {kind:?}, after a change of {changed}"
                );
            }
        }
    }
    always(None);
}

#[test]
#[should_panic(
    expected = "conv forward: y (or its gradient) has 5 elements for shape [1, 2, 2, 1]"
)]
fn a_wrong_length_names_the_shape() {
    let g = Conv2d::new([1, 3, 3, 1], 1, [2, 2]);
    let mut y = [0.0; 5];
    forward(
        &g,
        &[0.0f32; 9],
        Weights::new(&[0.0; 4]),
        None,
        &mut y,
        Epilogue::NONE,
        Sums::InOrder,
    );
}

#[test]
#[should_panic(expected = "taps for a kernel [3, 3], but the kernel is [2, 2]")]
fn taps_of_another_kernel_are_refused() {
    let _ = Conv2d::new([1, 3, 3, 1], 1, [2, 2]).with_taps(Taps::all(3, 3));
}

#[test]
fn taps_count_and_compare() {
    let type_b = Taps::from_fn(3, 3, |r, c| r * 3 + c <= 4);
    assert_eq!((type_b.count(), type_b.iter().last()), (5, Some((1, 1))));
    assert_eq!(Taps::from_fn(3, 3, |_, _| true), Taps::all(3, 3));
    assert!(!type_b.contains(1, 2) && !type_b.contains(0, 3));
    assert_eq!(format!("{type_b:?}"), "Taps(5 of 3x3: xxx/xx./...)");
    assert_eq!(Taps::all(28, 28).count(), 784);
}
