//! Three densities in the plane, learned within seconds: moons, rings and a pinwheel.
//!
//! `cargo run --release -p genzoo-flow --example gallery -- flows.png` writes a picture with a row for each:
//! the data, the density that was learned, and samples.

use flow::{ActNorm, At, Coupling, Flow, Layer, Net, Partition, Prior, Transform};
use grad::{Tape, Tensor, Var};
use nn::optim::{Optimiser, OptimiserState};
use nn::random::{Stream, normal, stream, uniform};
use nn::schedule::Schedule;
use nn::{Builder, Params, clip};
use std::f64::consts::{PI, TAU};

/// Pixels of a side of a panel, and between panels.
const SIDE: usize = 160;
const GAP: usize = 4;
/// Panels show [-EXTENT, EXTENT] squared.
const EXTENT: f64 = 3.0;
const POINTS: usize = 12_000;
const STEPS: u64 = 4_000;
const BATCH: usize = 256;

fn moon(noise: &mut Stream) -> [f64; 2] {
    let (angle, lower) = (PI * uniform(noise), uniform(noise) < 0.5);
    let (x, y) = match lower {
        false => (angle.cos(), angle.sin()),
        true => (1.0 - angle.cos(), 0.5 - angle.sin()),
    };
    [
        1.5 * (x - 0.5) + 0.1 * normal(noise),
        1.5 * (y - 0.25) + 0.1 * normal(noise),
    ]
}

fn ring(noise: &mut Stream) -> [f64; 2] {
    let radius = if uniform(noise) < 0.5 { 1.0 } else { 2.2 };
    let (radius, angle) = (radius + 0.1 * normal(noise), TAU * uniform(noise));
    [radius * angle.cos(), radius * angle.sin()]
}

fn pinwheel(noise: &mut Stream) -> [f64; 2] {
    let arm = (5.0 * uniform(noise)).floor();
    let (along, across) = (1.3 + 0.45 * normal(noise), 0.12 * normal(noise));
    let angle = arm * TAU / 5.0 + 0.7 * along;
    let (sin, cos) = angle.sin_cos();
    [along * cos - across * sin, along * sin + across * cos]
}

fn points(draw: fn(&mut Stream) -> [f64; 2], count: usize, word: u64) -> Tensor<f32> {
    let mut noise = stream(&[word]);
    let points: Vec<f32> = (0..count)
        .flat_map(|_| draw(&mut noise))
        .map(|x| x as f32)
        .collect();
    Tensor::new([count, 2], &points)
}

/// Couplings that move one coordinate, then the other.
fn model(b: &mut Builder) -> Flow {
    let mut flow = Flow::new();
    for i in 0..16 {
        let mut b = b.scope(i);
        let halves = Partition::halves(2);
        let halves = if i % 2 == 0 { halves } else { halves.swapped() };
        let net = Net::perceptron(&mut b.scope("net"), 1, &[64, 64], 2, None);
        flow.push(ActNorm::new(&mut b.scope("norm"), 2));
        flow.push(Coupling::new(halves, Transform::Affine, net));
    }
    flow
}

/// A flow of these points, and its last loss in nats.
fn learn(draw: fn(&mut Stream) -> [f64; 2]) -> (Flow, Params<f32>, f32) {
    let mut params = Params::new();
    let flow = model(&mut Builder::new(&mut params, 1));
    flow.begin(&mut params, None, &Var::constant(points(draw, 1_000, 0)));
    let mut adam = OptimiserState::new(Optimiser::adam(2e-3), &params, params.ids().collect());
    let mut recent = 0.0;
    for step in 0..STEPS {
        let gradients = {
            let tape = Tape::new();
            let p = params.bind(&tape);
            let x = Var::constant(points(draw, BATCH, 1 + step));
            let (z, log_det) = flow.forward(&At::new(&p), &x);
            let loss = -(Prior::Normal.log_density(&z) + log_det).mean();
            recent += (loss.item() - recent) / 50.0;
            let wrt: Vec<_> = p.recorded().map(|(_, var)| var).collect();
            tape.into_gradients(&loss, &wrt)
        };
        let schedule = Schedule::WarmupCosine { steps: 100 };
        let scale = clip::norm_factor(clip::global_norm(&gradients), 2.0);
        adam.step_scaled(&mut params, &gradients, schedule.factor(step, STEPS), scale);
    }
    (flow, params, recent)
}

/// A panel of the picture: light where there is much.
type Panel = Vec<f64>;

fn scattered(points: &Tensor<f32>) -> Panel {
    let mut panel = vec![0.0; SIDE * SIDE];
    let place = |x: f32| (f64::from(x) + EXTENT) / (2.0 * EXTENT) * SIDE as f64;
    for point in points.data().chunks(2) {
        let (x, y) = (place(point[0]), place(-point[1]));
        if (0.0..SIDE as f64).contains(&x) && (0.0..SIDE as f64).contains(&y) {
            panel[y as usize * SIDE + x as usize] += 0.35;
        }
    }
    panel
}

fn density(flow: &Flow, params: &Params<f32>) -> Panel {
    let place = |i: usize| ((i as f64 + 0.5) / SIDE as f64 - 0.5) * 2.0 * EXTENT;
    let x = Tensor::from_fn([SIDE * SIDE, 2], |i| match i % 2 {
        0 => place(i / 2 % SIDE) as f32,
        _ => -place(i / 2 / SIDE) as f32,
    });
    let p = params.constants();
    let (z, log_det) = flow.forward(&At::new(&p), &Var::constant(x));
    let density = (Prior::Normal.log_density(&z) + log_det).exp();
    let most = density.value().data().iter().copied().fold(1e-9, f32::max);
    // The square root shows what is thin beside what is dense.
    density
        .value()
        .data()
        .iter()
        .map(|x| f64::from(x / most).sqrt())
        .collect()
}

fn samples(flow: &Flow, params: &Params<f32>) -> Panel {
    let z = nn::random::normal_tensor([POINTS, 2], &mut stream(&[9]));
    let p = params.constants();
    let x = flow.inverse(&At::new(&p), &Var::constant(z));
    scattered(x.value())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).unwrap_or("flows.png".into());
    type Draw = fn(&mut Stream) -> [f64; 2];
    let rows: [(&str, Draw); 3] = [("moons", moon), ("rings", ring), ("pinwheel", pinwheel)];
    let width = 3 * (SIDE + GAP) + GAP;
    let mut picture = vec![96u8; width * width];
    for (row, (name, draw)) in rows.into_iter().enumerate() {
        let begun = std::time::Instant::now();
        let (flow, params, loss) = learn(draw);
        println!(
            "{name}: {loss:.3} nats a point after {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        let data = scattered(&points(draw, POINTS, 0));
        let panels = [data, density(&flow, &params), samples(&flow, &params)];
        for (column, panel) in panels.iter().enumerate() {
            for (i, &x) in panel.iter().enumerate() {
                let y = GAP + row * (SIDE + GAP) + i / SIDE;
                let at = y * width + GAP + column * (SIDE + GAP) + i % SIDE;
                picture[at] = (x.min(1.0) * 255.0).round() as u8;
            }
        }
    }
    let mut encoder = png::Encoder::new(std::fs::File::create(&file)?, width as u32, width as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&picture)?;
    writer.finish()?;
    println!("{file}");
    Ok(())
}
