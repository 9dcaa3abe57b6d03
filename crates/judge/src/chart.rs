//! Lines and points over two axes, as the text of an SVG file.

use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Room for what is written beside the axes.
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 50.0;
const TOP: f64 = 30.0;
const RIGHT: f64 = 150.0;
/// One after another; told apart by those who see no red or no green, too.
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
];
const TICKS: usize = 5;

/// Points with a name.
#[derive(Clone, Debug)]
pub struct Series {
    /// What they are called.
    pub name: String,
    /// In the order in which a line joins them.
    pub points: Vec<(f64, f64)>,
    /// Whether a line does, or each is a dot of its own.
    pub joined: bool,
}

/// What is drawn, with the names of its axes.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// Above all.
    pub title: &'a str,
    /// The name of the axis along.
    pub x: &'a str,
    /// The name of the axis up.
    pub y: &'a str,
    /// What is drawn, the first at the bottom.
    pub series: Vec<Series>,
}

/// From the numbers of an axis to places on the page.
struct Axis {
    least: f64,
    span: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// Over these numbers and 0.
    fn over(numbers: impl Iterator<Item = f64>, from: f64, to: f64) -> Axis {
        let all = numbers.filter(|x| x.is_finite());
        let (least, most) = all.fold((0.0, 0.0), |(a, b): (f64, f64), x| (a.min(x), b.max(x)));
        let span = (most - least).max(1e-9);
        Axis {
            least,
            span,
            from,
            to,
        }
    }

    fn place(&self, x: f64) -> f64 {
        self.from + (x - self.least) / self.span * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (0..=TICKS).map(|i| self.least + self.span * i as f64 / TICKS as f64)
    }
}

impl Chart<'_> {
    /// The text of the file. Both axes show 0.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let along = Axis::over(points().map(|p| p.0), LEFT, WIDTH - RIGHT);
        let up = Axis::over(points().map(|p| p.1), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        text(&mut svg, (LEFT + 40.0, TOP - 12.0), "start", self.title);
        text(
            &mut svg,
            ((along.from + along.to) / 2.0, HEIGHT - 10.0),
            "middle",
            self.x,
        );
        text(&mut svg, (4.0, TOP - 12.0), "start", self.y);
        for y in up.ticks() {
            let (at, from, to) = (up.place(y), along.from, along.to);
            let _ = writeln!(
                svg,
                "<path d=\"M{from:.1} {at:.1}H{to:.1}\" stroke=\"#bbb\"/>"
            );
            text(&mut svg, (from - 6.0, at + 4.0), "end", &short(y));
        }
        for x in along.ticks() {
            let (at, base) = (along.place(x), up.from);
            let _ = writeln!(svg, "<path d=\"M{at:.1} {base:.1}v4\" stroke=\"#bbb\"/>");
            text(&mut svg, (at, base + 18.0), "middle", &short(x));
        }
        for (i, series) in self.series.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let finite = series
                .points
                .iter()
                .filter(|p| p.0.is_finite() && p.1.is_finite());
            let places: Vec<_> = finite.map(|p| (along.place(p.0), up.place(p.1))).collect();
            if series.joined {
                let path: Vec<_> = places
                    .iter()
                    .map(|(x, y)| format!("{x:.1},{y:.1}"))
                    .collect();
                let _ = writeln!(
                    svg,
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" \
                     stroke-width=\"2\"/>",
                    path.join(" ")
                );
            } else {
                let dots: String = (places.iter())
                    .map(|(x, y)| format!("M{x:.1} {y:.1}h0"))
                    .collect();
                let _ = writeln!(
                    svg,
                    "<path d=\"{dots}\" stroke=\"{colour}\" stroke-width=\"3\" \
                     stroke-linecap=\"round\"/>"
                );
            }
            let (x, y) = (along.to + 10.0, TOP + 18.0 * i as f64);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {y:.1}h18\" stroke=\"{colour}\" stroke-width=\"3\"/>"
            );
            text(&mut svg, (x + 24.0, y + 4.0), "start", &series.name);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

/// A number beside an axis.
fn short(x: f64) -> String {
    let text = format!("{x:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_within_the_axes() {
        let series = |joined| Series {
            name: "a < b".into(),
            points: vec![(0.0, 1.0), (0.5, 0.25), (f64::NAN, 1.0)],
            joined,
        };
        let chart = Chart {
            title: "t",
            x: "x",
            y: "y",
            series: vec![series(true), series(false)],
        };
        let svg = chart.svg();
        assert!(svg.contains("points=\"60.0,30.0 490.0,270.0\""), "{svg}");
        assert!(svg.contains("M60.0 30.0h0M490.0 270.0h0"), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
    }
}
