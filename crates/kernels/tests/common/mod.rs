//! What the tests of row kernels share.

use kernels::{Element, Isa};

/// Numbers in [-3, 3], the same every time.
pub(crate) fn numbers<T: Element>(len: usize, seed: u32) -> Vec<T> {
    let number = |i: u32| {
        let bits = (i.wrapping_add(seed)).wrapping_mul(0x9e37_79b9) ^ (i << 7);
        T::from_f64(f64::from(bits as f32 / u32::MAX as f32 - 0.5) * 6.0)
    };
    (0..len as u32).map(number).collect()
}

pub(crate) fn f64s<T: Element>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| x.to_f64()).collect()
}

/// Whether all are within `tolerance` (for f32; a billionth of that for f64) of the references,
/// relative to `size`.
#[track_caller]
pub(crate) fn close<T: Element>(what: &str, found: &[T], expected: &[f64], size: f64) {
    let tolerance = if T::NAME == "f32" { 3e-6 } else { 3e-14 };
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (y, r)) in found.iter().zip(expected).enumerate() {
        let error = (y.to_f64() - r).abs();
        let ok = error <= tolerance * (r.abs() + size);
        assert!(
            ok,
            "{what} {} {} at {i}: {y}, expected {r}",
            T::NAME,
            Isa::current()
        );
    }
}

/// Runs the test in f32 on every instruction set of this machine, and in f64.
pub(crate) fn everywhere(test_f32: impl Fn(), test_f64: impl Fn()) {
    for isa in Isa::available() {
        isa.scoped(&test_f32);
    }
    test_f64();
}
