//! Every instruction set of this machine against the naive twin.

use kernels::gemm::{
    Activation, Beta, Epilogue, GemmElement, Mat, PackedB, gemm, gemm_packed, gemm_strided,
};
use kernels::testing::{Cache, has_own_products, with_caches};
use kernels::{Isa, parallel, reference};
use proptest::prelude::*;

/// How an operand lies in memory.
#[derive(Clone, Copy, Debug)]
enum Layout {
    Rows,
    Cols,
    RowsWithGaps,
    ColsWithGaps,
    Scattered,
}

const LAYOUTS: [Layout; 5] = [
    Layout::Rows,
    Layout::Cols,
    Layout::RowsWithGaps,
    Layout::ColsWithGaps,
    Layout::Scattered,
];

fn layout() -> impl Strategy<Value = Layout> {
    prop::sample::select(&LAYOUTS[..])
}

/// Small numbers that look random, the same on every run.
fn numbers(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// A matrix of the wanted layout; what lies between its elements is NaN.
struct Owned<T> {
    data: Vec<T>,
    rows: usize,
    cols: usize,
    strides: (usize, usize),
}

impl<T: GemmElement + From<f32>> Owned<T> {
    fn new(seed: u32, rows: usize, cols: usize, layout: Layout) -> Self {
        let strides = match layout {
            Layout::Rows => (cols, 1),
            Layout::Cols => (1, rows),
            Layout::RowsWithGaps => (cols + 3, 1),
            Layout::ColsWithGaps => (1, rows + 5),
            Layout::Scattered => (2 * cols + 1, 2),
        };
        let values = numbers(seed, rows * cols);
        let mut owned = Owned {
            data: Vec::new(),
            rows,
            cols,
            strides,
        };
        let span = match (rows, cols) {
            (0, _) | (_, 0) => 0,
            _ => (rows - 1) * strides.0 + (cols - 1) * strides.1 + 1,
        };
        owned.data = vec![f32::NAN.into(); span];
        for i in 0..rows {
            for j in 0..cols {
                owned.data[i * strides.0 + j * strides.1] = values[i * cols + j].into();
            }
        }
        owned
    }

    fn mat(&self) -> Mat<'_, T> {
        Mat::with_strides(
            &self.data,
            self.rows,
            self.cols,
            self.strides.0,
            self.strides.1,
        )
    }
}

/// One product in every form the crate offers it, on `isa`, against the naive twin.
fn check<T: GemmElement + From<f32> + Into<f64>>(
    isa: Isa,
    (m, k, n): (usize, usize, usize),
    (a_layout, b_layout): (Layout, Layout),
    beta: Beta,
    epilogue: (bool, Activation),
) {
    let a = Owned::<T>::new(1, m, k, a_layout);
    let b = Owned::<T>::new(2, k, n, b_layout);
    let bias: Vec<T> = numbers(3, n).into_iter().map(T::from).collect();
    let epilogue = Epilogue {
        bias: epilogue.0.then_some(&bias[..]),
        activation: epilogue.1,
    };
    let gap = 3;
    let before: Vec<T> = match beta {
        Beta::Zero => vec![f32::NAN.into(); m * n],
        Beta::One => numbers(4, m * n).into_iter().map(T::from).collect(),
    };
    let expected = reference::gemm(a.mat(), b.mat(), beta, &before, epilogue);
    let epsilon: f64 = if size_of::<T>() == 4 { 6e-8 } else { 1.2e-16 };
    // Each sum of k + 2 terms of size at most 1 is off by at most this much.
    let bound = epsilon * (k as f64 + 2.0) * (k as f64 / 3.0 + 2.0).max(4.0);
    let what = format!("{isa} {m}x{k}x{n} {a_layout:?} {b_layout:?} {beta:?} {epilogue:?}");
    let mut c = before.clone();
    isa.scoped(|| gemm(a.mat(), b.mat(), beta, &mut c, epilogue));
    for (at, (&found, expected)) in c.iter().zip(&expected).enumerate() {
        let found: f64 = found.into();
        assert!(
            (found - expected).abs() <= bound,
            "{what}: c[{at}] is {found}, expected {expected}"
        );
    }
    let mut wide: Vec<T> = vec![f32::NAN.into(); m * (n + gap)];
    for (to, from) in wide
        .chunks_exact_mut(n + gap)
        .zip(before.chunks_exact(n.max(1)))
    {
        to[..n].copy_from_slice(from);
    }
    let bits = |x: T| -> u64 { Into::<f64>::into(x).to_bits() };
    for packed in [false, true] {
        let mut wide = wide.clone();
        isa.scoped(|| {
            if packed {
                let b = PackedB::new(b.mat());
                gemm_packed(a.mat(), &b, beta, &mut wide, n + gap, epilogue);
            } else {
                gemm_strided(a.mat(), b.mat(), beta, &mut wide, n + gap, epilogue);
            }
        });
        for i in 0..m {
            let row = &wide[i * (n + gap)..][..n + gap];
            assert!(
                (0..n).all(|j| bits(row[j]) == bits(c[i * n + j])),
                "{what}: row {i} differs with gaps (packed: {packed})"
            );
            assert!(
                row[n..].iter().all(|&x| Into::<f64>::into(x).is_nan()),
                "{what}: row {i} writes into the gap (packed: {packed})"
            );
        }
    }
}

