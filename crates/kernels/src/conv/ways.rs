//! Forward and input gradient gather in one of two ways: directly, or with minimal filtering.

use super::arranged::{Way, Weights};
use super::gather::{Packed, Plus, gather};
use super::panel::{Limits, Panel};
use super::plan::Plan;
use super::winograd::{Form, Narrow};
use super::{Conv2d, Sums, scatter};
use crate::element::Element;
use crate::flops;
use crate::gemm::{Beta, Epilogue, transpose};
use crate::simd::Isa;

/// A convolution that gathers.
struct Gathered<'a, T: Element> {
    g: &'a Conv2d,
    plan: Plan,
    /// Direct and with minimal filtering.
    ways: [Way; 2],
    source: &'a [T],
    w: Weights<'a, T>,
    plus: Plus<'a, T>,
    epilogue: Epilogue<'a, T>,
}

impl<T: Element> Gathered<'_, T> {
    /// `fill` is as in [`Packed::new`].
    fn run(self, isa: Isa, sums: Sums, result: &mut [T], fill: impl Fn(usize, Panel, &mut [T])) {
        let Gathered {
            g,
            plan,
            ways: [direct, fast],
            source,
            w,
            plus,
            epilogue: Epilogue { bias, activation },
        } = self;
        if sums == Sums::Fast {
            if let Some(form) = Form::paying(g, &plan) {
                flops::add(|| form.flops(g));
                let packed = form.pack((fast, g, isa), w, bias, fill);
                return form.gather(isa, source, &packed, plus, activation, result);
            }
            if let Some(form) = Narrow::paying::<T>(g, &plan, isa) {
                flops::add(|| form.flops(g));
                let packed = form.pack((fast, g, isa), w, bias, fill);
                return form.gather(isa, source, &packed, plus, activation, result);
            }
        }
        flops::add(|| g.flops());
        let packed = Packed::new((&plan, direct, g, isa), w, bias, fill);
        gather(&plan, isa, source, &packed, plus, activation, result);
    }
}

/// y = act(x * w + bias + plus).
pub(super) fn forward<T: Element>(
    g: &Conv2d,
    x: &[T],
    w: Weights<T>,
    plus: Option<&[T]>,
    y: &mut [T],
    epilogue: Epilogue<T>,
    sums: Sums,
) {
    let isa = Isa::current();
    let limits = Limits::of::<T>(isa);
    let g = &g.flattened();
    let (ci, co) = (g.in_channels, g.out_channels);
    let convolution = Gathered {
        g,
        plan: Plan::forward(g),
        ways: [Way::Forward, Way::WinogradForward],
        source: x,
        w,
        plus: plus.map_or(Plus::Nothing, Plus::Numbers),
        epilogue,
    };
    convolution.run(isa, sums, y, |tap, panel, to| {
        let rows = to.chunks_exact_mut(panel.vectors * limits.lanes);
        for (k, to) in rows.enumerate() {
            let from = &w.data[(tap * ci + k) * co + panel.first..][..panel.count];
            to[..panel.count].copy_from_slice(from);
            to[panel.count..].fill(T::ZERO);
        }
    });
}

/// The gradient by x.
pub(super) fn input_gradient<T: Element>(
    g: &Conv2d,
    gy: &[T],
    w: Weights<T>,
    beta: Beta,
    gx: &mut [T],
) {
    let isa = Isa::current();
    if scatter::pays::<T>(g, isa) {
        flops::add(|| g.flops());
        return scatter::input_gradient(g, gy, w.data, beta, gx);
    }
    let limits = Limits::of::<T>(isa);
    let g = &g.flattened();
    let (ci, co) = (g.in_channels, g.out_channels);
    let convolution = Gathered {
        g,
        plan: Plan::input_gradient(g),
        ways: [Way::InputGradient, Way::WinogradInputGradient],
        source: gy,
        w,
        plus: match beta {
            Beta::Zero => Plus::Nothing,
            Beta::One => Plus::Itself,
        },
        epilogue: Epilogue::NONE,
    };
    convolution.run(isa, Sums::Fast, gx, |tap, panel, to| {
        let width = panel.vectors * limits.lanes;
        let first = (tap * ci + panel.first) * co;
        if panel.count == width && width.is_multiple_of(16) {
            return transpose(isa, &w.data[first..], co, (width, co), to, width);
        }
        for i in 0..width {
            if i < panel.count {
                let from = &w.data[first + i * co..][..co];
                for (o, &w) in from.iter().enumerate() {
                    to[o * width + i] = w;
                }
            } else {
                (0..co).for_each(|o| to[o * width + i] = T::ZERO);
            }
        }
    });
}
