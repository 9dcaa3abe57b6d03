//! Attention on every instruction set of this machine, against its naive twin.

use kernels::Element;
use kernels::attention::{Attention, Backward, Forward, Pattern, Query, Rows, RowsMut, Strides};
use kernels::parallel::serial;
use kernels::reference::attention::{Results, attention};
use kernels::simd::Isa;

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

/// What the kernels compute: o, logsumexp and the three gradients.
type Found<T> = [Vec<T>; 5];

/// Operands each in a buffer of its own.
fn apart<T: Element>(a: &Attention, [q, k, v, go]: [&[T]; 4]) -> Found<T> {
    let strides = Strides::contiguous(a.length, 1, a.heads, a.depth);
    let nan = T::from_f64(f64::NAN);
    let [mut o, mut gq, mut gk, mut gv] = [(); 4].map(|()| vec![nan; q.len()]);
    let mut logsumexp = vec![nan; a.batch * a.heads * a.length];
    let rows = |x| Rows::new(x, strides);
    let forward = Forward {
        q: rows(q),
        k: rows(k),
        v: rows(v),
        o: RowsMut::new(&mut o, strides),
    };
    a.forward(forward, &mut logsumexp);
    a.backward(Backward {
        q: rows(q),
        k: rows(k),
        v: rows(v),
        o: rows(&o),
        logsumexp: &logsumexp,
        go: rows(go),
        gq: RowsMut::new(&mut gq, strides),
        gk: RowsMut::new(&mut gk, strides),
        gv: RowsMut::new(&mut gv, strides),
    });
    [o, logsumexp, gq, gk, gv]
}

/// Queries, keys and values in one buffer, and so their gradients.
fn packed<T: Element>(a: &Attention, [q, k, v, go]: [&[T]; 4]) -> Found<T> {
    let (row, nan) = (a.heads * a.depth, T::from_f64(f64::NAN));
    let strides = Strides::contiguous(a.length, 1, a.heads, a.depth);
    let mut all = Vec::new();
    for t in 0..a.batch * a.length {
        for x in [q, k, v] {
            all.extend_from_slice(&x[t * row..][..row]);
        }
    }
    let (mut o, mut gradients) = (vec![nan; q.len()], vec![nan; all.len()]);
    let mut logsumexp = vec![nan; a.batch * a.heads * a.length];
    let [q, k, v] = Rows::packed(&all, a.length, a.heads, a.depth);
    let forward = Forward {
        q,
        k,
        v,
        o: RowsMut::new(&mut o, strides),
    };
    a.forward(forward, &mut logsumexp);
    let [gq, gk, gv] = RowsMut::packed(&mut gradients, a.length, a.heads, a.depth);
    a.backward(Backward {
        q,
        k,
        v,
        o: Rows::new(&o, strides),
        logsumexp: &logsumexp,
        go: Rows::new(go, strides),
        gq,
        gk,
        gv,
    });
    let part = |i: usize| {
        let rows = gradients.chunks(row.max(1)).skip(i).step_by(3);
        rows.flatten().copied().collect()
    };
    [o, logsumexp, part(0), part(1), part(2)]
}

#[track_caller]
fn close<T: Element>(found: &Found<T>, expected: &Results, tolerance: f64, what: &str) {
    let [q, k, v] = &expected.gradients;
    let names = ["o", "logsumexp", "gq", "gk", "gv"];
    let expected = [&expected.o, &expected.logsumexp, q, k, v];
    for ((name, found), expected) in names.iter().zip(found).zip(expected) {
        assert_eq!(found.len(), expected.len());
        for (i, (y, &e)) in found.iter().zip(expected).enumerate() {
            let near = (y.to_f64() - e).abs() <= tolerance * (1.0 + e.abs());
            assert!(
                near || y.to_f64() == e,
                "{what}: {name} at {i}: expected {e}, found {y}"
            );
        }
    }
}

fn check<T: Element>(a: &Attention, tolerance: f64) {
    let len = a.batch * a.length * a.heads * a.depth;
    let x: [Vec<T>; 4] = [1, 2, 3, 4].map(|seed| numbers(seed, len));
    let x = x.each_ref().map(|x| &x[..]);
    let expected = attention(a, x[0], x[1], x[2], x[3]);
    let what = format!("{a:?}, {}", T::NAME);
    close(&apart(a, x), &expected, tolerance, &what);
    close(
        &packed(a, x),
        &expected,
        tolerance,
        &format!("{what}, packed"),
    );
}

