//! What can be said of one number in either precision.

use kernels::Element;

/// Written once, as an importer would, for f32 and f64.
fn values<T: Element>() -> Vec<f64> {
    let x = T::from_f64(0.625);
    let numbers = [
        (-x).abs(),
        x.sqrt(),
        x.exp(),
        x.exp_m1(),
        x.ln(),
        x.ln_1p(),
        x.sin(),
        x.cos(),
        x.tanh(),
        (-x).floor(),
        (-x).round(),
        x.powf(T::from_f64(1.5)),
        x.powi(-3),
    ];
    numbers.iter().map(|x| x.to_f64()).collect()
}

#[test]
fn functions_of_one_number_are_those_of_both_types() {
    let x = 0.625f64;
    let expected = [
        x,
        x.sqrt(),
        x.exp(),
        x.exp_m1(),
        x.ln(),
        x.ln_1p(),
        x.sin(),
        x.cos(),
        x.tanh(),
        -1.0,
        -1.0,
        x.powf(1.5),
        x.powi(-3),
    ];
    assert_eq!(values::<f64>(), expected);
    for (found, expected) in values::<f32>().iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6 * expected.abs(), "{found}");
    }
    fn kinds<T: Element>() -> [bool; 3] {
        let nan = T::ZERO / T::ZERO;
        [
            nan.is_nan(),
            T::ONE.is_finite(),
            (T::ONE / T::ZERO).is_finite(),
        ]
    }
    assert_eq!(kinds::<f32>(), [true, true, false]);
    assert_eq!(kinds::<f64>(), [true, true, false]);
}
