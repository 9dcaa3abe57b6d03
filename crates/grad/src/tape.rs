//! The tape: a Wengert list and its one reverse loop.
//!
//! Nodes are appended as operations run, so their order is topological and the backward pass is
//! a loop from the last to the first: no recursion, no sort, no hash map. A node holds the ids of
//! its parents and the tensors its operation asked to save, never a handle on the tape, so a tape
//! and all it holds are freed with the last [`Var`] that points to it.

use crate::nodes::{Lists, Nodes, Part, Scratch, Slots};
use crate::op::Vjp;
use crate::tensor::Kept;
use crate::{Tensor, Var};
use kernels::Element;
use std::cell::RefCell;
use std::rc::Rc;

/// Records what is computed with its variables, and differentiates it.
///
/// ```
/// use grad::{Tape, Tensor};
/// let tape = Tape::new();
/// let x = tape.var(Tensor::scalar(3.0f64));
/// let y = &x * &x;
/// assert_eq!(tape.gradients(&y, &[&x])[0].item(), 6.0);
/// ```
pub struct Tape<T: Element> {
    nodes: Rc<Nodes<T>>,
}

/// What becomes of the tape in a backward pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nothing is recorded, the tape stays.
    Keep,
    /// The backward pass is recorded, too: its results can be differentiated again.
    Record,
    /// Nothing is recorded, and each node is freed as soon as it has been used.
    Spend,
}

impl<T: Element> Default for Tape<T> {
    fn default() -> Self {
        Tape::new()
    }
}

impl<T: Element> Tape<T> {
    /// An empty tape.
    pub fn new() -> Tape<T> {
        Tape {
            nodes: Rc::new(Nodes(RefCell::new(Lists::new()))),
        }
    }

    /// A variable to differentiate with respect to.
    pub fn var(&self, value: Tensor<T>) -> Var<T> {
        let output = Kept::of(&value, false);
        let id = self.nodes.push(None, std::iter::empty(), output);
        Var::on_tape(value, self.nodes.clone(), id)
    }

