//! Negative log-likelihoods of rows in one pass, from logits, with their gradients.

use super::line;
use super::rows::{Out, RowKernel, check, count, rows};
use crate::element::Element;
use crate::elementwise::unary::{Sigmoid, Softplus};
use crate::simd::Vector;

/// nll\[r\] = the sum over c of softplus(l) - x l: -ln p of x under independent Bernoulli
/// variables with logits l, in nats.
///
/// Shapes: logits l and targets x `[rows, cols]`, nll `[rows]`. Targets lie in \[0, 1\].
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn bce_with_logits<T: Element>(logits: &[T], targets: &[T], cols: usize, nll: &mut [T]) {
    T::bce_with_logits(logits, targets, cols, nll)
}

#[track_caller]
pub(crate) fn bce_with_logits_body<T: Element>(
    logits: &[T],
    targets: &[T],
    cols: usize,
    nll: &mut [T],
) {
    #[derive(Clone, Copy)]
    struct Bce<'a, T>(&'a [T], &'a [T], usize);
    impl<T: Element> RowKernel<T, 1> for Bce<'_, T> {
        #[inline(always)]
        fn row<V: Vector<Element = T>>(self, row: usize, [nll]: [&mut [T]; 1]) {
            let Bce(logits, targets, cols) = self;
            let (l, x) = (
                &logits[row * cols..][..cols],
                &targets[row * cols..][..cols],
            );
            // Beyond the end the logit is -inf and the target 0: they add softplus(-inf) = 0.
            let none = V::constant(-200.0);
            let mut sum = V::zero();
            let mut i = 0;
            while i < cols {
                let l = V::load_partial_or(&l[i..], none);
                let x = V::load_partial(&x[i..]);
                sum = sum + x.neg_mul_add(l, l.apply(Softplus));
                i += V::LANES;
            }
            nll[0] = sum.reduce_add();
        }
    }
    check("bce_with_logits", "logits", logits.len(), nll.len() * cols);
    check("bce_with_logits", "targets", targets.len(), logits.len());
    let n = nll.len();
    rows(
        Bce(logits, targets, cols),
        n,
        8 * cols,
        [Out {
            data: nll,
            width: 1,
        }],
    );
}

/// gl\[r, c\] = (sigmoid(l) - x) g\[r\]: the gradient of [`bce_with_logits`] by the logits.
///
/// Shapes: logits l, targets x and gl `[rows, cols]`, g `[rows]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
#[inline]
pub fn bce_with_logits_gradient<T: Element>(
    logits: &[T],
    targets: &[T],
    g: &[T],
    cols: usize,
    gl: &mut [T],
) {
    T::bce_with_logits_gradient(logits, targets, g, cols, gl)
}

/// A probability that has faded counts as 0 in a gradient. A confident softmax over 256 classes has
/// many below 1e-38, and the products of the backward pass would take many times as long over
/// subnormal numbers.
#[inline(always)]
fn faded<V: Vector>(p: V) -> V {
    V::select(p.lt(V::constant(1e-30)), V::zero(), p)
}

#[track_caller]
pub(crate) fn bce_with_logits_gradient_body<T: Element>(
    logits: &[T],
    targets: &[T],
    g: &[T],
    cols: usize,
    gl: &mut [T],
) {
    #[derive(Clone, Copy)]
    struct Gradient<'a, T>(&'a [T], &'a [T], &'a [T]);
    impl<T: Element> RowKernel<T, 1> for Gradient<'_, T> {
        #[inline(always)]
        fn row<V: Vector<Element = T>>(self, row: usize, [gl]: [&mut [T]; 1]) {
            let Gradient(logits, targets, g) = self;
            let l = &logits[row * gl.len()..][..gl.len()];
            let x = &targets[row * gl.len()..][..gl.len()];
            let g = V::splat(g[row]);
            let mut i = 0;
            while i < l.len() {
                let p = faded(V::load_partial(&l[i..]).apply(Sigmoid));
                ((p - V::load_partial(&x[i..])) * g).store_partial(&mut gl[i..]);
                i += V::LANES;
            }
        }
    }
    let n = g.len();
    check("bce_with_logits_gradient", "logits", logits.len(), n * cols);
    check(
        "bce_with_logits_gradient",
        "targets",
        targets.len(),
        n * cols,
    );
    check("bce_with_logits_gradient", "gl", gl.len(), n * cols);
    rows(
        Gradient(logits, targets, g),
        n,
        4 * cols,
        [Out {
            data: gl,
            width: cols,
        }],
    );
}

