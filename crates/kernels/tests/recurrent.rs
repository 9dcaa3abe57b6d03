//! LSTMs over pictures on every instruction set of this machine, against their naive twin.

use kernels::Element;
use kernels::parallel::serial;
use kernels::recurrent::{Backward, Cell, Forward, Lstm, Scan};
use kernels::reference::recurrent::lstm;
use kernels::simd::Isa;

const SCANS: [Scan; 3] = [
    Scan::Row,
    Scan::Diagonal { mirrored: false },
    Scan::Diagonal { mirrored: true },
];

/// Numbers in [-1, 1) that look random, the same on every run.
fn numbers<T: Element>(seed: u64, len: usize) -> Vec<T> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            T::from_f64((state >> 33) as f64 / (1u64 << 30) as f64 - 1.0)
        })
        .collect()
}

fn sizes([batch, height, width, channels]: [usize; 4]) -> Lstm {
    Lstm {
        batch,
        height,
        width,
        channels,
    }
}

/// h, gates and states.
fn forward<T: Element>(l: &Lstm, scan: Scan, x: &[T], w: &[T]) -> [Vec<T>; 3] {
    let nan = T::from_f64(f64::NAN);
    let [mut h, mut states] = [(); 2].map(|()| vec![nan; l.states_len()]);
    let mut gates = vec![nan; 4 * l.states_len()];
    l.forward(&mut [Forward {
        scan,
        x,
        w,
        h: &mut h,
        gates: &mut gates,
        states: &mut states,
    }]);
    [h, gates, states]
}

/// The gradients of <h, g> by x and w.
fn gradients<T: Element>(l: &Lstm, scan: Scan, x: &[T], w: &[T], gh: &[T]) -> [Vec<T>; 2] {
    let nan = T::from_f64(f64::NAN);
    let [h, gates, states] = forward(l, scan, x, w);
    let (mut gx, mut gw) = (vec![nan; x.len()], vec![nan; w.len()]);
    l.backward(&mut [Backward {
        scan,
        w,
        gates: &gates,
        states: &states,
        gh,
        rows_down: 0,
        gx: &mut gx,
    }]);
    l.weight_gradient(scan, &h, &gx, &mut gw);
    [gx, gw]
}

#[track_caller]
fn close<T: Element>(found: &[T], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (y, e)) in found.iter().zip(expected).enumerate() {
        let error = (y.to_f64() - e).abs();
        assert!(
            error <= tolerance * (1.0 + e.abs()),
            "{what} at {i}: expected {e}, found {y}"
        );
    }
}

const SHAPES: [[usize; 4]; 15] = [
    [0, 3, 3, 4],
    [2, 0, 3, 4],
    [2, 3, 0, 4],
    [1, 1, 1, 1],
    [2, 1, 7, 3],
    [1, 7, 1, 5],
    [2, 5, 4, 8],
    [1, 3, 9, 15],
    [3, 4, 4, 16],
    [1, 9, 8, 17],
    [1, 2, 15, 33],
    [1, 14, 13, 2],
    // Some vectors of channels at a time, and what is left over.
    [1, 4, 10, 48],
    [1, 3, 12, 70],
    [1, 2, 11, 112],
];

