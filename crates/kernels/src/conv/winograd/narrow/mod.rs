//! Few source channels: the products of a tile stay in registers.
//!
//! ```text
//! for images, blocks of lines:
//!     source lines between margins, their sums and differences    // [`KINDS`] numbers a pixel
//!     for panel of result channels, line, tile of its pairs:
//!         four products a pair = sums over kernel rows and channels    // in registers
//!         result = sums and differences of the products
//! ```
//!
//! Sums over few channels are short: products that are written to memory and read again would cost
//! what they save. Products of all parts of a kernel row [share](transform::shared) four sums.

mod tile;

use super::{Axis, Form, Group, Kind, PAIRS, chosen, products, transform};
use crate::buffer::Buffer;
use crate::conv::arranged::{Way, Weights};
use crate::conv::gather::{Packed, Plus, each_strip};
use crate::conv::geometry::Conv2d;
use crate::conv::panel::{Limits, Panel};
use crate::conv::plan::{Plan, Run};
use crate::cut::Cut;
use crate::element::Element;
use crate::gemm::Activation;
use crate::simd::{Isa, Kernel, Vector, dispatch};
use std::ops::Range;
use tile::{Lines, Sum};

/// Numbers for a pixel of the source, see [`transform::kinds`].
const KINDS: usize = 4;
/// Bytes of a panel's weights at most: each tile reads them all.
const WEIGHTS: usize = 28 << 10;
/// Bytes of the source lines of one block, about: each panel reads them all.
const BLOCK: usize = 128 << 10;

/// A convolution as pairs of results, whose products are not kept.
pub(in crate::conv) struct Narrow<'a> {
    form: Form<'a>,
    /// Into how many threes and twos the taps of each kernel row are cut.
    parts: [usize; 2],
    /// Columns of zeros before a line of the source.
    left: usize,
    /// Numbers of a line of the source, with what is read beside it.
    pitch: usize,
}

