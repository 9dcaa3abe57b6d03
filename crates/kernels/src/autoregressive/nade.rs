//! NADE: a hidden layer that is carried from one dimension to the next.
//!
//! ```text
//! a_0 = b;   logit_d = c_d + <v_d, act(a_d)>;   a_(d+1) = a_d + x_d w_d
//! ```
//!
//! All D conditionals cost O(D H) an image, not O(D^2 H). Larochelle & Murray 2011, algorithm 1.
//!
//! 1. Where x_d = 0 neither a nor act(a) changes, so both are kept and only an input that is not
//!    0 costs an activation: about one in six in a picture of a digit.
//! 2. Forward, some images go through the dimensions together and share each row of v and w.
//! 3. Backward, hidden units do not depend on each other, so they are cut into strips narrow
//!    enough that a strip's state for the whole block of images stays in the first cache. The
//!    state is walked back by subtracting what was added (a_d = a_(d+1) - x_d w_d): memory is
//!    O(B H), not O(B D H).
//! 4. Between two changes of a the factor act'(a) is constant: gradients by act(a) are summed
//!    and multiplied by it once.

use crate::buffer::Buffer;
use crate::element::Element;
use crate::elementwise::unary::{Relu, Sigmoid};
use crate::simd::{Isa, Kernel, Vector, dispatch};

/// The function of the hidden units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// 1 / (1 + e^-a), as in the paper.
    Sigmoid,
    /// max(a, 0), with the derivative 0 at 0.
    Relu,
}

/// The weights: D dimensions, H hidden units.
#[derive(Clone, Copy, Debug)]
pub struct Nade<'a, T> {
    /// Into the hidden units: `[D, H]`.
    pub w: &'a [T],
    /// Where the hidden units begin: `[H]`.
    pub b: &'a [T],
    /// Out of the hidden units: `[D, H]`.
    pub v: &'a [T],
    /// The bias of each logit: `[D]`.
    pub c: &'a [T],
    /// What the hidden units compute.
    pub activation: Activation,
}

/// Gradients by the weights; each is added to.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// `[D, H]`.
    pub w: &'a mut [T],
    /// `[H]`.
    pub b: &'a mut [T],
    /// `[D, H]`.
    pub v: &'a mut [T],
    /// `[D]`.
    pub c: &'a mut [T],
}

/// Images that go through the dimensions together (reason 2).
const ROWS: usize = 8;
/// Vectors of hidden units in a strip (reason 3).
const STRIP: usize = 4;
/// Images in a block of the backward pass (reason 3).
const BLOCK: usize = 64;
/// Rows of state are padded to a multiple of this: no vector is longer.
const PAD: usize = 16;

impl<T: Element> Nade<'_, T> {
    fn dims(&self) -> usize {
        self.c.len()
    }

    fn hidden(&self) -> usize {
        self.b.len()
    }

    #[track_caller]
    fn check(&self, x: usize, y: usize) {
        let (dims, hidden) = (self.dims(), self.hidden());
        assert!(
            self.w.len() == dims * hidden && self.v.len() == dims * hidden,
            "nade: w has {} and v {} elements for {dims} dimensions and {hidden} hidden units",
            self.w.len(),
            self.v.len()
        );
        assert!(
            x == y && x.is_multiple_of(dims.max(1)),
            "nade: expected two matrices of rows of {dims}, found {x} and {y} elements"
        );
    }

    /// The logits of x: both `[B, D]`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    #[track_caller]
    pub fn logits(&self, x: &[T], logits: &mut [T]) {
        self.check(x.len(), logits.len());
        if !x.is_empty() {
            dispatch(
                Isa::current(),
                Forward {
                    net: *self,
                    x,
                    logits,
                },
            );
        }
    }

    /// Adds to `gradients` what g = d loss / d logits gives at x: both `[B, D]`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    #[track_caller]
    pub fn gradients(&self, x: &[T], g: &[T], gradients: Gradients<T>) {
        self.check(x.len(), g.len());
        let lengths = [
            gradients.w.len(),
            gradients.b.len(),
            gradients.v.len(),
            gradients.c.len(),
        ];
        assert_eq!(
            lengths,
            [self.w.len(), self.b.len(), self.v.len(), self.c.len()],
            "nade: gradients must have the lengths of w, b, v, c"
        );
        if !x.is_empty() {
            dispatch(
                Isa::current(),
                Backward {
                    net: *self,
                    x,
                    g,
                    to: gradients,
                },
            );
        }
    }
}

