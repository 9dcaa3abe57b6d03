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

pub(crate) mod backward;
pub(crate) mod forward;
pub(crate) mod running;

pub use running::Running;

use crate::element::Element;
use crate::elementwise::unary::{Relu, Sigmoid};
use crate::flops;
use crate::simd::Vector;

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

impl<T: Element> Nade<'_, T> {
    fn dims(&self) -> usize {
        self.c.len()
    }

    fn hidden(&self) -> usize {
        self.b.len()
    }

    /// The multiply-adds of the logits for so many inputs; by `v` and by act(a) the gradients have
    /// as many each. How often a changes depends on the inputs and does not count.
    fn products(&self, inputs: usize) -> u64 {
        inputs as u64 * self.hidden() as u64
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
        flops::add(|| 2 * self.products(x.len()));
        if !x.is_empty() {
            T::nade_logits(*self, x, logits);
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
        flops::add(|| 4 * self.products(x.len()));
        if !x.is_empty() {
            T::nade_gradients(*self, x, g, gradients);
        }
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
use with_act;
