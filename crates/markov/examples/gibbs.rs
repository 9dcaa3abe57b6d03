//! Gibbs sampling held against an exact sum: a restricted Boltzmann machine that is small enough to
//! count all its states.
//!
//! ```sh
//! cargo run --release -p genzoo-markov --example gibbs
//! ```

use grad::Tensor;
use markov::exact::{bits, log_z};
use markov::{Machine, Path, Walk};
use nn::random::{normal, stream};

const VISIBLE: usize = 4;
const HIDDEN: usize = 3;
const CHAINS: usize = 20_000;

fn main() {
    let mut random = stream(&[3]);
    let mut numbers = |n: usize, scale: f64| -> Vec<f32> {
        (0..n)
            .map(|_| (scale * normal(&mut random)) as f32)
            .collect()
    };
    let weight = Tensor::new([VISIBLE, HIDDEN], &numbers(VISIBLE * HIDDEN, 1.0));
    let visible_bias = Tensor::new([VISIBLE], &numbers(VISIBLE, 0.5));
    let hidden_bias = Tensor::new([HIDDEN], &numbers(HIDDEN, 0.5));
    let machine = Machine::binary(&weight, &visible_bias, &hidden_bias);

    // p(v) = e^(-F(v)) / Z, with Z summed over all states.
    let states = 1 << VISIBLE;
    let log_z = log_z(&machine).expect("a machine that is small enough");
    let energies = machine.free_energy(&bits(0, states, VISIBLE));

    // Chains side by side, from all zeros, a hundred steps each.
    let path = Path::end(&machine);
    let streams = (0..CHAINS as u64).map(|i| stream(&[4, i])).collect();
    let mut walk = Walk::from(&path, vec![0.0; CHAINS * VISIBLE], streams);
    walk.steps(100);
    let mut counts = vec![0u32; states];
    for v in walk.visible().chunks_exact(VISIBLE) {
        let number = v.iter().enumerate().map(|(j, &on)| (on as usize) << j);
        counts[number.sum::<usize>()] += 1;
    }

    println!("log Z = {log_z:.4}");
    println!("{:>8}{:>12}{:>12}", "v", "exact", "sampled");
    for (state, (energy, &count)) in energies.iter().zip(&counts).enumerate() {
        let exact = (-energy - log_z).exp();
        let sampled = f64::from(count) / CHAINS as f64;
        println!("{state:>8.0$b}{exact:>12.4}{sampled:>12.4}", VISIBLE);
    }
}