fn beta() -> impl Strategy<Value = Beta> {
    prop::sample::select(&[Beta::Zero, Beta::One][..])
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn small_products_are_right(
        m in 0usize..70, k in 0usize..70, n in 0usize..70,
        a in layout(), b in layout(), beta in beta(),
        bias in any::<bool>(), activation in activation(),
    ) {
        for isa in Isa::available() {
            check::<f32>(isa, (m, k, n), (a, b), beta, (bias, activation));
            check::<f64>(isa, (m, k, n), (a, b), beta, (bias, activation));
        }
    }
}

/// Shapes that reach what the small ones do not: several blocks of k, of rows and of columns,
/// ragged ends of all three, few rows, a small c with a long k.
const LARGE: &[(usize, usize, usize)] = &[
    (1, 800, 1),
    (1, 1400, 70),
    (3, 391, 47),
    (16, 5000, 32),
    (29, 1070, 33),
    (60, 385, 150),
    (130, 100, 801),
    (131, 1100, 417),
    // Rows of b with gaps are 4096 bytes apart.
    (130, 520, 1021),
    (500, 17, 64),
    // Two blocks of k, two of columns: a copy of a is kept.
    (131, 1100, 540),
    // Many rows: the first blocks go by panels.
    (290, 500, 178),
];

#[test]
fn large_products_are_right() {
    for &shape in LARGE {
        for isa in Isa::available() {
            let leaky = Activation::LeakyRelu(0.1);
            let rows = (Layout::Rows, Layout::Rows);
            check::<f32>(isa, shape, rows, Beta::One, (true, leaky));
            let cols = (Layout::Cols, Layout::Cols);
            check::<f32>(isa, shape, cols, Beta::Zero, (true, Activation::Relu));
            let mixed = (Layout::Scattered, Layout::RowsWithGaps);
            check::<f32>(isa, shape, mixed, Beta::One, (false, Activation::Identity));
        }
    }
}

/// Blocks of every height and every remainder of k, with panels that are full and that are not.
#[test]
fn tiles_of_every_height_are_right() {
    let identity = (false, Activation::Identity);
    for (m, n) in [9, 17, 29, 31, 33, 40]
        .into_iter()
        .flat_map(|m| [48, 57, 80].map(|n| (m, n)))
    {
        for (k, isa) in [1, 2, 4, 5, 7, 11, 16, 46, 69, 140]
            .into_iter()
            .flat_map(|k| Isa::available().map(move |isa| (k, isa)))
        {
            let rows = (Layout::Rows, Layout::Rows);
            check::<f32>(isa, (m, k, n), rows, Beta::One, identity);
            let columns = (Layout::Cols, Layout::RowsWithGaps);
            check::<f32>(isa, (m, k, n), columns, Beta::Zero, identity);
        }
    }
}

/// The same bits on 1, 2, 3 and 5 threads, inside `serial`, and row by row.
#[test]
fn threads_do_not_change_a_bit() {
    for &(m, k, n) in LARGE.iter().chain(&[(300, 300, 300), (64, 2048, 64)]) {
        let a = Owned::<f32>::new(1, m, k, Layout::Rows);
        let b = Owned::<f32>::new(2, k, n, Layout::Rows);
        let bias = numbers(3, n);
        let epilogue = Epilogue {
            bias: Some(&bias),
            activation: Activation::Relu,
        };
        for isa in Isa::available() {
            let product = || {
                let mut c = numbers(4, m * n);
                isa.scoped(|| gemm(a.mat(), b.mat(), Beta::One, &mut c, epilogue));
                c
            };
            let expected = parallel::serial(product);
            for threads in [1, 2, 3, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                let found = pool.build().unwrap().install(product);
                let same = found
                    .iter()
                    .zip(&expected)
                    .all(|(x, y)| x.to_bits() == y.to_bits());
                assert!(same, "{isa} {m}x{k}x{n} on {threads} threads");
            }
        }
    }
}

