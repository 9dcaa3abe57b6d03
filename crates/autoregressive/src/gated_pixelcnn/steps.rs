//! Gated PixelCNN one pixel at a time: the vertical stack a row at a time, as soon as the row
//! above is known, the horizontal one a pixel at a time.

use super::{Gated, Layer};
use crate::causal::{At, Begin, Cached, Steps};
use crate::conv_cache::{Product, Reach, Rows, Step};
use crate::conv_gate::gate_rows;
use crate::conv_masked::MaskedConv;
use grad::Tensor;
use grad::kernels::elementwise;
use grad::kernels::gemm::Activation::Identity;
use nn::Bound;
use nn::layers::{Conv, Embedding};

/// The layers with their parameters.
pub(super) struct GatedSteps {
    channels: usize,
    layers: Vec<StepLayer>,
}

struct StepLayer {
    wide: (Product, Reach),
    tall: (Product, Reach),
    link: Product,
    across: Step,
    skip: Step,
    residual: Option<Step>,
    class: [Option<Tensor<f32>>; 2],
}

/// An unmasked convolution whose used taps are the first ones.
fn product(layer: &Conv, p: &Bound<f32>, image: [usize; 4]) -> (Product, Reach) {
    let g = layer.geometry(&image.into());
    let reach = Reach {
        above: g.padding.top,
        columns: g.kernel[1],
        taps: g.taps.count(),
        channels: g.in_channels,
    };
    let bias = layer.bias().expect("these layers have a bias");
    let product = Product::new(reach.len(), p[layer.weight()].value(), p[bias].value());
    (product, reach)
}

impl GatedSteps {
    pub(super) fn new(of: &Gated, p: &Bound<f32>) -> GatedSteps {
        let [height, width] = of.size;
        let conv = |layer: &Conv| product(layer, p, [0, height, width, layer.inputs()]);
        let step = |layer: &MaskedConv| Step::new(layer, p);
        let table = |table: &Option<Embedding>| {
            table
                .as_ref()
                .map(|table| p[table.weight()].value().clone())
        };
        let layer = |layer: &Layer| StepLayer {
            wide: conv(&layer.wide),
            tall: conv(&layer.tall),
            link: conv(&layer.link).0,
            across: step(&layer.across),
            skip: step(&layer.skip),
            residual: layer.residual.as_ref().map(step),
            class: [table(&layer.class[0]), table(&layer.class[1])],
        };
        GatedSteps {
            channels: of.channels,
            layers: of.layers.iter().map(layer).collect(),
        }
    }
}

impl Steps for GatedSteps {
    fn begin(&self, images: &Begin) -> Box<dyn Cached + '_> {
        let (count, width) = (images.count, images.size[1]);
        let (p, numbers) = (self.channels, |n: usize| vec![0.0; count * n]);
        let is_conditional = self.layers[0].class[0].is_some();
        let classes = match (is_conditional, images.classes) {
            (false, _) => vec![0; count],
            (true, Some(classes)) if classes.len() == count => {
                classes.iter().map(|&class| class as usize).collect()
            }
            (true, found) => panic!("gated pixelcnn: {count} images of classes {found:?}"),
        };
        let column = |layer: &StepLayer| Column {
            wide: Rows::new(layer.wide.1, count, width),
            tall: Rows::new(layer.tall.1, count, width),
            link: numbers(width * 2 * p),
            input: Rows::new(layer.across.reach(), count, width),
            across: numbers(2 * p),
            out: numbers(p),
            skip: numbers(p),
            residual: numbers(p),
        };
        Box::new(Columns {
            of: self,
            width,
            classes,
            x: numbers(width * self.layers[0].across.reach().channels),
            layers: self.layers.iter().map(column).collect(),
            map: [
                numbers(width * p),
                numbers(width * p),
                numbers(width * 2 * p),
            ],
            sum: numbers(2 * p),
            h: numbers(p),
            s: numbers(p),
        })
    }
}

/// What a walk keeps. All are [images, ..].
struct Columns<'a> {
    of: &'a GatedSteps,
    width: usize,
    classes: Vec<usize>,
    /// The row at hand as the first layer sees it: [images, W, C].
    x: Vec<f32>,
    layers: Vec<Column>,
    /// A row of the vertical stack: v, after `wide`, after `tall`.
    map: [Vec<f32>; 3],
    sum: Vec<f32>,
    h: Vec<f32>,
    s: Vec<f32>,
}

