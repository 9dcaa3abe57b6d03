//! The embedding layer.

use crate::init::Init;
use crate::params::{Bound, Builder, ParamId};
use grad::{Element, Var};
use std::sync::Arc;

/// A table with a row for each class or word.
///
/// Parameters: `weight: [count, width]`, which begins as N(0, 1).
#[derive(Clone, Debug)]
pub struct Embedding {
    weight: ParamId,
}

impl Embedding {
    /// A table of `count` rows.
    pub fn new(builder: &mut Builder, count: usize, width: usize) -> Embedding {
        Embedding::with(
            builder,
            count,
            width,
            Init::Normal {
                mean: 0.0,
                std: 1.0,
            },
        )
    }

    /// A table that begins as `init`.
    pub fn with(builder: &mut Builder, count: usize, width: usize, init: Init) -> Embedding {
        let weight = builder.param("weight", [count, width], |shape, stream| {
            init.draw(shape, stream)
        });
        Embedding { weight }
    }

    /// The rows of these indices, `[len, width]`.
    ///
    /// # Panics
    /// If an index is not less than `count`.
    #[track_caller]
    pub fn forward<T: Element>(&self, p: &Bound<T>, indices: Arc<[u32]>) -> Var<T> {
        p[self.weight].gather_rows(indices)
    }

    /// The table, `[count, width]`.
    pub fn weight(&self) -> ParamId {
        self.weight
    }
}
