//! Parameters: named tensors, apart from the models that use them.
//!
//! A model is plain immutable data that holds [`ParamId`]s. The values live here, are bound to a
//! tape for a step, updated in place by an optimiser and saved by name. A checkpoint, an average
//! or a gradient norm is then a loop over a list.

use crate::layers::Mode;
use crate::memory;
use crate::random::{self, Stream};
use grad::{Element, Shape, Tape, Tensor, Var};
use std::cell::RefCell;
use std::ops::Index;

/// Which parameter: its position in the [`Params`] it was added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(u32);

impl ParamId {
    /// The position.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    #[cfg(test)]
    pub(crate) fn nth(n: u32) -> ParamId {
        ParamId(n)
    }
}

/// One named tensor.
#[derive(Clone, Debug)]
pub struct Param<T: Element> {
    /// Dotted path: `encoder.0.weight`.
    pub name: String,
    /// The value.
    pub value: Tensor<T>,
    /// Whether optimisers change it. Running statistics of a batch norm are not.
    pub trainable: bool,
    /// Whether nothing but training reads it, as persistent chains: parameters that come from
    /// elsewhere are whole without it.
    pub training_only: bool,
}

/// Named tensors in the order they were added.
#[derive(Clone, Debug, Default)]
pub struct Params<T: Element> {
    list: Vec<Param<T>>,
    /// Numbers that a [`Builder`] may still make.
    left: Option<u64>,
    /// Numbers that it was asked for beyond.
    refused: u64,
}

impl<T: Element> Params<T> {
    /// No parameters.
    pub fn new() -> Params<T> {
        Params {
            list: Vec::new(),
            left: None,
            refused: 0,
        }
    }

    /// Adds a tensor.
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn add(&mut self, name: String, value: Tensor<T>, trainable: bool) -> ParamId {
        assert!(
            self.find(&name).is_none(),
            "params: the name {name} is taken"
        );
        self.list.push(Param {
            name,
            value,
            trainable,
            training_only: false,
        });
        ParamId(self.list.len() as u32 - 1)
    }

    /// The parameter of this name.
    pub fn find(&self, name: &str) -> Option<ParamId> {
        let position = self.list.iter().position(|param| param.name == name)?;
        Some(ParamId(position as u32))
    }

    /// All ids, in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = ParamId> + use<T> {
        (0..self.list.len() as u32).map(ParamId)
    }

    /// All parameters, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Param<T>> {
        self.list.iter()
    }

    /// All parameters, in order, for writing.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Param<T>> {
        self.list.iter_mut()
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The count of trainable numbers: what papers call the number of parameters.
    pub fn count(&self) -> usize {
        (self.list.iter().filter(|param| param.trainable))
            .map(|param| param.value.len())
            .sum()
    }

    /// How many numbers the model would have if the machine had the memory to train it; nothing if
    /// it has. Then the parameters at hand are not those of the model.
    pub fn refused(&self) -> Option<u64> {
        let made: usize = self.list.iter().map(|param| param.value.len()).sum();
        (self.refused > 0).then_some(self.refused + made as u64)
    }

    /// Whether a builder may make a tensor of this shape, and counts it.
    fn afford(&mut self, shape: &Shape) -> bool {
        let numbers = shape
            .iter()
            .fold(1u64, |product, &n| product.saturating_mul(n as u64));
        let left = self.left.and_then(|left| left.checked_sub(numbers));
        if self.left.is_some() && left.is_none() {
            self.refused = self.refused.saturating_add(numbers);
            return false;
        }
        self.left = left;
        true
    }

    /// One parameter, for writing.
    pub fn get_mut(&mut self, id: ParamId) -> &mut Param<T> {
        &mut self.list[id.index()]
    }

    /// Every parameter as a variable of `tape`, for training; those that are not trainable as
    /// constants.
    pub fn bind(&self, tape: &Tape<T>) -> Bound<T> {
        self.bind_where(tape, |_| true)
    }

    /// As [`bind`](Self::bind), with only the trainable parameters that `train` picks recorded.
    pub fn bind_where(&self, tape: &Tape<T>, train: impl Fn(&Param<T>) -> bool) -> Bound<T> {
        let bound = Bound::new(self.list.iter().map(|param| {
            if param.trainable && train(param) {
                tape.var(param.value.clone())
            } else {
                Var::constant(param.value.clone())
            }
        }));
        bound.in_mode(Mode::Train)
    }

    /// Every parameter as a constant, for evaluation and sampling.
    pub fn constants(&self) -> Bound<T> {
        Bound::new(
            self.list
                .iter()
                .map(|param| Var::constant(param.value.clone())),
        )
    }

    /// The same parameters in another precision.
    pub fn cast<U: Element>(&self) -> Params<U> {
        let list = self.list.iter().map(|param| Param {
            name: param.name.clone(),
            value: param.value.cast(),
            trainable: param.trainable,
            training_only: param.training_only,
        });
        Params {
            list: list.collect(),
            left: self.left,
            refused: self.refused,
        }
    }
}

