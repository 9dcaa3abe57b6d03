//! Which convolutions are done by minimal filtering. What they compute is in `tests/conv.rs`.

use super::*;
use crate::simd::Isa;

/// Products of few channels stay in registers where there are 32 of them.
#[test]
fn products_in_registers_are_for_few_channels_to_many() {
    let same =
        |image, out, k: usize| Conv2d::new(image, out, [k, k]).with_padding(Padding::same(k));
    for isa in Isa::available() {
        let left = |g: Conv2d| {
            let plan = plan::Plan::forward(&g);
            let form = winograd::Narrow::paying::<f32>(&g, &plan, isa);
            form.map(|form| form.flops(&g) as f64 / g.flops() as f64)
        };
        let has_registers = matches!(panel::Limits::of::<f32>(isa).lanes, 4 | 16);
        let one = same([1, 28, 28, 1], 64, 7);
        let above = one.with_taps(Taps::from_fn(7, 7, |r, _| r < 3));
        for g in [one, above, same([1, 32, 32, 3], 64, 7)] {
            let expected = has_registers.then_some(10.0 / 14.0);
            assert_eq!(left(g), expected, "{isa} {g:?}");
        }
        // Kernel rows that differ, weights that do not stay near, few channels to share a number,
        // few pixels to share weights.
        let differing = one.with_taps(Taps::from_fn(7, 7, |r, c| r * 7 + c < 24));
        for g in [
            differing,
            same([1, 28, 28, 16], 64, 5),
            same([1, 28, 28, 1], 4, 3),
            same([1, 5, 5, 1], 64, 3),
        ] {
            assert_eq!(left(g), None, "{isa} {g:?}");
        }
    }
}

/// How much work is left, and where it would not pay.
#[test]
fn minimal_filtering_is_for_wide_layers_whose_taps_have_neighbours() {
    let left = |g: Conv2d| {
        let plan = plan::Plan::forward(&g);
        let form = winograd::Form::paying(&g, &plan);
        form.map(|form| form.flops(&g) as f64 / g.flops() as f64)
    };
    let same =
        |image, out, k: usize| Conv2d::new(image, out, [k, k]).with_padding(Padding::same(k));
    let mask = |own: usize| Taps::from_fn(3, 3, move |r, c| r * 3 + c < 4 + own);
    let tall = Conv2d::new([1, 28, 28, 64], 128, [2, 1]).with_padding(Padding {
        top: 1,
        ..Padding::NONE
    });
    let image = [1, 28, 28, 64];
    for (g, expected) in [
        (same(image, 64, 3), Some(4.0 / 6.0)),
        (same(image, 64, 3).with_taps(mask(1)), Some(7.0 / 10.0)),
        (tall, Some(3.0 / 4.0)),
        // One tap alone in a kernel row.
        (same(image, 64, 3).with_taps(mask(0)), None),
        (same(image, 64, 1), None),
        (same(image, 64, 5), Some(7.0 / 10.0)),
        (same(image, 64, 4), Some(6.0 / 8.0)),
        (same(image, 64, 7), Some(10.0 / 14.0)),
        (same(image, 64, 3).with_stride([2, 2]), None),
        (same([1, 28, 28, 32], 64, 3), Some(4.0 / 6.0)),
        (same([1, 28, 28, 16], 64, 3), None),
        (same([1, 7, 7, 64], 64, 3), None),
    ] {
        assert_eq!(left(g), expected, "{g:?}");
    }
}
