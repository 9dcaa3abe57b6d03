//! Games in the plane: a ring of eight Gaussians, where it can be seen whether modes are covered,
//! and the vanishing gradient of the minimax loss. The pictures are put where `RING_PICTURES` says.

use gan::{Gan, Images, Objective, Sizes};
use grad::{Tape, Tensor, Var};
use judge::chart::{Chart, Series};
use nn::model::{ImageSpec, SampleRequest, Sampler};
use nn::optim::{Optimiser, OptimiserState};
use nn::random::{normal, normal_tensor, stream, uniform, uniform_tensor};
use nn::{Builder, Params};
use std::f64::consts::TAU;

/// A point is an image of one row and two pixels.
const PLANE: ImageSpec = ImageSpec::new(1, 2, 1, 256);
const MODES: usize = 8;
const RADIUS: f64 = 0.7;
const DEVIATION: f64 = 0.02;
const BATCH: usize = 128;

fn centre(mode: usize) -> [f64; 2] {
    let angle = TAU * mode as f64 / MODES as f64;
    [RADIUS * angle.cos(), RADIUS * angle.sin()]
}

/// Points on the ring, `[BATCH, 1, 2, 1]`.
fn ring(seed: u64) -> Tensor<f32> {
    let mut random = stream(&[seed, 1]);
    Tensor::build(PLANE.shape(BATCH), |out| {
        for point in out.chunks_exact_mut(2) {
            let mode = centre((uniform(&mut random) * MODES as f64) as usize % MODES);
            for (x, centre) in point.iter_mut().zip(mode) {
                *x = (centre + DEVIATION * normal(&mut random)) as f32;
            }
        }
    })
}

/// A game with the optimisers of both players.
struct Play {
    gan: Gan,
    params: Params<f32>,
    optimisers: [OptimiserState; 2],
    step: u64,
}

const PLAYERS: [&str; 2] = ["discriminator.", "generator."];

impl Play {
    fn new(objective: Objective, penalty: Option<f64>, lr: f64, beta1: f64) -> Play {
        let mut params = Params::new();
        let sizes = Sizes::perceptrons(PLANE, 4, &[64, 64]);
        let mut gan = Gan::new(&mut Builder::new(&mut params, 1), sizes, objective);
        gan.penalty = penalty;
        let optimisers = PLAYERS.map(|prefix| {
            let ids = params
                .ids()
                .filter(|&id| params[id].name.starts_with(prefix));
            let optimiser = Optimiser::adam_with(lr, beta1, 0.9);
            OptimiserState::new(optimiser, &params, ids.collect())
        });
        Play {
            gan,
            params,
            optimisers,
            step: 0,
        }
    }

    fn noise(&self, what: u64) -> Tensor<f32> {
        normal_tensor(
            [BATCH, self.gan.sizes.latents],
            &mut stream(&[self.step, what]),
        )
    }

    /// The loss and gradients of a player: 0 for the discriminator.
    fn gradients(&self, player: usize) -> Vec<Tensor<f32>> {
        let tape = Tape::new();
        let p = self
            .params
            .bind_where(&tape, |param| param.name.starts_with(PLAYERS[player]));
        let z = Var::constant(self.noise(player as u64));
        let loss = match player {
            0 => {
                let fake = self.gan.generator.forward(&p, &z, None).into_value();
                let images = Images {
                    real: &ring(self.step),
                    fake: &fake,
                    classes: None,
                    share: &uniform_tensor([BATCH, 1], 0.0, 1.0, &mut stream(&[self.step, 7])),
                };
                self.gan.examine(&tape, &p, &images).loss
            }
            _ => self.gan.of_generator(&p, &z, None, None),
        };
        let wrt: Vec<&Var<f32>> = p.recorded().map(|(_, var)| var).collect();
        tape.gradients(&loss.mean(), &wrt)
    }

    fn play(&mut self, player: usize) {
        let gradients = self.gradients(player);
        self.optimisers[player].step(&mut self.params, &gradients, 1.0);
        self.step += 1;
    }

