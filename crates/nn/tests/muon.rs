//! Muon on matrices: the formula in f64, and what the formula is for.

use grad::Tensor;
use nn::optim::{Optimiser, OptimiserState};
use nn::random::{self, normal_tensor};
use nn::{ParamId, Params};
use std::slice;

const LR: f64 = 0.02;
const MOMENTUM: f64 = 0.9;
const DECAY: f64 = 0.3;

fn rule() -> Optimiser {
    Optimiser::muon(LR)
        .with("momentum", MOMENTUM)
        .with("weight_decay", DECAY)
}

/// A row-major matrix in f64.
#[derive(Clone)]
struct Matrix {
    rows: usize,
    cols: usize,
    data: Vec<f64>,
}

impl Matrix {
    fn new(rows: usize, cols: usize, at: impl Fn(usize, usize) -> f64) -> Matrix {
        let data = (0..rows * cols).map(|i| at(i / cols, i % cols)).collect();
        Matrix { rows, cols, data }
    }

    fn of(tensor: &Tensor<f32>) -> Matrix {
        let cols = tensor.shape().last_extent();
        let data: Vec<_> = tensor.data().iter().map(|&x| x.into()).collect();
        let rows = data.len() / cols;
        Matrix { rows, cols, data }
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        self.data[i * self.cols + j]
    }

    fn t(&self) -> Matrix {
        Matrix::new(self.cols, self.rows, |i, j| self.at(j, i))
    }

    fn times(&self, other: &Matrix) -> Matrix {
        Matrix::new(self.rows, other.cols, |i, j| {
            (0..self.cols).map(|k| self.at(i, k) * other.at(k, j)).sum()
        })
    }

    fn plus(&self, factor: f64, other: &Matrix) -> Matrix {
        Matrix::new(self.rows, self.cols, |i, j| {
            self.at(i, j) + factor * other.at(i, j)
        })
    }

    fn scaled(&self, factor: f64) -> Matrix {
        Matrix::new(self.rows, self.cols, |i, j| factor * self.at(i, j))
    }

