//! Both tables, and what is built on the same loop, on every instruction set of this machine:
//! errors within the stated bounds, every length, special values, any number of threads.

use kernels::elementwise::{self, Operand};
use kernels::simd::Isa;
use kernels::{Binary, Compiled, Unary, optim, parallel};
use proptest::prelude::*;

/// Lengths around every vector width.
const LENGTHS: &[usize] = &[
    0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 127, 1000,
];

/// Where functions break: zeros, subnormals, the ends of the range, NaN.
const SPECIAL: &[f32] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-45,
    -1e-45,
    1e-39,
    88.72283,
    88.72284,
    -87.33655,
    -103.27893,
    -103.97208,
    -103.97209,
    -104.0,
    -14.2,
    -13.5,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

fn on_every_isa(mut test: impl FnMut(Isa)) {
    for isa in Isa::available() {
        isa.scoped(|| test(isa));
    }
}

/// Numbers of many sizes, the same every time.
fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let number = |i: u32| {
        let bits = (i.wrapping_add(seed)).wrapping_mul(0x9e37_79b9) ^ (i << 7);
        (bits as f32 / u32::MAX as f32 - 0.5) * [0.1, 1.0, 8.0, 60.0][(bits % 4) as usize]
    };
    (0..len as u32).map(number).collect()
}

#[track_caller]
fn check(name: &str, isa: Isa, f: Unary, x: &[f32], y: &[f32]) {
    for (&x, &y) in x.iter().zip(y) {
        let reference = f.reference(x.into());
        let error = f.accuracy().error(y, reference);
        assert!(
            error <= f.accuracy().ulps,
            "{name} {} on {isa}: f({x:e}) = {y:e}, expected {reference:e}: {error} ulp",
            f.name()
        );
    }
}

#[test]
fn unary_functions_keep_their_bounds() {
    // Every 4099th bit pattern, a million in all; 4099 is prime, so all low bits occur.
    let x: Vec<f32> = (0..u32::MAX).step_by(4099).map(f32::from_bits).collect();
    let mut y = vec![0.0; x.len()];
    for &f in Unary::ALL {
        on_every_isa(|isa| {
            f32::unary(f, &x, &mut y);
            check("sample", isa, f, &x, &y);
            let mut y = vec![0.0; SPECIAL.len()];
            f32::unary(f, SPECIAL, &mut y);
            check("special", isa, f, SPECIAL, &y);
        });
    }
}

#[test]
fn unary_functions_take_every_length() {
    for &f in Unary::ALL {
        for &len in LENGTHS {
            let x = numbers(len, 1);
            on_every_isa(|isa| {
                // One element beyond the end must stay as it is.
                let mut y = vec![123.0; len + 1];
                f32::unary(f, &x, &mut y[..len]);
                check("length", isa, f, &x, &y[..len]);
                assert_eq!(y[len], 123.0);
                let mut z = x.clone();
                elementwise::unary_in_place(f, &mut z);
                assert!(z.iter().zip(&y).all(|(a, b)| a.to_bits() == b.to_bits()));
            });
        }
    }
}

#[test]
fn unary_functions_do_not_depend_on_the_place() {
    // Vectors side by side, one vector, and a part of one, on every instruction set.
    const LEN: usize = 2 * 16 + 16 + 8 + 3;
    for &f in Unary::ALL {
        for &x in SPECIAL.iter().chain(&numbers(50, 6)) {
            on_every_isa(|isa| {
                let mut y = [x; LEN];
                elementwise::unary_in_place(f, &mut y);
                let last = y[LEN - 1].to_bits();
                let alike = y.iter().all(|y| y.to_bits() == last);
                assert!(alike, "{} {x:e} on {isa}: {y:?}", f.name());
            });
        }
    }
}

#[test]
fn doubles_are_the_references() {
    let x: Vec<f64> = numbers(100, 2).into_iter().map(f64::from).collect();
    for &f in Unary::ALL {
        let mut y = vec![0.0; x.len()];
        f64::unary(f, &x, &mut y);
        for (&x, &y) in x.iter().zip(&y) {
            let reference = f.reference(x);
            assert!(
                y == reference || (y.is_nan() && reference.is_nan()),
                "{} {x}",
                f.name()
            );
        }
    }
    let b: Vec<f64> = numbers(100, 3).into_iter().map(f64::from).collect();
    for &f in Binary::ALL {
        let mut y = vec![0.0; x.len()];
        f64::binary(f, &x, &b, &mut y);
        for i in 0..x.len() {
            assert_eq!(
                y[i],
                f.reference(x[i], b[i]),
                "{} {} {}",
                f.name(),
                x[i],
                b[i]
            );
        }
    }
}

#[track_caller]
fn check_binary(isa: Isa, f: Binary, a: f32, b: f32, y: f32) {
    let reference = f.reference(a.into(), b.into());
    let error = f.accuracy().error(y, reference);
    assert!(
        error <= f.accuracy().ulps,
        "{} on {isa}: f({a:e}, {b:e}) = {y:e}, expected {reference:e}: {error} ulp",
        f.name()
    );
}

