//! Pictures with words: images in labelled grids, points and bars on axes.

mod axes;
mod canvas;
mod font;

pub(crate) use axes::{Axes, Span};
pub(crate) use canvas::{Canvas, Colour, class_colour};