impl<T: Element> Index<ParamId> for Params<T> {
    type Output = Param<T>;
    fn index(&self, id: ParamId) -> &Param<T> {
        &self.list[id.index()]
    }
}

/// Parameters bound for one evaluation: `p[self.weight]` is a [`Var`].
pub struct Bound<T: Element> {
    vars: Vec<Var<T>>,
    mode: Mode,
    updates: RefCell<Vec<(ParamId, Update<T>)>>,
}

/// A new value for a state: a parameter that is not trained but follows what happens in training.
///
/// Where a batch is spread over lanes, each lane leaves its own, and the engine makes one of them
/// in the order of the lanes, so the result does not depend on the threads.
#[derive(Clone, Debug)]
pub enum Update<T: Element> {
    /// A value that describes the lane's images: the state becomes the mean over the lanes, each
    /// counted by its images. For running statistics.
    Mean(Tensor<T>),
    /// Rows of the state, from this one on, that belong to the lane alone
    /// ([`Step::rows`](crate::model::Step::rows)): the others stay. For persistent chains.
    Rows(usize, Tensor<T>),
}

impl<T: Element> Update<T> {
    /// The state `old` after this update, as one lane sees it.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn apply(&self, old: &Tensor<T>) -> Tensor<T> {
        match self {
            Update::Mean(value) => {
                assert_eq!(value.shape(), old.shape(), "update: the shape of a state");
                value.clone()
            }
            Update::Rows(first, rows) => {
                let width = old.len() / old.shape()[0].max(1);
                let range = first * width..first * width + rows.len();
                assert!(
                    range.end <= old.len() && rows.shape()[1..] == old.shape()[1..],
                    "update: rows {} from {first} on do not fit a state of shape {}",
                    rows.shape(),
                    old.shape()
                );
                let mut new = old.clone();
                new.make_mut()[range].copy_from_slice(rows.data());
                new
            }
        }
    }
}

impl<T: Element> Bound<T> {
    fn new(vars: impl Iterator<Item = Var<T>>) -> Bound<T> {
        Bound {
            vars: vars.collect(),
            mode: Mode::Evaluate,
            updates: RefCell::default(),
        }
    }

    /// The same for training or for evaluation.
    pub fn in_mode(self, mode: Mode) -> Bound<T> {
        Bound { mode, ..self }
    }

    /// What the parameters are bound for. Dropout, batch norm and the order of sums follow it.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Parameters bound to variables made elsewhere: one for each, in order. A gradient check
    /// differentiates with respect to such variables.
    pub fn from_vars(vars: impl IntoIterator<Item = Var<T>>) -> Bound<T> {
        Bound::new(vars.into_iter())
    }

    /// The values of all parameters, in order: what [`from_vars`](Self::from_vars) takes on another
    /// thread, where a tape's variables cannot go.
    pub fn values(&self) -> Vec<Tensor<T>> {
        self.vars.iter().map(|var| var.value().clone()).collect()
    }

    /// The recorded parameters: those a gradient can be taken of.
    pub fn recorded(&self) -> impl Iterator<Item = (ParamId, &Var<T>)> {
        (0..)
            .map(ParamId)
            .zip(&self.vars)
            .filter(|(_, var)| var.is_recorded())
    }

    /// Leaves a new value for a state that describes the images (running statistics); the engine
    /// takes it over after the step, as the mean over the lanes ([`Update::Mean`]).
    pub fn update(&self, id: ParamId, value: Tensor<T>) {
        self.updates.borrow_mut().push((id, Update::Mean(value)));
    }

    /// Leaves new values for the rows of a state from `first` on, `[rows, ..]`, which no other
    /// lane of the step changes ([`Update::Rows`]): chains that go on from step to step.
    pub fn update_rows(&self, id: ParamId, first: usize, rows: Tensor<T>) {
        let update = Update::Rows(first, rows);
        self.updates.borrow_mut().push((id, update));
    }

