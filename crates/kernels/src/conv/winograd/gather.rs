//! Forward and input gradient.

use super::lines::{ToPlanes, ToResults};
use super::products::ToProducts;
use super::{Form, Group, Next};
use crate::buffer::Buffer;
use crate::conv::arranged::{Way, Weights};
use crate::conv::gather::{Packed, Plus, each_strip};
use crate::conv::geometry::Conv2d;
use crate::conv::micro::{self, Ahead};
use crate::conv::panel::{Limits, Panel, cut};
use crate::cut::Cut;
use crate::element::Element;
use crate::gemm::Activation;
use crate::simd::Isa;
use std::ops::Range;

/// Bytes of the planes of one block, about.
const BLOCK: usize = 48 << 10;

impl Form<'_> {
    /// The weights by panel, group, product, kernel row and channel. `fill` is as in
    /// [`Packed::new`].
    pub(in crate::conv) fn pack<'a, T: Element>(
        &self,
        (way, g, isa): (Way, &Conv2d, Isa),
        w: Weights<'a, T>,
        bias: Option<&[T]>,
        fill: impl Fn(usize, Panel, &mut [T]),
    ) -> Packed<'a, T> {
        let limits = Limits::of::<T>(isa);
        let channels = self.plan.source[2];
        let width = self.plan.result[2].next_multiple_of(limits.lanes);
        let data = w.arranged(way, g, isa, self.len() * width, |data| {
            let most = channels * Limits::WIDEST * limits.lanes;
            let mut of_taps = Buffer::recycled(3 * most);
            let mut before = 0;
            for panel in limits.panels(self.plan.result[2], self.pairs) {
                let len = channels * panel.vectors * limits.lanes;
                for group in self.groups() {
                    let rows = self.rows(group);
                    let end = before + group.products() * rows.len() * len;
                    let products = data[before..end].as_mut_ptr();
                    for (r, row) in rows.iter().enumerate() {
                        for (q, to) in of_taps.chunks_exact_mut(most).take(group.taps).enumerate() {
                            let tap = row.tap.wrapping_add_signed(q as isize * row.tap_step);
                            fill(tap, panel, &mut to[..len]);
                        }
                        let product = |k| products.wrapping_add((k * rows.len() + r) * len);
                        let to_products = ToProducts {
                            taps: [0, 1, 2].map(|q| of_taps[q * most..].as_ptr()),
                            products: [0, 1, 2, 3].map(product),
                            len,
                        };
                        // SAFETY: each tap and product has `len` numbers.
                        unsafe { to_products.run(isa, group.taps) };
                    }
                    before = end;
                }
            }
        });
        Packed::with_bias(data, self.plan.result[2], width, bias)
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
        let plan = self.plan;
        let work = self.len() * self.lines[1] * self.pairs * plan.result[2] * plan.batch;
        let bytes = self.products() * self.line() * size_of::<T>();
        let block = (BLOCK / bytes).clamp(1, self.lines[1]);
        let plane = self.reach(block) * self.line();
        let begin = || {
            let width = Limits::WIDEST * Limits::of::<T>(isa).lanes;
            Unit {
                form: self,
                isa,
                packed,
                source: std::ptr::null(),
                plus: std::ptr::null(),
                activation,
                result: std::ptr::null_mut(),
                planes: Buffer::recycled(self.products() * plane),
                plane,
                products: Buffer::recycled(self.products() * block * self.pairs * width),
                zeros: Buffer::filled(plan.source[2], T::ZERO),
            }
        };
        let work = (work, self.lines[1]);
        each_strip(plan, work, source, plus, result, begin, |unit, strip| {
            unit.source = strip.source.as_ptr();
            unit.result = strip.result;
            unit.plus = strip.plus;
            for lines in Cut::new(strip.of(self.lines[1]), block.max(1)).parts() {
                unit.block(lines);
            }
        });
    }
}

/// One image of the result.
struct Unit<'a, T: Element> {
    form: &'a Form<'a>,
    isa: Isa,
    packed: &'a Packed<'a, T>,
    source: *const T,
    /// What is added to the result, or null.
    plus: *const T,
    activation: Activation,
    result: *mut T,
    planes: Buffer<T>,
    /// From one plane to the next.
    plane: usize,
    products: Buffer<T>,
    zeros: Buffer<T>,
}

