//! What a tape is made of: a list of operations, and of their operands.

use crate::op::Op;
use crate::spare::with_spare;
use crate::tensor::Kept;
use crate::{Shape, Tensor, Var};
use kernels::Element;
use std::cell::RefCell;

/// One operand of a recorded operation.
pub(crate) struct Parent<T: Element> {
    /// Its node, if it is recorded.
    pub(crate) id: Option<u32>,
    /// Its shape, and its value if the operation asked for it.
    pub(crate) kept: Kept<T>,
}

/// One recorded operation, or a leaf (no operation). A spent node is a leaf, too.
pub(crate) struct Node<T: Element> {
    op: Option<Box<dyn Op<T>>>,
    /// Where its operands begin in the list of all operands, and how many they are.
    first_parent: u32,
    parents: u32,
    /// Its shape, and its value if the operation asked for it.
    output: Kept<T>,
}

/// The list itself, shared by a tape and its variables.
pub(crate) struct Nodes<T: Element>(pub(crate) RefCell<Lists<T>>);

/// What a tape is made of. A later tape of the thread takes over the memory.
pub(crate) struct Lists<T: Element> {
    pub(crate) nodes: Vec<Node<T>>,
    /// The operands of all nodes, in the order of the nodes.
    pub(crate) parents: Vec<Parent<T>>,
    pub(crate) scratch: Scratch<T>,
}

/// What a backward pass needs; empty otherwise.
pub(crate) struct Scratch<T: Element> {
    /// The node of each variable that is asked for.
    pub(crate) ids: Vec<usize>,
    pub(crate) parts: Vec<Part>,
    /// The gradient of each node, as far as it is known.
    pub(crate) slots: Vec<Option<Var<T>>>,
}

/// Longer lists are given back to the system.
const KEPT_NODES: usize = 1 << 15;
/// How many spare lists a thread keeps.
const KEPT_LISTS: usize = 8;

impl<T: Element> Lists<T> {
    pub(crate) fn new() -> Lists<T> {
        let spare = with_spare(|spare| spare.lists.pop()).flatten();
        spare.unwrap_or_else(|| Lists {
            nodes: Vec::new(),
            parents: Vec::new(),
            scratch: Scratch::new(),
        })
    }
}

impl<T: Element> Scratch<T> {
    const fn new() -> Scratch<T> {
        Scratch {
            ids: Vec::new(),
            parts: Vec::new(),
            slots: Vec::new(),
        }
    }
}

impl<T: Element> Drop for Nodes<T> {
    fn drop(&mut self) {
        let Lists {
            nodes,
            parents,
            scratch,
        } = self.0.get_mut();
        // Before the spare lists are borrowed: tensors go back there, too.
        nodes.clear();
        parents.clear();
        if nodes.capacity() > KEPT_NODES || parents.capacity() > 2 * KEPT_NODES {
            return;
        }
        let lists = Lists {
            nodes: std::mem::take(nodes),
            parents: std::mem::take(parents),
            scratch: std::mem::replace(scratch, Scratch::new()),
        };
        with_spare(|spare| {
            if spare.lists.len() < KEPT_LISTS {
                spare.lists.push(lists);
            }
        });
    }
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
    pub(crate) fn take_op(&self, id: usize) -> Option<Box<dyn Op<T>>> {
        self.0.borrow_mut().nodes[id].op.take()
    }

    pub(crate) fn put_op(&self, id: usize, op: Box<dyn Op<T>>) {
        self.0.borrow_mut().nodes[id].op = Some(op);
    }

    /// Makes a node a leaf and frees all it saved.
    pub(crate) fn spend(&self, id: usize) {
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

    /// What the last backward pass left.
    pub(crate) fn take_scratch(&self) -> Scratch<T> {
        std::mem::replace(&mut self.0.borrow_mut().scratch, Scratch::new())
    }

    /// Empties it for the next one.
    pub(crate) fn put_scratch(&self, mut scratch: Scratch<T>) {
        scratch.ids.clear();
        scratch.parts.clear();
        scratch.slots.clear();
        self.0.borrow_mut().scratch = scratch;
    }

    /// Marks which nodes from `first` on depend on a wanted one: only those need a gradient.
    pub(crate) fn mark_dependents(&self, first: usize, parts: &mut [Part]) {
        let list = self.0.borrow();
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

/// The gradient of each node as far as it is known, while a backward pass runs.
pub(crate) type Slots<T> = RefCell<Vec<Option<Var<T>>>>;
