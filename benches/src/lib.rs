//! Criterion benchmarks of the workspace and its peers; see README.md.
