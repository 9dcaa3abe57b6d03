//! Lines over two axes, as an SVG file.

use std::fmt::Write;
use std::path::Path;

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

/// A line with its name.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// What is drawn, with the names of its axes.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    pub(crate) lines: Vec<Line>,
}

impl Chart<'_> {
    /// Writes the file, whole or not at all.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        Ok(train::write_whole(path, self.svg().as_bytes())?)
    }

    /// The text of the file. Both axes begin at 0.
    pub(crate) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let most_x = points().map(|p| p.0).fold(0.0, f64::max).max(1e-9);
        let most_y = points().map(|p| p.1).fold(0.0, f64::max).max(1e-9);
        let at = |(x, y): (f64, f64)| {
            let x = LEFT + x / most_x * (WIDTH - LEFT - RIGHT);
            let y = HEIGHT - BOTTOM - y / most_y * (HEIGHT - TOP - BOTTOM);
            (x, y)
        };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        let text = |svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str| {
            let words = words.replace('&', "&amp;").replace('<', "&lt;");
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
            );
        };
        text(&mut svg, (LEFT, TOP - 12.0), "start", self.title);
        text(
            &mut svg,
            ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10.0),
            "middle",
            self.x,
        );
        text(&mut svg, (4.0, TOP - 12.0), "start", self.y);
        for tick in 0..=TICKS {
            let share = tick as f64 / TICKS as f64;
            let (x, y) = at((share * most_x, share * most_y));
            let (left, base) = at((0.0, 0.0));
            let right = WIDTH - RIGHT;
            let _ = writeln!(
                svg,
                "<path d=\"M{left:.1} {y:.1}H{right:.1}M{x:.1} {base:.1}v4\" stroke=\"#bbb\"/>"
            );
            text(
                &mut svg,
                (left - 6.0, y + 4.0),
                "end",
                &short(share * most_y),
            );
            text(&mut svg, (x, base + 18.0), "middle", &short(share * most_x));
        }
        for (i, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let path: Vec<String> = (line.points.iter())
                .map(|&point| at(point))
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            let y = TOP + 18.0 * i as f64;
            let x = WIDTH - RIGHT + 10.0;
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {y:.1}h18\" stroke=\"{colour}\" stroke-width=\"2\"/>"
            );
            text(&mut svg, (x + 24.0, y + 4.0), "start", &line.name);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// A number beside an axis.
fn short(x: f64) -> String {
    let text = format!("{x:.3}");
    text.trim_end_matches('0').trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_within_the_axes() {
        let line = Line {
            name: "a < b".into(),
            points: vec![(0.0, 1.0), (0.5, 0.25)],
        };
        let chart = Chart {
            title: "t",
            x: "x",
            y: "y",
            lines: vec![line],
        };
        let svg = chart.svg();
        assert!(svg.contains("points=\"60.0,30.0 490.0,270.0\""), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
    }
}
