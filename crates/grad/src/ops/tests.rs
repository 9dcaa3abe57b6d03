use super::*;
use crate::check::{self, Order};
use crate::{Tape, Tensor, Var};
use kernels::simd::Isa;

fn each_sample(mut visit: impl FnMut(String, Sample)) {
    for entry in TABLE {
        for sample in (entry.samples)() {
            visit(format!("{}, {}", entry.name, sample.what), sample);
        }
    }
}

#[test]
fn finite_differences_confirm_first_and_second_derivatives() {
    each_sample(|name, sample| {
        let checked = check::gradients(&name, &sample.inputs, sample.double, Order::Second);
        checked.unwrap_or_else(|mismatch| panic!("{mismatch}"));
    });
}

/// The value and the gradients by all inputs of <c, f(inputs)> for one random c.
fn run<T: crate::Element>(f: Run<T>, inputs: &[Tensor<f64>]) -> Vec<Tensor<f64>> {
    let tape = Tape::new();
    let x: Vec<_> = inputs.iter().map(|x| tape.var(x.cast::<T>())).collect();
    let y = f(&x);
    let c = Tensor::from_fn(*y.shape(), |i| T::from_f64((i as f64 * 0.7).sin()));
    let loss = (&y * Var::constant(c)).sum();
    let mut results = vec![y.value().cast()];
    let gradients = tape.gradients(&loss, &x.iter().collect::<Vec<_>>());
    results.extend(gradients.iter().map(|g| g.cast()));
    results
}

#[test]
fn f32_follows_f64_on_every_instruction_set() {
    for isa in Isa::available() {
        isa.scoped(|| {
            each_sample(|name, mut sample| {
                // What f32 cannot hold is not its error.
                for x in &mut sample.inputs {
                    *x = x.cast::<f32>().cast();
                }
                let expected = run::<f64>(sample.double, &sample.inputs);
                let found = run::<f32>(sample.single, &sample.inputs);
                for (i, (expected, found)) in expected.iter().zip(&found).enumerate() {
                    assert_eq!(expected.shape(), found.shape());
                    let size = expected.data().iter().fold(1e-2, |m: f64, x| m.max(x.abs()));
                    for (e, f) in expected.data().iter().zip(found.data()) {
                        assert!(
                            (e - f).abs() <= 4e-6 * size,
                            "{name} on {isa}: result {i} (0 is the value): {expected:?} but {found:?}"
                        );
                    }
                }
            });
        });
    }
}

#[test]
fn names_are_unique() {
    for (i, entry) in TABLE.iter().enumerate() {
        assert!(
            TABLE[..i].iter().all(|other| other.name != entry.name),
            "{}",
            entry.name
        );
    }
}

#[test]
fn the_readme_lists_every_operation() {
    assert!(
        include_str!("../../README.md").contains(&listing()),
        "README.md: the list of operations must read\n{}",
        listing()
    );
}
