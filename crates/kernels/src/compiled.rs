//! Kernels compiled in this crate, once for each element type.
//!
//! A generic function is compiled anew in every crate that uses it, and a kernel once for each
//! instruction set: with the tables and the microkernels that is minutes and gigabytes for every
//! crate downstream. So a public kernel that is generic over [`Element`](crate::Element) is one
//! call to an associated function of [`Compiled`], whose body belongs to this crate.

use crate::attention::{self, Attention};
use crate::autoregressive::nade;
use crate::buffer::Plain;
use crate::conv::{self, Conv2d, Weights};
use crate::elementwise::{Binary, Operand, Unary, broadcast, combine};
use crate::gemm::{Activation, Beta, Epilogue};
use crate::recurrent::{self, Lstm};
use crate::reduce::{
    self, Pool2d, batch_norm, bias, columns, gate, layer_norm, likelihood, logistics, pool, rows,
    softmax,
};

macro_rules! compiled {
    ($(fn $name:ident($($arg:ident: $Arg:ty),* $(,)?) $(-> $Out:ty)? { $body:expr })*) => {
        /// The kernels by element type: each is what the free function of its name does.
        pub trait Compiled: Plain {
            $(#[doc(hidden)] #[track_caller] fn $name($($arg: $Arg),*) $(-> $Out)?;)*
        }
        compiled!(@impl f32: $(fn $name($($arg: $Arg),*) $(-> $Out)? { $body })*);
        compiled!(@impl f64: $(fn $name($($arg: $Arg),*) $(-> $Out)? { $body })*);
    };
    (@impl $T:ty: $(fn $name:ident($($arg:ident: $Arg:ty),*) $(-> $Out:ty)? { $body:expr })*) => {
        impl Compiled for $T {
            $(#[inline(never)] #[track_caller] fn $name($($arg: $Arg),*) $(-> $Out)? { $body })*
        }
    };
}

compiled! {
    fn unary(f: Unary, x: &[Self], y: &mut [Self]) { f.run(x, y) }
    fn unary_in_place(f: Unary, x: &mut [Self]) { f.run_in_place(x) }
    fn binary(f: Binary, a: &[Self], b: &[Self], y: &mut [Self]) { f.run(a, b, y) }
    fn binary_scalar(f: Binary, a: &[Self], b: Self, y: &mut [Self]) {
        broadcast::right(f, a, b, y)
    }
    fn scalar_binary(f: Binary, a: Self, b: &[Self], y: &mut [Self]) {
        broadcast::left(f, a, b, y)
    }
    fn binary_broadcast(
        f: Binary, a: Operand<Self>, b: Operand<Self>, cols: usize, y: &mut [Self],
    ) {
        broadcast::matrix(f, a, b, cols, y)
    }
    fn add_assign(y: &mut [Self], x: &[Self]) { combine::add_assign_body(y, x) }
    fn add_relu_gradient(y: &[Self], gy: &[Self], gx: &mut [Self]) {
        combine::add_relu_gradient_body(y, gy, gx)
    }
    fn scale(alpha: Self, x: &mut [Self]) { combine::scale_body(alpha, x) }
    fn affine(scale: Self, shift: Self, x: &[Self], y: &mut [Self]) {
        combine::affine_body(scale, shift, x, y)
    }
    fn axpy(alpha: Self, x: &[Self], y: &mut [Self]) { combine::axpy_body(alpha, x, y) }
    fn mul_add(a: &[Self], b: &[Self], c: &[Self], y: &mut [Self]) {
        combine::mul_add_body(a, b, c, y)
    }
    fn leaky_relu(slope: Self, x: &[Self], y: &mut [Self]) {
        combine::leaky_relu_body(slope, x, y)
    }
    fn leaky_relu_gradient(slope: Self, x: &[Self], gy: &[Self], gx: &mut [Self]) {
        combine::leaky_relu_gradient_body(slope, x, gy, gx)
    }

    fn sum(x: &[Self]) -> Self { reduce::sum_body(x) }
    fn dot(a: &[Self], b: &[Self]) -> Self { reduce::dot_body(a, b) }
    fn max(x: &[Self]) -> Self { reduce::max_body(x) }
    fn logsumexp(x: &[Self]) -> Self { reduce::logsumexp_body(x) }
    fn sum_rows(x: &[Self], cols: usize, y: &mut [Self]) { rows::sum_rows_body(x, cols, y) }
    fn max_rows(x: &[Self], cols: usize, y: &mut [Self]) { rows::Max::body(x, cols, y) }
    fn logsumexp_rows(x: &[Self], cols: usize, y: &mut [Self]) {
        rows::LogSumExp::body(x, cols, y)
    }
    fn sum_columns(x: &[Self], y: &mut [Self]) { columns::sum_columns_body(x, y) }
    fn sum_middle(x: &[Self], n: usize, inner: usize, y: &mut [Self]) {
        columns::sum_middle_body(x, n, inner, y)
    }
    fn softmax(x: &[Self], cols: usize, y: &mut [Self]) { softmax::softmax_body(x, cols, y) }
    fn softmax_gradient(y: &[Self], gy: &[Self], cols: usize, gx: &mut [Self]) {
        softmax::softmax_gradient_body(y, gy, cols, gx)
    }
    fn log_softmax(x: &[Self], cols: usize, y: &mut [Self]) {
        softmax::log_softmax_body(x, cols, y)
    }
    fn log_softmax_gradient(y: &[Self], gy: &[Self], cols: usize, gx: &mut [Self]) {
        softmax::log_softmax_gradient_body(y, gy, cols, gx)
    }
    fn bce_with_logits(logits: &[Self], targets: &[Self], cols: usize, nll: &mut [Self]) {
        likelihood::bce_with_logits_body(logits, targets, cols, nll)
    }
    fn bce_with_logits_gradient(
        logits: &[Self], targets: &[Self], g: &[Self], cols: usize, gl: &mut [Self],
    ) {
        likelihood::bce_with_logits_gradient_body(logits, targets, g, cols, gl)
    }
    fn cross_entropy(logits: &[Self], targets: &[u32], classes: usize, nll: &mut [Self]) {
        likelihood::cross_entropy_body(logits, targets, classes, nll)
    }
    fn cross_entropy_gradient(
        logits: &[Self], targets: &[u32], g: &[Self], classes: usize, gl: &mut [Self],
    ) {
        likelihood::cross_entropy_gradient_body(logits, targets, g, classes, gl)
    }
    fn layer_norm(
        x: &[Self], gain: &[Self], bias: &[Self], epsilon: Self,
        y: &mut [Self], mean: &mut [Self], inverse_std: &mut [Self],
    ) {
        layer_norm::layer_norm_body(x, gain, bias, epsilon, y, mean, inverse_std)
    }
    fn layer_norm_gradient(
        x: &[Self], gain: &[Self], mean: &[Self], inverse_std: &[Self], gy: &[Self],
        gx: &mut [Self], g_gain: &mut [Self], g_bias: &mut [Self],
    ) {
        layer_norm::layer_norm_gradient_body(
            x, gain, mean, inverse_std, gy, gx, g_gain, g_bias,
        )
    }
    fn batch_norm(
        x: &[Self], gain: &[Self], bias: &[Self], epsilon: Self,
        y: &mut [Self], mean: &mut [Self], variance: &mut [Self],
    ) {
        batch_norm::batch_norm_body(x, gain, bias, epsilon, y, mean, variance)
    }
    fn batch_norm_gradient(
        x: &[Self], gain: &[Self], mean: &[Self], variance: &[Self], epsilon: Self, gy: &[Self],
        gx: &mut [Self], g_gain: &mut [Self], g_bias: &mut [Self],
    ) {
        batch_norm::batch_norm_gradient_body(
            x, gain, mean, variance, epsilon, gy, gx, g_gain, g_bias,
        )
    }
    fn bias_activation(x: &[Self], bias: &[Self], activation: Activation, y: &mut [Self]) {
        bias::bias_activation_body(x, bias, activation, y)
    }
    fn bias_activation_gradient(
        y: &[Self], gy: &[Self], activation: Activation, gx: &mut [Self], g_bias: &mut [Self],
    ) {
        bias::bias_activation_gradient_body(y, gy, activation, gx, g_bias)
    }
    fn gate(x: &[Self], cols: usize, y: &mut [Self], halves: &mut [Self]) {
        gate::gate_body(x, cols, y, halves)
    }
    fn gate_gradient(halves: &[Self], gy: &[Self], cols: usize, gx: &mut [Self]) {
        gate::gate_gradient_body(halves, gy, cols, gx)
    }
    fn logistic_mixture(
        parameters: &[Self], x: &[Self], levels: usize, nll: &mut [Self], gradient: &mut [Self],
    ) {
        logistics::logistic_mixture_body(parameters, x, levels, nll, gradient)
    }

    fn max_pool(g: &Pool2d, x: &[Self], y: &mut [Self], taps: &mut [Self]) {
        pool::max_pool_body(g, x, y, taps)
    }
    fn pick_taps(g: &Pool2d, x: &[Self], taps: &[Self], y: &mut [Self]) {
        pool::pick_taps_body(g, x, taps, y)
    }
    fn place_taps(g: &Pool2d, gy: &[Self], taps: &[Self], gx: &mut [Self]) {
        pool::place_taps_body(g, gy, taps, gx)
    }
    fn average_pool(g: &Pool2d, x: &[Self], y: &mut [Self]) { pool::average_pool_body(g, x, y) }
    fn average_pool_gradient(g: &Pool2d, gy: &[Self], gx: &mut [Self]) {
        pool::average_pool_gradient_body(g, gy, gx)
    }

    fn conv_forward(
        g: &Conv2d, x: &[Self], w: Weights<Self>, plus: Option<&[Self]>, y: &mut [Self],
        epilogue: Epilogue<Self>, sums: conv::Sums,
    ) {
        conv::forward_body(g, x, w, plus, y, epilogue, sums)
    }
    fn conv_input_gradient(
        g: &Conv2d, gy: &[Self], w: Weights<Self>, beta: Beta, gx: &mut [Self],
    ) {
        conv::input_gradient_body(g, gy, w, beta, gx)
    }
    fn conv_weight_gradient(
        g: &Conv2d, x: &[Self], gy: &[Self], beta: Beta, gw: &mut [Self],
    ) {
        conv::weight_gradient_body(g, x, gy, beta, gw)
    }
    fn conv_weight_and_bias_gradient(
        g: &Conv2d, x: &[Self], gy: &[Self], beta: Beta, gw: &mut [Self], gb: &mut [Self],
    ) {
        conv::weight_and_bias_gradient_body(g, x, gy, beta, gw, gb)
    }

    fn attention_forward(
        a: &Attention, x: attention::Forward<Self>, logsumexp: &mut [Self],
    ) {
        a.forward_body(x, logsumexp)
    }
    fn attention_backward(a: &Attention, x: attention::Backward<Self>) { a.backward_body(x) }

    fn lstm_forward(l: &Lstm, passes: &mut [recurrent::Forward<Self>]) {
        l.forward_body(passes)
    }
    fn lstm_backward(l: &Lstm, passes: &mut [recurrent::Backward<Self>]) {
        l.backward_body(passes)
    }

    fn nade_logits(net: nade::Nade<Self>, x: &[Self], logits: &mut [Self]) {
        nade::forward::logits(net, x, logits)
    }
    fn nade_gradients(
        net: nade::Nade<Self>, x: &[Self], g: &[Self], to: nade::Gradients<Self>,
    ) {
        nade::backward::gradients(net, x, g, to)
    }
    fn nade_begin(act: nade::Activation, b: &[Self], a: &mut [Self], h: &mut [Self]) {
        nade::running::start(act, b, a, h)
    }
    fn nade_next(v: &[Self], c: Self, h: &[Self], logits: &mut [Self]) {
        nade::running::next(v, c, h, logits)
    }
    fn nade_absorb(
        act: nade::Activation, w: &[Self], x: &[Self], a: &mut [Self], h: &mut [Self],
    ) {
        nade::running::take_in(act, w, x, a, h)
    }
}