/// Patterns for pictures of some size, seen also as sequences.
fn patterns(size: [usize; 2]) -> Vec<Pattern> {
    let local = |query, memory| Pattern::Local { query, memory };
    let local_2d = |query, flange| Pattern::Local2d {
        size,
        query,
        flange,
    };
    vec![
        Pattern::Full,
        Pattern::Causal { strict: false },
        Pattern::Causal { strict: true },
        local(1, 0),
        local(5, 3),
        local(16, 40),
        local_2d([1, 1], [1, 1]),
        local_2d([2, 3], [1, 2]),
        local_2d([4, 4], [0, 1]),
        local_2d([9, 5], [3, 20]),
    ]
}

fn on_every_isa(test: impl Fn()) {
    for isa in Isa::available() {
        println!("{isa}");
        isa.scoped(&test);
    }
}

#[test]
fn every_pattern_is_its_definition() {
    on_every_isa(|| {
        for size in [[1, 1], [2, 3], [5, 7], [11, 12]] {
            for pattern in patterns(size) {
                for (heads, depth) in [(1, 5), (2, 16)] {
                    let a = Attention::new([2, size[0] * size[1], heads, depth], pattern);
                    check::<f32>(&a, 4e-6);
                    check::<f64>(&a, 1e-12);
                }
            }
        }
    });
}

#[test]
fn every_size_is_its_definition() {
    on_every_isa(|| {
        let causal = Pattern::Causal { strict: false };
        for length in [0, 1, 2, 6, 7, 15, 17, 31, 32, 33, 48, 63, 65, 113, 150] {
            for depth in [1, 3, 8, 15, 17, 32, 40, 64] {
                check::<f32>(&Attention::new([1, length, 1, depth], causal), 4e-6);
            }
        }
        check::<f64>(&Attention::new([1, 250, 1, 3], causal), 1e-12);
        check::<f32>(&Attention::new([1, 300, 2, 20], Pattern::Full), 4e-6);
        check::<f32>(&Attention::new([0, 3, 2, 20], causal), 4e-6);
        check::<f32>(&Attention::new([3, 3, 0, 20], causal), 4e-6);
    });
}

/// Scores that grow by hundreds from block to block, and shrink again: what was subtracted first
/// is far too little for later ones, or far too much.
#[test]
fn large_scores_neither_overflow_nor_vanish() {
    fn run<T: Element>(tolerance: f64) {
        for direction in [1.0, -1.0] {
            let length = 400;
            let mut a = Attention::new([1, length, 1, 4], Pattern::Full);
            a.scale = direction;
            let [q, mut k, v, go] = [1, 2, 3, 4].map(|seed| numbers::<T>(seed, 4 * length));
            for (i, k) in k.iter_mut().enumerate() {
                let size = if i / 4 < 300 { i / 4 } else { 600 - i / 4 };
                *k = T::from_f64((i % 4 + size) as f64);
            }
            let expected = attention(&a, &q, &k, &v, &go);
            let found = apart(&a, [&q, &k, &v, &go]);
            let what = format!("direction {direction}, {}", T::NAME);
            // The scores are hundreds: their rounding is an error of 1e-4 in probabilities, times
            // hundreds in gradients by queries.
            close(&found, &expected, tolerance, &what);
        }
    }
    on_every_isa(|| {
        run::<f32>(3e-2);
        run::<f64>(1e-9);
    });
}

#[test]
fn nan_stays_nan_and_stays_where_it_is_seen() {
    on_every_isa(|| {
        let a = Attention::new([1, 40, 1, 8], Pattern::Causal { strict: false });
        let mut x: [Vec<f32>; 4] = [1, 2, 3, 4].map(|seed| numbers(seed, 40 * 8));
        x[1][20 * 8] = f32::NAN;
        let [o, ..] = apart(&a, x.each_ref().map(|x| &x[..]));
        assert!(o[..20 * 8].iter().all(|o| o.is_finite()));
        assert!(o[20 * 8..].iter().all(|o| o.is_nan()));
    });
}

