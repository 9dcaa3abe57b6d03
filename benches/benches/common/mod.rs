//! What the benchmarks share.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId};
use kernels::peak;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::time::Instant;

/// Times `f` inside the pool, as a step of training runs: criterion itself stays outside.
pub(crate) fn time(
    group: &mut BenchmarkGroup<WallTime>,
    pool: &ThreadPool,
    (name, shape): (&str, &str),
    mut f: impl FnMut() + Send,
) {
    group.bench_function(BenchmarkId::new(name, shape), |bencher| {
        bencher.iter_custom(|iterations| {
            pool.install(|| {
                let start = Instant::now();
                (0..iterations).for_each(|_| f());
                start.elapsed()
            })
        });
    });
}

/// A pool of so many threads, after printing the peak that a group's figures are a share of.
pub(crate) fn pool(group: &str, threads: usize) -> ThreadPool {
    println!(
        "{group} {threads}T: peak {:.0} GFLOP/s, copies at {:.1} GB/s",
        peak::fma_gflops(threads),
        peak::copy_gbps(threads)
    );
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("a thread pool")
}
