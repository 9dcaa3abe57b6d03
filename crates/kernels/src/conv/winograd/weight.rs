//! Weight gradient: the adjoint of the transforms around sums of outer products.
//!
//! ```text
//! for images, blocks of lines, groups:
//!     planes = transformed x
//!     for panel of output channels:
//!         gradients of the products = adjoint of the transform of results, of gy
//!         for kernel row, product, tile of channels of x:
//!             microkernel over the pairs of the block
//! gw = adjoint of the transform of weights, of the sums
//! ```

use super::gather::planes;
use super::lines::FromResults;
use super::products::FromProducts;
use super::{Form, Group, Next};
use crate::buffer::Buffer;
use crate::conv::micro;
use crate::conv::panel::{Limits, Panel, cut};
use crate::conv::plan::Run;
use crate::cut::Cut;
use crate::element::Element;
use crate::simd::Isa;
use std::ops::Range;

/// Pairs of one block of lines, about.
const BLOCK_PAIRS: usize = 192;

/// The sum over some images, for some panels of output channels.
pub(in crate::conv) struct Sum<'a, T, P> {
    pub(in crate::conv) form: &'a Form<'a>,
    pub(in crate::conv) isa: Isa,
    pub(in crate::conv) x: &'a [T],
    pub(in crate::conv) gy: &'a [T],
    pub(in crate::conv) gw: *mut T,
    /// Whether gw is overwritten, not added to.
    pub(in crate::conv) fresh: bool,
    /// Overwritten, unless it is null.
    pub(in crate::conv) gb: *mut T,
    pub(in crate::conv) panels: P,
}

/// What a job holds besides its sums.
struct Scratch<T: Element> {
    planes: Buffer<T>,
    /// The gradients of the products, a panel at a time.
    products: Buffer<T>,
    zeros: Buffer<T>,
    /// By group, product, kernel row and channel: the sums, `width` channels of the result.
    sums: Buffer<T>,
    width: usize,
}

/// Some lines of one image.
struct Block<'a, T> {
    x: &'a [T],
    gy: &'a [T],
    lines: Range<usize>,
    /// Whether sums that no earlier line has reached are overwritten.
    fresh: bool,
}

/// What the tiles of a group and panel have in common.
struct Part<'a> {
    group: &'a Group,
    /// The lines of x that were transformed.
    source: Range<usize>,
    panel: Panel,
    /// Where the panel begins among the sums' channels.
    at: usize,
}

