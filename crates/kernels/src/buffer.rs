//! Pooled, 64-byte aligned buffers: where every tensor's numbers live.
//!
//! A training step frees exactly what the next one needs. Dropping a [`Buffer`] therefore puts
//! its memory on a shelf for its size class, and asking for one takes it from there: after a
//! warm-up step nothing tensor-sized is allocated any more.
//!
//! 1. Memory is zeroed once, when it is first allocated. A recycled buffer holds stale but
//!    initialised numbers, so handing it out as a slice is sound without clearing it.
//! 2. Each thread has its own small shelf, so lanes do not contend; what does not fit there goes
//!    to a shelf all threads share, so a buffer made by one lane and freed by another is found
//!    again.
//! 3. Sizes are rounded up to one of four classes per power of two: at most a quarter is wasted.
//! 4. Large blocks are cut from slabs of memory on huge pages.

mod slab;

use slab::Slab;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, LazyLock, Mutex};

const ALIGN: usize = 64;
/// What one thread keeps for itself before it gives to the shared shelf.
const THREAD_BYTES: usize = 32 << 20;

/// Plain numbers: any bit pattern that was once written is valid.
pub trait Plain: Copy + Send + Sync + 'static {}
impl Plain for f32 {}
impl Plain for f64 {}
impl Plain for u8 {}
impl Plain for u32 {}

/// A fixed-length, 64-byte aligned slice of numbers whose memory is recycled.
pub struct Buffer<T: Plain> {
    block: Block,
    len: usize,
    marker: std::marker::PhantomData<T>,
}

/// Zero-initialised-once memory of `class_bytes(..)` bytes, or nothing at all.
struct Block {
    ptr: NonNull<u8>,
    bytes: usize,
    /// What it was cut from; else it came from the allocator.
    slab: Option<Arc<Slab>>,
}

// SAFETY: a block is plain memory owned by one holder; nothing about it is tied to a thread.
unsafe impl Send for Block {}
// SAFETY: a shared block is only read, through the `Buffer` that owns it.
unsafe impl Sync for Block {}

impl Block {
    const EMPTY: Block = Block {
        ptr: NonNull::<u64>::dangling().cast(),
        bytes: 0,
        slab: None,
    };

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, ALIGN).expect("a buffer's size fits the address space")
    }

    fn allocate(bytes: usize) -> Block {
        if let Some((ptr, slab)) = slab::cut(bytes) {
            let slab = Some(slab);
            return Block { ptr, bytes, slab };
        }
        let layout = Block::layout(bytes);
        // SAFETY: `bytes` is not zero: `Buffer::recycled` hands out `EMPTY` for that.
        let ptr = unsafe { alloc_zeroed(layout) };
        match NonNull::new(ptr) {
            Some(ptr) => Block {
                ptr,
                bytes,
                slab: None,
            },
            None => handle_alloc_error(layout),
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.bytes != 0 && self.slab.is_none() {
            // SAFETY: `ptr` came from `allocate` with this very layout and is freed once.
            unsafe { dealloc(self.ptr.as_ptr(), Block::layout(self.bytes)) }
        }
    }
}

/// The size class of `bytes`: multiples of 64 up to 256, then four for each power of two.
#[inline]
fn class_of(bytes: usize) -> usize {
    if bytes <= 256 {
        return bytes.div_ceil(ALIGN);
    }
    let exponent = (bytes - 1).ilog2() as usize;
    let quarters = (bytes - 1) >> (exponent - 2);
    4 * (exponent - 8) + quarters + 1
}

/// Rounds up to the largest size of its class.
fn class_bytes(bytes: usize) -> usize {
    if bytes <= 256 {
        return bytes.next_multiple_of(ALIGN);
    }
    let quarter = 1 << ((bytes - 1).ilog2() - 2);
    bytes.next_multiple_of(quarter)
}

/// Blocks by class, and how many bytes lie here in all.
#[derive(Default)]
struct Shelf {
    classes: Vec<Vec<Block>>,
    bytes: usize,
}

impl Shelf {
    #[inline]
    fn take(&mut self, class: usize) -> Option<Block> {
        let block = self.classes.get_mut(class)?.pop()?;
        self.bytes -= block.bytes;
        Some(block)
    }

    #[inline]
    fn put(&mut self, block: Block) {
        let class = class_of(block.bytes);
        if class >= self.classes.len() {
            self.classes.resize_with(class + 1, Vec::new);
        }
        self.bytes += block.bytes;
        self.classes[class].push(block);
    }
}