/// One layer's part of that: the vertical stack's row, the horizontal stack's pixel.
struct Column {
    wide: Rows,
    tall: Rows,
    /// [images, W, 2 channels].
    link: Vec<f32>,
    input: Rows,
    across: Vec<f32>,
    out: Vec<f32>,
    skip: Vec<f32>,
    residual: Vec<f32>,
}

/// Adds each image's class vector to its rows of x.
fn add_class(table: &Option<Tensor<f32>>, classes: &[usize], x: &mut [f32]) {
    let Some(table) = table else { return };
    let width = table.shape()[1];
    let rows = x.len() / width / classes.len().max(1);
    for (row, x) in x.chunks_exact_mut(width).enumerate() {
        let at = classes[row / rows] * width;
        elementwise::add_assign(x, &table.data()[at..at + width]);
    }
}

impl Columns<'_> {
    /// The vertical stack at `row`, of which nothing is known yet.
    fn begin_row(&mut self, row: usize) {
        let p = self.of.channels;
        let [v, wide, tall] = &mut self.map;
        for (i, (layer, column)) in self.of.layers.iter().zip(&mut self.layers).enumerate() {
            // The first layer's newest row is the one above, which has just become known.
            let newest = if i == 0 {
                row.checked_sub(1)
            } else {
                Some(row)
            };
            if let Some(newest) = newest {
                column
                    .wide
                    .put_row(newest, if i == 0 { &self.x } else { v });
                layer
                    .wide
                    .0
                    .run(column.wide.window_row(newest), wide, Identity);
                column.tall.put_row(newest, wide);
            }
            layer
                .tall
                .0
                .run(column.tall.window_row(row), tall, Identity);
            layer.link.run(tall, &mut column.link, Identity);
            if layer.residual.is_some() {
                add_class(&layer.class[1], &self.classes, tall);
                gate_rows(tall, p, v);
            }
        }
    }
}

impl Cached for Columns<'_> {
    fn step<'a>(&'a mut self, at: At, _: &'a [f32]) -> &'a [f32] {
        let (at, colour) = (at.pixel, at.colour);
        let [row, col] = at;
        if col == 0 && colour == 0 {
            self.begin_row(row);
        }
        let (p, width) = (self.of.channels, self.width);
        let (h, s, sum) = (&mut self.h[..], &mut self.s[..], &mut self.sum[..]);
        for (i, (layer, column)) in self.of.layers.iter().zip(&mut self.layers).enumerate() {
            if i > 0 {
                column.input.put(at, h);
            }
            layer.across.run(
                colour,
                column.input.window(at),
                &mut column.across,
                Identity,
            );
            sum.copy_from_slice(&column.across);
            let links = column.link.chunks_exact(width * 2 * p);
            for (sum, link) in sum.chunks_exact_mut(2 * p).zip(links) {
                elementwise::add_assign(sum, &link[col * 2 * p..][..2 * p]);
            }
            add_class(&layer.class[0], &self.classes, sum);
            gate_rows(sum, p, &mut column.out);
            layer
                .skip
                .run(colour, &column.out, &mut column.skip, Identity);
            if i == 0 {
                s.copy_from_slice(&column.skip);
            } else {
                elementwise::add_assign(s, &column.skip);
            }
            if let Some(residual) = &layer.residual {
                residual.run(colour, &column.out, &mut column.residual, Identity);
                if i == 0 {
                    h.copy_from_slice(&column.residual);
                } else {
                    elementwise::add_assign(h, &column.residual);
                }
            }
        }
        s
    }

    fn fix(&mut self, at: At, pixel: &[f32]) {
        let [_, col] = at.pixel;
        let colours = self.layers[0].input.channels();
        self.layers[0].input.put(at.pixel, pixel);
        let rows = self.x.chunks_exact_mut(self.width * colours);
        for (row, pixel) in rows.zip(pixel.chunks_exact(colours)) {
            row[col * colours..][..colours].copy_from_slice(pixel);
        }
    }
}
