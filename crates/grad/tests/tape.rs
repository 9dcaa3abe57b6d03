//! What the tape promises: order, lifetimes, and panics that name what is wrong.

use grad::kernels::conv::{Conv2d, Padding};
use grad::kernels::gemm::Activation;
use grad::{Op, Saves, Tape, Tensor, Var, Vjp};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The message of the panic that `f` must end in.
fn panic_of(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("a panic was expected");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload
            .downcast_ref::<&str>()
            .expect("a message")
            .to_string(),
    }
}

fn scalar(tape: &Tape<f64>, x: f64) -> Var<f64> {
    tape.var(Tensor::scalar(x))
}

#[test]
fn deep_tapes_do_not_overflow_the_stack() {
    let tape = Tape::new();
    let x = scalar(&tape, 1.0);
    let mut y = x.clone();
    for _ in 0..100_000 {
        y = y * 1.00001;
    }
    let slope = 1.00001f64.powi(100_000);
    assert!((tape.gradients(&y, &[&x])[0].item() / slope - 1.0).abs() < 1e-9);
    let recorded = tape.gradients_recorded(&y, &[&x]);
    assert!((recorded[0].item() / slope - 1.0).abs() < 1e-9);
    drop((recorded, y, x, tape));
}

#[test]
fn gradients_of_a_diamond_add_up() {
    // z = (x^2) (x^2 + 3 x^2) = 4 x^4.
    let tape = Tape::new();
    let x = scalar(&tape, 1.5);
    let y = x.square();
    let z = &y * (&y + &y * 3.0);
    let dz = &tape.gradients_recorded(&z, &[&x])[0];
    assert_eq!(dz.item(), 16.0 * 1.5f64.powi(3));
    let ddz = &tape.gradients_recorded(dz, &[&x])[0];
    assert_eq!(ddz.item(), 48.0 * 1.5f64.powi(2));
    assert_eq!(tape.gradients(ddz, &[&x])[0].item(), 96.0 * 1.5);
}

#[test]
fn inner_variables_have_gradients_too() {
    let tape = Tape::new();
    let x = scalar(&tape, 2.0);
    let y = &x * 3.0;
    let z = y.square();
    let gradients = tape.gradients(&z, &[&y, &x, &z, &y]);
    let values: Vec<f64> = gradients.iter().map(Tensor::item).collect();
    assert_eq!(values, [12.0, 36.0, 1.0, 12.0]);
}

#[test]
fn what_the_loss_does_not_depend_on_has_zero_gradient() {
    let tape = Tape::new();
    let x = tape.var(Tensor::<f64>::ones([2, 3]));
    let loss = scalar(&tape, 2.0).square();
    let later = tape.var(Tensor::<f64>::ones([4]));
    let gradients = tape.gradients(&loss, &[&x, &later]);
    assert_eq!(gradients, [Tensor::zeros([2, 3]), Tensor::zeros([4])]);
    let constant = Var::constant(Tensor::scalar(1.0));
    assert_eq!(tape.gradients(&constant, &[&x]), [Tensor::zeros([2, 3])]);
    // A piecewise constant function on the way.
    let flat = x.sign().sum();
    assert_eq!(tape.gradients(&flat, &[&x]), [Tensor::zeros([2, 3])]);
}

#[test]
fn constants_leave_no_trace() {
    let tape = Tape::new();
    let x = scalar(&tape, 2.0);
    let constant = (x.detach() * 3.0).exp() + 1.0;
    assert!(!constant.is_recorded());
    assert_eq!(tape.len(), 1);
    let loss = &x * &constant;
    assert_eq!(tape.gradients(&loss, &[&x])[0].item(), constant.item());
    // A backward pass that is not recorded leaves none either.
    assert_eq!(tape.len(), 2);
}

#[test]
fn a_tape_can_be_differentiated_again_unless_it_is_spent() {
    let tape = Tape::new();
    let x = scalar(&tape, 3.0);
    let y = x.square();
    for _ in 0..2 {
        assert_eq!(tape.gradients(&y, &[&x])[0].item(), 6.0);
    }
    assert_eq!(tape.into_gradients(&y, &[&x])[0].item(), 6.0);
}