    /// Points that the generator makes.
    fn points(&self, count: usize) -> Vec<[f64; 2]> {
        let images = self
            .gan
            .sample(&self.params.constants(), &SampleRequest::new(count, 5));
        let pairs = images.data().chunks_exact(2);
        pairs
            .map(|p| [0, 1].map(|i| 2.0 * f64::from(p[i]) - 1.0))
            .collect()
    }
}

/// How many points are near each centre.
fn near_modes(points: &[[f64; 2]]) -> [usize; MODES] {
    let mut counts = [0; MODES];
    for point in points {
        for (mode, count) in counts.iter_mut().enumerate() {
            let centre = centre(mode);
            let distance = (point[0] - centre[0]).hypot(point[1] - centre[1]);
            *count += usize::from(distance < 5.0 * DEVIATION);
        }
    }
    counts
}

fn picture(name: &str, chart: &Chart) {
    if let Some(dir) = std::env::var_os("RING_PICTURES") {
        std::fs::write(std::path::Path::new(&dir).join(name), chart.svg()).unwrap();
    }
}

#[test]
fn wgan_gp_covers_all_modes_of_a_ring() {
    let mut play = Play::new(Objective::Wasserstein, Some(1.0), 1e-3, 0.5);
    for _ in 0..1500 {
        for _ in 0..4 {
            play.play(0);
        }
        play.play(1);
    }
    let points = play.points(2000);
    let dots = |name: &str, points: Vec<(f64, f64)>| Series {
        name: name.into(),
        points,
        joined: false,
    };
    let centres = (0..MODES).map(|mode| centre(mode).into()).collect();
    picture(
        "ring.svg",
        &Chart {
            title: "WGAN-GP on a ring of eight Gaussians",
            x: "",
            y: "",
            series: vec![
                dots("generated", points.iter().map(|&p| p.into()).collect()),
                dots("centres", centres),
            ],
        },
    );
    let counts = near_modes(&points);
    println!("{counts:?}");
    assert!(
        counts.iter().all(|&count| count > 2000 / MODES / 5),
        "{counts:?}"
    );
    assert!(counts.iter().sum::<usize>() > 1000, "{counts:?}");
}

/// The discriminator plays alone against a generator that stands still. As it becomes sure, the
/// generator's gradient fades under the minimax loss and does not under the other: figure and text
/// of section 3 of arXiv:1406.2661.
#[test]
fn minimax_gradients_vanish_against_a_strong_discriminator() {
    let mut play = Play::new(Objective::NonSaturating, None, 1e-3, 0.9);
    let norm = |play: &mut Play, objective: Objective| {
        let kept = std::mem::replace(&mut play.gan.objective, objective);
        let gradients = play.gradients(1);
        play.gan.objective = kept;
        nn::clip::global_norm(&gradients)
    };
    let mut curves = [Vec::new(), Vec::new()];
    for step in 0..=600 {
        if step % 50 == 0 {
            for (curve, objective) in curves
                .iter_mut()
                .zip([Objective::Minimax, Objective::NonSaturating])
            {
                curve.push((f64::from(step), norm(&mut play, objective).log10()));
            }
        }
        play.play(0);
    }
    let series = |name: &str, points: &[(f64, f64)]| Series {
        name: name.into(),
        points: points.to_vec(),
        joined: true,
    };
    picture(
        "vanishing.svg",
        &Chart {
            title: "The generator's gradient while the discriminator learns alone",
            x: "steps of the discriminator",
            y: "log10 of its norm",
            series: vec![
                series("minimax", &curves[0]),
                series("non-saturating", &curves[1]),
            ],
        },
    );
    let [minimax, other] = curves.map(|curve| [curve[0].1, curve[curve.len() - 1].1]);
    println!("{minimax:?} {other:?}");
    assert!(
        minimax[1] < minimax[0] - 1.0,
        "falls to a tenth: {minimax:?}"
    );
    assert!(other[1] > other[0] - 0.5, "does not fall: {other:?}");
    assert!(other[1] - minimax[1] > 1.5, "{other:?} {minimax:?}");
}