/// The hidden layers of some images on their way through the dimensions: for sampling, where an
/// input is known only after its logit.
#[derive(Clone)]
pub struct Running<T: Element> {
    activation: Activation,
    hidden: usize,
    /// a and act(a) of each image, rows of `stride`.
    a: Buffer<T>,
    h: Buffer<T>,
}

impl<T: Element> Running<T> {
    /// `images` hidden layers that have seen nothing: a = b, `[H]`.
    pub fn new(images: usize, b: &[T], activation: Activation) -> Running<T> {
        let stride = b.len().next_multiple_of(PAD);
        let mut running = Running {
            activation,
            hidden: b.len(),
            a: Buffer::filled(images * stride, T::ZERO),
            h: Buffer::filled(images * stride, T::ZERO),
        };
        dispatch(
            Isa::current(),
            Begin {
                running: &mut running,
                b,
            },
        );
        running
    }

    /// The logit of the next dimension for each image, with its row of v, `[H]`, and its c.
    ///
    /// # Panics
    /// If the lengths do not fit.
    #[track_caller]
    pub fn logits(&self, v: &[T], c: T, logits: &mut [T]) {
        let stride = self.hidden.next_multiple_of(PAD);
        assert!(
            v.len() == self.hidden && logits.len() * stride == self.h.len(),
            "nade: expected {} hidden units, found {}",
            self.hidden,
            v.len()
        );
        dispatch(
            Isa::current(),
            Next {
                running: self,
                v,
                c,
                logits,
            },
        );
    }

    /// Takes in the next dimension: its value in each image, and its row of w, `[H]`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    #[track_caller]
    pub fn absorb(&mut self, w: &[T], x: &[T]) {
        let stride = self.hidden.next_multiple_of(PAD);
        assert!(
            w.len() == self.hidden && x.len() * stride == self.h.len(),
            "nade: expected {} hidden units, found {}",
            self.hidden,
            w.len()
        );
        dispatch(
            Isa::current(),
            Absorb {
                running: self,
                w,
                x,
            },
        );
    }
}

/// An [`Activation`] known at compile time.
trait Act: Copy {
    fn value<V: Vector>(a: V) -> V;
    /// act'(a), seen in h = act(a).
    fn derivative<V: Vector>(h: V) -> V;
}

#[derive(Clone, Copy)]
struct SigmoidAct;
impl Act for SigmoidAct {
    #[inline(always)]
    fn value<V: Vector>(a: V) -> V {
        a.apply(Sigmoid)
    }
    #[inline(always)]
    fn derivative<V: Vector>(h: V) -> V {
        h * (V::one() - h)
    }
}

#[derive(Clone, Copy)]
struct ReluAct;
impl Act for ReluAct {
    #[inline(always)]
    fn value<V: Vector>(a: V) -> V {
        a.apply(Relu)
    }
    #[inline(always)]
    fn derivative<V: Vector>(h: V) -> V {
        h.if_gt(V::zero(), V::one(), V::zero())
    }
}

/// $body with A as the type of the activation.
macro_rules! with_act {
    ($activation:expr, $A:ident => $body:expr) => {
        match $activation {
            Activation::Sigmoid => {
                type $A = SigmoidAct;
                $body
            }
            Activation::Relu => {
                type $A = ReluAct;
                $body
            }
        }
    };
}

