//! The tape: a Wengert list and its one reverse loop.
//!
//! Nodes are appended as operations run, so their order is topological and the backward pass is
//! a loop from the last to the first: no recursion, no sort, no hash map. A node holds the ids of
//! its parents and the tensors its operation asked to save, never a handle on the tape, so a tape
//! and all it holds are freed with the last [`Var`] that points to it.

use crate::op::{Op, Vjp};
use crate::recycle::Recycled;
use crate::tensor::Kept;
use crate::{Shape, Tensor, Var};
use kernels::Element;
use std::cell::RefCell;
use std::rc::Rc;

/// One operand of a recorded operation.
pub(crate) struct Parent<T: Element> {
    /// Its node, if it is recorded.
    pub(crate) id: Option<u32>,
    /// Its shape, and its value if the operation asked for it.
    pub(crate) kept: Kept<T>,
}

/// One recorded operation, or a leaf (no operation). A spent node is a leaf, too.
struct Node<T: Element> {
    op: Option<Box<dyn Op<T>>>,
    /// Where its operands begin in the list of all operands, and how many they are.
    first_parent: u32,
    parents: u32,
    /// Its shape, and its value if the operation asked for it.
    output: Kept<T>,
}

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

/// The list itself, shared by a tape and its variables.
pub(crate) struct Nodes<T: Element>(RefCell<List<T>>);

struct List<T: Element> {
    nodes: Recycled<Node<T>>,
    /// The operands of all nodes, in the order of the nodes.
    parents: Recycled<Parent<T>>,
}

fn index(length: usize) -> u32 {
    u32::try_from(length).expect("a tape holds at most 2^32 nodes and operands")
}

impl<T: Element> Nodes<T> {
    /// Appends a node; its operands come from `parents`.
    pub(crate) fn push(
        &self,
        op: Option<Box<dyn Op<T>>>,
        parents: impl Iterator<Item = Parent<T>>,
        output: Kept<T>,
    ) -> u32 {
        let list = &mut *self.0.borrow_mut();
        let id = index(list.nodes.len());
        let first_parent = index(list.parents.len());
        list.parents.extend(parents);
        list.nodes.push(Node {
            op,
            first_parent,
            parents: index(list.parents.len()) - first_parent,
            output,
        });
        id
    }

    /// How many operands node `id` has.
    #[inline]
    pub(crate) fn parents(&self, id: u32) -> usize {
        self.0.borrow().nodes[id as usize].parents as usize
    }

    /// What `f` reads of operand `i` of node `id`.
    #[track_caller]
    #[inline]
    pub(crate) fn parent<R>(&self, id: u32, i: usize, f: impl FnOnce(&Parent<T>) -> R) -> R {
        let list = self.0.borrow();
        let node = &list.nodes[id as usize];
        assert!(
            i < node.parents as usize,
            "vjp: input {i} of {}",
            node.parents
        );
        f(&list.parents[node.first_parent as usize + i])
    }

    #[inline]
    pub(crate) fn shape(&self, id: u32) -> Shape {
        *self.0.borrow().nodes[id as usize].output.shape()
    }

    pub(crate) fn output(&self, id: u32) -> Option<Tensor<T>> {
        self.0.borrow().nodes[id as usize].output.tensor()
    }

    /// Takes a node's operation out of the list, because its rule may append to the list.
    fn take_op(&self, id: usize) -> Option<Box<dyn Op<T>>> {
        self.0.borrow_mut().nodes[id].op.take()
    }

    fn put_op(&self, id: usize, op: Box<dyn Op<T>>) {
        self.0.borrow_mut().nodes[id].op = Some(op);
    }

    /// Makes a node a leaf and frees all it saved.
    fn spend(&self, id: usize) {
        let list = &mut *self.0.borrow_mut();
        let node = &mut list.nodes[id];
        let first = node.first_parent as usize;
        for parent in &mut list.parents[first..first + node.parents as usize] {
            parent.kept.release();
        }
        node.op = None;
        node.output.release();
        node.parents = 0;
    }
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

/// Why a node takes part in a backward pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It depends on nothing that is asked for.
    None,
    /// Something that is asked for goes into it.
    Passes,
    /// It is asked for.
    Wanted,
}

impl<T: Element> Default for Tape<T> {
    fn default() -> Self {
        Tape::new()
    }
}

impl<T: Element> Tape<T> {
    /// An empty tape.
    pub fn new() -> Tape<T> {
        let list = List {
            nodes: Recycled::new(),
            parents: Recycled::new(),
        };
        Tape {
            nodes: Rc::new(Nodes(RefCell::new(list))),
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
        let mut ids = Recycled::new();
        for x in wrt {
            ids.push(self.id_of(x, "a variable"));
        }
        // One for each variable, or none at all.
        let mut sums: Vec<_> = (sums.into_iter().map(Var::constant)).map(Some).collect();
        // The gradient of each node, as far as it is known.
        let mut slots = Recycled::new();
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
            slots = self.backward(last, &ids, mode, slots);
        }
        (wrt.iter().enumerate())
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
            .collect()
    }

    /// The reverse loop, from node `last` to the first of `wanted`.
    #[track_caller]
    fn backward(
        &self,
        last: usize,
        wanted: &[usize],
        mode: Mode,
        slots: Recycled<Option<Var<T>>>,
    ) -> Recycled<Option<Var<T>>> {
        let first = wanted.iter().fold(last, |first, &id| first.min(id));
        let mut parts = Recycled::new();
        parts.resize(last + 1, Part::None);
        for &id in wanted.iter().filter(|&&id| id <= last) {
            parts[id] = Part::Wanted;
        }
        self.mark_dependents(first, &mut parts);
        let slots = RefCell::new(slots);
        for id in (first..=last).rev() {
            if parts[id] != Part::None {
                self.step(id, mode, &parts, &slots);
            }
            if mode == Mode::Spend {
                self.nodes.spend(id);
            }
        }
        slots.into_inner()
    }

    /// Passes the gradient of node `id` on to its operands.
    #[track_caller]
    fn step(&self, id: usize, mode: Mode, parts: &[Part], slots: &Slots<T>) {
        // A gradient nobody asked for moves into its rule; the others stay in their slot.
        let gradient = match parts[id] {
            Part::Wanted => slots.borrow()[id].clone(),
            _ => slots.borrow_mut()[id].take(),
        };
        let Some(gradient) = gradient else { return };
        let Some(op) = self.nodes.take_op(id) else {
            return;
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

    /// Marks which nodes from `first` on depend on a wanted one: only those need a gradient.
    fn mark_dependents(&self, first: usize, parts: &mut [Part]) {
        let list = self.nodes.0.borrow();
        for id in first..parts.len() {
            let node = &list.nodes[id];
            let from = node.first_parent as usize;
            let depends = (list.parents[from..from + node.parents as usize].iter())
                .any(|parent| parent.id.is_some_and(|id| parts[id as usize] != Part::None));
            if depends && parts[id] == Part::None {
                parts[id] = Part::Passes;
            }
        }
    }
}

/// The gradient of each node as far as it is known, while a backward pass runs.
pub(crate) type Slots<T> = RefCell<Recycled<Option<Var<T>>>>;