/// x -> x * x, twice through a convolution and a linear layer that share their weights, so that
/// every rule which adds in place meets a sum.
#[test]
fn sums_go_on_from_an_earlier_tape() {
    let geometry = Conv2d::new([2, 4, 5, 3], 3, [3, 3]).with_padding(Padding::same(3));
    let values = [
        Tensor::from_fn([2, 4, 5, 3], |i| (0.7 * i as f64).sin()),
        Tensor::from_fn([3, 3, 3, 3], |i| (1.3 * i as f64).cos()),
        Tensor::from_fn([3, 3], |i| 0.3 * i as f64 - 1.0),
    ];
    let run = |scale: f64, sums: Option<Vec<Tensor<f64>>>| {
        let tape = Tape::new();
        let vars: Vec<_> = values
            .iter()
            .map(|x| tape.var(x.map(|x| scale * x)))
            .collect();
        let [x, w, v] = &vars[..] else { unreachable!() };
        let once = x.conv2d(w, geometry);
        let twice = x.linear(v, None, Activation::Identity).conv2d(w, geometry);
        let inner = &once + &twice.linear(v, None, Activation::Identity);
        let unused = tape.var(Tensor::scalar(1.0));
        let wrt = [x, w, v, &inner, x, &unused];
        let loss = (&inner * &once).sum();
        match sums {
            None => tape.gradients(&loss, &wrt),
            Some(sums) => tape.into_gradient_sums(&loss, &wrt, sums),
        }
    };
    let (first, second) = (run(1.0, None), run(0.5, None));
    let sums = run(0.5, Some(first.clone()));
    for ((a, b), sum) in first.iter().zip(&second).zip(&sums) {
        assert_eq!(sum.shape(), a.shape());
        for ((a, b), sum) in a.data().iter().zip(b.data()).zip(sum.data()) {
            assert!(
                (a + b - sum).abs() < 1e-12 * (1.0 + sum.abs()),
                "{a} + {b}: {sum}"
            );
        }
    }
    assert_eq!(run(1.0, Some(Vec::new())), first);
}

#[test]
fn a_sum_for_each_variable_or_none() {
    let tape = Tape::new();
    let x = scalar(&tape, 3.0);
    let y = &x * &x;
    let sums = vec![Tensor::zeros([2])];
    let message = panic_of(|| drop(tape.into_gradient_sums(&y, &[&x], sums)));
    assert!(
        message.contains("a sum of the shape of each variable"),
        "{message}"
    );
}

#[test]
fn mixing_two_tapes_panics_by_name() {
    let (one, two) = (Tape::new(), Tape::new());
    let (x, y) = (scalar(&one, 1.0), scalar(&two, 1.0));
    assert_eq!(
        panic_of(|| drop(&x * &y)),
        "mul: the inputs belong to different tapes"
    );
    assert_eq!(
        panic_of(|| drop(one.gradients(&y, &[&x]))),
        "gradients: the loss belongs to another tape"
    );
    assert_eq!(
        panic_of(|| drop(one.gradients(&x, &[&y]))),
        "gradients: a variable belongs to another tape"
    );
    assert_eq!(
        panic_of(|| drop(one.gradients(&x, &[&x.detach()]))),
        "gradients: a variable is a constant, not recorded on this tape"
    );
}

#[test]
fn a_loss_is_one_number() {
    let tape = Tape::new();
    let x = tape.var(Tensor::<f64>::ones([2]));
    assert_eq!(
        panic_of(|| drop(tape.gradients(&x, &[&x]))),
        "gradients: expected a loss that is one number, found shape [2]"
    );
}

/// y = x^2 with a backward rule that leaves the tape.
struct Fused;

impl Op<f64> for Fused {
    fn name(&self) -> &'static str {
        "fused"
    }
    fn saves(&self) -> Saves {
        Saves::input(0)
    }
    fn forward(&self, x: &[&Tensor<f64>]) -> Tensor<f64> {
        x[0].map(|x| x * x)
    }
    fn vjp(&self, at: &Vjp<f64>, g: Var<f64>) {
        let (x, g) = (at.input(0).into_value(), g.into_value());
        at.give(0, || {
            let product = |i| 2.0 * x.data()[i] * g.data()[i];
            Var::constant(Tensor::from_fn(*x.shape(), product))
        });
    }
    fn first_order_only(&self) -> bool {
        true
    }
}

#[test]
fn a_derivative_of_first_order_only_says_so_by_name() {
    let tape = Tape::new();
    let x = scalar(&tape, 3.0);
    let y = Var::apply(Fused, &[&x]);
    assert_eq!(tape.gradients(&y, &[&x])[0].item(), 6.0);
    assert_eq!(
        panic_of(|| drop(tape.gradients_recorded(&y, &[&x]))),
        "gradients_recorded: fused has a derivative of first order only"
    );
}

/// A rule that asks for what it did not save, or gives what does not fit.
struct Careless {
    saves: Saves,
}

impl Op<f64> for Careless {
    fn name(&self) -> &'static str {
        "careless"
    }
    fn saves(&self) -> Saves {
        self.saves
    }
    fn forward(&self, x: &[&Tensor<f64>]) -> Tensor<f64> {
        x[0].clone()
    }
    fn vjp(&self, at: &Vjp<f64>, g: Var<f64>) {
        at.give(0, || (g * at.input(0)).sum());
    }
}

