//! Lanes on threads: the same bytes on any number of them, and the gradient of the whole batch.

use grad::{Tape, Tensor, Var};
use nn::layers::{Activation, BatchNorm, Linear, Mode};
use nn::optim::{Optimiser, OptimiserState};
use nn::{Bound, Builder, Params, lanes};
use std::ops::Range;

const LEN: usize = 53;

struct Net {
    hidden: Linear,
    norm: BatchNorm,
    output: Linear,
    x: Tensor<f32>,
}

impl Net {
    fn new() -> (Net, Params<f32>) {
        let mut params = Params::new();
        let mut root = Builder::new(&mut params, 7);
        let net = Net {
            hidden: Linear::new(&mut root.scope("hidden"), 5, 19),
            norm: BatchNorm::new(&mut root.scope("norm"), 19),
            output: Linear::new(&mut root.scope("output"), 19, 1),
            x: Tensor::from_fn([LEN, 5], |i| (0.37 * i as f32).sin()),
        };
        (net, params)
    }

    /// With the penalty on |d output / d x| of a critic: a loss that takes gradients itself.
    fn loss(&self, tape: &Tape<f32>, p: &Bound<f32>, rows: Range<usize>) -> Var<f32> {
        let x = Var::constant(self.x.clone()).slice(0, rows);
        let x = tape.var(x.value().clone());
        let h = self.hidden.forward_with(p, &x, Activation::LeakyRelu(0.2));
        let y = self.output.forward(p, &h);
        let gx = &tape.gradients_recorded(&y.sum(), &[&x])[0];
        y.square().sum() + gx.square().sum()
    }
}

fn on_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(f)
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let train = || {
        let (net, mut params) = Net::new();
        let ids = params.ids().filter(|&id| params[id].trainable).collect();
        let mut adam = OptimiserState::new(Optimiser::adam(0.01), &params, ids);
        for _ in 0..5 {
            let sums = lanes::gradients(&params, LEN, 3, |tape, p, rows| {
                // Running statistics follow the data beside the loss.
                let h = net.hidden.forward(p, &Var::constant(net.x.clone()));
                net.norm.forward(p, &h.slice(0, rows.clone()), Mode::Train);
                net.loss(tape, p, rows)
            });
            adam.step_summed(&mut params, sums.halves(), 1.0, 1.0 / LEN as f64);
            for (id, value) in lanes::states(&params, sums.rest.updates) {
                params.get_mut(id).value = value;
            }
        }
        params.to_bytes(&Default::default())
    };
    let one = on_threads(1, train);
    for threads in [2, 5] {
        assert!(one == on_threads(threads, train), "{threads} threads");
    }
    let (_, begun) = Net::new();
    assert!(one != begun.to_bytes(&Default::default()));
}

#[test]
fn lanes_add_up_to_the_batch() {
    let (net, params) = Net::new();
    let loss = |tape: &Tape<f32>, p: &Bound<f32>, rows: Range<usize>| net.loss(tape, p, rows);
    let mut whole = lanes::gradients(&params, LEN, LEN, loss);
    assert!(whole.gradients[1].is_empty());
    for size in [1, 4, 30] {
        let mut cut = lanes::gradients(&params, LEN, size, loss);
        assert!(!cut.gradients[1].is_empty());
        let scale = whole.rest.loss.abs();
        assert!((cut.rest.loss - whole.rest.loss).abs() < 1e-5 * scale);
        for (a, b) in cut.join().iter().zip(whole.join().iter()) {
            assert_eq!(a.shape(), b.shape());
            let size = b.data().iter().fold(1e-3, |m: f32, x| m.max(x.abs()));
            for (a, b) in a.data().iter().zip(b.data()) {
                assert!((a - b).abs() < 2e-5 * size, "{a} {b}");
            }
        }
    }
}

#[test]
fn kernels_of_a_lane_stay_on_its_thread() {
    let inside = on_threads(4, || {
        let lanes = lanes::Lanes::new(40, 1, 4);
        lanes.sum(|_, sums| (sums, vec![grad::kernels::parallel::threads()]))
    });
    assert_eq!(inside.rest, [1; 40]);
}
