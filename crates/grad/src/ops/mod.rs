//! The operations: one file a family, each with its forward rule, its vjp and sample inputs.
//!
//! [`TABLE`] names them all. It drives the gradient checks of first and second order, the check
//! of f32 against f64 on every instruction set, and the list in the README. The set is closed:
//! every vjp is made of operations of the set, so all of them can be differentiated twice.
//!
//! To add one: write its file with an [`Entry`], name that in [`TABLE`].

mod affine;
mod arithmetic;
mod attention;
mod batch_norm;
mod bias;
mod conv;
mod index;
mod join;
mod layer_norm;
mod linear;
mod loss;
mod lstm;
mod matmul;
mod panels;
mod pool;
mod reduce;
mod relu;
mod sample;
mod select;
mod softmax;
mod stretch;
mod unary;
mod view;

pub use batch_norm::BatchMoments;
pub(crate) use sample::splitmix;
pub use sample::{Run, Sample};

/// An operation: its name, what it computes, and inputs to check it on.
pub struct Entry {
    /// As error messages show it.
    pub name: &'static str,
    /// What it computes, in a line.
    pub formula: &'static str,
    /// Inputs around which it is smooth.
    pub samples: fn() -> Vec<Sample>,
}

/// Every operation.
pub const TABLE: &[Entry] = &[
    arithmetic::ADD,
    arithmetic::SUB,
    arithmetic::MUL,
    arithmetic::DIV,
    arithmetic::MAX,
    arithmetic::MIN,
    affine::AFFINE,
    unary::EXP,
    unary::LOG,
    unary::SQRT,
    unary::SQUARE,
    unary::SQUARE_GRADIENT,
    relu::ABS,
    unary::RECIP,
    unary::TANH,
    unary::TANH_GRADIENT,
    unary::SIGMOID,
    unary::SIGMOID_GRADIENT,
    unary::SOFTPLUS,
    relu::RELU,
    relu::LEAKY_RELU,
    relu::LEAKY_RELU_GRADIENT,
    unary::GELU,
    unary::GELU_DERIVATIVE,
    unary::GELU_SECOND_DERIVATIVE,
    matmul::MATMUL,
    linear::LINEAR,
    bias::BIAS_ACTIVATION,
    conv::CONV2D,
    conv::CONV2D_INPUT_GRADIENT,
    conv::CONV2D_WEIGHT_GRADIENT,
    pool::AVERAGE_POOL,
    pool::AVERAGE_POOL_GRADIENT,
    pool::MAX_POOL,
    pool::PLACE_TAPS,
    pool::PICK_TAPS,
    stretch::SUM,
    stretch::BROADCAST_TO,
    reduce::MAX_AXIS,
    reduce::LOGSUMEXP,
    softmax::SOFTMAX,
    softmax::SOFTMAX_GRADIENT,
    softmax::LOG_SOFTMAX,
    softmax::LOG_SOFTMAX_GRADIENT,
    layer_norm::LAYER_NORM,
    batch_norm::BATCH_NORM,
    attention::ATTENTION,
    lstm::ROW_LSTM,
    lstm::DIAGONAL_BILSTM,
    loss::BCE_WITH_LOGITS,
    loss::BCE_GRADIENT,
    loss::CROSS_ENTROPY,
    loss::CROSS_ENTROPY_GRADIENT,
    view::RESHAPE,
    view::PERMUTE,
    view::FLIP,
    join::SLICE,
    join::PAD,
    join::CONCAT,
    index::GATHER_ROWS,
    index::SCATTER_ADD,
    index::PICK,
    index::PLACE,
    select::SELECT,
];

/// The table as Markdown, for the README.
pub fn listing() -> String {
    let mut text = String::from("| operation | what it computes |\n|---|---|\n");
    for Entry { name, formula, .. } in TABLE {
        // Brackets are indices here, not links.
        let formula = formula
            .replace('|', "\\|")
            .replace('[', "\\[")
            .replace(']', "\\]");
        text.push_str(&format!("| `{name}` | {formula} |\n"));
    }
    text
}

#[cfg(test)]
mod tests;
