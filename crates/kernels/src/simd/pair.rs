//! Two vectors side by side as one.

use super::vector::{Registers, Sealed, Vector, VectorF32};
use crate::elementwise::UnaryKernel;

/// Two vectors: each operation is done to the one, then to the other.
///
/// A core chooses what to compute next among some hundred waiting operations. GELU has eighty, most
/// of them in one chain: of the next vector's, little is among those that wait. Here two chains
/// stand next to each other. A lane comes out as it does of a single vector.
#[derive(Clone, Copy)]
pub(crate) struct Pair<V>(V, V);

macro_rules! by_halves {
    (masks: $($method:ident)*) => {
        $(#[inline(always)]
        fn $method(self, b: Self) -> Self::Mask {
            (self.0.$method(b.0), self.1.$method(b.1))
        })*
    };
    ($($Trait:ident $method:ident)*) => {
        $(impl<V: Vector> std::ops::$Trait for Pair<V> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, b: Self) -> Self {
                Pair(self.0.$method(b.0), self.1.$method(b.1))
            }
        })*
    };
    ($(fn $method:ident($($arg:ident),*);)*) => {
        $(#[inline(always)]
        fn $method(self $(, $arg: Self)*) -> Self {
            Pair(self.0.$method($($arg.0),*), self.1.$method($($arg.1),*))
        })*
    };
}

by_halves!(Add add Sub sub Mul mul Div div);

impl<V: Vector> std::ops::Neg for Pair<V> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Pair(-self.0, -self.1)
    }
}

impl<V> Sealed for Pair<V> {}

impl<V: VectorF32> Vector for Pair<V> {
    type Element = f32;
    type Mask = (V::Mask, V::Mask);
    type Wide = Self;
    const LANES: usize = 2 * V::LANES;
    const REGISTERS: Registers = Registers::new(Self::LANES, V::REGISTERS.count / 2);

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Pair(V::splat(x), V::splat(x))
    }
    #[inline(always)]
    unsafe fn load_ptr(x: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Pair(V::load_ptr(x), V::load_ptr(x.add(V::LANES))) }
    }
    #[inline(always)]
    unsafe fn load_ptr_partial(x: *const f32, len: usize) -> Self {
        let first = len.min(V::LANES);
        // SAFETY: the caller's promise: both lengths are at most LANES, their sum is `len`.
        unsafe {
            Pair(
                V::load_ptr_partial(x, first),
                V::load_ptr_partial(x.add(first), len - first),
            )
        }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, y: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            self.0.store_ptr(y);
            self.1.store_ptr(y.add(V::LANES));
        }
    }
    #[inline(always)]
    unsafe fn store_ptr_partial(self, y: *mut f32, len: usize) {
        let first = len.min(V::LANES);
        // SAFETY: the caller's promise: both lengths are at most LANES, their sum is `len`.
        unsafe {
            self.0.store_ptr_partial(y, first);
            self.1.store_ptr_partial(y.add(first), len - first);
        }
    }
    #[inline(always)]
    fn first(len: usize) -> Self::Mask {
        let first = len.min(V::LANES);
        (V::first(first), V::first(len - first))
    }
    #[inline(always)]
    fn select((a, b): Self::Mask, yes: Self, no: Self) -> Self {
        Pair(V::select(a, yes.0, no.0), V::select(b, yes.1, no.1))
    }
    #[inline(always)]
    fn reduce_add(self) -> f32 {
        (self.0 + self.1).reduce_add()
    }
    #[inline(always)]
    fn reduce_max(self) -> f32 {
        self.0.max(self.1).reduce_max()
    }
    #[inline(always)]
    fn apply_each<F: UnaryKernel, const N: usize>(x: [Self; N], f: F) -> [Self; N] {
        f.vectors(x)
    }
    by_halves! {
        fn mul_add(b, c);
        fn neg_mul_add(b, c);
        fn max(b);
        fn min(b);
        fn sqrt();
        fn abs();
        fn copysign(sign);
        fn round();
    }
    by_halves!(masks: lt le eq);
}

impl<V: VectorF32> VectorF32 for Pair<V> {
    by_halves! {
        fn scale(n);
        fn residual(b, c);
    }
    #[inline(always)]
    fn split_floor(self) -> (Self, Self) {
        let ((r, n), (s, m)) = (self.0.split_floor(), self.1.split_floor());
        (Pair(r, s), Pair(n, m))
    }
    #[inline(always)]
    fn split(self) -> (Self, Self) {
        let ((m, e), (n, f)) = (self.0.split(), self.1.split());
        (Pair(m, n), Pair(e, f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel, dispatch};

    /// Loads, stores, masks and reductions of what an instruction set has side by side.
    struct Lengths;
    impl Kernel for Lengths {
        type Output = ();

        #[inline(always)]
        fn run<V: Vector<Element = f32>>(self) {
            let x: Vec<f32> = (0..V::Wide::LANES).map(|i| i as f32 - 3.0).collect();
            for len in 0..=x.len() {
                let part = V::Wide::load_partial_or(&x[..len], V::Wide::constant(7.0));
                let mut y = vec![5.0; x.len()];
                part.store(&mut y);
                assert_eq!(&y[..len], &x[..len]);
                assert!(y[len..].iter().all(|&y| y == 7.0));
                let sum: f32 = y.iter().sum();
                assert_eq!(part.reduce_add(), sum);
                assert_eq!(part.reduce_max(), y.iter().fold(f32::MIN, |a, &b| a.max(b)));

                let mut y = vec![5.0; x.len()];
                part.store_partial(&mut y[..len]);
                assert_eq!(&y[..len], &x[..len]);
                assert!(y[len..].iter().all(|&y| y == 5.0));
                let below = V::Wide::select(V::Wide::first(len), V::Wide::one(), -V::Wide::one());
                below.store(&mut y);
                assert!((0..y.len()).all(|i| (y[i] == 1.0) == (i < len)));
            }
        }
    }

    #[test]
    fn parts_and_reductions() {
        Isa::available().for_each(|isa| dispatch(isa, Lengths));
    }
}