/// Some functions multiply more than once: overflow on the way is not the result's.
fn overflows_on_the_way(f: Binary) -> bool {
    matches!(
        f,
        Binary::TanhGradient | Binary::SigmoidGradient | Binary::SquareGradient
    )
}

#[test]
fn binary_functions_keep_their_bounds() {
    for &f in Binary::ALL {
        for &len in LENGTHS {
            let (a, b) = (numbers(len, 4), numbers(len, 5));
            on_every_isa(|isa| {
                let mut y = vec![123.0; len + 1];
                f32::binary(f, &a, &b, &mut y[..len]);
                assert_eq!(y[len], 123.0);
                for i in 0..len {
                    check_binary(isa, f, a[i], b[i], y[i]);
                }
            });
        }
        for &a in SPECIAL {
            on_every_isa(|isa| {
                let mut y = vec![0.0; SPECIAL.len()];
                f32::scalar_binary(f, a, SPECIAL, &mut y);
                for (&b, &y) in SPECIAL.iter().zip(&y) {
                    if !overflows_on_the_way(f) {
                        check_binary(isa, f, a, b, y);
                    }
                }
            });
        }
    }
}

fn at<T: Copy>(operand: Operand<T>, i: usize, cols: usize) -> T {
    match operand {
        Operand::Full(x) => x[i],
        Operand::Row(x) => x[i % cols],
        Operand::Column(x) => x[i / cols],
        Operand::Scalar(x) => x,
    }
}

fn operand(kind: usize, x: &[f32], rows: usize, cols: usize) -> Operand<'_, f32> {
    match kind {
        0 => Operand::Full(&x[..rows * cols]),
        1 => Operand::Row(&x[..cols]),
        2 => Operand::Column(&x[..rows]),
        _ => Operand::Scalar(x[0]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn broadcasts_repeat_the_right_operand(
        rows in 0usize..9, cols in 1usize..70, f in 0..Binary::ALL.len(), kinds in (0usize..4, 0usize..4),
    ) {
        let f = Binary::ALL[f];
        let (x, z) = (numbers((rows + 1) * cols, 6), numbers((rows + 1) * cols, 7));
        let (a, b) = (operand(kinds.0, &x, rows, cols), operand(kinds.1, &z, rows, cols));
        on_every_isa(|isa| {
            let mut y = vec![0.0; rows * cols];
            f32::binary_broadcast(f, a, b, cols, &mut y);
            for (i, &y) in y.iter().enumerate() {
                check_binary(isa, f, at(a, i, cols), at(b, i, cols), y);
            }
        });
    }
}

/// Long enough that several threads take part.
const LONG: usize = 300_001;

#[test]
fn threads_do_not_change_a_bit() {
    let (x, g) = (numbers(LONG, 8), numbers(LONG, 9));
    let adam = optim::Adam {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        gradient_scale: 0.5,
        l2: 0.1,
        decay: 0.01,
    };
    on_every_isa(|_| {
        let run = || {
            let (mut p, mut m, mut v) = (x.clone(), vec![0.0; LONG], vec![0.0; LONG]);
            adam.update(1, &mut p, &g, &mut m, &mut v);
            let mut y = vec![0.0; LONG];
            let column = Operand::Column(&g[..3000]);
            f32::binary_broadcast(
                Binary::Mul,
                Operand::Full(&p[..300_000]),
                column,
                100,
                &mut y[..300_000],
            );
            (p, m, v, y)
        };
        assert!(run() == parallel::serial(run));
    });
}

#[test]
#[should_panic(expected = "found lengths [3, 2, 3]")]
fn lengths_must_agree() {
    f32::binary(Binary::Add, &[1.0, 2.0], &[1.0, 2.0, 3.0], &mut [0.0; 3]);
}

#[test]
fn combinations_are_their_formulas() {
    let len = 37;
    let (a, b, c) = (numbers(len, 10), numbers(len, 11), numbers(len, 12));
    let d = |x: f32| f64::from(x);
    let close = |y: f32, r: f64| assert!((d(y) - r).abs() <= 1e-6 * (1.0 + r.abs()), "{y} {r}");
    on_every_isa(|_| {
        let mut y = a.clone();
        elementwise::axpy(0.5, &b, &mut y);
        elementwise::add_assign(&mut y, &c);
        elementwise::scale(3.0, &mut y);
        let mut z = vec![0.0; len];
        elementwise::mul_add(&a, &b, &c, &mut z);
        let (mut leaky, mut leaky_gradient) = (vec![0.0; len], vec![0.0; len]);
        elementwise::leaky_relu(0.2, &a, &mut leaky);
        elementwise::leaky_relu_gradient(0.2, &a, &b, &mut leaky_gradient);
        let mut sum = c.clone();
        elementwise::add_relu_gradient(&a, &b, &mut sum);
        for i in 0..len {
            let (a, b, c) = (d(a[i]), d(b[i]), d(c[i]));
            close(y[i], 3.0 * (a + 0.5 * b + c));
            close(z[i], a * b + c);
            close(sum[i], if a > 0.0 { c + b } else { c });
            close(leaky[i], if a > 0.0 { a } else { d(0.2) * a });
            close(leaky_gradient[i], if a > 0.0 { b } else { d(0.2) * b });
        }
    });
}
