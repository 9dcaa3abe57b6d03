//! Variables: a value and, when it is recorded, its place on a tape.

use crate::nodes::{Nodes, Parent};
use crate::op::Op;
use crate::tensor::Kept;
use crate::{Shape, Tensor};
use kernels::{Binary, Element, elementwise};
use std::fmt;
use std::rc::Rc;

/// A tensor that remembers how it came about, if anyone may ask for its derivative.
///
/// Cloning is cheap. What is computed from constants alone is a constant and leaves no trace.
#[derive(Clone)]
pub struct Var<T: Element> {
    value: Tensor<T>,
    node: Option<(Rc<Nodes<T>>, u32)>,
}

impl<T: Element> Var<T> {
    /// A value nobody differentiates with respect to.
    #[inline]
    pub fn constant(value: Tensor<T>) -> Var<T> {
        Var { value, node: None }
    }

    #[inline]
    pub(crate) fn on_tape(value: Tensor<T>, nodes: Rc<Nodes<T>>, id: u32) -> Var<T> {
        Var {
            value,
            node: Some((nodes, id)),
        }
    }

    #[inline]
    pub(crate) fn node(&self) -> Option<(&Rc<Nodes<T>>, u32)> {
        self.node.as_ref().map(|(nodes, id)| (nodes, *id))
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> &Tensor<T> {
        &self.value
    }

    /// The value, without its history.
    #[inline]
    pub fn into_value(self) -> Tensor<T> {
        self.value
    }

    /// The same value as a constant: gradients stop here.
    pub fn detach(&self) -> Var<T> {
        Var::constant(self.value.clone())
    }

    /// Whether it is recorded on a tape.
    #[inline]
    pub fn is_recorded(&self) -> bool {
        self.node.is_some()
    }

    /// The shape.
    #[inline]
    pub fn shape(&self) -> &Shape {
        self.value.shape()
    }

    /// The number of a variable that holds just one.
    ///
    /// # Panics
    /// If it holds more or fewer.
    #[track_caller]
    pub fn item(&self) -> T {
        self.value.item()
    }

    /// Applies an operation: runs its forward rule and, if an input is recorded, records it.
    ///
    /// # Panics
    /// If the inputs belong to different tapes, or the operation refuses their shapes.
    #[track_caller]
    pub fn apply(op: impl Op<T>, inputs: &[&Var<T>]) -> Var<T> {
        let value = match inputs {
            [x] => op.forward(&[&x.value]),
            [x, y] => op.forward(&[&x.value, &y.value]),
            [x, y, z] => op.forward(&[&x.value, &y.value, &z.value]),
            _ => op.forward(&inputs.iter().map(|x| &x.value).collect::<Vec<_>>()),
        };
        let Some(nodes) = inputs
            .iter()
            .find_map(|x| x.node.as_ref().map(|(nodes, _)| nodes))
        else {
            return Var::constant(value);
        };
        let saves = op.saves();
        let tapes_match = (inputs.iter())
            .filter_map(|x| x.node.as_ref())
            .all(|(other, _)| Rc::ptr_eq(nodes, other));
        assert!(
            tapes_match,
            "{}: the inputs belong to different tapes",
            op.name()
        );
        let parents = inputs.iter().enumerate().map(|(i, x)| Parent {
            id: x.node.as_ref().map(|(_, id)| *id),
            kept: Kept::of(&x.value, saves.inputs >> i.min(31) & 1 == 1),
        });
        let output = Kept::of(&value, saves.output);
        let id = nodes.push(Some(Box::new(op)), parents, output);
        Var::on_tape(value, nodes.clone(), id)
    }

    /// The numbers, for writing, if nobody else holds them and no tape knows them.
    pub(crate) fn get_mut(&mut self) -> Option<&mut [T]> {
        match self.node {
            None => self.value.get_mut(),
            Some(_) => None,
        }
    }

    /// self + other of one shape, into the memory of whichever nobody else holds, if nothing is
    /// recorded.
    pub(crate) fn accumulate(mut self, mut other: Var<T>) -> Var<T> {
        if self.is_recorded() || other.is_recorded() {
            return &self + &other;
        }
        if let Some(sum) = self.value.get_mut() {
            elementwise::add_assign(sum, other.value.data());
            return self;
        }
        if let Some(sum) = other.value.get_mut() {
            elementwise::add_assign(sum, self.value.data());
            return other;
        }
        Var::constant(Tensor::build(*self.shape(), |out| {
            elementwise::binary(Binary::Add, self.value.data(), other.value.data(), out)
        }))
    }
}

impl<T: Element> fmt::Debug for Var<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some((_, id)) => write!(f, "Var({:?}, node {id})", self.value),
            None => write!(f, "Var({:?}, constant)", self.value),
        }
    }
}
