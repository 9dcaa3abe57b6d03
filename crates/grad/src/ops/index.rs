//! Operations that look numbers up: rows by index (embedding), one entry of each row (cross
//! entropy), and their adjoints.

use super::Entry;
use super::sample::{sample, uniform};
use crate::{Element, MAX_RANK, Op, Saves, Shape, Tensor, Var, Vjp};
use kernels::elementwise;
use std::sync::Arc;

pub(super) const GATHER_ROWS: Entry = Entry {
    name: "gather_rows",
    formula: "y[i, ..] = x[indices[i], ..]",
    samples: || {
        vec![
            sample!("a row twice", [uniform([3, 4], -1.0, 1.0)], |x| x[0]
                .gather_rows([2, 0, 2, 2].into())
                .square()),
            sample!("rows of rank 2", [uniform([2, 2, 3], -1.0, 1.0)], |x| x[0]
                .gather_rows([1, 0, 1].into())),
        ]
    },
};

pub(super) const SCATTER_ADD: Entry = Entry {
    name: "scatter_add",
    formula: "y[r, ..] = sum of x[i, ..] over all i with indices[i] = r; the adjoint of gather_rows",
    samples: || {
        vec![sample!(
            "a row twice, one never",
            [uniform([4, 2], -1.0, 1.0)],
            |x| x[0].scatter_add([2, 0, 2, 1].into(), 4).square()
        )]
    },
};

pub(super) const PICK: Entry = Entry {
    name: "pick",
    formula: "y[r] = x[r, indices[r]] for the rows r of the last axis",
    samples: || {
        vec![sample!("3-D", [uniform([2, 2, 3], -1.0, 1.0)], |x| x[0]
            .pick([2, 0, 1, 1].into())
            .square())]
    },
};

pub(super) const PLACE: Entry = Entry {
    name: "place",
    formula: "y[r, c] = x[r] where c = indices[r], else 0; the adjoint of pick",
    samples: || {
        vec![sample!("2-D", [uniform([2, 2], -1.0, 1.0)], |x| x[0]
            .place([2, 0, 1, 1].into(), 3)
            .square())]
    },
};

#[track_caller]
pub(super) fn assert_below(op: &str, indices: &[u32], count: usize) {
    if let Some(index) = indices.iter().find(|&&index| index as usize >= count) {
        panic!("{op}: index {index} among {count}");
    }
}

struct GatherRows(Arc<[u32]>);

impl<T: Element> Op<T> for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let shape = x[0].shape();
        assert_below("gather_rows", &self.0, shape[0]);
        let row: usize = shape[1..].iter().product();
        Tensor::build(shape.with(0, self.0.len()), |out| {
            for (out, &i) in out.chunks_exact_mut(row.max(1)).zip(&*self.0) {
                out.copy_from_slice(&x[0].data()[i as usize * row..][..row]);
            }
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.scatter_add(self.0.clone(), at.input_shape(0)[0]));
    }
}

struct ScatterAdd {
    indices: Arc<[u32]>,
    rows: usize,
}

impl<T: Element> Op<T> for ScatterAdd {
    fn name(&self) -> &'static str {
        "scatter_add"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let shape = x[0].shape();
        assert!(
            shape[0] == self.indices.len(),
            "scatter_add: the rows of shape {shape} and the number of indices differ"
        );
        assert_below("scatter_add", &self.indices, self.rows);
        let row: usize = shape[1..].iter().product();
        Tensor::build(shape.with(0, self.rows), |out| {
            out.fill(T::ZERO);
            for (x, &i) in x[0].data().chunks_exact(row.max(1)).zip(&*self.indices) {
                elementwise::add_assign(&mut out[i as usize * row..][..row], x);
            }
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.gather_rows(self.indices.clone()));
    }
}

struct Pick(Arc<[u32]>);