#[test]
fn threads_change_no_bit() {
    let bits =
        |found: Found<f32>| found.map(|x| x.into_iter().map(f32::to_bits).collect::<Vec<_>>());
    for pattern in [Pattern::Causal { strict: false }, patterns([28, 20])[8]] {
        for (batch, heads) in [(1, 1), (3, 2)] {
            let a = Attention::new([batch, 560, heads, 24], pattern);
            let len = a.shape().iter().product();
            let x: [Vec<f32>; 4] = [1, 2, 3, 4].map(|seed| numbers(seed, len));
            let x = x.each_ref().map(|x| &x[..]);
            let expected = bits(serial(|| packed(&a, x)));
            for threads in [1, 2, 3, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                let found = pool.build().unwrap().install(|| packed(&a, x));
                assert!(bits(found) == expected, "{a:?} on {threads} threads");
            }
        }
    }
}

#[test]
fn pairs_are_those_that_see_each_other() {
    let size = [6, 7];
    for pattern in patterns(size) {
        let all = (0..42).flat_map(|i| (0..42).map(move |j| (i, j)));
        let seen = all.filter(|&(i, j)| pattern.sees(i, j)).count();
        assert_eq!(pattern.pairs(42), seen, "{pattern:?}");
    }
}

#[test]
#[should_panic(expected = "overlap")]
fn gradients_that_overlap_are_refused() {
    let a = Attention::new([1, 4, 2, 8], Pattern::Full);
    let (x, mut y) = (vec![0.0f32; 64], vec![0.0f32; 64]);
    let strides = Strides::contiguous(4, 1, 2, 8);
    let rows = Rows::new(&x, strides);
    let overlapping = Strides { head: 4, ..strides };
    let forward = Forward {
        q: rows,
        k: rows,
        v: rows,
        o: RowsMut::new(&mut y, overlapping),
    };
    a.forward(forward, &mut [0.0; 8]);
}

/// Queries one by one, with the keys and values of their block, have the bits of the whole pass;
/// also where scores are so large or small that sums are shifted.
#[test]
fn single_queries_have_the_bits_of_the_whole_pass() {
    let patterns = |[h, w]: [usize; 2]| {
        [
            Pattern::Causal { strict: false },
            Pattern::Causal { strict: true },
            Pattern::Local {
                query: 100,
                memory: 70,
            },
            Pattern::Local {
                query: 7,
                memory: 9,
            },
            Pattern::Local2d {
                size: [h, w],
                query: [5, 6],
                flange: [3, 4],
            },
        ]
    };
    for isa in Isa::available() {
        for (size, depth, spread) in [
            ([3, 4], 1, 1.0),
            ([15, 19], 32, 1.0),
            ([11, 20], 16, 60.0),
            ([14, 17], 23, 25.0),
            ([4, 9], 100, 4.0),
        ] {
            for pattern in patterns(size) {
                let length = size[0] * size[1];
                let a = Attention::new([1, length, 1, depth], pattern);
                let mut operands = [1, 2, 3, 4].map(|seed| numbers::<f32>(seed, length * depth));
                operands[0].iter_mut().for_each(|q| *q *= spread);
                // Some with scores that are all far below 0.
                let n = length * depth;
                operands[1][n / 2..].iter_mut().for_each(|k| *k -= 0.8);
                isa.scoped(|| {
                    let [whole, ..] = apart(&a, operands.each_ref().map(|x| &x[..]));
                    let [q, k, v, _] = &operands;
                    let pitch = pattern.most_keys(length).next_multiple_of(16);
                    let (mut keys, mut values) =
                        (vec![0.0; depth * pitch], vec![0.0; depth * pitch]);
                    let mut had = vec![false; length];
                    for turn in pattern.turns(length) {
                        let mut put = |slot: usize, position: usize| {
                            for (d, k) in k[position * depth..][..depth].iter().enumerate() {
                                keys[d * pitch + slot] = *k;
                            }
                            let v = &v[position * depth..][..depth];
                            values[slot * depth..][..depth].copy_from_slice(v);
                        };
                        for (slot, &position) in turn.memory.iter().flatten().enumerate() {
                            assert!(had[position], "{pattern:?}: {position} comes later");
                            put(slot, position);
                        }
                        put(turn.own(), turn.position);
                        let at = turn.position * depth;
                        let mut o = vec![f32::NAN; depth];
                        let query = Query {
                            q: &q[at..][..depth],
                            keys: &keys,
                            pitch,
                            values: &values,
                        };
                        a.step(&turn, query, &mut o);
                        assert_eq!(
                            o,
                            whole[at..][..depth],
                            "{pattern:?} {size:?} {depth} at {} on {isa}",
                            turn.position
                        );
                        had[turn.position] = true;
                    }
                    assert!(had.iter().all(|&had| had));
                });
            }
        }
    }
}
