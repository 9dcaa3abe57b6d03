//! A machine whose log Z was published, where this computer has it: in `$GENZOO_DATA`, or in
//! `shared/data` beside the workspace. Skipped with a note where it is absent.

use markov::{Machine, Path, ais};
use nn::save;
use std::path::{Path as FilePath, PathBuf};

fn find(name: &str) -> Option<PathBuf> {
    let beside = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let root = std::env::var_os("GENZOO_DATA").map_or(beside, PathBuf::from);
    let path = root.join(name);
    if path.is_file() {
        return Some(path);
    }
    eprintln!(
        "skipped: no {} (set GENZOO_DATA to the directory that holds it)",
        path.display()
    );
    None
}

/// 500 hidden units, trained by contrastive divergence with up to 25 steps: R. Salakhutdinov and
/// I. Murray 2008, table 1, log Z = 451.28.
#[test]
fn log_z_of_500_units() {
    let Some(path) = find("rbm/rbm-cd25-500.safetensors") else {
        return;
    };
    let (tensors, _) = save::read_tensors(&std::fs::read(path).unwrap()).unwrap();
    let tensor = |name: &str| &tensors.iter().find(|(known, _)| known == name).unwrap().1;
    let (b, c) = (tensor("visible_bias"), tensor("hidden_bias"));
    let machine = Machine::binary(tensor("weight"), b, c).packed();
    // Base rates as those of the machine's own biases would be too far from the data: the mean
    // visible units given hidden ones at their biases serve as well as the data's.
    let means: Vec<f32> = means(&machine);
    let path = Path::new(&machine, &means);
    let estimate = ais::forward(&path, &ais::schedule(5000), 128, 1);
    let error = estimate.log_z - 451.28;
    assert!(
        error.abs() < 0.3 && estimate.standard_error < 0.25,
        "{estimate:?}"
    );
}

/// The share of ones of each visible unit over some chains of the machine.
fn means(machine: &Machine) -> Vec<f32> {
    let path = Path::from_biases(machine);
    let streams = (0..100).map(|i| nn::random::stream(&[i])).collect();
    let mut walk = markov::Walk::from_base(&path, streams);
    for n in 1..=300 {
        walk.set_beta(n as f32 / 300.0);
        walk.step();
    }
    let d = machine.visible();
    let rows = walk.visible().chunks(d);
    let mut means = vec![0.0; d];
    for row in rows {
        means
            .iter_mut()
            .zip(row)
            .for_each(|(sum, x)| *sum += x / 100.0);
    }
    means
}
