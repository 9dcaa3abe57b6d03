//! For passes over memory, which are short and alike: a second for each is enough.

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use std::time::Duration;

/// Less time for each of the group.
pub(crate) fn briefly(group: &mut BenchmarkGroup<WallTime>) {
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
}