#[test]
fn hidden_states_are_those_of_the_definition() {
    fn check<T: Element>(tolerance: f64) {
        for shape in SHAPES {
            for scan in SCANS {
                let l = sizes(shape);
                let x = numbers::<T>(1, 4 * l.states_len());
                let w = numbers::<T>(2, l.weights_len(scan));
                let [h, ..] = forward(&l, scan, &x, &w);
                close(
                    &h,
                    &lstm(&l, scan, &x, &w),
                    tolerance,
                    &format!("{l:?} {scan:?}"),
                );
            }
        }
    }
    for isa in Isa::available() {
        isa.scoped(|| {
            check::<f32>(2e-5);
            check::<f64>(1e-12);
        });
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let l = sizes([2, 4, 3, 3]);
    for scan in SCANS {
        let mut operands = [
            numbers::<f64>(1, 4 * l.states_len()),
            numbers::<f64>(2, l.weights_len(scan)),
        ];
        let gh = numbers::<f64>(3, l.states_len());
        let found = gradients(&l, scan, &operands[0], &operands[1], &gh);
        for (which, found) in found.iter().enumerate() {
            for (i, found) in found.iter().enumerate() {
                let kept = operands[which][i];
                let mut at = |delta: f64| -> f64 {
                    operands[which][i] = kept + delta;
                    let h = lstm(&l, scan, &operands[0], &operands[1]);
                    h.iter().zip(&gh).map(|(h, g)| h * g).sum()
                };
                let step = 1e-5;
                let expected = (at(step) - at(-step)) / (2.0 * step);
                operands[which][i] = kept;
                assert!(
                    (found - expected).abs() < 1e-8 * (1.0 + expected.abs()),
                    "{scan:?}, by operand {which} at {i}: expected {expected}, found {found}"
                );
            }
        }
    }
}

/// As many channels as take some tiles of several vectors: along one direction.
#[test]
fn gradients_of_many_channels_agree_with_finite_differences() {
    let l = sizes([1, 3, 11, 38]);
    for (isa, scan) in Isa::available().flat_map(|isa| SCANS.map(|scan| (isa, scan))) {
        let x = numbers::<f64>(1, 4 * l.states_len());
        // Gates that are not all open or closed.
        let w: Vec<_> = numbers::<f64>(2, l.weights_len(scan));
        let w: Vec<_> = w.iter().map(|w| 0.3 * w).collect();
        let gh = numbers::<f64>(3, l.states_len());
        let (dx, dw) = (numbers::<f64>(4, x.len()), numbers::<f64>(5, w.len()));
        let [gx, gw] = isa.scoped(|| gradients(&l, scan, &x, &w, &gh));
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let at = |delta: f64| {
            let moved = |at: &[f64], by: &[f64]| -> Vec<f64> {
                at.iter().zip(by).map(|(at, by)| at + delta * by).collect()
            };
            dot(&lstm(&l, scan, &moved(&x, &dx), &moved(&w, &dw)), &gh)
        };
        let step = 1e-6;
        let expected = (at(step) - at(-step)) / (2.0 * step);
        let found = dot(&gx, &dx) + dot(&gw, &dw);
        assert!(
            (found - expected).abs() < 1e-6 * (1.0 + expected.abs()),
            "{scan:?} on {isa}: expected {expected}, found {found}"
        );
    }
}

#[test]
fn gradients_in_f32_are_those_in_f64() {
    for isa in Isa::available() {
        isa.scoped(|| {
            for shape in SHAPES {
                for scan in SCANS {
                    let l = sizes(shape);
                    let (x, w) = (4 * l.states_len(), l.weights_len(scan));
                    let double = gradients::<f64>(
                        &l,
                        scan,
                        &numbers(1, x),
                        &numbers(2, w),
                        &numbers(3, x / 4),
                    );
                    let single = gradients::<f32>(
                        &l,
                        scan,
                        &numbers(1, x),
                        &numbers(2, w),
                        &numbers(3, x / 4),
                    );
                    for (found, expected) in single.iter().zip(&double) {
                        close(found, expected, 1e-4, &format!("{l:?} {scan:?} on {isa}"));
                    }
                }
            }
        });
    }
}

/// Two passes at once are each by itself, and `rows_down` reads gradients from further down.
#[test]
fn passes_do_not_mix_and_rows_shift() {
    let l = sizes([2, 4, 5, 6]);
    let [a, b] = [SCANS[1], SCANS[2]];
    let w = l.weights_len(a);
    let operands = [1, 2].map(|seed| {
        let x = numbers::<f32>(seed, 4 * l.states_len());
        (x, numbers::<f32>(seed + 2, w))
    });
    let gh = numbers::<f32>(5, l.states_len());
    // What a picture has one row down, and 0 in its last row.
    let row = l.width * l.channels;
    let mut down = Vec::new();
    for picture in gh.chunks(l.height * row) {
        down.extend_from_slice(&picture[row..]);
        down.extend(vec![0.0; row]);
    }
    let expected = [
        gradients(&l, a, &operands[0].0, &operands[0].1, &gh),
        gradients(&l, b, &operands[1].0, &operands[1].1, &down),
    ];
    let mut kept = [(); 2].map(|()| {
        let n = l.states_len();
        [vec![0.0f32; n], vec![0.0; 4 * n], vec![0.0; n]]
    });
    let mut passes: Vec<_> = ([a, b].into_iter().zip(&operands).zip(&mut kept))
        .map(|((scan, (x, w)), [h, gates, states])| Forward {
            scan,
            x,
            w,
            h,
            gates,
            states,
        })
        .collect();
    l.forward(&mut passes);
    let mut gx = [(); 2].map(|()| vec![0.0f32; 4 * l.states_len()]);
    let mut passes: Vec<_> = ([a, b].into_iter().zip(&operands).zip(&kept).zip(&mut gx))
        .enumerate()
        .map(
            |(rows_down, (((scan, (_, w)), [_, gates, states]), gx))| Backward {
                scan,
                w,
                gates,
                states,
                gh: &gh,
                rows_down,
                gx,
            },
        )
        .collect();
    l.backward(&mut passes);
    for (gx, [expected, _]) in gx.iter().zip(&expected) {
        assert_eq!(gx, expected);
    }
}

#[test]
fn threads_change_no_bit() {
    for scan in SCANS {
        let l = sizes([5, 9, 8, 20]);
        let x = numbers::<f32>(1, 4 * l.states_len());
        let w = numbers::<f32>(2, l.weights_len(scan));
        let gh = numbers::<f32>(3, l.states_len());
        let all = || {
            let [gx, gw] = gradients(&l, scan, &x, &w, &gh);
            (forward(&l, scan, &x, &w), gx, gw)
        };
        let expected = serial(all);
        for threads in [1, 2, 3, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            assert!(
                pool.build().unwrap().install(all) == expected,
                "{scan:?} on {threads}"
            );
        }
    }
}

/// The cells of a picture one by one have the bits of the whole pass.
#[test]
fn single_cells_have_the_bits_of_the_whole_pass() {
    for (isa, shape) in Isa::available().flat_map(|isa| SHAPES.map(|shape| (isa, shape))) {
        for scan in SCANS {
            isa.scoped(|| {
                let l = sizes(shape);
                let [batch, height, width, channels] = shape;
                let x = numbers::<f32>(1, 4 * l.states_len());
                let w = numbers::<f32>(2, l.weights_len(scan));
                let [whole, _, whole_states] = forward(&l, scan, &x, &w);
                let cell = Cell::new(scan, channels, &w);
                let (mut h, mut c) = (vec![0.0; whole.len()], vec![0.0; whole.len()]);
                for at in 0..height * width {
                    let (row, column) = match scan {
                        Scan::Diagonal { mirrored: true } => (at / width, width - 1 - at % width),
                        _ => (at / width, at % width),
                    };
                    let at = |picture: usize, (down, right): (isize, isize)| {
                        let row = row.checked_add_signed(down)?;
                        let column = column.checked_add_signed(right).filter(|&c| c < width)?;
                        Some((picture * height + row) * width + column)
                    };
                    let column_of = |map: &[f32], size: usize, offset| -> Vec<f32> {
                        let of = |i| match at(i, offset) {
                            Some(at) => map[at * size..][..size].to_vec(),
                            None => vec![0.0; size],
                        };
                        (0..batch).flat_map(of).collect()
                    };
                    let seen: Vec<_> = (scan.offsets().iter())
                        .map(|&offset| column_of(&h, channels, offset))
                        .collect();
                    let seen: Vec<&[f32]> = seen.iter().map(Vec::as_slice).collect();
                    let before = column_of(&c, channels, scan.offsets()[1]);
                    let x = column_of(&x, 4 * channels, (0, 0));
                    let [mut to, mut states] = [(); 2].map(|()| vec![f32::NAN; before.len()]);
                    cell.step(&x, &seen, &before, &mut to, &mut states);
                    for (map, column) in [(&mut h, to), (&mut c, states)] {
                        for (picture, column) in column.chunks_exact(channels).enumerate() {
                            let at = at(picture, (0, 0)).unwrap();
                            map[at * channels..][..channels].copy_from_slice(column);
                        }
                    }
                }
                assert!(h == whole && c == whole_states, "{l:?} {scan:?} on {isa}");
            });
        }
    }
}
