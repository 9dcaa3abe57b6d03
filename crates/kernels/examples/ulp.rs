//! The largest error of a function of one variable over all 2^32 arguments, on every instruction
//! set of this machine: `cargo run --release -p genzoo-kernels --example ulp -- exp`.
//!
//! `--stride N` looks at every N-th argument only.

use kernels::simd::Isa;
use kernels::{Unary, elementwise};
use rayon::prelude::*;

/// The worst argument found so far, and its error in ulp.
type Worst = (f64, f32);

fn main() {
    let mut names = Vec::new();
    let mut stride = 1u64;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--stride" {
            stride = arguments
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap_or_else(|| usage());
        } else {
            names.push(argument);
        }
    }
    let named = |f: &&Unary| {
        names.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(f.name()))
    };
    let functions: Vec<Unary> = Unary::ALL.iter().filter(named).copied().collect();
    if functions.is_empty() {
        usage();
    }
    let mut failed = false;
    for f in functions {
        failed |= !sweep(f, stride);
    }
    std::process::exit(failed.into());
}

fn usage() -> ! {
    let names: Vec<_> = Unary::ALL.iter().map(|f| f.name()).collect();
    eprintln!("usage: ulp [--stride N] [{}]...", names.join(" | "));
    std::process::exit(2);
}

/// Prints the worst error on each instruction set; whether all keep the bound.
fn sweep(f: Unary, stride: u64) -> bool {
    const BLOCK: u64 = 1 << 14;
    let isas: Vec<Isa> = Isa::available().collect();
    let count = (1u64 << 32).div_ceil(stride);
    let worst = (0..count.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let end = count.min((block + 1) * BLOCK);
            let x: Vec<f32> = (block * BLOCK..end)
                .map(|i| f32::from_bits((i * stride) as u32))
                .collect();
            let reference: Vec<f64> = x.iter().map(|&x| f.reference(x.into())).collect();
            let mut y = vec![0.0; x.len()];
            let worst = |isa: &Isa| {
                isa.scoped(|| elementwise::unary(f, &x, &mut y));
                let errors = y
                    .iter()
                    .zip(&reference)
                    .map(|(&y, &r)| f.accuracy().error(y, r));
                errors.zip(x.iter().copied()).fold((0.0, 0.0), worse)
            };
            isas.iter().map(worst).collect::<Vec<Worst>>()
        })
        .reduce(
            || vec![(0.0, 0.0); isas.len()],
            |a, b| a.into_iter().zip(b).map(|(a, b)| worse(a, b)).collect(),
        );
    let bound = f.accuracy().ulps;
    for (isa, (error, x)) in isas.iter().zip(&worst) {
        let verdict = if *error <= bound { "ok" } else { "TOO FAR" };
        println!(
            "{:22} {:9} {error:.4} ulp at {x:e} (bound {bound}): {verdict}",
            f.name(),
            isa.to_string()
        );
    }
    worst.iter().all(|(error, _)| *error <= bound)
}

fn worse(a: Worst, b: Worst) -> Worst {
    if b.0 > a.0 { b } else { a }
}