/// The first rows of a large product, computed alone.
#[test]
fn small_products_have_the_bits_of_large_ones() {
    let rows = 2000;
    let own = |isa: &Isa| has_own_products(*isa);
    for (isa, (k, n)) in (Isa::available().filter(own))
        .flat_map(|isa| [(20, 24), (24, 20), (64, 33), (40, 70)].map(|shape| (isa, shape)))
    {
        for (of_a, of_b) in [Layout::Rows, Layout::Cols]
            .into_iter()
            .flat_map(|a| [Layout::Rows, Layout::Cols].map(|b| (a, b)))
        {
            let a = Owned::<f32>::new(1, rows, k, of_a);
            let b = Owned::<f32>::new(2, k, n, of_b);
            let product = |m: usize| {
                let a = Mat::with_strides(&a.data, m, k, a.strides.0, a.strides.1);
                let mut c = numbers(3, m * n);
                isa.scoped(|| gemm(a, b.mat(), Beta::One, &mut c, Epilogue::NONE));
                c.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let large = product(rows);
            for m in [1, 4, 6, 15, 29] {
                let small = product(m);
                assert!(
                    small == large[..m * n],
                    "{isa} {m}x{k}x{n}, a by {of_a:?}, b by {of_b:?}"
                );
            }
        }
    }
}

/// Rows and columns at distances that collide, cut and copied as small caches and large ones ask
/// for.
#[test]
fn caches_do_not_change_a_bit() {
    let shapes = [
        (30, 1024, 130),
        (58, 2048, 70),
        (1024, 40, 33),
        (256, 640, 40),
        // Rows of b collide.
        (45, 30, 1024),
    ];
    for (isa, (m, k, n)) in Isa::available().flat_map(|isa| shapes.map(|shape| (isa, shape))) {
        for layout in [Layout::Rows, Layout::Cols] {
            let (a, b) = (Owned::<f32>::new(1, m, k, layout), numbers(2, k * n));
            let product = |[l1, l2]: [Cache; 2]| {
                let mut c = vec![f32::NAN; m * n];
                let product = || {
                    let b = Mat::new(&b, k, n);
                    isa.scoped(|| gemm(a.mat(), b, Beta::Zero, &mut c, Epilogue::NONE));
                };
                with_caches(l1, l2, || parallel::serial(product));
                c
            };
            let cache = |kilobytes: usize, ways| Cache {
                bytes: kilobytes << 10,
                ways,
            };
            let small = product([cache(16, 4), cache(256, 8)]);
            let large = product([cache(128, 16), cache(4096, 16)]);
            assert!(small == large, "{isa} {m}x{k}x{n} {layout:?}");
            let b = Mat::new(&b, k, n);
            let before = vec![0.0; m * n];
            let expected = reference::gemm(a.mat(), b, Beta::Zero, &before, Epilogue::NONE);
            let off = |(&found, expected): (&f32, &f64)| (f64::from(found) - expected).abs();
            let most = small.iter().zip(&expected).map(off).fold(0.0, f64::max);
            assert!(most < 1e-3, "{isa} {m}x{k}x{n} {layout:?}: off by {most}");
        }
    }
}

#[test]
fn the_identity_changes_nothing() {
    for (m, n) in [(1, 1), (7, 16), (40, 33), (100, 420)] {
        let a = numbers(5, m * n);
        let mut one = vec![0.0f32; n * n];
        one.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
        for isa in Isa::available() {
            let mut c = vec![f32::NAN; m * n];
            let (a_mat, one) = (Mat::new(&a, m, n), Mat::new(&one, n, n));
            isa.scoped(|| gemm(a_mat, one, Beta::Zero, &mut c, Epilogue::NONE));
            assert_eq!(c, a, "{isa} {m}x{n}");
        }
    }
}

#[test]
fn nan_passes_through_activations() {
    for isa in Isa::available() {
        for activation in [Activation::Relu, Activation::LeakyRelu(0.1)] {
            let epilogue = Epilogue {
                bias: None,
                activation,
            };
            let (a, b) = ([f32::NAN, -1.0], [1.0f32]);
            let mut c = [0.0; 2];
            let (a, b) = (Mat::new(&a, 2, 1), Mat::new(&b, 1, 1));
            isa.scoped(|| gemm(a, b, Beta::Zero, &mut c, epilogue));
            assert!(c[0].is_nan() && c[1] <= 0.0, "{isa} {activation:?} {c:?}");
        }
    }
}

#[test]
#[should_panic(expected = "gemm: inner dimensions differ: a [2, 3] x b [4, 5]")]
fn inner_dimensions_must_agree() {
    let x = [0.0f32; 20];
    gemm(
        Mat::new(&x, 2, 3),
        Mat::new(&x, 4, 5),
        Beta::Zero,
        &mut [0.0; 10],
        Epilogue::NONE,
    );
}

#[test]
#[should_panic(expected = "gemm: b has 11 elements, too few for [3, 4] with strides (4, 1)")]
fn operands_must_be_long_enough() {
    let x = [0.0f32; 12];
    gemm(
        Mat::new(&x, 2, 3),
        Mat::new(&x[..11], 3, 4),
        Beta::Zero,
        &mut [0.0; 8],
        Epilogue::NONE,
    );
}

#[test]
#[should_panic(expected = "gemm: c has 7 elements")]
fn the_result_must_have_its_length() {
    let x = [0.0f32; 12];
    gemm(
        Mat::new(&x, 2, 3),
        Mat::new(&x, 3, 4),
        Beta::Zero,
        &mut [0.0; 7],
        Epilogue::NONE,
    );
}

#[test]
#[should_panic(expected = "gemm: bias has 3 elements for c [2, 4]")]
fn the_bias_must_have_its_length() {
    let x = [0.0f32; 12];
    gemm(
        Mat::new(&x, 2, 3),
        Mat::new(&x, 3, 4),
        Beta::Zero,
        &mut [0.0; 8],
        Epilogue::bias(&x[..3]),
    );
}