    fn norm(&self) -> f64 {
        self.data.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    /// The polynomial of Jordan et al. 2024, five times.
    fn orthogonal(&self) -> Matrix {
        let mut x = self.scaled(1.0 / self.norm());
        for _ in 0..5 {
            let cube = x.times(&x.t()).times(&x);
            let fifth = x.times(&x.t()).times(&cube);
            x = x.scaled(3.4445).plus(-4.775, &cube).plus(2.0315, &fifth);
        }
        x
    }
}

fn one(shape: &[usize]) -> (Params<f32>, ParamId) {
    let mut params = Params::new();
    let value = normal_tensor(grad::Shape::new(shape), &mut random::stream(&[7]));
    let id = params.add("weight".into(), value, true);
    (params, id)
}

fn gradient(shape: &[usize], step: u64) -> Tensor<f32> {
    normal_tensor(grad::Shape::new(shape), &mut random::stream(&[step, 1]))
}

#[test]
fn matrices_follow_the_formula() {
    for shape in [
        &[5, 3][..],
        &[3, 5],
        &[4, 4],
        &[3, 3, 2, 4],
        &[2, 40],
        &[1, 1, 6, 2],
    ] {
        let (mut params, id) = one(shape);
        let mut state = OptimiserState::new(rule(), &params, vec![id]);
        let mut p = Matrix::of(&params[id].value);
        let mut mean = p.scaled(0.0);
        for step in 0..6 {
            let (first, second) = (gradient(shape, step), gradient(shape, step + 100));
            state.step_summed(
                &mut params,
                [slice::from_ref(&first), slice::from_ref(&second)],
                0.5,
                0.1,
            );
            let g = Matrix::of(&first)
                .plus(1.0, &Matrix::of(&second))
                .scaled(0.1);
            mean = g.scaled(1.0 - MOMENTUM).plus(MOMENTUM, &mean);
            let o = g.scaled(1.0 - MOMENTUM).plus(MOMENTUM, &mean).orthogonal();
            let longer = p.rows.max(p.cols) as f64;
            let lr = 0.5 * LR;
            p = p
                .scaled(1.0 - lr * DECAY)
                .plus(-lr * 0.2 * longer.sqrt(), &o);
            let found = Matrix::of(&params[id].value);
            let error = found.plus(-1.0, &p).norm() / p.norm();
            assert!(error < 1e-5, "{shape:?}, step {step}: {error:e}");
        }
    }
}

/// One step from 0 without decay is the direction itself: its singular values are near 1 though
/// those of the gradient differ, and its singular vectors are the gradient's.
#[test]
fn all_directions_are_learned_alike() {
    let shape = [12, 5];
    let mut params = Params::new();
    let id = params.add("weight".into(), Tensor::zeros(shape), true);
    let optimiser = Optimiser::muon(1.0)
        .with("momentum", 0.0)
        .with("weight_decay", 0.0);
    let mut state = OptimiserState::new(optimiser, &params, vec![id]);
    // Columns of very different lengths.
    let random = Matrix::of(&gradient(&shape, 3));
    let g = Matrix::new(12, 5, |i, j| random.at(i, j) * 4f64.powi(j as i32 - 2));
    let data: Vec<_> = g.data.iter().map(|&x| x as f32).collect();
    state.step(&mut params, &[Tensor::new(shape, &data)], 1.0);
    let o = Matrix::of(&params[id].value).scaled(-1.0 / (0.2 * 12f64.sqrt()));

    // o^T o v for many v: between the squares of 0.6 and 1.25.
    let gram = o.t().times(&o);
    for seed in 0..50 {
        let v = Matrix::of(&gradient(&[5, 1], seed));
        let stretch = gram.times(&v).norm() / v.norm();
        assert!((0.36..1.56).contains(&stretch), "{stretch}");
    }
    // With common singular vectors o^T g is symmetric, and positive on its diagonal.
    let product = o.t().times(&g);
    for i in 0..5 {
        assert!(product.at(i, i) > 0.0);
        for j in 0..i {
            let difference = (product.at(i, j) - product.at(j, i)).abs();
            assert!(difference < 1e-4 * product.norm(), "{i}, {j}: {difference}");
        }
    }
}

/// What a mask hides has no gradient, and gets no step of its own.
#[test]
fn rows_without_gradient_only_decay() {
    let shape = [6, 4];
    let (mut params, id) = one(&shape);
    let before = Matrix::of(&params[id].value);
    let mut state = OptimiserState::new(rule(), &params, vec![id]);
    let mut g = gradient(&shape, 2);
    g.make_mut()[8..16].fill(0.0);
    state.step(&mut params, &[g], 1.0);
    let after = Matrix::of(&params[id].value);
    for j in 0..4 {
        for i in 2..4 {
            let expected = before.at(i, j) * (1.0 - LR * DECAY);
            assert!((after.at(i, j) - expected).abs() < 1e-6);
        }
        assert!((after.at(0, j) - before.at(0, j)).abs() > 1e-4);
    }
}

/// A gradient of 0 says nothing; one that is no number is not hidden.
#[test]
fn nothing_and_nonsense() {
    let shape = [3, 4];
    for (value, expected) in [(0.0, true), (f32::NAN, false)] {
        let (mut params, id) = one(&shape);
        let mut state = OptimiserState::new(rule(), &params, vec![id]);
        state.step(&mut params, &[Tensor::full(shape, value)], 1.0);
        let finite = params[id].value.data().iter().all(|x| x.is_finite());
        assert_eq!(finite, expected, "{value}");
    }
}

/// A saved run goes on with the same bytes, on any number of threads.
#[test]
fn it_is_restored_and_threads_do_not_matter() {
    let shapes: [&[usize]; 4] = [&[300, 200], &[7], &[3, 3, 16, 16], &[20, 64]];
    let run = |threads: usize, interrupted: bool| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let mut params = Params::new();
            let ids: Vec<_> = (shapes.iter().enumerate())
                .map(|(i, shape)| params.add(i.to_string(), gradient(shape, i as u64), true))
                .collect();
            let mut state = OptimiserState::new(rule(), &params, ids.clone());
            for step in 0..4 {
                if interrupted && step == 2 {
                    let mut other = OptimiserState::new(rule(), &params, ids.clone());
                    let mut lookup = |name: &str| {
                        let mut tensors = state.tensors();
                        tensors.find(|(n, _)| n == name).map(|(_, t)| t.clone())
                    };
                    other.restore(state.step_count(), &mut lookup).unwrap();
                    state = other;
                }
                let gradients: Vec<_> = shapes.iter().map(|s| gradient(s, 50 + step)).collect();
                state.step(&mut params, &gradients, 1.0);
            }
            let bits = |id: &ParamId| {
                params[*id]
                    .value
                    .data()
                    .iter()
                    .map(|x| x.to_bits())
                    .collect()
            };
            ids.iter().map(bits).collect::<Vec<Vec<u32>>>()
        })
    };
    let whole = run(1, false);
    assert_eq!(whole, run(1, true));
    for threads in [2, 3, 5] {
        assert_eq!(whole, run(threads, false), "{threads} threads");
    }
}

/// The gradient of a dead unit is 0 from some step on: its mean must end at 0, and not as a
/// subnormal number that slows down every later step, or as a matrix without a norm.
#[test]
fn what_is_dead_fades_to_nothing() {
    let shape = [6, 4];
    for dead_rows in [1, 6] {
        let (mut params, id) = one(&shape);
        let mut state = OptimiserState::new(rule(), &params, vec![id]);
        for step in 0..1000 {
            let mut g = gradient(&shape, step);
            if step > 0 {
                g.make_mut()[..4 * dead_rows].fill(0.0);
            }
            state.step(&mut params, &[g], 1.0);
        }
        let (_, mean) = state.tensors().next().expect("a momentum");
        let (dead, alive) = mean.data().split_at(4 * dead_rows);
        assert!(dead.iter().all(|&x| x == 0.0), "{dead:?}");
        assert!(alive.iter().all(|&x| x != 0.0), "{alive:?}");
        // The decay alone has made the dead weights small by now.
        let weights = params[id].value.data();
        assert!(weights.iter().all(|x| x.is_finite()));
        assert!(
            weights[..4 * dead_rows].iter().all(|x| x.abs() < 0.05),
            "{weights:?}"
        );
    }
}
