//! From the last dimension back to the first.

use super::{Act, Activation, Gradients, Nade, ReluAct, SigmoidAct, with_act};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::simd::{Isa, Kernel, Vector, dispatch};

/// Vectors of hidden units in a strip (reason 3 of [`super`]).
const STRIP: usize = 4;
/// Images in a block (reason 3 of [`super`]).
const BLOCK: usize = 64;

/// See [`Nade::gradients`].
pub(crate) fn gradients<T: Element>(net: Nade<T>, x: &[T], g: &[T], to: Gradients<T>) {
    dispatch(Isa::current(), Backward { net, x, g, to });
}

struct Backward<'a, T> {
    net: Nade<'a, T>,
    x: &'a [T],
    g: &'a [T],
    to: Gradients<'a, T>,
}

/// The state of one strip of hidden units for a block of images, `[block, width]` each.
struct Strip<'a, T> {
    a: &'a mut [T],
    h: &'a mut [T],
    /// d loss / d a by the dimensions behind.
    da: &'a mut [T],
    /// d loss / d h since a last changed.
    dh: &'a mut [T],
}

impl<T: Element> Backward<'_, T> {
    #[inline(always)]
    fn with<V: Vector<Element = T>, A: Act>(self) {
        let Backward { net, x, g, to } = self;
        let (dims, hidden) = (net.dims(), net.hidden());
        let block = (x.len() / dims).min(BLOCK);
        let width = STRIP * V::LANES;
        let mut state = Buffer::filled(4 * block * width, T::ZERO);
        let mut turned = Buffer::filled(2 * block * dims, T::ZERO);
        for (x, g) in x.chunks(block * dims).zip(g.chunks(block * dims)) {
            let rows = x.len() / dims;
            // A dimension's inputs and gradients side by side: [D, rows].
            let (xt, gt) = turned.split_at_mut(block * dims);
            for r in 0..rows {
                for (d, c) in to.c.iter_mut().enumerate() {
                    xt[d * rows + r] = x[r * dims + d];
                    gt[d * rows + r] = g[r * dims + d];
                    *c = *c + g[r * dims + d];
                }
            }
            let mut from = 0;
            while from < hidden {
                let (a, rest) = state.split_at_mut(block * width);
                let (h, rest) = rest.split_at_mut(block * width);
                let (da, dh) = rest.split_at_mut(block * width);
                let strip = Strip { a, h, da, dh };
                let len = width.min(hidden - from);
                let (xt, gt) = (&xt[..rows * dims], &gt[..rows * dims]);
                if len == width {
                    strip_backward::<V, A, true>(
                        &net, xt, gt, rows, from, len, strip, &mut *to.w, &mut *to.b, &mut *to.v,
                    );
                } else {
                    strip_backward::<V, A, false>(
                        &net, xt, gt, rows, from, len, strip, &mut *to.w, &mut *to.b, &mut *to.v,
                    );
                }
                from += width;
            }
        }
    }
}

impl<T: Element> Kernel<T> for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        with_act!(self.net.activation, A => self.with::<V, A>());
    }
}

/// `STRIP` vectors from x; where it is not `FULL` they may reach beyond its end and are then 0.
#[inline(always)]
fn load_strip<V: Vector, const FULL: bool>(x: &[V::Element]) -> [V; STRIP] {
    let mut out = [V::zero(); STRIP];
    for (k, out) in out.iter_mut().enumerate() {
        *out = if FULL {
            V::load(&x[k * V::LANES..])
        } else {
            V::load_partial(x.get(k * V::LANES..).unwrap_or(&[]))
        };
    }
    out
}

/// y += x for `STRIP` vectors; lanes beyond the end of y are dropped.
#[inline(always)]
fn add_strip<V: Vector, const FULL: bool>(y: &mut [V::Element], x: [V; STRIP]) {
    for (k, x) in x.into_iter().enumerate() {
        if FULL {
            let y = &mut y[k * V::LANES..];
            (V::load(y) + x).store(y);
        } else if let Some(y) = y.get_mut(k * V::LANES..) {
            (V::load_partial(y) + x).store_partial(y);
        }
    }
}

