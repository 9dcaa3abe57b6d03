//! What an operation is: a forward rule on tensors and a backward rule written in variables.

use crate::nodes::{Nodes, Parent, Part, Slots};
use crate::{Shape, Tensor, Var};
use kernels::Element;
use kernels::gemm::Beta;
use std::rc::Rc;

/// Which tensors a backward rule wants to see again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saves {
    /// Bit i: the value of input i.
    pub inputs: u32,
    /// The value of the output.
    pub output: bool,
}

impl Saves {
    /// Shapes alone are enough.
    pub const NOTHING: Saves = Saves {
        inputs: 0,
        output: false,
    };
    /// Every input.
    pub const INPUTS: Saves = Saves {
        inputs: u32::MAX,
        output: false,
    };
    /// The output.
    pub const OUTPUT: Saves = Saves {
        inputs: 0,
        output: true,
    };

    /// Input `i` alone.
    pub const fn input(i: usize) -> Saves {
        Saves {
            inputs: 1 << i,
            output: false,
        }
    }
}

/// A differentiable operation with one output.
///
/// Anyone may write one: implement this and call [`Var::apply`].
///
/// ```
/// use grad::{Op, Saves, Tape, Tensor, Var, Vjp};
///
/// /// y = x^3.
/// struct Cube;
/// impl Op<f64> for Cube {
///     fn name(&self) -> &'static str { "cube" }
///     fn saves(&self) -> Saves { Saves::input(0) }
///     fn forward(&self, x: &[&Tensor<f64>]) -> Tensor<f64> { x[0].map(|x| x * x * x) }
///     fn vjp(&self, at: &Vjp<f64>, g: Var<f64>) {
///         let x = at.input(0);
///         at.give(0, || &g * &(&x * &x) * 3.0);
///     }
/// }
///
/// let tape = Tape::new();
/// let x = tape.var(Tensor::scalar(2.0));
/// let y = Var::apply(Cube, &[&x]);
/// let dy = &tape.gradients_recorded(&y, &[&x])[0];
/// assert_eq!(dy.item(), 12.0);
/// assert_eq!(tape.gradients(dy, &[&x])[0].item(), 12.0); // 6 x
/// ```
pub trait Op<T: Element>: 'static {
    /// The name that error messages show.
    fn name(&self) -> &'static str;

    /// What to keep for [`vjp`](Self::vjp).
    fn saves(&self) -> Saves;

    /// The output for these inputs.
    ///
    /// # Panics
    /// If it refuses their shapes; the message names the operation and shows the shapes.
    #[track_caller]
    fn forward(&self, inputs: &[&Tensor<T>]) -> Tensor<T>;

    /// Given g = d loss / d output, gives d loss / d input for every input that needs it. Written
    /// in variables: when the backward pass is recorded, this is what is differentiated again. When
    /// it is not ([`Vjp::records`]), one fused kernel may do the same.
    fn vjp(&self, at: &Vjp<'_, T>, g: Var<T>);

    /// Whether [`vjp`](Self::vjp) leaves the tape on the way (a fused backward kernel), so that
    /// asking for a second derivative must fail.
    fn first_order_only(&self) -> bool {
        false
    }
}

/// What a backward rule sees of its operation, and where it gives its results.
pub struct Vjp<'a, T: Element> {
    op: &'a dyn Op<T>,
    nodes: &'a Rc<Nodes<T>>,
    id: u32,
    /// Whether the backward pass is recorded.
    record: bool,
    parts: &'a [Part],
    slots: &'a Slots<T>,
}

impl<'a, T: Element> Vjp<'a, T> {
    pub(crate) fn new(
        op: &'a dyn Op<T>,
        nodes: &'a Rc<Nodes<T>>,
        id: u32,
        record: bool,
        parts: &'a [Part],
        slots: &'a Slots<T>,
    ) -> Self {
        Vjp {
            op,
            nodes,
            id,
            record,
            parts,
            slots,
        }
    }

    /// The node of input `i`, if anyone wants its gradient.
    #[track_caller]
    #[inline]
    fn target(&self, i: usize) -> Option<usize> {
        let id = self.nodes.parent(self.id, i, |parent| parent.id)? as usize;
        (self.parts[id] != Part::None).then_some(id)
    }

    /// Whether the backward pass is recorded, so that what is given must be made of operations;
    /// else it may come from any kernel.
    #[inline]
    pub fn records(&self) -> bool {
        self.record
    }

    /// Whether anyone wants the gradient of input `i`.
    #[track_caller]
    pub fn needs(&self, i: usize) -> bool {
        self.target(i).is_some()
    }

    /// Gives the gradient of input `i`; `gradient` runs only if someone wants it.
    ///
    /// # Panics
    /// If the gradient has not the input's shape.
    #[track_caller]
    pub fn give(&self, i: usize, gradient: impl FnOnce() -> Var<T>) {
        if let Some(id) = self.target(i) {
            self.give_to(id, i, gradient());
        }
    }

