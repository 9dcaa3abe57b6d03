//! From curves to pixels: a slant, a turn, a size, a place, a thickness, and soft edges.

use rand_core::Rng;

use super::strokes::{Curve, Point, around, uniform};

/// Height and width of an image.
pub(super) const SIDE: usize = 28;
/// Straight pieces a curve is cut into.
const PIECES: usize = 10;

/// Draw the curves into a black image: how is drawn from `rng`.
pub(super) fn draw(curves: &[Curve], rng: &mut impl Rng, image: &mut [u8]) {
    let placed = Placement::random(rng);
    let pen = Pen::random(rng);
    let mut ink = [0.0f32; SIDE * SIDE];
    for (k, curve) in curves.iter().enumerate() {
        let curve = curve.map(|point| placed.apply(point));
        let mut from = curve[0];
        for piece in 1..=PIECES {
            let t = piece as f32 / PIECES as f32;
            let to = bezier(&curve, t);
            pen.segment(from, to, pen.radius(k as f32 + t), &mut ink);
            from = to;
        }
    }
    for (pixel, ink) in image.iter_mut().zip(ink) {
        *pixel = (pen.black * ink + 0.5) as u8;
    }
}

fn bezier(curve: &Curve, t: f32) -> Point {
    let s = 1.0 - t;
    let weights = [s * s * s, 3.0 * s * s * t, 3.0 * s * t * t, t * t * t];
    let mut point = [0.0; 2];
    for (corner, weight) in curve.iter().zip(weights) {
        point[0] += weight * corner[0];
        point[1] += weight * corner[1];
    }
    point
}

/// From the unit square to pixels.
struct Placement {
    /// Rows of the matrix, and then the middle.
    matrix: [[f32; 2]; 2],
    centre: Point,
    /// How much the page bends: second-order terms.
    bend: [f32; 2],
}

impl Placement {
    fn random(rng: &mut impl Rng) -> Placement {
        let height = uniform(rng, 14.5, 20.0);
        let width = height * uniform(rng, 0.62, 0.98);
        let slant = around(rng, 0.2) + 0.08;
        // Half the tangent: a turn without sine or cosine.
        let t = around(rng, 0.06);
        let (cos, sin) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
        let shear = -slant * height;
        let matrix = [
            [cos * width, cos * shear - sin * height],
            [sin * width, sin * shear + cos * height],
        ];
        Placement {
            matrix,
            centre: [14.0 + around(rng, 1.0), 14.0 + around(rng, 0.9)],
            bend: [around(rng, 0.16), around(rng, 0.12)],
        }
    }

    fn apply(&self, [x, y]: Point) -> Point {
        let (u, v) = (x - 0.5, y - 0.5);
        let (x, y) = (u + self.bend[0] * (v * v - 0.1), v + self.bend[1] * u * u);
        let [a, b] = self.matrix;
        [
            self.centre[0] + a[0] * x + a[1] * y,
            self.centre[1] + b[0] * x + b[1] * y,
        ]
    }
}

/// A pen: how thick, how the pressure changes along the way, how soft, how black.
struct Pen {
    thickness: f32,
    pressure: f32,
    softness: f32,
    black: f32,
}

impl Pen {
    fn random(rng: &mut impl Rng) -> Pen {
        Pen {
            thickness: uniform(rng, 0.65, 1.75),
            pressure: around(rng, 0.08),
            softness: uniform(rng, 0.45, 0.85),
            black: uniform(rng, 225.0, 255.0),
        }
    }

    /// Half the width of the line after `way` curves.
    fn radius(&self, way: f32) -> f32 {
        let factor = 1.0 + self.pressure * (way - 1.5);
        self.thickness * factor.clamp(0.6, 1.5)
    }

    /// Ink falls off linearly over 2 · softness pixels around the edge; strokes do not add up.
    fn segment(&self, [x0, y0]: Point, [x1, y1]: Point, radius: f32, ink: &mut [f32]) {
        let (dx, dy) = (x1 - x0, y1 - y0);
        let squared = dx * dx + dy * dy;
        let inverse = if squared > 1e-12 { 1.0 / squared } else { 0.0 };
        let reach = radius + self.softness;
        let fade = 0.5 / self.softness;
        // Pixel centres lie at k + 0.5.
        let range = |a: f32, b: f32| {
            let low = (a.min(b) - reach).max(0.0) as usize;
            let high = (a.max(b) + reach).clamp(0.0, SIDE as f32) as usize;
            low..(high + 1).min(SIDE)
        };
        for row in range(y0, y1) {
            let py = row as f32 + 0.5 - y0;
            for column in range(x0, x1) {
                let px = column as f32 + 0.5 - x0;
                let t = ((px * dx + py * dy) * inverse).clamp(0.0, 1.0);
                let (qx, qy) = (px - t * dx, py - t * dy);
                let distance = (qx * qx + qy * qy).sqrt();
                let cover = ((reach - distance) * fade).clamp(0.0, 1.0);
                let value = &mut ink[row * SIDE + column];
                *value = value.max(cover);
            }
        }
    }
}
