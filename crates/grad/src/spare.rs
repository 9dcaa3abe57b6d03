//! What one training step leaves for the next: memory of small tensors and the lists of tapes. Each
//! thread has its own, so nobody waits.

use crate::memory::Shelves;
use crate::nodes::Lists;
use kernels::Element;
use std::any::{Any, TypeId};
use std::cell::RefCell;

/// For one number type.
pub(crate) struct Spare<T: Element> {
    pub(crate) shelves: Shelves<T>,
    /// Empty ones.
    pub(crate) lists: Vec<Lists<T>>,
}

impl<T: Element> Spare<T> {
    const NOTHING: Spare<T> = Spare {
        shelves: Shelves::EMPTY,
        lists: Vec::new(),
    };
}

thread_local! {
    static OF_F32: RefCell<Spare<f32>> = const { RefCell::new(Spare::NOTHING) };
    static OF_F64: RefCell<Spare<f64>> = const { RefCell::new(Spare::NOTHING) };
}

/// What `f` does with what is left on this thread; nothing if the thread is ending. `f` drops no
/// tensor: that would come back here.
#[inline]
pub(crate) fn with_spare<T: Element, R>(f: impl FnOnce(&mut Spare<T>) -> R) -> Option<R> {
    // Which of the two is T's is known when this is compiled, and the other one left out.
    fn own<T: Element>(spare: &dyn Any) -> Option<&RefCell<Spare<T>>> {
        spare.downcast_ref()
    }
    if TypeId::of::<T>() == TypeId::of::<f32>() {
        OF_F32.try_with(|spare| own::<T>(spare).map(|spare| f(&mut spare.borrow_mut())))
    } else {
        OF_F64.try_with(|spare| own::<T>(spare).map(|spare| f(&mut spare.borrow_mut())))
    }
    .ok()
    .flatten()
}
