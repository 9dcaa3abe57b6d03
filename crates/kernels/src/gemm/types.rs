//! What a product is described with: matrix views, beta, and what happens on the way out.

/// A matrix view: element (i, j) is `data[i * row_stride + j * col_stride]`.
///
/// Transposing swaps the strides and moves nothing. Any strides are right, also gaps and
/// broadcast rows (stride 0); a product is fastest where one of the two is 1.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a, T> {
    /// The numbers, starting with element (0, 0).
    pub data: &'a [T],
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub cols: usize,
    /// Distance between an element and the one below it.
    pub row_stride: usize,
    /// Distance between an element and the one to its right.
    pub col_stride: usize,
}

impl<'a, T> Mat<'a, T> {
    /// A contiguous row-major matrix `[rows, cols]`.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        Mat::with_strides(data, rows, cols, cols, 1)
    }

    /// A matrix with strides of its own, counted in elements.
    pub fn with_strides(
        data: &'a [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Self {
        Mat {
            data,
            rows,
            cols,
            row_stride,
            col_stride,
        }
    }

    /// The transposed view.
    pub fn t(self) -> Self {
        Mat::with_strides(
            self.data,
            self.cols,
            self.rows,
            self.col_stride,
            self.row_stride,
        )
    }

    /// How many elements `data` must have for every (i, j) to lie inside; `None` if that number
    /// does not fit.
    pub(crate) fn span(&self) -> Option<usize> {
        if self.rows == 0 || self.cols == 0 {
            return Some(0);
        }
        let down = (self.rows - 1).checked_mul(self.row_stride)?;
        let across = (self.cols - 1).checked_mul(self.col_stride)?;
        down.checked_add(across)?.checked_add(1)
    }
}

/// What the output holds before the product is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beta {
    /// Nothing: c is overwritten and **never read**, so NaN in it does no harm.
    Zero,
    /// A sum to be continued: c += a b.
    One,
}

/// The function applied to each output on its way to memory.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// y = x.
    Identity,
    /// y = max(0, x); NaN stays NaN.
    Relu,
    /// y = x for x > 0, else slope * x. The slope is finite.
    LeakyRelu(f32),
}

/// What is done to a b before it is stored: act(.. + bias).
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, T> {
    /// One number a column, added to every row: `[n]`.
    pub bias: Option<&'a [T]>,
    /// Applied last.
    pub activation: Activation,
}

impl<'a, T> Epilogue<'a, T> {
    /// Neither bias nor activation.
    pub const NONE: Epilogue<'a, T> = Epilogue {
        bias: None,
        activation: Activation::Identity,
    };

    /// A bias and no activation.
    pub fn bias(bias: &'a [T]) -> Self {
        Epilogue {
            bias: Some(bias),
            activation: Activation::Identity,
        }
    }
}
