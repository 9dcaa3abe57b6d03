#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

pub mod chart;
mod classes;
mod eigen;
pub mod fool;
mod frechet;
mod kid;
mod matrix;
mod neighbours;
mod score;
mod two_sample;
mod verdict;
mod witness;

pub use classes::{asked, shares, total_variation};
pub use frechet::{Moments, frechet_distance};
pub use kid::{KernelDistance, kernel_distance};
pub use matrix::Matrix;
pub use neighbours::{Balls, NEAREST, balls, nearest};
pub use score::{Drawn, HALVES, SampleScore, draw, is_enough, real};
pub use two_sample::{TwoSample, two_sample};
pub use verdict::{LEAST, Verdict, class_warnings};
pub use witness::{Seen, Witness};