thread_local! {
    static THREAD: RefCell<Shelf> = RefCell::default();
}
static SHARED: LazyLock<Mutex<Shelf>> = LazyLock::new(Mutex::default);

fn shared() -> std::sync::MutexGuard<'static, Shelf> {
    // A panic while the lock is held leaves the shelf usable: every step of `take` and `put`
    // leaves it consistent, at worst with `bytes` off by one block.
    SHARED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// How many large blocks of memory this thread, and how many any thread, has taken from the system,
/// past its allocator, because no freed one would do. They stay as they are once a program is
/// warm.
pub fn large_blocks() -> (usize, usize) {
    slab::cuts()
}

/// Gives all memory that lies on the shared shelf and on this thread's back to the system, large
/// blocks when no other block of their slab of 16 MiB is in use.
pub fn release_unused() {
    drop(THREAD.try_with(RefCell::take));
    drop(std::mem::take(&mut *shared()));
}

impl<T: Plain> Buffer<T> {
    /// `len` numbers of arbitrary (stale) value, for a kernel that writes all of them.
    pub fn recycled(len: usize) -> Buffer<T> {
        let bytes = len.checked_mul(size_of::<T>()).expect("a buffer's size");
        let class = class_of(bytes);
        let block = if class == 0 {
            Block::EMPTY
        } else {
            THREAD
                .try_with(|shelf| shelf.borrow_mut().take(class))
                .ok()
                .flatten()
                .or_else(|| shared().take(class))
                .unwrap_or_else(|| Block::allocate(class_bytes(bytes)))
        };
        Buffer {
            block,
            len,
            marker: std::marker::PhantomData,
        }
    }

    /// How many numbers its memory has room for.
    #[inline]
    pub fn room(&self) -> usize {
        self.block.bytes / size_of::<T>()
    }

    /// Makes it hold `len` numbers; any that are new are of arbitrary value.
    ///
    /// # Panics
    /// If there is no [`room`](Self::room) for them.
    #[track_caller]
    #[inline]
    pub fn resize(&mut self, len: usize) {
        // All of a block is initialised when it is allocated.
        assert!(len <= self.room(), "buffer: no room for {len} numbers");
        self.len = len;
    }

    /// `len` copies of `value`.
    pub fn filled(len: usize, value: T) -> Buffer<T> {
        let mut buffer = Buffer::recycled(len);
        buffer.fill(value);
        buffer
    }

    /// A copy of `values`.
    pub fn from_slice(values: &[T]) -> Buffer<T> {
        let mut buffer = Buffer::recycled(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        let block = std::mem::replace(&mut self.block, Block::EMPTY);
        if block.bytes == 0 {
            return;
        }
        // A thread that is ending has no shelf any more: then the shared one takes it.
        let here = THREAD.try_with(|shelf| shelf.borrow().bytes + block.bytes <= THREAD_BYTES);
        if here.unwrap_or(false) {
            THREAD.with(|shelf| shelf.borrow_mut().put(block));
        } else {
            shared().put(block);
        }
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the block holds at least `len` values of T, aligned to 64 bytes and initialised
        // when it was allocated; `EMPTY` comes with `len == 0` and an aligned dangling pointer.
        unsafe { std::slice::from_raw_parts(self.block.ptr.as_ptr().cast(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes the access unique.
        unsafe { std::slice::from_raw_parts_mut(self.block.ptr.as_ptr().cast(), self.len) }
    }
}

impl<T: Plain> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Buffer::from_slice(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_a_quarter() {
        for bytes in 1..100_000 {
            let class = class_bytes(bytes);
            assert!(class >= bytes && class.is_multiple_of(ALIGN));
            // Sizes share a class if and only if they are rounded to the same size.
            let next = class_bytes(bytes + 1) == class;
            assert_eq!(
                class_of(bytes + 1),
                class_of(bytes) + usize::from(!next),
                "{bytes}"
            );
            assert!(
                bytes < 256 || class <= bytes + bytes / 4,
                "{bytes} -> {class}"
            );
        }
        assert_eq!(class_bytes(0), 0);
    }

    #[test]
    fn freed_memory_comes_back() {
        let buffer = Buffer::filled(1000, 3.0f32);
        let address = buffer.as_ptr();
        drop(buffer);
        let again = Buffer::<f32>::recycled(999);
        assert_eq!(again.as_ptr(), address);
        assert_eq!(again.as_ptr() as usize % ALIGN, 0);
    }

    #[test]
    fn empty_buffers_own_nothing() {
        assert!(Buffer::<f32>::filled(0, 1.0).is_empty());
    }
}
