//! A training step, once warm, allocates nothing of a tensor's size: an allocator that counts
//! says so.

#[path = "common/counting.rs"]
mod counting;

use counting::requests;
use grad::kernels::conv::{Conv2d, Padding};
use grad::kernels::elementwise::axpy;
use grad::kernels::gemm::Activation;
use grad::kernels::parallel::serial;
use grad::{Tape, Tensor, Var};

/// What counts as a tensor's size.
const LARGE: usize = 1024;

fn filled(shape: &[usize], scale: f32) -> Tensor<f32> {
    Tensor::from_fn(shape, |i| scale * (i as f32 * 0.37).sin())
}

/// Gradient descent with the gradients of `loss`, in place. Gives the loss and how many nodes
/// the tape had.
fn step(params: &mut [Tensor<f32>], loss: impl Fn(&[Var<f32>]) -> Var<f32>) -> (f32, usize) {
    let tape = Tape::new();
    let vars: Vec<_> = params.iter().map(|p| tape.var(p.clone())).collect();
    let loss = loss(&vars);
    let (value, nodes) = (loss.item(), tape.len());
    let gradients = tape.into_gradients(&loss, &vars.iter().collect::<Vec<_>>());
    drop(vars);
    for (p, g) in params.iter_mut().zip(&gradients) {
        axpy(-0.05, g.data(), p.make_mut());
    }
    (value, nodes)
}

/// Runs steps until they are warm, and counts one.
fn check(
    name: &str,
    mut params: Vec<Tensor<f32>>,
    small_a_node: usize,
    loss: impl Fn(&[Var<f32>]) -> Var<f32>,
) {
    serial(|| {
        let mut losses: Vec<f32> = (0..3).map(|_| step(&mut params, &loss).0).collect();
        let (large, all) = (requests(LARGE).0, requests(1).0);
        let (last, nodes) = step(&mut params, &loss);
        let (large, all) = (requests(LARGE).0 - large, requests(1).0 - all);
        losses.push(last);
        assert_eq!(large, 0, "{name}: allocations of {LARGE} bytes or more");
        assert!(
            all <= small_a_node * nodes,
            "{name}: {all} small allocations for {nodes} nodes"
        );
        let falls = losses.windows(2).all(|pair| pair[1] < pair[0]);
        assert!(falls, "{name}: the loss must fall: {losses:?}");
    });
}

#[test]
fn an_mlp_step_allocates_no_tensor() {
    let x = Var::constant(filled(&[64, 100], 1.0));
    let targets: std::sync::Arc<[u32]> = (0..64).map(|i| i % 10).collect();
    let params = vec![
        filled(&[100, 80], 0.1),
        filled(&[80], 0.1),
        filled(&[80, 10], 0.1),
        filled(&[10], 0.1),
    ];
    check("mlp", params, 6, |p| {
        let h = x.linear(&p[0], Some(&p[1]), Activation::Relu);
        let logits = h.matmul(&p[2]) + &p[3];
        logits.softmax_cross_entropy(targets.clone()).mean()
    });
}

#[test]
fn a_conv_net_step_allocates_no_tensor() {
    let x = Var::constant(filled(&[8, 12, 12, 2], 1.0));
    let target = Var::constant(filled(&[8, 12, 12, 1], 1.0).map(|x| (x > 0.0).into()));
    let params = vec![
        filled(&[3, 3, 2, 16], 0.2),
        filled(&[16], 0.1),
        filled(&[3, 3, 16, 16], 0.1),
        filled(&[16], 0.1),
        filled(&[4, 4, 1, 16], 0.1),
        filled(&[16], 0.1).map(|x| 1.0 + x),
        filled(&[16], 0.1),
    ];
    let same = Conv2d::new([8, 12, 12, 2], 16, [3, 3]).with_padding(Padding::same(3));
    let down = Conv2d::new([8, 12, 12, 16], 16, [3, 3])
        .with_stride([2, 2])
        .with_padding(Padding::uniform(1));
    let up = Conv2d::new([8, 12, 12, 1], 16, [4, 4])
        .with_stride([2, 2])
        .with_padding(Padding::uniform(1));
    check("conv net", params, 12, |p| {
        let h = x.conv2d_bias(&p[0], &p[1], Activation::Relu, same);
        let h = h.conv2d_bias(&p[2], &p[3], Activation::LeakyRelu(0.2), down);
        let h = h.layer_norm(&p[5], &p[6], 1e-5).gelu();
        let logits = h.conv2d_input_gradient(&p[4], up);
        logits.bce_with_logits_sum_rows(&target).mean() * 0.01
    });
}
