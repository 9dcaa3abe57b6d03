//! What makes certain that microkernels are compiled as they are meant.

/// A loop over a constant range as straight-line code: the compiler's own unrolling gives up on
/// bodies of the size that microkernels have, and then keeps their sums in memory.
///
/// `unroll!(row i < MR: { .. })` for MR up to 14, `unroll!(tall i < MR: { .. })` up to 28,
/// `unroll!(vector j < NV: { .. })` for NV up to 4, `unroll!(pair i < P: { .. })` for P up to 3.
///
/// The compiler reads rounds beyond the end, too, in every instance: a body is a call or two, and
/// another loop is in a function of its own.
macro_rules! unroll {
    (row $i:ident < $n:ident: $body:block) => {
        unroll!(@ $i $n $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    (tall $i:ident < $n:ident: $body:block) => {
        unroll!(@ $i $n $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13
            14 15 16 17 18 19 20 21 22 23 24 25 26 27)
    };
    (vector $j:ident < $n:ident: $body:block) => {
        unroll!(@ $j $n $body 0 1 2 3)
    };
    (pair $i:ident < $n:ident: $body:block) => {
        unroll!(@ $i $n $body 0 1 2)
    };
    (@ $i:ident $n:ident $body:block $($at:literal)*) => {
        {
            const { assert!($n <= [$($at),*].len(), "more rounds than there is code for") };
            $(if const { $at < $n } {
                #[allow(unused_variables)] // some bodies repeat without counting
                let $i: usize = $at;
                $body
            })*
        }
    };
}
pub(crate) use unroll;

/// Its argument, a pointer or a `usize`, as a value the optimiser knows nothing about. It is in an
/// `unsafe` block.
macro_rules! opaque {
    ($x:expr) => {{
        #[allow(unused_mut)]
        let mut x = $x;
        // No instruction is emitted; the register is left as it was.
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        {
            std::arch::asm!(
                "/* {0} */", inout(reg) x, options(pure, nomem, nostack, preserves_flags)
            )
        }
        x
    }};
}
pub(crate) use opaque;
