//! The threads of a run.

use crate::Error;

/// A fixed number of threads on which lanes and kernels run.
pub struct Pool(rayon::ThreadPool);

impl Pool {
    /// Starts `threads` threads; without a number one for each core.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new(threads: Option<usize>) -> Result<Pool, Error> {
        let threads = threads.unwrap_or(0);
        let name = |i| format!("lane-{i}");
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(name)
            .build();
        pool.map(Pool).map_err(|error| Error::Threads {
            threads,
            reason: error.to_string(),
        })
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.0.current_num_threads()
    }

    /// Runs `f` on these threads and waits for it.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.0.install(f)
    }
}
