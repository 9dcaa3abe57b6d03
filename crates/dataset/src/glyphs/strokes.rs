//! How a hand draws the ten digits: each as a few curves, in several ways of writing.

use rand_core::Rng;

/// A point of the unit square: x to the right, y downwards.
pub(super) type Point = [f32; 2];

/// A cubic Bézier curve.
pub(super) type Curve = [Point; 4];

/// A uniform number of [low, high), with 24 bits.
pub(super) fn uniform(rng: &mut impl Rng, low: f32, high: f32) -> f32 {
    let unit = (rng.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32);
    low + (high - low) * unit
}

/// A number around 0, of standard deviation `deviation`: the sum of four uniform ones.
pub(super) fn around(rng: &mut impl Rng, deviation: f32) -> f32 {
    let sum: f32 = (0..4).map(|_| uniform(rng, -1.0, 1.0)).sum();
    sum * deviation * 0.866_025_4
}

fn chance(rng: &mut impl Rng, probability: f32) -> bool {
    uniform(rng, 0.0, 1.0) < probability
}

/// A path of smooth pieces: consecutive pieces share a point.
struct Path {
    at: Point,
    curves: Vec<Curve>,
}

impl Path {
    fn from(x: f32, y: f32) -> Path {
        Path {
            at: [x, y],
            curves: Vec::new(),
        }
    }

    fn line(mut self, x: f32, y: f32) -> Path {
        let [a, b] = self.at;
        let at = |t: f32| [a + (x - a) * t, b + (y - b) * t];
        self.curves
            .push([self.at, at(1.0 / 3.0), at(2.0 / 3.0), [x, y]]);
        self.at = [x, y];
        self
    }

    /// To the last point, leaving towards the first and arriving from the second.
    fn curve(mut self, a: Point, b: Point, end: Point) -> Path {
        self.curves.push([self.at, a, b, end]);
        self.at = end;
        self
    }

    /// A new stroke from here.
    fn lift(mut self, x: f32, y: f32) -> Path {
        self.at = [x, y];
        self
    }
}

/// The curves of one digit, in one of the ways it is written, each point a little off.
pub(super) fn of(class: u32, rng: &mut impl Rng) -> Vec<Curve> {
    let path = match class {
        0 => zero(rng),
        1 => one(rng),
        2 => two(rng),
        3 => three(rng),
        4 => four(rng),
        5 => five(rng),
        6 => six(rng),
        7 => seven(rng),
        8 => eight(rng),
        _ => nine(rng),
    };
    shake(path.curves, rng)
}

/// An ellipse from its top, counter-clockwise, as four quarter turns.
fn ellipse(path: Path, [x, y]: Point, a: f32, b: f32) -> Path {
    // The usual constant: a cubic is within 0.03% of the quarter circle.
    let (k, l) = (a * 0.552_284_8, b * 0.552_284_8);
    path.lift(x, y - b)
        .curve([x - k, y - b], [x - a, y - l], [x - a, y])
        .curve([x - a, y + l], [x - k, y + b], [x, y + b])
        .curve([x + k, y + b], [x + a, y + l], [x + a, y])
        .curve([x + a, y - l], [x + k, y - b], [x, y - b])
}

fn zero(rng: &mut impl Rng) -> Path {
    let wide = uniform(rng, 0.24, 0.42);
    let path = ellipse(Path::from(0.5, 0.0), [0.5, 0.5], wide, 0.5);
    if chance(rng, 0.12) {
        return path
            .lift(0.5 + wide * 0.6, 0.15)
            .line(0.5 - wide * 0.6, 0.85);
    }
    path
}

fn one(rng: &mut impl Rng) -> Path {
    let path = Path::from(0.5, 1.0).line(0.5, 0.0);
    let flag = uniform(rng, 0.0, 1.0);
    if flag < 0.45 {
        return path;
    }
    let reach = uniform(rng, 0.12, 0.3);
    let path = path.line(0.5 - reach, reach * uniform(rng, 0.5, 1.1));
    if flag < 0.8 {
        return path;
    }
    let foot = uniform(rng, 0.15, 0.3);
    path.lift(0.5 - foot, 1.0).line(0.5 + foot, 1.0)
}

fn two(rng: &mut impl Rng) -> Path {
    let low = uniform(rng, 0.12, 0.28);
    let path = Path::from(0.15, low + 0.05)
        .curve([0.2, -0.05], [0.55, -0.06], [0.7, 0.08])
        .curve([0.95, 0.3], [0.65, 0.55], [0.15, 0.95]);
    if chance(rng, 0.4) {
        // A loop at the foot.
        let lift = uniform(rng, 0.08, 0.22);
        return path
            .curve([0.0, 1.08], [0.0, 1.0 - 1.5 * lift], [0.2, 1.0 - lift])
            .curve([0.45, 0.92], [0.6, 1.04], [0.9, 0.95]);
    }
    path.line(0.88, uniform(rng, 0.92, 1.0))
}

fn three(rng: &mut impl Rng) -> Path {
    let waist = uniform(rng, 0.4, 0.5);
    let path = if chance(rng, 0.2) {
        // A flat top.
        Path::from(0.18, 0.02).line(0.8, 0.0).line(0.42, waist)
    } else {
        Path::from(0.2, 0.12)
            .curve([0.35, -0.05], [0.8, -0.05], [0.78, 0.22])
            .curve([0.76, 0.38], [0.6, waist], [0.4, waist])
    };
    path.curve([0.7, waist - 0.02], [0.9, 0.58], [0.85, 0.76])
        .curve([0.8, 1.02], [0.4, 1.06], [0.12, uniform(rng, 0.82, 0.94)])
}