/// The hidden units from `from` on, `len` of them, from the last dimension back to the first.
#[inline(always)]
fn strip_backward<V: Vector, A: Act, const FULL: bool>(
    net: &Nade<V::Element>,
    xt: &[V::Element],
    gt: &[V::Element],
    rows: usize,
    from: usize,
    len: usize,
    strip: Strip<V::Element>,
    dw: &mut [V::Element],
    db: &mut [V::Element],
    dv: &mut [V::Element],
) {
    let (dims, hidden) = (net.dims(), net.hidden());
    let width = STRIP * V::LANES;
    let Strip { a, h, da, dh } = strip;
    let units = |d: usize| d * hidden + from..d * hidden + from + len;
    // The state after the last dimension, added up in the order of the forward pass.
    let b = load_strip::<V, FULL>(&net.b[from..from + len]);
    for a in a.chunks_exact_mut(width).take(rows) {
        for (k, b) in b.into_iter().enumerate() {
            b.store(&mut a[k * V::LANES..]);
        }
    }
    for d in 0..dims {
        let w = load_strip::<V, FULL>(&net.w[units(d)]);
        let xt = &xt[d * rows..(d + 1) * rows];
        for (a, &x) in a.chunks_exact_mut(width).zip(xt) {
            if x != V::Element::ZERO {
                for (k, w) in w.into_iter().enumerate() {
                    let a = &mut a[k * V::LANES..];
                    w.mul_add(V::splat(x), V::load(a)).store(a);
                }
            }
        }
    }
    for i in (0..rows * width).step_by(V::LANES) {
        A::value(V::load(&a[i..])).store(&mut h[i..]);
    }
    da[..rows * width].fill(V::Element::ZERO);
    dh[..rows * width].fill(V::Element::ZERO);

    for d in (0..dims).rev() {
        let v = load_strip::<V, FULL>(&net.v[units(d)]);
        let (xt, gt) = (&xt[d * rows..(d + 1) * rows], &gt[d * rows..(d + 1) * rows]);
        let mut sums = [V::zero(); STRIP];
        for (r, (&x, &g)) in xt.iter().zip(gt).enumerate() {
            let own = r * width..(r + 1) * width;
            let (h, dh) = (&mut h[own.clone()], &mut dh[own.clone()]);
            if x != V::Element::ZERO {
                let x = V::splat(x);
                let w = load_strip::<V, FULL>(&net.w[units(d)]);
                let mut by_w = [V::zero(); STRIP];
                for (k, (by_w, w)) in by_w.iter_mut().zip(w).enumerate() {
                    let lanes = k * V::LANES..(k + 1) * V::LANES;
                    let (a, da) = (
                        &mut a[own.clone()][lanes.clone()],
                        &mut da[own.clone()][lanes.clone()],
                    );
                    let (h, dh) = (&mut h[lanes.clone()], &mut dh[lanes]);
                    let sum = V::load(dh).mul_add(A::derivative(V::load(h)), V::load(da));
                    sum.store(da);
                    V::zero().store(dh);
                    *by_w = sum * x;
                    let before = w.neg_mul_add(x, V::load(a));
                    before.store(a);
                    A::value(before).store(h);
                }
                add_strip::<V, FULL>(&mut dw[units(d)], by_w);
            }
            let g = V::splat(g);
            for (k, (sum, v)) in sums.iter_mut().zip(v).enumerate() {
                let lanes = k * V::LANES..(k + 1) * V::LANES;
                let dh = &mut dh[lanes.clone()];
                *sum = V::load(&h[lanes]).mul_add(g, *sum);
                v.mul_add(g, V::load(dh)).store(dh);
            }
        }
        add_strip::<V, FULL>(&mut dv[units(d)], sums);
    }

    let mut sums = [V::zero(); STRIP];
    for r in 0..rows {
        for (k, sum) in sums.iter_mut().enumerate() {
            let i = r * width + k * V::LANES;
            let by_a =
                V::load(&dh[i..]).mul_add(A::derivative(V::load(&h[i..])), V::load(&da[i..]));
            *sum = *sum + by_a;
        }
    }
    add_strip::<V, FULL>(&mut db[from..from + len], sums);
}
