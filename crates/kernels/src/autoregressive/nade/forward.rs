//! From the first dimension to the last.

use super::{Act, Activation, Nade, ReluAct, SigmoidAct, with_act};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::simd::{Isa, Kernel, Vector, dispatch};

/// Images that go through the dimensions together (reason 2 of [`super`]).
pub(super) const ROWS: usize = 8;
/// Rows of state are padded to a multiple of this: no vector is longer.
pub(super) const PAD: usize = 16;

/// a = b, h = act(b) for every row.
#[inline(always)]
pub(super) fn begin<V: Vector, A: Act>(
    b: &[V::Element],
    a: &mut [V::Element],
    h: &mut [V::Element],
) {
    let stride = b.len().next_multiple_of(PAD).max(1);
    for (a, h) in a.chunks_exact_mut(stride).zip(h.chunks_exact_mut(stride)) {
        let mut i = 0;
        while i < b.len() {
            let value = V::load_partial(&b[i..]);
            value.store(&mut a[i..]);
            A::value(value).store(&mut h[i..]);
            i += V::LANES;
        }
    }
}

/// <v, h> of `R` rows of h. Each row's sum is added in the same order for every R.
#[inline(always)]
pub(super) fn dots<V: Vector, const R: usize>(
    v: &[V::Element],
    h: &[V::Element],
) -> [V::Element; R] {
    let stride = v.len().next_multiple_of(PAD);
    assert!(h.len() >= R * stride);
    let mut sums = [V::zero(); R];
    let mut i = 0;
    while i + V::LANES <= v.len() {
        // SAFETY: i + LANES <= v.len() <= stride, and h holds R rows of `stride`.
        unsafe {
            let v = V::load_ptr(v.as_ptr().add(i));
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = V::load_ptr(h.as_ptr().add(r * stride + i)).mul_add(v, *sum);
            }
        }
        i += V::LANES;
    }
    if i < v.len() {
        let v = V::load_partial(&v[i..]);
        for (r, sum) in sums.iter_mut().enumerate() {
            *sum = V::load(&h[r * stride + i..]).mul_add(v, *sum);
        }
    }
    let mut out = [V::Element::ZERO; R];
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum.reduce_add();
    }
    out
}

/// a += x w, h = act(a) for one row.
#[inline(always)]
pub(super) fn absorb<V: Vector, A: Act>(
    w: &[V::Element],
    x: V::Element,
    a: &mut [V::Element],
    h: &mut [V::Element],
) {
    let x = V::splat(x);
    let mut i = 0;
    while i < w.len() {
        let sum = V::load_partial(&w[i..]).mul_add(x, V::load(&a[i..]));
        sum.store(&mut a[i..]);
        A::value(sum).store(&mut h[i..]);
        i += V::LANES;
    }
}

/// The rows of `R` images, from the first dimension to the last.
#[inline(always)]
fn forward_rows<V: Vector, A: Act, const R: usize>(
    net: &Nade<V::Element>,
    x: &[V::Element],
    logits: &mut [V::Element],
    a: &mut [V::Element],
    h: &mut [V::Element],
) {
    let (dims, hidden) = (net.dims(), net.hidden());
    let stride = hidden.next_multiple_of(PAD);
    begin::<V, A>(net.b, a, h);
    for d in 0..dims {
        let row = d * hidden..(d + 1) * hidden;
        let sums = dots::<V, R>(&net.v[row.clone()], h);
        for (r, sum) in sums.into_iter().enumerate() {
            logits[r * dims + d] = sum + net.c[d];
            let x = x[r * dims + d];
            if x != V::Element::ZERO {
                let own = r * stride..(r + 1) * stride;
                absorb::<V, A>(&net.w[row.clone()], x, &mut a[own.clone()], &mut h[own]);
            }
        }
    }
}

/// See [`Nade::logits`].
pub(crate) fn logits<T: Element>(net: Nade<T>, x: &[T], logits: &mut [T]) {
    dispatch(Isa::current(), Forward { net, x, logits });
}

struct Forward<'a, T> {
    net: Nade<'a, T>,
    x: &'a [T],
    logits: &'a mut [T],
}

impl<T: Element> Forward<'_, T> {
    #[inline(always)]
    fn with<V: Vector<Element = T>, A: Act>(self) {
        let Forward { net, x, logits } = self;
        let stride = net.hidden().next_multiple_of(PAD);
        let mut a = Buffer::filled(ROWS * stride, T::ZERO);
        let mut h = Buffer::filled(ROWS * stride, T::ZERO);
        let whole = x.len() / net.dims() / ROWS * ROWS * net.dims();
        let (x, x_rest) = x.split_at(whole);
        let (logits, logits_rest) = logits.split_at_mut(whole);
        let block = ROWS * net.dims();
        for (x, logits) in x.chunks_exact(block).zip(logits.chunks_exact_mut(block)) {
            forward_rows::<V, A, ROWS>(&net, x, logits, &mut a, &mut h);
        }
        let rest = x_rest.chunks_exact(net.dims());
        for (x, logits) in rest.zip(logits_rest.chunks_exact_mut(net.dims())) {
            forward_rows::<V, A, 1>(&net, x, logits, &mut a[..stride], &mut h[..stride]);
        }
    }
}

impl<T: Element> Kernel<T> for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        with_act!(self.net.activation, A => self.with::<V, A>());
    }
}