impl<T: Element, P: Iterator<Item = Panel> + Clone> Sum<'_, T, P> {
    /// Adds images [first, end).
    pub(in crate::conv) fn images(&self, first: usize, end: usize) {
        let (form, plan) = (self.form, self.form.plan);
        let lanes = Limits::of::<T>(self.isa).lanes;
        let [from, to] = [&plan.source, &plan.result].map(|image| image.iter().product::<usize>());
        let block = BLOCK_PAIRS.div_ceil(form.pairs).clamp(1, form.lines[1]);
        let width = self.panels.clone().map(|panel| panel.vectors * lanes).sum();
        let mut scratch = Scratch {
            planes: Buffer::recycled(4 * form.reach(block) * form.line()),
            products: Buffer::recycled(4 * block * form.pairs * Limits::WIDEST * lanes),
            zeros: Buffer::filled(plan.source[2], T::ZERO),
            sums: Buffer::recycled(form.len() * width),
            width,
        };
        for panel in self.panels.clone().filter(|_| !self.gb.is_null()) {
            // SAFETY: the panel's part of the bias's gradient belongs to this job.
            unsafe {
                let gb = self.gb.add(panel.first);
                (0..panel.count).for_each(|i| gb.add(i).write(T::ZERO));
            }
        }
        self.clear_unreached(&mut scratch);
        for n in first..end {
            for lines in Cut::new(0..form.lines[1], block.max(1)).parts() {
                let block = Block {
                    x: &self.x[n * from..][..from],
                    gy: &self.gy[n * to..][..to],
                    lines,
                    fresh: n == first,
                };
                self.block(&mut scratch, &block);
            }
        }
        self.finish(&scratch);
    }

    /// Where the sums of a product and kernel row begin.
    fn sums_of(&self, group: &Group, k: usize, row: &Run, width: usize) -> usize {
        let channels = self.form.plan.source[2];
        let rows = group.rows[1] - group.rows[0];
        (group.before + k * rows * channels + row.before) * width
    }

    /// Sets to 0 the sums of kernel rows that only meet lines beside the image.
    fn clear_unreached(&self, scratch: &mut Scratch<T>) {
        let form = self.form;
        let len = form.plan.source[2] * scratch.width;
        for group in form.groups() {
            for row in form.rows(group) {
                let [first, end] = form.reached(row);
                if first == end {
                    for k in 0..group.products() {
                        let at = self.sums_of(group, k, row, scratch.width);
                        scratch.sums[at..][..len].fill(T::ZERO);
                    }
                }
            }
        }
    }

    /// Adds some lines of one image.
    fn block(&self, scratch: &mut Scratch<T>, block: &Block<'_, T>) {
        let (form, limits) = (self.form, Limits::of::<T>(self.isa));
        for (number, group) in form.groups().iter().enumerate() {
            let source = form.source_of(group, &block.lines);
            let to = (&mut scratch.planes[..], source.len() * form.line());
            let from = (block.x.as_ptr(), source.clone());
            planes(form, self.isa, group, from, &scratch.zeros, to);
            let mut next = self.next(block, group);
            let mut at = 0;
            for panel in self.panels.clone() {
                let part = Part {
                    group,
                    source: source.clone(),
                    panel,
                    at,
                };
                self.products(scratch, block, &part, number == 0 && !self.gb.is_null());
                for row in form.rows(group) {
                    for k in 0..group.products() {
                        self.sum(scratch, block, &part, row, k, &mut next);
                    }
                }
                at += panel.vectors * limits.lanes;
            }
        }
    }

    /// What the tiles of a group ask for: the next block's x and gy.
    fn next(&self, block: &Block<'_, T>, group: &Group) -> Next<T> {
        let (form, limits) = (self.form, Limits::of::<T>(self.isa));
        let plan = form.plan;
        let regions = [(block.x, plan.source), (block.gy, plan.result)];
        let regions = regions.map(|(image, [_, cols, channels])| {
            let (at, len) = form.after(&block.lines, cols * channels);
            (image.as_ptr().wrapping_add(at), len)
        });
        let of_panel = |panel: Panel| cut(plan.source[2], limits.rows(panel.vectors)).count();
        let tiles = self.panels.clone().map(of_panel).sum::<usize>();
        Next::new(regions, tiles * group.products() * form.rows(group).len())
    }

    /// The gradients of the products; if `gb`, their sum is added to the bias's.
    fn products(
        &self,
        scratch: &mut Scratch<T>,
        block: &Block<'_, T>,
        &Part { group, panel, .. }: &Part<'_>,
        gb: bool,
    ) {
        let form = self.form;
        let line = form.pairs * panel.vectors * Limits::of::<T>(self.isa).lanes;
        let plane = block.lines.len() * line;
        let to = scratch.products[..group.products() * plane].as_mut_ptr();
        for (number, i) in block.lines.clone().enumerate() {
            let (at, pairs) = form.pairs_of(i, form.plan.result[2]);
            let from_results = FromResults {
                from: block.gy[at + panel.first..].as_ptr(),
                pairs,
                vectors: panel.vectors,
                last: panel.last,
                to: to.wrapping_add(number * line),
                plane,
                sums: if gb {
                    self.gb.wrapping_add(panel.first)
                } else {
                    std::ptr::null_mut()
                },
            };
            // SAFETY: line `i` lies inside gy, there is room for the gradients of its products,
            // and the panel's part of the bias's gradient belongs to this job.
            unsafe { from_results.run(self.isa, group.taps) };
        }
    }

    /// One product of one kernel row.
    fn sum(
        &self,
        scratch: &mut Scratch<T>,
        block: &Block<'_, T>,
        part: &Part<'_>,
        row: &Run,
        k: usize,
        next: &mut Next<T>,
    ) {
        let &Part { group, panel, .. } = part;
        let (form, lines) = (self.form, &block.lines);
        let limits = Limits::of::<T>(self.isa);
        let (channels, width) = (form.plan.source[2], panel.vectors * limits.lanes);
        let [first_reached, end] = form.reached(row);
        let (first, end) = (first_reached.max(lines.start), end.min(lines.end));
        if first >= end {
            return;
        }
        let line = first.wrapping_add_signed(row.dy) - part.source.start;
        let x = scratch.planes[(k * part.source.len() + line) * form.line()..].as_ptr();
        let line = k * lines.len() + first - lines.start;
        let gy = scratch.products[line * form.pairs * width..].as_ptr();
        let sums = self.sums_of(group, k, row, scratch.width) + part.at;
        let sums = scratch.sums[sums..].as_mut_ptr();
        let pairs = (end - first) * form.pairs;
        for (channel, size) in cut(channels, limits.rows(panel.vectors)) {
            let tile = micro::Outer {
                x: x.wrapping_add(channel),
                x_step: channels,
                x_row_step: 0,
                x_image_step: 0,
                gy,
                gy_step: width,
                gy_row_step: 0,
                gy_image_step: 0,
                images: 1,
                rows: 1,
                cols: pairs,
                gw: sums.wrapping_add(channel * scratch.width),
                gw_step: scratch.width,
                fresh: block.fresh && first_reached >= lines.start,
                ahead: next.piece(pairs),
                last: limits.lanes,
            };
            let instance = T::INSTANCES.outer(panel.vectors, size, false);
            // SAFETY: lines [first, end) of the kernel row exist in the planes, and the products'
            // gradients and sums are rows of whole vectors.
            unsafe { instance(self.isa, &tile) };
        }
    }

    /// The gradients of the taps from those of the products.
    fn finish(&self, scratch: &Scratch<T>) {
        let plan = self.form.plan;
        let (channels, co) = (plan.source[2], plan.result[2]);
        let mut panels = self.panels.clone();
        let Some(first) = panels.next() else {
            return;
        };
        let last = panels.last().unwrap_or(first);
        for group in self.form.groups() {
            for row in self.form.rows(group) {
                let product = |k: usize| {
                    let k = k.min(group.taps);
                    scratch.sums[self.sums_of(group, k, row, scratch.width)..].as_ptr()
                };
                let tap = |q: usize| {
                    let q = q.min(group.taps - 1) as isize;
                    let tap = row.tap.wrapping_add_signed(q * row.tap_step);
                    self.gw.wrapping_add(tap * channels * co + first.first)
                };
                let from_products = FromProducts {
                    products: [0, 1, 2, 3].map(product),
                    product_step: scratch.width,
                    taps: [0, 1, 2].map(tap),
                    tap_step: co,
                    rows: channels,
                    len: last.first + last.count - first.first,
                    fresh: self.fresh,
                };
                // SAFETY: the sums have these rows, and these channels of gw belong to this job.
                unsafe { from_products.run(self.isa, group.taps) };
            }
        }
    }
}
