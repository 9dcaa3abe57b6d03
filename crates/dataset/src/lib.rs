//! Memory-mapped image datasets: import once, map for ever.