fn four(rng: &mut impl Rng) -> Path {
    let bar = uniform(rng, 0.55, 0.7);
    if chance(rng, 0.4) {
        // Closed: one slanting side.
        return Path::from(0.68, 1.0)
            .line(0.68, 0.0)
            .line(0.1, bar)
            .line(0.95, bar);
    }
    let left = uniform(rng, 0.1, 0.25);
    Path::from(left + 0.08, uniform(rng, 0.0, 0.1))
        .curve([left, 0.3], [left - 0.05, bar], [left + 0.08, bar])
        .line(0.9, bar - uniform(rng, 0.0, 0.08))
        .lift(0.75, uniform(rng, 0.0, 0.25))
        .line(0.7, 1.0)
}

fn five(rng: &mut impl Rng) -> Path {
    let waist = uniform(rng, 0.38, 0.48);
    Path::from(0.85, uniform(rng, -0.04, 0.06))
        .line(0.28, 0.02)
        .line(0.22, waist)
        .curve([0.5, waist - 0.12], [0.88, waist], [0.86, 0.7])
        .curve([0.84, 1.05], [0.35, 1.06], [0.12, uniform(rng, 0.82, 0.96)])
}

fn six(rng: &mut impl Rng) -> Path {
    let (top, wide) = (uniform(rng, 0.45, 0.55), uniform(rng, 0.26, 0.36));
    let left = 0.5 - wide;
    Path::from(uniform(rng, 0.55, 0.8), 0.0)
        .curve([0.4, 0.1], [left, 0.4], [left, 0.72])
        .curve([left, 0.95], [0.38, 1.0], [0.5, 1.0])
        .curve([0.75, 1.0], [0.5 + wide, 0.9], [0.5 + wide, 0.74])
        .curve([0.5 + wide, top], [0.42, top - 0.06], [left + 0.01, 0.76])
}

fn seven(rng: &mut impl Rng) -> Path {
    let foot = uniform(rng, 0.25, 0.5);
    let path = Path::from(0.1, uniform(rng, 0.0, 0.12))
        .line(0.85, uniform(rng, -0.03, 0.06))
        .curve([0.7, 0.3], [foot + 0.12, 0.6], [foot, 1.0]);
    if chance(rng, 0.3) {
        let y = uniform(rng, 0.42, 0.56);
        return path.lift(0.28, y + 0.03).line(0.82, y - 0.02);
    }
    path
}

fn eight(rng: &mut impl Rng) -> Path {
    let waist = uniform(rng, 0.42, 0.5);
    let (above, below) = (uniform(rng, 0.22, 0.32), uniform(rng, 0.28, 0.38));
    if chance(rng, 0.35) {
        let path = ellipse(Path::from(0.5, 0.0), [0.5, waist / 2.0], above, waist / 2.0);
        let half = (1.0 - waist) / 2.0;
        return ellipse(path, [0.5, 1.0 - half], below, half);
    }
    // One stroke: an S, and back up.
    Path::from(0.5 + above, 0.12)
        .curve([0.6, -0.05], [0.5 - above, -0.04], [0.5 - above, 0.2])
        .curve(
            [0.5 - above, waist],
            [0.5 + below, waist],
            [0.5 + below, 0.78],
        )
        .curve(
            [0.5 + below, 1.07],
            [0.5 - below, 1.07],
            [0.5 - below, 0.78],
        )
        .curve(
            [0.5 - below, waist + 0.05],
            [0.5 + above, waist],
            [0.5 + above, 0.12],
        )
}

fn nine(rng: &mut impl Rng) -> Path {
    let (wide, deep) = (uniform(rng, 0.24, 0.34), uniform(rng, 0.2, 0.27));
    let right = 0.5 + wide;
    let k = 0.552_284_8;
    let path = Path::from(right, deep)
        .curve([right, deep * (1.0 - k)], [0.5 + wide * k, 0.0], [0.5, 0.0])
        .curve(
            [0.5 - wide * k, 0.0],
            [0.5 - wide, deep * (1.0 - k)],
            [0.5 - wide, deep],
        )
        .curve(
            [0.5 - wide, deep * 1.9],
            [right - 0.1, deep * 2.5],
            [right, deep],
        );
    if chance(rng, 0.5) {
        return path.line(right - uniform(rng, 0.0, 0.15), 1.0);
    }
    let hook = uniform(rng, 0.2, 0.4);
    path.curve([right + 0.02, 0.7], [right - 0.05, 1.0], [0.55, 1.0])
        .curve([0.45, 1.0], [0.35, 0.97], [0.5 - hook * 0.7, 0.88])
}

/// Move the points: ends and joints alike where curves meet, handles freely.
fn shake(mut curves: Vec<Curve>, rng: &mut impl Rng) -> Vec<Curve> {
    const END: f32 = 0.028;
    const HANDLE: f32 = 0.05;
    let mut last: Option<(Point, Point)> = None;
    for curve in &mut curves {
        let start = curve[0];
        curve[0] = match last {
            Some((before, after)) if before == start => after,
            _ => start.map(|v| v + around(rng, END)),
        };
        for handle in [1, 2] {
            curve[handle] = curve[handle].map(|v| v + around(rng, HANDLE));
        }
        let end = curve[3];
        curve[3] = end.map(|v| v + around(rng, END));
        last = Some((end, curve[3]));
    }
    curves
}