/// nll\[r\] = ln sum over c of e^l\[r, c\] - l\[r, targets\[r\]\]: -ln p of the target class under
/// softmax(l), in nats.
///
/// Shapes: logits l `[rows, classes]`, targets and nll `[rows]`.
///
/// # Panics
/// If the lengths do not fit, or a target is not below `classes`.
#[track_caller]
#[inline]
pub fn cross_entropy<T: Element>(logits: &[T], targets: &[u32], classes: usize, nll: &mut [T]) {
    T::cross_entropy(logits, targets, classes, nll)
}

#[track_caller]
pub(crate) fn cross_entropy_body<T: Element>(
    logits: &[T],
    targets: &[u32],
    classes: usize,
    nll: &mut [T],
) {
    #[derive(Clone, Copy)]
    struct CrossEntropy<'a, T>(&'a [T], &'a [u32], usize);
    impl<T: Element> RowKernel<T, 1> for CrossEntropy<'_, T> {
        #[inline(always)]
        fn row<V: Vector<Element = T>>(self, row: usize, [nll]: [&mut [T]; 1]) {
            let CrossEntropy(logits, targets, classes) = self;
            let l = &logits[row * classes..][..classes];
            let most = line::max::<V>(l);
            let rest = line::log::<V>(line::sum_exp(l, V::splat(most)));
            nll[0] = rest + (most - l[targets[row] as usize]);
        }
    }
    check_classes("cross_entropy", logits.len(), targets, classes);
    check("cross_entropy", "nll", nll.len(), targets.len());
    let kernel = CrossEntropy(logits, targets, classes);
    rows(
        kernel,
        targets.len(),
        4 * classes,
        [Out {
            data: nll,
            width: 1,
        }],
    );
}

/// gl\[r, c\] = (softmax(l)\[r, c\] - \[c = targets\[r\]\]) g\[r\]: the gradient of [`cross_entropy`]
/// by the logits.
///
/// Shapes: logits l and gl `[rows, classes]`, targets and g `[rows]`.
///
/// # Panics
/// If the lengths do not fit, or a target is not below `classes`.
#[track_caller]
#[inline]
pub fn cross_entropy_gradient<T: Element>(
    logits: &[T],
    targets: &[u32],
    g: &[T],
    classes: usize,
    gl: &mut [T],
) {
    T::cross_entropy_gradient(logits, targets, g, classes, gl)
}

#[track_caller]
pub(crate) fn cross_entropy_gradient_body<T: Element>(
    logits: &[T],
    targets: &[u32],
    g: &[T],
    classes: usize,
    gl: &mut [T],
) {
    #[derive(Clone, Copy)]
    struct Gradient<'a, T>(&'a [T], &'a [u32], &'a [T]);
    impl<T: Element> RowKernel<T, 1> for Gradient<'_, T> {
        #[inline(always)]
        fn row<V: Vector<Element = T>>(self, row: usize, [gl]: [&mut [T]; 1]) {
            let Gradient(logits, targets, g) = self;
            let l = &logits[row * gl.len()..][..gl.len()];
            let most = V::splat(line::max::<V>(l));
            let sum = V::splat(line::sum_exp(l, most));
            let factor = V::splat(g[row]) / sum;
            let mut i = 0;
            while i < l.len() {
                let e = line::term(V::load_partial(&l[i..]) - most);
                (faded(e) * factor).store_partial(&mut gl[i..]);
                i += V::LANES;
            }
            let target = targets[row] as usize;
            gl[target] = gl[target] - g[row];
        }
    }
    check_classes("cross_entropy_gradient", logits.len(), targets, classes);
    check("cross_entropy_gradient", "g", g.len(), targets.len());
    check("cross_entropy_gradient", "gl", gl.len(), logits.len());
    let kernel = Gradient(logits, targets, g);
    rows(
        kernel,
        targets.len(),
        8 * classes,
        [Out {
            data: gl,
            width: classes,
        }],
    );
}

#[track_caller]
fn check_classes(name: &str, logits: usize, targets: &[u32], classes: usize) {
    check(name, "logits", logits, targets.len() * classes);
    let _ = count(name, logits, classes);
    for (row, &target) in targets.iter().enumerate() {
        assert!(
            (target as usize) < classes,
            "{name}: target {target} of row {row} is not below {classes} classes"
        );
    }
}
