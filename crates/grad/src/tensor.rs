//! Tensors: immutable, contiguous, row-major, reference-counted.

use crate::Shape;
use crate::memory::Memory;
use kernels::Element;
use kernels::buffer::Buffer;
use kernels::conv::Weights;
use std::fmt;
use triomphe::Arc;

/// Numbers of type `T` in a shape. Cloning shares the memory; nothing writes to shared memory.
#[derive(Clone)]
pub struct Tensor<T: Element> {
    shape: Shape,
    /// There until the tensor is dropped, but for [`Kept`].
    data: Option<Arc<Memory<T>>>,
}

impl<T: Element> Drop for Tensor<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(memory) = self.data.take() {
            Memory::recycle(memory);
        }
    }
}

impl<T: Element> Tensor<T> {
    /// A tensor that takes over a buffer.
    ///
    /// # Panics
    /// If the buffer does not hold as many numbers as the shape.
    #[track_caller]
    pub fn from_buffer(shape: impl Into<Shape>, buffer: Buffer<T>) -> Tensor<T> {
        let shape = shape.into();
        assert!(
            buffer.len() == shape.elements(),
            "tensor: shape {shape} holds {} numbers, found {}",
            shape.elements(),
            buffer.len()
        );
        Tensor {
            shape,
            data: Some(Arc::new(Memory::new(buffer))),
        }
    }

    /// A tensor with a copy of `values`, in row-major order.
    ///
    /// # Panics
    /// If there are not as many values as the shape holds.
    #[track_caller]
    pub fn new(shape: impl Into<Shape>, values: &[T]) -> Tensor<T> {
        Tensor::from_buffer(shape, Buffer::from_slice(values))
    }

    /// A tensor whose numbers `write` puts down. What `write` does not write is arbitrary.
    pub fn build(shape: impl Into<Shape>, write: impl FnOnce(&mut [T])) -> Tensor<T> {
        let shape = shape.into();
        let data = Some(Memory::build(shape.elements(), write));
        Tensor { shape, data }
    }

    /// A tensor whose number at row-major position i is `f(i)`.
    pub fn from_fn(shape: impl Into<Shape>, mut f: impl FnMut(usize) -> T) -> Tensor<T> {
        Tensor::build(shape, |out| {
            for (i, y) in out.iter_mut().enumerate() {
                *y = f(i);
            }
        })
    }

    /// A tensor of copies of `value`.
    pub fn full(shape: impl Into<Shape>, value: T) -> Tensor<T> {
        Tensor::build(shape, |out| out.fill(value))
    }

    /// A tensor of zeros.
    pub fn zeros(shape: impl Into<Shape>) -> Tensor<T> {
        Tensor::full(shape, T::ZERO)
    }

    /// A tensor of ones.
    pub fn ones(shape: impl Into<Shape>) -> Tensor<T> {
        Tensor::full(shape, T::ONE)
    }

    /// A single number.
    pub fn scalar(value: T) -> Tensor<T> {
        Tensor::full(Shape::SCALAR, value)
    }

    #[inline]
    fn memory(&self) -> &Arc<Memory<T>> {
        self.data.as_ref().expect("a tensor holds its memory")
    }

    #[inline]
    fn memory_mut(&mut self) -> &mut Arc<Memory<T>> {
        self.data.as_mut().expect("a tensor holds its memory")
    }

    /// The shape.
    #[inline]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How many numbers there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.memory().numbers.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.memory().numbers.is_empty()
    }

    /// The numbers in row-major order.
    #[inline]
    pub fn data(&self) -> &[T] {
        &self.memory().numbers
    }

    /// The numbers as the weights of a convolution. What kernels make of them is kept with them
    /// until they change, for all who share this memory.
    pub fn weights(&self) -> Weights<'_, T> {
        Weights::kept(self.data(), &self.memory().arranged)
    }

    /// The number of a tensor that holds just one.
    ///
    /// # Panics
    /// If it holds more or fewer.
    #[track_caller]
    pub fn item(&self) -> T {
        assert!(
            self.len() == 1,
            "item: expected one number, found shape {}",
            self.shape
        );
        self.data()[0]
    }

    /// The numbers, for writing: in place where nobody else holds this memory, else in a copy.
    #[inline]
    pub fn make_mut(&mut self) -> &mut [T] {
        Arc::make_mut(self.memory_mut()).numbers_mut()
    }

    /// The numbers, for writing, if nobody else holds this memory.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut [T]> {
        Arc::get_mut(self.memory_mut()).map(Memory::numbers_mut)
    }

    /// The same numbers in another shape; the memory is shared.
    ///
    /// # Panics
    /// If the shape holds another count of numbers.
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Tensor<T> {
        let shape = shape.into();
        assert!(
            self.shape.elements() == shape.elements(),
            "reshape: cannot see {} as {shape}",
            self.shape
        );
        Tensor {
            shape,
            data: self.data.clone(),
        }
    }

    /// `f` of every number.
    pub fn map(&self, f: impl Fn(T) -> T) -> Tensor<T> {
        Tensor::from_fn(self.shape, |i| f(self.data()[i]))
    }

    /// The same values in another precision.
    pub fn cast<U: Element>(&self) -> Tensor<U> {
        Tensor::from_fn(self.shape, |i| U::from_f64(self.data()[i].to_f64()))
    }

    /// Where along `axis` the largest numbers are, the first of equal ones or of NaN, in the
    /// row-major order of the shape [without](Shape::without) that axis: of logits `[B, C]` along
    /// axis 1, the most likely class of each row.
    ///
    /// # Panics
    /// If there is no such axis, or it is empty.
    #[track_caller]
    pub fn argmax(&self, axis: usize) -> Vec<u32> {
        let shape = &self.shape;
        assert!(
            shape.get(axis).is_some_and(|&extent| extent > 0),
            "argmax: axis {axis} of shape {shape} is empty or missing"
        );
        let inner = shape[axis + 1..].iter().product::<usize>();
        let mut places = Vec::with_capacity(shape.without(axis).elements());
        for block in self.data().chunks_exact((shape[axis] * inner).max(1)) {
            for column in 0..inner {
                let mut numbers = block[column..].iter().step_by(inner).enumerate();
                let (_, mut most) = numbers.next().expect("the axis is not empty");
                let mut place = 0;
                for (i, x) in numbers {
                    if x > most || x.is_nan() && !most.is_nan() {
                        (place, most) = (i as u32, x);
                    }
                }
                places.push(place);
            }
        }
        places
    }

    /// Whether two handles share one memory.
    pub fn shares_memory_with(&self, other: &Tensor<T>) -> bool {
        Arc::ptr_eq(self.memory(), other.memory())
    }
}