impl Narrow<'_> {
    /// The form of a convolution that is faster this way.
    pub(in crate::conv) fn paying<'a, T: Element>(
        g: &Conv2d,
        plan: &'a Plan,
        isa: Isa,
    ) -> Option<Narrow<'a>> {
        let limits = Limits::of::<T>(isa);
        let form = Form::of(g, plan).filter(|form| form.axis == Axis::Width)?;
        let of_taps = |taps| form.groups().iter().filter(move |group| group.taps == taps);
        let parts = [of_taps(3).count(), of_taps(2).count()];
        let rows = form.rows(form.groups().first()?);
        let is_alike = |group: &Group| {
            let same = |(row, other): (&Run, &Run)| row.dy == other.dy;
            group.rows[1] - group.rows[0] == rows.len()
                && form.rows(group).iter().zip(rows).all(same)
        };
        if !tile::exists(parts, limits)
            || !form.groups().iter().all(is_alike)
            || !rows.windows(2).all(|rows| rows[0].dy + 1 == rows[1].dy)
            // One after the other, threes first.
            || !form.groups().windows(2).all(|groups| {
                groups[0].taps >= groups[1].taps
                    && groups[0].first + groups[0].taps as isize == groups[1].first
            })
        {
            return None;
        }
        // With fewer channels too few numbers are multiplied with a number that was read.
        let pays = form.lines[1] * form.pairs >= PAIRS
            && plan.result[2] >= 2 * limits.lanes
            && form.len() * 2 * limits.lanes * size_of::<T>() <= WEIGHTS;
        let first = form.groups().iter().map(|group| group.first);
        let (least, most) = (first.clone().min()?, first.max()?);
        let left = (-least).max(0) as usize;
        let end = (2 * form.pairs as isize + most).max(0) as usize;
        let pitch = (left + end.max(plan.source[1]) + 2).next_multiple_of(16);
        chosen(pays, Kind::Narrow).then_some(Narrow {
            form,
            parts,
            left,
            pitch,
        })
    }

    /// The kernel rows of each group.
    fn rows(&self) -> &[Run] {
        self.form.rows(&self.form.groups()[0])
    }

    /// What is summed for line `i` of the result, from source lines that begin with `low`.
    fn sum(&self, i: usize, low: usize) -> Sum {
        let [height, _, channels] = self.form.plan.source;
        let (rows, group) = (self.rows(), &self.form.groups()[0]);
        let first = i as isize + rows[0].dy;
        let skipped = (-first).clamp(0, rows.len() as isize);
        let end = (height as isize - first).clamp(skipped, rows.len() as isize);
        let line = (first + skipped - low as isize) * self.line() as isize;
        Sum {
            x: line + self.left as isize + group.first,
            steps: (end - skipped) as usize * channels,
            before: self.form.products() * skipped as usize * channels,
        }
    }

    /// Numbers of a line of the source in all channels and kinds.
    fn line(&self) -> usize {
        self.form.plan.source[2] * KINDS * self.pitch
    }

    pub(in crate::conv) fn flops(&self, g: &Conv2d) -> u64 {
        self.form.flops(g)
    }

    /// The weights by panel, kernel row, channel and product. `fill` is as in [`Packed::new`].
    pub(in crate::conv) fn pack<'a, T: Element>(
        &self,
        (way, g, isa): (Way, &Conv2d, Isa),
        w: Weights<'a, T>,
        bias: Option<&[T]>,
        fill: impl Fn(usize, Panel, &mut [T]),
    ) -> Packed<'a, T> {
        let (form, limits) = (&self.form, Limits::of::<T>(isa));
        let [_, _, channels] = form.plan.source;
        let width = form.plan.result[2].next_multiple_of(limits.lanes);
        let data = w.arranged(way, g, isa, form.len() * width, |data| {
            let most = channels * Limits::WIDEST * limits.lanes;
            let mut of_taps = Buffer::recycled(3 * most);
            let mut rest = data;
            for panel in panels(form, limits) {
                let width = panel.vectors * limits.lanes;
                for r in 0..self.rows().len() {
                    let of_row;
                    let len = form.products() * channels * width;
                    (of_row, rest) = rest.split_at_mut(len);
                    for group in form.groups() {
                        let row = &form.rows(group)[r];
                        for (q, to) in of_taps.chunks_exact_mut(most).take(group.taps).enumerate() {
                            let tap = row.tap.wrapping_add_signed(q as isize * row.tap_step);
                            fill(tap, panel, &mut to[..channels * width]);
                        }
                        let of_channels = of_row.chunks_exact_mut(form.products() * width);
                        for (c, to) in of_channels.enumerate() {
                            let tap = |q| &of_taps[q * most + c * width..][..width];
                            let to = &mut to[group.first_product * width..];
                            let to = &mut to[..group.products() * width];
                            products::row(isa, &[0, 1, 2].map(tap)[..group.taps], to);
                        }
                    }
                }
            }
        });
        Packed::with_bias(data, form.plan.result[2], width, bias)
    }

    /// Computes the whole result.
    pub(in crate::conv) fn gather<T: Element>(
        &self,
        isa: Isa,
        source: &[T],
        packed: &Packed<'_, T>,
        plus: Plus<'_, T>,
        activation: Activation,
        result: &mut [T],
    ) {
        let (form, plan) = (&self.form, self.form.plan);
        let lines = form.lines[1];
        let work = form.len() * lines * form.pairs * plan.result[2] * plan.batch;
        let line = self.line();
        let block = (BLOCK / (line * size_of::<T>())).clamp(1, lines);
        let begin = || {
            let width = 2 * Limits::of::<T>(isa).lanes;
            Unit {
                narrow: self,
                isa,
                packed,
                plus: std::ptr::null(),
                activation,
                result: std::ptr::null_mut(),
                lines: Buffer::filled((block + self.rows().len() - 1) * line, T::ZERO),
                sums: Buffer::filled(block, Sum::default()),
                zeros: Buffer::filled(width, T::ZERO),
            }
        };
        each_strip(
            plan,
            (work, lines),
            source,
            plus,
            result,
            begin,
            |unit, strip| {
                unit.result = strip.result;
                unit.plus = strip.plus;
                for lines in Cut::new(strip.of(lines), block).parts() {
                    unit.block(strip.source, lines);
                }
            },
        );
    }
}

/// Panels of one or two vectors.
fn panels(form: &Form<'_>, limits: Limits) -> impl Iterator<Item = Panel> + Clone + use<> {
    limits.panels(form.plan.result[2], usize::MAX)
}

