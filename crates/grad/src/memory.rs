//! What tensors hold: numbers, and what kernels have made of them. The memory of small ones goes
//! around as a whole, since a kernel on a few numbers takes no longer than it does to allocate
//! their room.

use crate::spare::with_spare;
use kernels::Element;
use kernels::buffer::Buffer;
use kernels::conv::Arranged;
use triomphe::{Arc, UniqueArc};

/// Numbers, and what kernels have made of them for the next call.
pub(crate) struct Memory<T: Element> {
    pub(crate) numbers: Buffer<T>,
    pub(crate) arranged: Arranged<T>,
}

impl<T: Element> Memory<T> {
    #[inline]
    pub(crate) fn new(numbers: Buffer<T>) -> Memory<T> {
        let arranged = Arranged::new();
        Memory { numbers, arranged }
    }

    /// For writing.
    #[inline]
    pub(crate) fn numbers_mut(&mut self) -> &mut [T] {
        self.arranged.clear();
        &mut self.numbers
    }

    /// `len` numbers that `write` puts down; what it does not write is arbitrary.
    #[inline]
    pub(crate) fn build(len: usize, write: impl FnOnce(&mut [T])) -> Arc<Memory<T>> {
        let shelf = shelf_of(len);
        if let Some(shelf) = shelf
            && let Some(mut own) = with_spare(|spare| spare.shelves.0[shelf].pop()).flatten()
        {
            own.numbers.resize(len);
            write(own.numbers_mut());
            return own.shareable();
        }
        let mut numbers = Buffer::recycled(shelf.map_or(len, room_of));
        numbers.resize(len);
        write(&mut numbers);
        Arc::new(Memory::new(numbers))
    }

    /// Takes back memory, to be used by [`build`](Self::build) if it is small, nobody else holds it
    /// and there is not enough of it.
    #[inline]
    pub(crate) fn recycle(memory: Arc<Memory<T>>) {
        let Ok(own) = Arc::try_unique(memory) else {
            return;
        };
        if let Some(shelf) = shelf_of(own.numbers.len())
            && own.numbers.room() >= room_of(shelf)
        {
            with_spare(|spare| {
                let shelf = &mut spare.shelves.0[shelf];
                if shelf.len() < KEPT {
                    shelf.push(own);
                }
            });
        }
    }
}

impl<T: Element> Clone for Memory<T> {
    fn clone(&self) -> Memory<T> {
        Memory::new(self.numbers.clone())
    }
}

/// There is no shelf for more than the last one holds.
const SHELVES: usize = 8;
/// How much of a size a thread keeps.
const KEPT: usize = 32;

/// For how many numbers there is room in what lies on a shelf.
#[inline]
fn room_of(shelf: usize) -> usize {
    16 << shelf
}

/// Where memory for so many numbers lies.
#[inline]
fn shelf_of(len: usize) -> Option<usize> {
    let sixteens = len.div_ceil(16);
    let shelf = sixteens.next_power_of_two().trailing_zeros() as usize;
    (len > 0 && shelf < SHELVES).then_some(shelf)
}

/// Memory that nobody holds, by its size.
pub(crate) struct Shelves<T: Element>([Vec<UniqueArc<Memory<T>>>; SHELVES]);

impl<T: Element> Shelves<T> {
    pub(crate) const EMPTY: Shelves<T> = Shelves([const { Vec::new() }; SHELVES]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spare::Spare;

    #[test]
    fn small_memory_comes_back() {
        let memory = Memory::<f32>::build(100, |_| ());
        let address = memory.numbers.as_ptr();
        let other = memory.clone();
        Memory::recycle(memory);
        // It has two holders.
        assert_ne!(Memory::<f32>::build(100, |_| ()).numbers.as_ptr(), address);
        Memory::recycle(other);
        // As long as is asked for, on the same shelf.
        let again = Memory::<f32>::build(70, |_| ());
        assert_eq!((again.numbers.as_ptr(), again.numbers.len()), (address, 70));
        assert!(Memory::<f64>::build(100, |_| ()).numbers.as_ptr().addr() != address.addr());
    }

    #[test]
    fn shelves_hold_what_belongs_on_them() {
        let shelves = [0, 1, 16, 17, 32, 33, 2048, 2049, usize::MAX].map(shelf_of);
        let expected = [
            None,
            Some(0),
            Some(0),
            Some(1),
            Some(1),
            Some(2),
            Some(7),
            None,
            None,
        ];
        assert_eq!(shelves, expected);
    }

    #[test]
    fn no_more_is_kept_than_a_shelf_holds() {
        let many: Vec<_> = (0..2 * KEPT)
            .map(|_| Memory::<f64>::build(9, |_| ()))
            .collect();
        many.into_iter().for_each(Memory::recycle);
        let kept = with_spare(|spare: &mut Spare<f64>| spare.shelves.0[0].len());
        assert_eq!(kept, Some(KEPT));
    }
}
