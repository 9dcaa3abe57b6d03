//! Lists whose memory outlives them: a training step needs the same ones as the step before.

use std::any::Any;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Longer lists are given back to the system.
const KEPT_BYTES: usize = 4 << 20;
/// How many spare lists of one type a thread keeps.
const KEPT_LISTS: usize = 8;

thread_local! {
    /// For each element type E a `Vec<Vec<E>>` of empty lists.
    static SPARE: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// A `Vec` that takes over the memory of an earlier one of this thread.
pub(crate) struct Recycled<E: 'static>(Vec<E>);

impl<E: 'static> Recycled<E> {
    /// An empty list.
    pub(crate) fn new() -> Recycled<E> {
        let spare = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            spare
                .iter_mut()
                .find_map(|lists| lists.downcast_mut::<Vec<Vec<E>>>()?.pop())
        });
        Recycled(spare.ok().flatten().unwrap_or_default())
    }
}

impl<E: 'static> Drop for Recycled<E> {
    fn drop(&mut self) {
        // Before the spare lists are borrowed: dropping an element may drop another list.
        self.0.clear();
        let list = std::mem::take(&mut self.0);
        if list.capacity() == 0 || list.capacity() * size_of::<E>() > KEPT_BYTES {
            return;
        }
        // A thread that is ending has no spare lists any more.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            let found = spare
                .iter_mut()
                .find_map(|lists| lists.downcast_mut::<Vec<Vec<E>>>());
            match found {
                Some(lists) if lists.len() < KEPT_LISTS => lists.push(list),
                Some(_) => {}
                None => spare.push(Box::new(vec![list])),
            }
        });
    }
}

impl<E> Deref for Recycled<E> {
    type Target = Vec<E>;
    fn deref(&self) -> &Vec<E> {
        &self.0
    }
}

impl<E> DerefMut for Recycled<E> {
    fn deref_mut(&mut self) -> &mut Vec<E> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_empty() {
        struct Nested(#[allow(dead_code)] Option<Box<Recycled<Nested>>>);
        let mut list = Recycled::new();
        list.push(Nested(Some(Box::new(Recycled::new()))));
        list.reserve(100);
        let (address, capacity) = (list.as_ptr(), list.capacity());
        drop(list);
        let again = Recycled::<Nested>::new();
        assert!(again.is_empty());
        assert_eq!((again.as_ptr(), again.capacity()), (address, capacity));
    }
}