    /// The newest value of a state: the bound one with what was left since.
    pub fn latest(&self, id: ParamId) -> Tensor<T> {
        let updates = self.updates.borrow();
        let left = updates.iter().filter(|(updated, _)| *updated == id);
        left.fold(self[id].value().clone(), |value, (_, update)| {
            update.apply(&value)
        })
    }

    /// What was left for states, oldest first.
    pub fn take_updates(&self) -> Vec<(ParamId, Update<T>)> {
        self.updates.take()
    }
}

impl<T: Element> Index<ParamId> for Bound<T> {
    type Output = Var<T>;
    fn index(&self, id: ParamId) -> &Var<T> {
        &self.vars[id.index()]
    }
}

/// Adds parameters under a path, each initialised from its own stream (seed, name), so adding a
/// layer does not change how the others begin.
///
/// It makes no more numbers than the machine's free memory bears in training: value, gradient and
/// two moments. Beyond that it counts and makes nothing ([`Params::refused`]).
pub struct Builder<'a> {
    params: &'a mut Params<f32>,
    seed: u64,
    path: String,
}

/// Bytes for each number in training: value, gradient and two moments.
const BYTES: u64 = 16;

impl<'a> Builder<'a> {
    /// A builder at the root.
    pub fn new(params: &'a mut Params<f32>, seed: u64) -> Builder<'a> {
        let made: usize = params.iter().map(|param| param.value.len()).sum();
        let most = memory::available().unwrap_or(u64::MAX) / BYTES;
        params.left = Some(most.saturating_sub(made as u64));
        Builder {
            params,
            seed,
            path: String::new(),
        }
    }

    /// A builder one level below: names get `name.` in front.
    pub fn scope(&mut self, name: impl std::fmt::Display) -> Builder<'_> {
        Builder {
            path: format!("{}{name}.", self.path),
            seed: self.seed,
            params: self.params,
        }
    }

    /// A trained tensor with values from `init`.
    pub fn param(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        init: impl FnOnce(Shape, &mut Stream) -> Tensor<f32>,
    ) -> ParamId {
        let name = format!("{}{name}", self.path);
        let shape = shape.into();
        if !self.params.afford(&shape) {
            return self.params.add(name, Tensor::zeros([0]), true);
        }
        let mut stream = random::stream(&[self.seed, random::word(&name)]);
        let value = init(shape, &mut stream);
        self.params.add(name, value, true)
    }

    /// A state that nothing but training reads: persistent chains. Who imports parameters from
    /// elsewhere need not have it.
    pub fn training_state(&mut self, name: &str, value: Tensor<f32>) -> ParamId {
        let id = self.state(name, value);
        self.params.get_mut(id).training_only = true;
        id
    }

    /// A tensor that is saved with the others but not trained: running statistics.
    pub fn state(&mut self, name: &str, value: Tensor<f32>) -> ParamId {
        self.params
            .add(format!("{}{name}", self.path), value, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_and_values_depend_on_them_alone() {
        let build = |extra: bool| {
            let mut params = Params::new();
            let mut root = Builder::new(&mut params, 3);
            if extra {
                root.param("first", [2], random::normal_tensor);
            }
            let mut encoder = root.scope("encoder");
            encoder
                .scope(0)
                .param("weight", [2, 2], random::normal_tensor);
            params
        };
        let (a, b) = (build(false), build(true));
        let id = |p: &Params<f32>| p.find("encoder.0.weight").unwrap();
        assert_eq!(a[id(&a)].value, b[id(&b)].value);
    }

    #[test]
    fn no_more_is_made_than_the_machine_bears() {
        let mut params = Params::new();
        let mut root = Builder::new(&mut params, 3);
        root.param("small", [2, 2], random::normal_tensor);
        let many = 1 << 30;
        if memory::available().is_none() {
            return;
        }
        root.scope("deep")
            .param("large", [many, many], random::normal_tensor);
        assert_eq!(params.refused(), Some((1 << 60) + 4));
    }

    #[test]
    fn only_trainable_parameters_are_recorded() {
        let mut params = Params::<f32>::new();
        let weight = params.add("weight".into(), Tensor::ones([2]), true);
        params.add("mean".into(), Tensor::zeros([2]), false);
        let tape = Tape::new();
        let bound = params.bind(&tape);
        assert_eq!(
            bound.recorded().map(|(id, _)| id).collect::<Vec<_>>(),
            [weight]
        );
        assert_eq!(params.count(), 2);
        assert!(params.constants().recorded().next().is_none());
    }
}
