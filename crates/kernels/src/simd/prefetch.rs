//! Asking for memory before it is read.

/// Brings the cache line at `x` into a cache, wherever it points.
macro_rules! prefetch {
    ($name:ident, $hint:ident, $doc:literal) => {
        #[doc = $doc]
        #[inline(always)]
        pub(crate) fn $name<T>(x: *const T) {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a prefetch never faults.
            unsafe {
                std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::$hint }>(x.cast())
            };
            #[cfg(not(target_arch = "x86_64"))]
            let _ = x;
        }
    };
}
prefetch!(
    prefetch,
    _MM_HINT_T0,
    "Brings the cache line at `x` into L1, wherever it points."
);
prefetch!(
    prefetch_l2,
    _MM_HINT_T1,
    "Brings the cache line at `x` into L2, wherever it points."
);