    /// Adds to what node `id`, input `i`, has been given.
    #[track_caller]
    fn give_to(&self, id: usize, i: usize, gradient: Var<T>) {
        assert!(
            *gradient.shape() == self.input_shape(i),
            "vjp of {}: the gradient of input {i} has shape {}, expected {}",
            self.op.name(),
            gradient.shape(),
            self.input_shape(i)
        );
        let sum = {
            let slot = &mut self.slots.borrow_mut()[id];
            match slot.take() {
                None => {
                    *slot = Some(gradient);
                    return;
                }
                Some(sum) => sum,
            }
        };
        // Not under one borrow: a recorded sum appends to the tape and may panic.
        let sum = sum.accumulate(gradient);
        self.slots.borrow_mut()[id] = Some(sum);
    }

    /// Gives a gradient of input `i` that is cheaper to add to what is there than to make: `add`
    /// adds it, `whole` makes it. One that is `g` in a part of the input and zero elsewhere, say.
    ///
    /// # Panics
    /// As [`give`](Self::give).
    #[track_caller]
    pub(crate) fn give_part(
        &self,
        i: usize,
        g: Var<T>,
        add: impl FnOnce(&mut [T], &[T]),
        whole: impl FnOnce(Var<T>) -> Var<T>,
    ) {
        let Some(id) = self.target(i) else { return };
        if !self.record
            && let Some(sum) = &mut self.slots.borrow_mut()[id]
            && let Some(sum) = sum.get_mut()
        {
            return add(sum, g.value().data());
        }
        self.give_to(id, i, whole(g));
    }

    /// Gives the gradient of input `i` that a kernel makes of g: by `Beta` it adds to what is there
    /// or writes it anew. If the backward pass is recorded, `recorded` makes the same of operations.
    ///
    /// # Panics
    /// As [`give`](Self::give).
    #[track_caller]
    pub(crate) fn give_product(
        &self,
        i: usize,
        g: Var<T>,
        kernel: impl FnOnce(Beta, &mut [T], &[T]),
        recorded: impl FnOnce(Var<T>) -> Var<T>,
    ) {
        let Some(id) = self.target(i) else { return };
        if self.record {
            return self.give_to(id, i, recorded(g));
        }
        if let Some(sum) = &mut self.slots.borrow_mut()[id]
            && let Some(sum) = sum.get_mut()
        {
            return kernel(Beta::One, sum, g.value().data());
        }
        let write = |out: &mut [T]| kernel(Beta::Zero, out, g.value().data());
        let gradient = Tensor::build(self.input_shape(i), write);
        self.give_to(id, i, Var::constant(gradient));
    }

    /// How many inputs there are.
    pub fn inputs(&self) -> usize {
        self.nodes.parents(self.id)
    }

    /// The value of input `i`.
    ///
    /// # Panics
    /// If [`Op::saves`] did not ask for it.
    #[track_caller]
    #[inline]
    pub fn input(&self, i: usize) -> Var<T> {
        let (value, id) =
            (self.nodes).parent(self.id, i, |parent| (parent.kept.tensor(), parent.id));
        let Some(value) = value else {
            self.not_saved(i)
        };
        match id {
            Some(id) if self.record => Var::on_tape(value, self.nodes.clone(), id),
            _ => Var::constant(value),
        }
    }

    /// What a kernel reads of input `i`, where nothing is recorded: [`input`](Self::input) without
    /// a handle. Nothing may be recorded meanwhile.
    ///
    /// # Panics
    /// If [`Op::saves`] did not ask for it.
    #[track_caller]
    #[inline]
    pub(crate) fn read_input<R>(&self, i: usize, f: impl FnOnce(&[T]) -> R) -> R {
        let read = |parent: &Parent<T>| parent.kept.read(|x| f(x.data()));
        match self.nodes.parent(self.id, i, read) {
            Some(result) => result,
            None => self.not_saved(i),
        }
    }

    #[track_caller]
    fn not_saved(&self, i: usize) -> ! {
        panic!(
            "vjp of {}: input {i} was not saved; ask for it in `saves`",
            self.op.name()
        )
    }

    /// The value of the output.
    ///
    /// # Panics
    /// If [`Op::saves`] did not ask for it.
    #[track_caller]
    pub fn output(&self) -> Var<T> {
        let Some(value) = self.nodes.output(self.id) else {
            panic!(
                "vjp of {}: the output was not saved; ask for it in `saves`",
                self.op.name()
            )
        };
        if self.record {
            Var::on_tape(value, self.nodes.clone(), self.id)
        } else {
            Var::constant(value)
        }
    }

    /// The shape of input `i`.
    #[track_caller]
    #[inline]
    pub fn input_shape(&self, i: usize) -> Shape {
        self.nodes.parent(self.id, i, |parent| *parent.kept.shape())
    }

    /// The shape of the output.
    pub fn output_shape(&self) -> Shape {
        self.nodes.shape(self.id)
    }
}
