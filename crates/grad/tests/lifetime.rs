//! Nothing outlives its tape: what was saved is freed with it, and with it alone.

use grad::{Tape, Tensor, Var};

/// Whether nobody but the caller holds this memory.
fn is_alone(mut x: Tensor<f64>) -> bool {
    x.get_mut().is_some()
}

fn inputs() -> [Tensor<f64>; 3] {
    [
        Tensor::from_fn([4, 3], |i| (i as f64).sin()),
        Tensor::from_fn([3, 5], |i| (i as f64).cos()),
        Tensor::from_fn([5], |i| i as f64 * 0.1),
    ]
}

/// A loss whose tape saves every one of its inputs.
fn loss(x: &[Var<f64>]) -> Var<f64> {
    let h = (x[0].matmul(&x[1]) + &x[2]).tanh();
    (&h * &x[2]).square().logsumexp(1).sum()
}

#[test]
fn dropping_a_tape_frees_what_it_saved() {
    let tensors = inputs();
    let tape = Tape::new();
    let x = tensors.clone().map(|x| tape.var(x));
    let y = loss(&x);
    assert!(!is_alone(tensors[0].clone()));
    drop((x, y, tape));
    assert!(tensors.into_iter().all(is_alone));
}

#[test]
fn so_does_dropping_one_with_recorded_gradients() {
    let tensors = inputs();
    let tape = Tape::new();
    let x = tensors.clone().map(|x| tape.var(x));
    let y = loss(&x);
    let first = tape.gradients_recorded(&y, &[&x[0], &x[1], &x[2]]);
    let penalty = first.iter().map(|g| g.square().sum()).reduce(|a, b| a + b);
    let second = tape.gradients(&penalty.unwrap(), &[&x[1]]);
    let values: Vec<_> = first.into_iter().map(Var::into_value).collect();
    drop((x, y, tape));
    assert!(tensors.into_iter().all(is_alone));
    assert!(values.into_iter().chain(second).all(is_alone));
}

#[test]
fn a_variable_alone_keeps_its_tape() {
    let tensors = inputs();
    let tape = Tape::new();
    let x = tensors.clone().map(|x| tape.var(x));
    let y = loss(&x);
    drop((x, tape));
    assert!(!is_alone(tensors[0].clone()));
    drop(y);
    assert!(tensors.into_iter().all(is_alone));
}

#[test]
fn spending_a_tape_frees_what_it_saved_although_variables_live() {
    let tensors = inputs();
    let tape = Tape::new();
    let parameter = tape.var(tensors[1].clone());
    let y = {
        let x = tape.var(tensors[0].clone());
        let b = tape.var(tensors[2].clone());
        loss(&[x, parameter.clone(), b])
    };
    let gradients = tape.into_gradients(&y, &[&parameter]);
    let [x, w, b] = tensors;
    assert!(is_alone(x) && is_alone(b));
    assert!(!is_alone(w.clone()));
    assert!(gradients.into_iter().all(is_alone));
    drop(parameter);
    assert!(is_alone(w));
}

#[test]
fn what_need_not_be_saved_is_not() {
    let tape = Tape::new();
    let x = tape.var(Tensor::<f64>::ones([8]));
    // None of these derivatives needs its input's value.
    let moved = &x * 2.0 + 1.0;
    let sum = &moved + &x;
    let gone = sum.relu();
    let value = sum.value().clone();
    drop((moved, sum));
    assert!(is_alone(value));
    drop(gone);
}
