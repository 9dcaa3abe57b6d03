//! Rows of features, and what all measures compute of them: products and distances.

use grad::kernels::parallel;
use grad::{Tensor, Var};
use rayon::prelude::*;
use std::ops::Range;

/// Rows that one task works on.
const TOGETHER: usize = 256;

/// Numbers in rows, in double precision: the features of an image in each.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    columns: usize,
    numbers: Tensor<f64>,
}

impl Matrix {
    /// `rows` rows of equal width, one behind the other.
    ///
    /// # Panics
    /// If they do not divide evenly.
    #[track_caller]
    pub fn new(rows: usize, columns: usize, numbers: &[f64]) -> Matrix {
        assert_eq!(numbers.len(), rows * columns, "matrix: {rows} x {columns}");
        Matrix {
            columns,
            numbers: Tensor::new([rows, columns], numbers),
        }
    }

    /// The numbers of `[N, ..]`, a row for each of N.
    ///
    /// # Panics
    /// If it has no axis.
    #[track_caller]
    pub fn of(tensor: &Tensor<f32>) -> Matrix {
        let rows = tensor.shape()[0];
        let columns = tensor.len() / rows.max(1);
        Matrix {
            columns,
            numbers: tensor.reshape([rows, columns]).cast(),
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.numbers.shape()[0]
    }

    /// How many numbers a row has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One row.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.numbers.data()[i * self.columns..(i + 1) * self.columns]
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &[f64]> {
        (0..self.rows()).map(|i| self.row(i))
    }

    /// These rows in this order.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn pick(&self, rows: &[usize]) -> Matrix {
        let numbers: Vec<f64> = rows.iter().flat_map(|&i| self.row(i)).copied().collect();
        Matrix::new(rows.len(), self.columns, &numbers)
    }

    /// Neighbouring rows.
    fn part(&self, rows: Range<usize>) -> Tensor<f64> {
        let range = rows.start * self.columns..rows.end * self.columns;
        Tensor::new([rows.len(), self.columns], &self.numbers.data()[range])
    }

    fn norms(&self) -> Vec<f64> {
        self.iter()
            .map(|row| row.iter().map(|x| x * x).sum())
            .collect()
    }

    /// Calls `f` with blocks of rows of self other^T: which rows, and the products of each with all
    /// rows of `other`. The results are in order, whatever the threads.
    ///
    /// # Panics
    /// If the rows are not equally wide.
    #[track_caller]
    pub(crate) fn products<R: Send>(
        &self,
        other: &Matrix,
        f: impl Fn(Range<usize>, &[f64]) -> R + Sync,
    ) -> Vec<R> {
        assert_eq!(self.columns, other.columns, "matrix: columns of both");
        let starts: Vec<usize> = (0..self.rows()).step_by(TOGETHER).collect();
        let block = |&start: &usize| {
            let rows = start..(start + TOGETHER).min(self.rows());
            let part = Var::constant(self.part(rows.clone()));
            let other = Var::constant(other.numbers.clone());
            let products = parallel::serial(|| part.matmul_with(&other, false, true));
            f(rows, products.value().data())
        };
        starts.par_iter().map(block).collect()
    }

    /// The same with squared Euclidean distances. `tie` of the rows' squared lengths is how far
    /// rounding may move a distance.
    pub(crate) fn distances<R: Send>(
        &self,
        other: &Matrix,
        f: impl Fn(usize, &[f64]) -> R + Sync,
    ) -> Vec<R> {
        let (of_self, of_other) = (self.norms(), other.norms());
        let blocks = self.products(other, |rows, products| {
            let each = rows.zip(products.chunks_exact(other.rows().max(1)));
            each.map(|(i, products)| {
                let distance = |(xy, yy): (&f64, &f64)| (of_self[i] + yy - 2.0 * xy).max(0.0);
                let row: Vec<f64> = products.iter().zip(&of_other).map(distance).collect();
                f(i, &row)
            })
            .collect::<Vec<R>>()
        });
        blocks.into_iter().flatten().collect()
    }

    /// How far rounding may move a squared distance between rows of these two.
    pub(crate) fn rounding(&self, other: &Matrix) -> f64 {
        let longest = self
            .norms()
            .into_iter()
            .chain(other.norms())
            .fold(0.0, f64::max);
        1e-12 * longest
    }

    /// The mean of the rows.
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.columns];
        for row in self.iter() {
            for (mean, x) in mean.iter_mut().zip(row) {
                *mean += x;
            }
        }
        let count = self.rows().max(1) as f64;
        mean.iter_mut().for_each(|mean| *mean /= count);
        mean
    }

    /// The covariance of the columns, divided by rows - 1: columns x columns, row by row.
    pub fn covariance(&self) -> Vec<f64> {
        let mean = self.mean();
        let centred: Vec<f64> = (self.iter())
            .flat_map(|row| row.iter().zip(&mean).map(|(x, mean)| x - mean))
            .collect();
        let x = Var::constant(Tensor::new([self.rows(), self.columns], &centred));
        let products = x.matmul_with(&x, true, false);
        let scale = 1.0 / (self.rows().max(2) - 1) as f64;
        products
            .value()
            .data()
            .iter()
            .map(|sum| sum * scale)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::random::{normal_tensor, stream};

    #[test]
    fn distances_are_those_of_the_definition() {
        let mut s = stream(&[1]);
        let [a, b] = [300, 70].map(|rows| Matrix::of(&normal_tensor::<f32>([rows, 5], &mut s)));
        let found = a.distances(&b, |i, row| (i, row.to_vec()));
        assert_eq!(found.len(), 300);
        for (i, (at, row)) in found.iter().enumerate() {
            assert_eq!(i, *at);
            for (j, found) in row.iter().enumerate() {
                let pairs = a.row(i).iter().zip(b.row(j));
                let expected: f64 = pairs.map(|(x, y)| (x - y) * (x - y)).sum();
                assert!((expected - found).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn covariance_is_unbiased() {
        let x = Matrix::new(3, 2, &[0.0, 1.0, 2.0, 5.0, 4.0, 0.0]);
        assert_eq!(x.mean(), [2.0, 2.0]);
        assert_eq!(x.covariance(), [4.0, -1.0, -1.0, 7.0]);
    }
}