impl<T: Element> Op<T> for Pick {
    fn name(&self) -> &'static str {
        "pick"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let shape = x[0].shape();
        let columns = shape.last_extent();
        assert!(
            self.0.len() * columns == shape.elements(),
            "pick: {} indices for the rows of shape {shape}",
            self.0.len()
        );
        assert_below("pick", &self.0, columns);
        Tensor::build(shape.without(shape.rank() - 1), |out| {
            let rows = x[0].data().chunks_exact(columns.max(1));
            for ((out, x), &i) in out.iter_mut().zip(rows).zip(&*self.0) {
                *out = x[i as usize];
            }
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || {
            g.place(self.0.clone(), at.input_shape(0).last_extent())
        });
    }
}

struct Place {
    indices: Arc<[u32]>,
    columns: usize,
}

impl<T: Element> Op<T> for Place {
    fn name(&self) -> &'static str {
        "place"
    }
    fn saves(&self) -> Saves {
        Saves::NOTHING
    }
    #[track_caller]
    fn forward(&self, x: &[&Tensor<T>]) -> Tensor<T> {
        let shape = x[0].shape();
        assert!(
            self.indices.len() == shape.elements(),
            "place: the number of indices and of the numbers of shape {shape} differ"
        );
        assert_below("place", &self.indices, self.columns);
        let mut extents = [0; MAX_RANK];
        extents[..shape.rank()].copy_from_slice(shape);
        extents[shape.rank()] = self.columns;
        Tensor::build(Shape::new(&extents[..=shape.rank()]), |out| {
            out.fill(T::ZERO);
            let rows = out.chunks_exact_mut(self.columns.max(1));
            for ((out, &x), &i) in rows.zip(x[0].data()).zip(&*self.indices) {
                out[i as usize] = x;
            }
        })
    }
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>) {
        at.give(0, || g.pick(self.indices.clone()));
    }
}

impl<T: Element> Var<T> {
    /// `y[i, ..] = self[indices[i], ..]`: rows of a table, `[rows, ..]` to `[indices, ..]`.
    ///
    /// # Panics
    /// If this is a scalar, or an index is not below the number of rows.
    #[track_caller]
    pub fn gather_rows(&self, indices: Arc<[u32]>) -> Var<T> {
        self.assert_axis("gather_rows", 0);
        Var::apply(GatherRows(indices), &[self])
    }

    /// `y[r, ..]` = the sum of `self[i, ..]` over all i with `indices[i]` = r: the adjoint of
    /// [`gather_rows`](Self::gather_rows), `[indices, ..]` to `[rows, ..]`.
    ///
    /// # Panics
    /// If there is not one index for each row of this, or one is not below `rows`.
    #[track_caller]
    pub fn scatter_add(&self, indices: Arc<[u32]>, rows: usize) -> Var<T> {
        self.assert_axis("scatter_add", 0);
        Var::apply(ScatterAdd { indices, rows }, &[self])
    }

    /// `y[r] = self[r, indices[r]]`, one entry of each row of the last axis: `[.., C]` to `[..]`.
    ///
    /// # Panics
    /// If there is not one index for each row, or one is not below C.
    #[track_caller]
    pub fn pick(&self, indices: Arc<[u32]>) -> Var<T> {
        self.assert_axis("pick", 0);
        Var::apply(Pick(indices), &[self])
    }

    /// `y[r, c] = self[r]` where c = `indices[r]`, else 0: the adjoint of [`pick`](Self::pick),
    /// `[..]` to `[.., columns]`.
    ///
    /// # Panics
    /// If there is not one index for each number, or one is not below `columns`, or this has
    /// [`MAX_RANK`] axes.
    #[track_caller]
    pub fn place(&self, indices: Arc<[u32]>, columns: usize) -> Var<T> {
        assert!(
            self.shape().rank() < MAX_RANK,
            "place: no room for an axis in shape {}",
            self.shape()
        );
        Var::apply(Place { indices, columns }, &[self])
    }
}
