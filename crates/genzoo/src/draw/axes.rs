//! Two axes with ticks and names, and where numbers lie between them.

use super::{Canvas, Colour};

/// The numbers that an axis shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Span {
    /// What holds all these numbers, with a margin of a twentieth on either side.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Span {
        let finite = values.filter(|x| x.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
            (low.min(x), high.max(x))
        });
        if low > high {
            return Span {
                low: 0.0,
                high: 1.0,
            };
        }
        let margin = match (high - low) * 0.05 {
            0.0 => 0.5 * high.abs().max(1e-3),
            margin => margin,
        };
        Span {
            low: low - margin,
            high: high + margin,
        }
    }

    /// Round numbers within, about five of them: multiples of 1, 2 or 5 times a power of ten.
    fn ticks(self) -> Vec<f64> {
        let raw = (self.high - self.low) / 5.0;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power);
        let step = step.into_iter().find(|&step| step >= raw).unwrap_or(raw);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }
}

/// A number with as many places as a step of this size needs.
fn label(x: f64, step: f64) -> String {
    let places = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{x:.places$}")
}

/// Where a plot is drawn.
pub(crate) struct Axes {
    left: i64,
    top: i64,
    size: [usize; 2],
    x: Span,
    y: Span,
}

impl Axes {
    /// Room for the numbers and the name of an axis.
    pub(crate) const LEFT: usize = 90;
    pub(crate) const BELOW: usize = 54;

    /// Axes whose inner corner is at (left, top), with `size` dots each way.
    pub(crate) fn new(left: i64, top: i64, size: [usize; 2], x: Span, y: Span) -> Axes {
        Axes {
            left,
            top,
            size,
            x,
            y,
        }
    }

    /// Where a point lies.
    pub(crate) fn place(&self, x: f64, y: f64) -> [i64; 2] {
        let share = |v: f64, span: Span| ((v - span.low) / (span.high - span.low)).clamp(-1.0, 2.0);
        let across = share(x, self.x) * self.size[0] as f64;
        let up = share(y, self.y) * self.size[1] as f64;
        [
            self.left + across as i64,
            self.top + self.size[1] as i64 - up as i64,
        ]
    }

    /// The frame, a grid with its numbers, and the names of the axes.
    pub(crate) fn frame(&self, canvas: &mut Canvas, [name_x, name_y]: [&str; 2]) {
        self.frame_with(canvas, [name_x, name_y], None);
    }

    /// The same with marks of the caller's own along x.
    pub(crate) fn frame_with(
        &self,
        canvas: &mut Canvas,
        [name_x, name_y]: [&str; 2],
        marks: Option<&[(f64, String)]>,
    ) {
        let bottom = self.top + self.size[1] as i64;
        let step = |ticks: &[f64]| {
            ticks
                .windows(2)
                .next()
                .map_or(1.0, |pair| pair[1] - pair[0])
        };
        let ticks = self.x.ticks();
        let own: Vec<(f64, String)> = ticks
            .iter()
            .map(|&tick| (tick, label(tick, step(&ticks))))
            .collect();
        for (tick, text) in marks.unwrap_or(&own) {
            let [x, _] = self.place(*tick, self.y.low);
            canvas.rectangle(x, self.top, [1, self.size[1]], Canvas::PALE);
            canvas.centred(x, bottom + 8, text, Canvas::BLACK);
        }
        let ticks = self.y.ticks();
        for &tick in &ticks {
            let [_, y] = self.place(self.x.low, tick);
            canvas.rectangle(self.left, y, [self.size[0], 1], Canvas::PALE);
            canvas.right(
                self.left - 8,
                y - 7,
                &label(tick, step(&ticks)),
                Canvas::BLACK,
            );
        }
        let right = self.left + self.size[0] as i64;
        for (from, to) in [
            ([self.left, self.top], [self.left, bottom]),
            ([self.left, bottom], [right, bottom]),
        ] {
            canvas.line(from, to, Canvas::BLACK);
        }
        canvas.centred((self.left + right) / 2, bottom + 32, name_x, Canvas::BLACK);
        canvas.text(self.left, self.top - 24, name_y, Canvas::BLACK);
    }

    /// A point with a bar from low to high.
    pub(crate) fn error_bar(
        &self,
        canvas: &mut Canvas,
        x: f64,
        [low, y, high]: [f64; 3],
        c: Colour,
    ) {
        let [left, from] = self.place(x, low);
        let [_, to] = self.place(x, high);
        canvas.line([left, from], [left, to], c);
        for end in [from, to] {
            canvas.line([left - 5, end], [left + 5, end], c);
        }
        let [x, y] = self.place(x, y);
        canvas.disc(x, y, 5, c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let span = |low, high| Span { low, high };
        assert_eq!(span(-2.6, 2.6).ticks(), [-2.0, 0.0, 2.0]);
        assert_eq!(span(0.0, 1.0).ticks().len(), 6);
        assert_eq!(span(97.0, 99.0).ticks(), [97.0, 97.5, 98.0, 98.5, 99.0]);
        assert_eq!(label(0.30000000000000004, 0.1), "0.3");
        let one = Span::of([3.0, f64::NAN, 3.0].into_iter());
        assert!(one.low < 3.0 && one.high > 3.0);
        assert_eq!(Span::of(std::iter::empty()), span(0.0, 1.0));
    }

    #[test]
    fn corners_are_corners() {
        let span = Span {
            low: 1.0,
            high: 3.0,
        };
        let axes = Axes::new(10, 20, [100, 50], span, span);
        assert_eq!(axes.place(1.0, 1.0), [10, 70]);
        assert_eq!(axes.place(3.0, 3.0), [110, 20]);
    }
}