    /// How many nodes are recorded.
    pub fn len(&self) -> usize {
        self.nodes.0.borrow().nodes.len()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// d loss / d x for each x of `wrt`; zeros where the loss does not depend on it. The tape
    /// stays as it is and can be differentiated again.
    ///
    /// # Panics
    /// If the loss is not a single number, or a variable is not of this tape.
    #[track_caller]
    pub fn gradients(&self, loss: &Var<T>, wrt: &[&Var<T>]) -> Vec<Tensor<T>> {
        let gradients = self.run(loss, wrt, Mode::Keep, Vec::new());
        gradients.into_iter().map(Var::into_value).collect()
    }

    /// As [`gradients`](Self::gradients), and recorded: the results can be differentiated again.
    ///
    /// # Panics
    /// Also if an operation on the way has a derivative of first order only.
    #[track_caller]
    pub fn gradients_recorded(&self, loss: &Var<T>, wrt: &[&Var<T>]) -> Vec<Var<T>> {
        self.run(loss, wrt, Mode::Record, Vec::new())
    }

    /// As [`gradients`](Self::gradients), and frees each node's saved tensors as soon as they
    /// have been used, so that a training step holds as little memory as it can. Afterwards the
    /// tape is spent: everything on it counts as a leaf.
    ///
    /// # Panics
    /// As [`gradients`](Self::gradients).
    #[track_caller]
    pub fn into_gradients(self, loss: &Var<T>, wrt: &[&Var<T>]) -> Vec<Tensor<T>> {
        self.into_gradient_sums(loss, wrt, Vec::new())
    }

    /// As [`into_gradients`](Self::into_gradients), added to what an earlier tape gave for the same
    /// variables in the same order: kernels that can, add where the sum is. No sums at all stand
    /// for zeros.
    ///
    /// # Panics
    /// Also if there are sums but not one for each variable, of its shape.
    #[track_caller]
    pub fn into_gradient_sums(
        self,
        loss: &Var<T>,
        wrt: &[&Var<T>],
        sums: Vec<Tensor<T>>,
    ) -> Vec<Tensor<T>> {
        let fits = |(sum, x): (&Tensor<T>, &&Var<T>)| sum.shape() == x.shape();
        assert!(
            sums.is_empty() || sums.len() == wrt.len() && sums.iter().zip(wrt).all(fits),
            "gradients: expected a sum of the shape of each variable"
        );
        let gradients = self.run(loss, wrt, Mode::Spend, sums);
        gradients.into_iter().map(Var::into_value).collect()
    }

    #[track_caller]
    fn id_of(&self, var: &Var<T>, what: &str) -> usize {
        match var.node() {
            Some((nodes, id)) if Rc::ptr_eq(nodes, &self.nodes) => id as usize,
            Some(_) => panic!("gradients: {what} belongs to another tape"),
            None => panic!("gradients: {what} is a constant, not recorded on this tape"),
        }
    }

    #[track_caller]
    fn run(&self, loss: &Var<T>, wrt: &[&Var<T>], mode: Mode, sums: Vec<Tensor<T>>) -> Vec<Var<T>> {
        assert!(
            loss.shape().elements() == 1,
            "gradients: expected a loss that is one number, found shape {}",
            loss.shape()
        );
        let mut scratch = self.nodes.take_scratch();
        let Scratch { ids, slots, .. } = &mut scratch;
        // Not in a closure: the caller is to blame if this panics.
        for x in wrt {
            ids.push(self.id_of(x, "a variable"));
        }
        // One for each variable, or none at all.
        let mut sums: Vec<_> = (sums.into_iter().map(Var::constant)).map(Some).collect();
        if loss.is_recorded() {
            let last = self.id_of(loss, "the loss");
            slots.resize_with(last + 1, || None);
            // What is added to the gradient of a leaf may begin its sum. The gradient of another
            // node is passed on, and that of one asked for twice belongs to both.
            for (i, sum) in sums.iter_mut().enumerate() {
                let id = ids[i];
                let others = [&ids[..i], &ids[i + 1..]];
                let once = others.iter().all(|others| !others.contains(&id));
                if id < last && once && self.nodes.parents(id as u32) == 0 {
                    slots[id] = sum.take();
                }
            }
            slots[last] = Some(Var::constant(Tensor::ones(*loss.shape())));
            self.backward(last, mode, &mut scratch);
        }
        let Scratch { ids, slots, .. } = &mut scratch;
        let gradients = (wrt.iter().enumerate())
            .map(|(i, x)| {
                // The gradient moves out, unless the same variable is asked for once more.
                let again = ids[i + 1..].contains(&ids[i]);
                let slot = slots.get_mut(ids[i]);
                let gradient = slot.and_then(|slot| if again { slot.clone() } else { slot.take() });
                match (sums.get_mut(i).and_then(Option::take), gradient) {
                    (Some(sum), Some(gradient)) => sum.accumulate(gradient),
                    (Some(gradient), None) | (None, Some(gradient)) => gradient,
                    (None, None) => Var::constant(Tensor::zeros(*x.shape())),
                }
            })
            .collect();
        self.nodes.put_scratch(scratch);
        gradients
    }

    /// The reverse loop, from node `last` to the first that is asked for.
    #[track_caller]
    fn backward(&self, last: usize, mode: Mode, scratch: &mut Scratch<T>) {
        let Scratch { ids, parts, slots } = scratch;
        let first = ids.iter().fold(last, |first, &id| first.min(id));
        parts.resize(last + 1, Part::None);
        for &id in ids.iter().filter(|&&id| id <= last) {
            parts[id] = Part::Wanted;
        }
        self.nodes.mark_dependents(first, parts);
        let shared = RefCell::new(std::mem::take(slots));
        for id in (first..=last).rev() {
            if parts[id] != Part::None {
                self.step(id, mode, parts, &shared);
            }
            if mode == Mode::Spend {
                self.nodes.spend(id);
            }
        }
        *slots = shared.into_inner();
    }

    /// Passes the gradient of node `id` on to its operands.
    #[track_caller]
    fn step(&self, id: usize, mode: Mode, parts: &[Part], slots: &Slots<T>) {
        let Some(op) = self.nodes.take_op(id) else {
            return;
        };
        // A gradient nobody asked for moves into its rule; the others stay in their slot.
        let gradient = match parts[id] {
            Part::Wanted => slots.borrow()[id].clone(),
            _ => slots.borrow_mut()[id].take(),
        };
        let Some(gradient) = gradient else {
            return self.nodes.put_op(id, op);
        };
        assert!(
            mode != Mode::Record || !op.first_order_only(),
            "gradients_recorded: {} has a derivative of first order only",
            op.name()
        );
        let vjp = Vjp::new(
            &*op,
            &self.nodes,
            id as u32,
            mode == Mode::Record,
            parts,
            slots,
        );
        op.vjp(&vjp, gradient);
        self.nodes.put_op(id, op);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_tape_takes_over_the_memory_and_finds_it_empty() {
        let memory = |tape: &Tape<f64>| {
            let lists = tape.nodes.0.borrow();
            (lists.nodes.as_ptr(), lists.parents.as_ptr())
        };
        let first = {
            let tape = Tape::new();
            let x = tape.var(Tensor::scalar(3.0));
            let y = &x * &x;
            assert_eq!(tape.gradients(&y, &[&x])[0].item(), 6.0);
            memory(&tape)
        };
        let tape = Tape::new();
        assert_eq!((memory(&tape), tape.len()), (first, 0));
        let scratch = &tape.nodes.0.borrow().scratch;
        assert!(scratch.ids.is_empty() && scratch.parts.is_empty() && scratch.slots.is_empty());
        assert!(scratch.slots.capacity() > 0);
    }
}
