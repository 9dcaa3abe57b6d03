//! `genzoo inspect --filters`: the weights of a first layer, as pictures.

use super::{Args, batch, enlarged};
use crate::finished::Finished;
use crate::output::print;
use crate::picture::{Picture, square};
use grad::{Tape, Tensor};
use nn::model::{Batch, Step};
use std::process::ExitCode;
use train::Pool;

/// The most filters that are shown.
const FILTERS: usize = 256;

pub(super) fn run(args: &Args, run: &Finished, pool: &Pool) -> anyhow::Result<ExitCode> {
    let spec = run.config.image;
    let params = &run.trained.params;
    let (dims, colours) = (spec.dims(), spec.channels);
    // A kernel over pixels, or a unit's weights of all pixels.
    let found = params
        .iter()
        .find_map(|param| match param.value.shape()[..] {
            [kh, kw, from, outputs] if from == colours && kh * kw > 1 => {
                Some((param, [kh, kw, outputs]))
            }
            [from, outputs] if from == dims && outputs > 1 => {
                Some((param, [spec.height, spec.width, outputs]))
            }
            _ => None,
        });
    let Some((param, [height, width, outputs])) = found else {
        return Err(run.cannot("has no first layer whose weights belong to pixels"));
    };
    // What a mask hides keeps its first values and has no gradient.
    let batch = batch(args, run)?;
    let used = pool.run(|| used(run, &param.name, &batch));
    let shown = outputs.min(FILTERS);
    let taps = height * width;
    let at = |tap: usize, c: usize, o: usize| ((tap * colours + c) * outputs) + o;
    let mut panels = Vec::with_capacity(shown * taps * colours);
    for o in 0..shown {
        let weights = || (0..taps * colours).map(|i| at(i / colours, i % colours, o));
        let largest = weights()
            .filter(|&i| used[i])
            .map(|i| param.value.data()[i].abs());
        let largest = largest.fold(f32::MIN_POSITIVE, f32::max);
        panels.extend(weights().map(|i| match used[i] {
            true => 0.5 + 0.5 * param.value.data()[i] / largest,
            false => 0.0,
        }));
    }
    let panels = Tensor::new([shown, height, width, colours], &panels);
    let times = (56 / height.max(width)).max(1);
    Picture::grid(&enlarged(&panels, times), square(shown)).save(&args.out)?;
    print(format!(
        "{shown} of the {outputs} filters of {}, {height} x {width}, in {}: grey is 0, black is masked",
        param.name,
        args.out.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Which numbers of a parameter have a gradient on these images; all of one without any.
fn used(run: &Finished, name: &str, batch: &Batch) -> Vec<bool> {
    let params = &run.trained.params;
    let tape = Tape::new();
    let p = params.bind_where(&tape, |param| param.name == name);
    let loss = run.model().loss(&Step::new(&tape, &p, batch));
    let id = params.find(name).expect("a parameter of the run");
    if !loss.sum.is_recorded() || !p[id].is_recorded() {
        return vec![true; params[id].value.len()];
    }
    let gradient = &tape.gradients(&loss.sum, &[&p[id]])[0];
    let outputs = gradient.shape().last_extent();
    // A place is hidden from all outputs or from none, where all outputs have one colour.
    let shows = |place: &[f32]| place.iter().any(|&g| g != 0.0);
    let places: Vec<bool> = gradient.data().chunks_exact(outputs).map(shows).collect();
    if params[id].value.shape().rank() == 2 {
        return vec![true; params[id].value.len()];
    }
    places
        .iter()
        .flat_map(|&used| vec![used; outputs])
        .collect()
}