/// One image of the result.
struct Unit<'a, T: Element> {
    narrow: &'a Narrow<'a>,
    isa: Isa,
    packed: &'a Packed<'a, T>,
    /// What is added to the result, or null.
    plus: *const T,
    activation: Activation,
    result: *mut T,
    /// Source lines of the block; by channel and kind in each.
    lines: Buffer<T>,
    /// By line of the result.
    sums: Buffer<Sum>,
    /// A bias where there is none.
    zeros: Buffer<T>,
}

impl<T: Element> Unit<'_, T> {
    /// Some lines of the result.
    fn block(&mut self, source: &[T], lines: Range<usize>) {
        let (form, limits) = (&self.narrow.form, Limits::of::<T>(self.isa));
        let reached = form.source_of(&form.groups()[0], &lines);
        let low = reached.start;
        self.source_lines(source, reached);
        for (i, sum) in lines.clone().zip(self.sums.iter_mut()) {
            *sum = self.narrow.sum(i, low);
        }
        let (first, pairs) = form.pairs_of(lines.start, form.plan.result[2]);
        let mut before = 0;
        for panel in panels(form, limits) {
            let at = first + panel.first;
            let bias = &self.packed.bias;
            let tiles = Lines {
                x: self.lines.as_ptr(),
                pitch: self.narrow.pitch,
                sums: &self.sums[..lines.len()],
                w: self.packed.data[before..].as_ptr(),
                y: self.result.wrapping_add(at),
                y_line: form.plan.result[1] * form.plan.result[2],
                pairs,
                last: panel.last,
                plus: if self.plus.is_null() {
                    self.plus
                } else {
                    self.plus.wrapping_add(at)
                },
                bias: if bias.is_empty() {
                    self.zeros.as_ptr()
                } else {
                    bias[panel.first..].as_ptr()
                },
                activation: self.activation,
            };
            // SAFETY: kernel rows that reach the source find their lines in the block, and margins
            // hold every column that taps reach; these lines of the result are this unit's; weights
            // are in the order that tiles read them.
            unsafe { tiles.run(self.isa, self.narrow.parts, panel.vectors) };
            before += form.len() * panel.vectors * limits.lanes;
        }
    }

    /// Copies lines of the source between their margins, and makes their sums and differences.
    fn source_lines(&mut self, source: &[T], lines: Range<usize>) {
        let [_, width, channels] = self.narrow.form.plan.source;
        let (left, pitch) = (self.narrow.left, self.narrow.pitch);
        let from = source[lines.start * width * channels..][..lines.len() * width * channels]
            .chunks_exact((width * channels).max(1));
        let to = self.lines.chunks_exact_mut(channels * KINDS * pitch);
        for (from, to) in from.zip(to) {
            for (c, to) in to.chunks_exact_mut(KINDS * pitch).enumerate() {
                let own = &mut to[left..left + width];
                if channels == 1 {
                    own.copy_from_slice(from);
                } else {
                    let of_channel = from[c..].iter().step_by(channels);
                    own.iter_mut().zip(of_channel).for_each(|(to, x)| *to = *x);
                }
            }
        }
        dispatch(
            self.isa,
            Neighbours(&mut self.lines, pitch, lines.len() * channels),
        );
    }
}

/// Sums and differences of neighbours in lines of `pitch` numbers, in the three lines after each.
struct Neighbours<'a, T>(&'a mut [T], usize, usize);

impl<T: Element> Kernel<T> for Neighbours<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = T>>(self) {
        let Neighbours(lines, pitch, count) = self;
        assert!(lines.len() >= count * KINDS * pitch && pitch.is_multiple_of(V::LANES));
        for line in 0..count {
            let first = lines[line * KINDS * pitch..].as_mut_ptr();
            for k in (0..pitch).step_by(V::LANES) {
                let at = first.wrapping_add(k);
                // SAFETY: inside `lines`, by the assertion.
                unsafe {
                    let kinds = transform::kinds([0, 1, 2].map(|q| V::load_ptr(at.add(q))));
                    for (kind, d) in kinds.into_iter().enumerate() {
                        d.store_ptr(at.add((kind + 1) * pitch));
                    }
                }
            }
        }
    }
}