/// a = b, h = act(b) for every row.
#[inline(always)]
fn begin<V: Vector, A: Act>(b: &[V::Element], a: &mut [V::Element], h: &mut [V::Element]) {
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
fn dots<V: Vector, const R: usize>(v: &[V::Element], h: &[V::Element]) -> [V::Element; R] {
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
fn absorb<V: Vector, A: Act>(
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
        for r in 0..R {
            logits[r * dims + d] = sums[r] + net.c[d];
            let x = x[r * dims + d];
            if x != V::Element::ZERO {
                let own = r * stride..(r + 1) * stride;
                absorb::<V, A>(&net.w[row.clone()], x, &mut a[own.clone()], &mut h[own]);
            }
        }
    }
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

struct Begin<'a, T: Element> {
    running: &'a mut Running<T>,
    b: &'a [T],
}

impl<T: Element> Kernel<T> for Begin<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let Running {
            activation, a, h, ..
        } = self.running;
        with_act!(activation, A => begin::<V, A>(self.b, a, h));
    }
}

struct Next<'a, T: Element> {
    running: &'a Running<T>,
    v: &'a [T],
    c: T,
    logits: &'a mut [T],
}

impl<T: Element> Kernel<T> for Next<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let stride = self.v.len().next_multiple_of(PAD);
        let mut blocks = self.logits.chunks_exact_mut(ROWS);
        let mut from = 0;
        for logits in &mut blocks {
            let sums = dots::<V, ROWS>(self.v, &self.running.h[from..]);
            for (logit, sum) in logits.iter_mut().zip(sums) {
                *logit = sum + self.c;
            }
            from += ROWS * stride;
        }
        for logit in blocks.into_remainder() {
            let [sum] = dots::<V, 1>(self.v, &self.running.h[from..]);
            *logit = sum + self.c;
            from += stride;
        }
    }
}

struct Absorb<'a, T: Element> {
    running: &'a mut Running<T>,
    w: &'a [T],
    x: &'a [T],
}

impl<T: Element> Absorb<'_, T> {
    #[inline(always)]
    fn with<V: Vector<Element = T>, A: Act>(self) {
        let stride = self.w.len().next_multiple_of(PAD).max(1);
        let Running { a, h, .. } = self.running;
        let rows = a.chunks_exact_mut(stride).zip(h.chunks_exact_mut(stride));
        for ((a, h), &x) in rows.zip(self.x) {
            if x != T::ZERO {
                absorb::<V, A>(self.w, x, a, h);
            }
        }
    }
}

impl<T: Element> Kernel<T> for Absorb<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        with_act!(self.running.activation, A => self.with::<V, A>());
    }
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
                for d in 0..dims {
                    xt[d * rows + r] = x[r * dims + d];
                    gt[d * rows + r] = g[r * dims + d];
                    to.c[d] = to.c[d] + g[r * dims + d];
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
        for r in 0..rows {
            let own = r * width..(r + 1) * width;
            let (h, dh) = (&mut h[own.clone()], &mut dh[own.clone()]);
            if xt[r] != V::Element::ZERO {
                let x = V::splat(xt[r]);
                let w = load_strip::<V, FULL>(&net.w[units(d)]);
                let mut by_w = [V::zero(); STRIP];
                for k in 0..STRIP {
                    let lanes = k * V::LANES..(k + 1) * V::LANES;
                    let (a, da) = (
                        &mut a[own.clone()][lanes.clone()],
                        &mut da[own.clone()][lanes.clone()],
                    );
                    let (h, dh) = (&mut h[lanes.clone()], &mut dh[lanes]);
                    let sum = V::load(dh).mul_add(A::derivative(V::load(h)), V::load(da));
                    sum.store(da);
                    V::zero().store(dh);
                    by_w[k] = sum * x;
                    let before = w[k].neg_mul_add(x, V::load(a));
                    before.store(a);
                    A::value(before).store(h);
                }
                add_strip::<V, FULL>(&mut dw[units(d)], by_w);
            }
            let g = V::splat(gt[r]);
            for k in 0..STRIP {
                let lanes = k * V::LANES..(k + 1) * V::LANES;
                let dh = &mut dh[lanes.clone()];
                sums[k] = V::load(&h[lanes]).mul_add(g, sums[k]);
                v[k].mul_add(g, V::load(dh)).store(dh);
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