#[test]
fn careless_rules_are_named() {
    let run = |saves| {
        let tape = Tape::new();
        let x = tape.var(Tensor::ones([2]));
        let loss = Var::apply(Careless { saves }, &[&x]).sum();
        panic_of(|| drop(tape.gradients(&loss, &[&x])))
    };
    assert_eq!(
        run(Saves::NOTHING),
        "vjp of careless: input 0 was not saved; ask for it in `saves`"
    );
    assert_eq!(
        run(Saves::INPUTS),
        "vjp of careless: the gradient of input 0 has shape [], expected [2]"
    );
}

#[test]
fn shape_mismatches_name_the_operation_and_both_shapes() {
    let var = |shape: &[usize]| Var::constant(Tensor::<f64>::ones(shape));
    assert_eq!(
        panic_of(|| drop(var(&[2, 3]) + var(&[2]))),
        "add: shapes [2, 3] and [2] do not broadcast"
    );
    assert_eq!(
        panic_of(|| drop(var(&[2, 3]).matmul(&var(&[2, 3])))),
        "matmul: [2, 3] x [2, 3]"
    );
    assert_eq!(
        panic_of(|| drop(var(&[2, 3]).matmul_with(&var(&[3, 4]), true, false))),
        "matmul: [2, 3] transposed x [3, 4]"
    );
    assert_eq!(
        panic_of(|| drop(var(&[2, 3]).reshape([4]))),
        "reshape: cannot see [2, 3] as [4]"
    );
    assert_eq!(
        panic_of(|| drop(var(&[2, 3]).sum_to([2]))),
        "sum_to: [2] does not broadcast to [2, 3]"
    );
    assert_eq!(
        panic_of(|| drop(var(&[2, 3]).slice(1, 2..4))),
        "slice: 2..4 of axis 1 of shape [2, 3]"
    );
    assert_eq!(
        panic_of(|| drop(Var::concat(&[&var(&[2, 3]), &var(&[3, 3])], 1))),
        "concat: along axis 1 of shapes [2, 3] and [3, 3]"
    );
    assert_eq!(
        panic_of(|| drop(var(&[2, 3]).bce_with_logits_sum_rows(&var(&[2])))),
        "bce_with_logits_sum_rows: logits [2, 3], target [2]"
    );
    assert_eq!(
        panic_of(|| drop(var(&[2, 3]).gather_rows([0, 2].into()))),
        "gather_rows: index 2 among 2"
    );
}

#[test]
fn the_panic_points_at_the_caller() {
    use std::sync::{Arc, Mutex};
    let place = Arc::new(Mutex::new(None));
    let seen = place.clone();
    let here = std::thread::current().id();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == here {
            *seen.lock().unwrap() = info.location().map(|l| l.file().to_string());
        }
    }));
    let a = Var::constant(Tensor::<f64>::ones([2, 3]));
    let _ = catch_unwind(AssertUnwindSafe(|| a.matmul(&a)));
    std::panic::set_hook(hook);
    let file = place.lock().unwrap().clone().expect("a panic with a place");
    assert!(file.ends_with("tests/tape.rs"), "{file}");
}

#[test]
fn nan_does_not_leak_through_select() {
    let tape = Tape::new();
    let x = tape.var(Tensor::new([2], &[-1.0f64, 4.0]));
    let positive = Tensor::new([2], &[0.0, 1.0]);
    let y = Var::select(&positive, &x.sqrt(), &Var::constant(Tensor::scalar(0.0)));
    assert_eq!(y.value().data(), [0.0, 2.0]);
    let g = &tape.gradients(&Var::select(&positive, &x.log(), &x).sum(), &[&x])[0];
    assert_eq!(g.data()[1], 0.25);
    // The gradient that reaches ln at -1 is exactly 0.
    assert_eq!(g.data()[0], 1.0);
}

#[test]
fn unused_taps_have_gradients_of_exactly_zero() {
    use grad::kernels::conv::{Conv2d, Padding, Taps};
    let causal = Taps::from_fn(3, 3, |r, c| r < 1 || (r == 1 && c <= 1));
    let geometry = Conv2d::new([2, 5, 4, 2], 3, [3, 3])
        .with_padding(Padding::same(3))
        .with_taps(causal);
    let tape = Tape::new();
    let x = tape.var(Tensor::<f32>::from_fn([2, 5, 4, 2], |i| (i as f32).sin()));
    let w = tape.var(Tensor::<f32>::from_fn([3, 3, 2, 3], |i| (i as f32).cos()));
    let loss = x.conv2d(&w, geometry).square().sum();
    let g = &tape.gradients(&loss, &[&w])[0];
    for (tap, g) in g.data().chunks_exact(6).enumerate() {
        let used = causal.contains(tap / 3, tap % 3);
        assert!(g.iter().all(|&g| (g != 0.0) == used), "tap {tap}: {g:?}");
    }
}