/// A shape, and the numbers if they are kept: what a tape remembers of a tensor. In one place of a
/// tensor's size, since these are moved about with every operation.
pub(crate) struct Kept<T: Element>(Tensor<T>);

impl<T: Element> Kept<T> {
    /// Of `x`, its numbers only if `whole`.
    #[inline]
    pub(crate) fn of(x: &Tensor<T>, whole: bool) -> Kept<T> {
        let data = if whole { x.data.clone() } else { None };
        Kept(Tensor {
            shape: x.shape,
            data,
        })
    }

    #[inline]
    pub(crate) fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// The tensor, if its numbers were kept.
    #[inline]
    pub(crate) fn tensor(&self) -> Option<Tensor<T>> {
        self.0.data.is_some().then(|| self.0.clone())
    }

    /// What `f` reads of the tensor, if its numbers were kept.
    #[inline]
    pub(crate) fn read<R>(&self, f: impl FnOnce(&Tensor<T>) -> R) -> Option<R> {
        self.0.data.is_some().then(|| f(&self.0))
    }

    /// Keeps the shape alone from now on.
    #[inline]
    pub(crate) fn release(&mut self) {
        if let Some(memory) = self.0.data.take() {
            Memory::recycle(memory);
        }
    }
}

impl<T: Element> PartialEq for Tensor<T> {
    fn eq(&self, other: &Tensor<T>) -> bool {
        self.shape == other.shape && self.data() == other.data()
    }
}

impl<T: Element> fmt::Debug for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        write!(f, "Tensor<{}>{} ", T::NAME, self.shape)?;
        let shown = &self.data()[..self.len().min(SHOWN)];
        f.debug_list().entries(shown).finish()?;
        if self.len() > SHOWN {
            write!(f, "..")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::conv::{self, Conv2d};
    use kernels::gemm::Epilogue;

    #[test]
    fn writing_to_shared_memory_copies_it() {
        let a = Tensor::new([2], &[1.0f32, 2.0]);
        let mut b = a.clone();
        assert!(b.get_mut().is_none());
        b.make_mut()[0] = 5.0;
        assert_eq!((a.data(), b.data()), (&[1.0, 2.0][..], &[5.0, 2.0][..]));
        assert!(b.get_mut().is_some());
    }

    #[test]
    fn new_numbers_are_arranged_anew() {
        let g = Conv2d::new([1, 1, 1, 1], 1, [1, 1]);
        let mut w = Tensor::new([1, 1, 1, 1], &[2.0f32]);
        let times_3 = |w: &Tensor<f32>| {
            let mut y = [0.0];
            let sums = conv::Sums::Fast;
            conv::forward(&g, &[3.0], w.weights(), None, &mut y, Epilogue::NONE, sums);
            y[0]
        };
        assert_eq!(times_3(&w), 6.0);
        let before = w.clone();
        w.make_mut()[0] = 5.0;
        assert_eq!((times_3(&w), times_3(&before)), (15.0, 6.0));
        w.make_mut()[0] = 7.0;
        assert_eq!(times_3(&w), 21.0);
        w.get_mut().unwrap()[0] = 9.0;
        assert_eq!(times_3(&w), 27.0);
    }

    #[test]
    fn argmax_is_the_first_of_the_largest() {
        let x = Tensor::new([2, 3], &[1.0f32, 5.0, 5.0, -2.0, -3.0, -1.0]);
        assert_eq!(x.argmax(1), [1, 2]);
        assert_eq!(x.argmax(0), [0, 0, 0]);
        let y = Tensor::new([1, 2, 2], &[1.0f64, f64::NAN, 2.0, 7.0]);
        assert_eq!(y.argmax(1), [1, 0]);
        assert_eq!(y.argmax(2), [1, 1]);
        assert_eq!(Tensor::<f32>::zeros([0, 3]).argmax(1), [0; 0]);
        assert_eq!(Tensor::<f32>::zeros([3, 0]).argmax(0), [0; 0]);
        assert_eq!(Tensor::scalar(1.0f32).reshape([1]).argmax(0), [0]);
    }

    #[test]
    #[should_panic(expected = "argmax: axis 1 of shape [2, 0] is empty or missing")]
    fn argmax_of_nothing_is_refused() {
        Tensor::<f32>::zeros([2, 0]).argmax(1);
    }

    #[test]
    #[should_panic(expected = "reshape: cannot see [2, 3] as [4]")]
    fn reshape_names_both_shapes() {
        Tensor::<f32>::zeros([2, 3]).reshape([4]);
    }
}