impl<T: Element> Unit<'_, T> {
    /// Some lines of the result.
    fn block(&mut self, lines: Range<usize>) {
        let (form, limits) = (self.form, Limits::of::<T>(self.isa));
        for group in form.groups() {
            let first = &mut self.planes[group.first_product * self.plane..];
            let (from, to) = (
                (self.source, form.source_of(group, &lines)),
                (first, self.plane),
            );
            planes(form, self.isa, group, from, &self.zeros, to);
        }
        let panels = limits.panels(form.plan.result[2], form.pairs);
        let [_, width, channels] = form.plan.source;
        let (at, len) = form.after(&lines, width * channels);
        let halves = [at, at + len / 2].map(|at| (self.source.wrapping_add(at), len / 2));
        let line_tiles = |panel: Panel| cut(form.pairs, limits.rows(panel.vectors)).count();
        let tiles = panels.clone().map(line_tiles).sum::<usize>() * lines.len();
        let mut next = Next::new(halves, tiles * (form.products() - 1));
        let mut before = 0;
        for panel in panels {
            let len = form.plan.source[2] * panel.vectors * limits.lanes;
            for group in form.groups() {
                let rows = form.rows(group).len();
                for k in 0..group.products() {
                    let w = self.packed.data[before..].as_ptr();
                    self.product(group, panel, k, (w, len), &lines, &mut next);
                    before += rows * len;
                }
            }
            self.results(panel, &lines);
        }
    }

    /// One product of a panel, for all lines of a block.
    fn product(
        &mut self,
        group: &Group,
        panel: Panel,
        k: usize,
        (w, row_len): (*const T, usize),
        lines: &Range<usize>,
        next: &mut Next<T>,
    ) {
        let form = self.form;
        let limits = Limits::of::<T>(self.isa);
        let channels = form.plan.source[2];
        let width = panel.vectors * limits.lanes;
        let line = form.pairs * width;
        let k = group.first_product + k;
        let products = self.products[k * lines.len() * line..][..lines.len() * line].as_mut_ptr();
        let planes = self.planes[k * self.plane..].as_ptr();
        let low = form.source_of(group, lines).start;
        let tiles = cut(form.pairs, limits.rows(panel.vectors));
        for i in lines.clone() {
            let reaching = form.reaching(group, i);
            let skipped = reaching.first().map_or(0, |row| row.before / channels);
            let x = planes.wrapping_offset((i as isize - low as isize) * form.line() as isize);
            let to = products.wrapping_add((i - lines.start) * line);
            for (first, size) in tiles.clone() {
                // While the last product is made, the place of the results is asked for.
                let ahead = if k + 1 == form.products() {
                    let (at, pairs) = form.pairs_of(i, form.plan.result[2]);
                    let at = at + panel.first + first * pairs.step;
                    Ahead::lines(self.result.wrapping_add(at), pairs.step.min(pairs.second))
                } else {
                    next.piece(reaching.len() * channels)
                };
                let tile = micro::Gather {
                    x: x.wrapping_add(first * channels),
                    x_step: channels,
                    runs: reaching.as_ptr(),
                    run_count: reaching.len(),
                    w: w.wrapping_add(skipped * row_len),
                    y: to.wrapping_add(first * width),
                    plus: std::ptr::null(),
                    y_step: width,
                    last: limits.lanes,
                    bias: std::ptr::null(),
                    ahead,
                    activation: Activation::Identity,
                };
                let instance = T::INSTANCES.gather(panel.vectors, size);
                // SAFETY: `reaching` keeps to lines of the source that exist and were transformed;
                // w holds a row of whole vectors for each of their channels, and there is room for
                // the products of the block.
                unsafe { instance(self.isa, &tile) };
            }
        }
    }

    /// The result of the products of a panel, for all lines of a block.
    fn results(&self, panel: Panel, lines: &Range<usize>) {
        let form = self.form;
        let line = form.pairs * panel.vectors * Limits::of::<T>(self.isa).lanes;
        let bias = &self.packed.bias;
        for i in lines.clone() {
            let (at, pairs) = form.pairs_of(i, form.plan.result[2]);
            let at = at + panel.first;
            let to_results = ToResults {
                from: self.products[(i - lines.start) * line..].as_ptr(),
                plane: lines.len() * line,
                groups: form.groups(),
                vectors: panel.vectors,
                last: panel.last,
                pairs,
                to: self.result.wrapping_add(at),
                plus: if self.plus.is_null() {
                    self.plus
                } else {
                    self.plus.wrapping_add(at)
                },
                bias: if bias.is_empty() {
                    std::ptr::null()
                } else {
                    bias[panel.first..].as_ptr()
                },
                activation: self.activation,
            };
            // SAFETY: line `i` of the result is this unit's; all its products were made.
            unsafe { to_results.run(self.isa) };
        }
    }
}

/// Transforms lines of the source for a group, to planes so far from each other.
pub(super) fn planes<T: Element>(
    form: &Form<'_>,
    isa: Isa,
    group: &Group,
    (source, lines): (*const T, Range<usize>),
    zeros: &[T],
    (planes, plane): (&mut [T], usize),
) {
    let planes = planes[..group.taps * plane + lines.len() * form.line()].as_mut_ptr();
    for i in lines.clone() {
        let (at, of) = form.source_line(group, i);
        let to_planes = ToPlanes {
            from: source.wrapping_add(at),
            source: of,
            pairs: form.pairs,
            zeros: zeros.as_ptr(),
            to: planes.wrapping_add((i - lines.start) * form.line()),
            plane,
        };
        // SAFETY: line `i` lies inside the source, and the planes have room for it.
        unsafe { to_planes.run(isa, group.taps) };
    }
}
