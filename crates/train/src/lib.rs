//! The training engine: lanes, checkpoints, metrics.
