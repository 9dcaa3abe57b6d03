#![forbid(unsafe_code)]
//! `genzoo`: train, evaluate and sample deep generative models on CPUs.

use std::process::ExitCode;

fn main() -> ExitCode {
    genzoo::run(&[])
}
