//! Pooling against its definition, on every instruction set and on several threads.

use kernels::conv::Padding;
use kernels::reduce::{self, Pool2d};
use kernels::reference::pool as reference;
use kernels::{Element, Isa, parallel};

mod common;
use common::{close, everywhere, f64s, numbers};

/// Windows side by side, overlapping, far apart and over the edge; at channels around a vector.
fn shapes() -> Vec<Pool2d> {
    let uneven = Padding {
        top: 1,
        bottom: 0,
        left: 2,
        right: 1,
    };
    let mut shapes = vec![
        Pool2d::new([2, 5, 7, 3], [2, 2]),
        Pool2d::new([1, 6, 6, 2], [3, 3]).with_stride([1, 1]),
        Pool2d::new([2, 7, 5, 2], [3, 2]).with_stride([2, 3]),
        Pool2d::new([1, 9, 9, 1], [2, 2]).with_stride([4, 3]),
        Pool2d::new([1, 5, 6, 2], [2, 3])
            .with_stride([1, 2])
            .with_padding(uneven),
        Pool2d::new([2, 4, 4, 2], [3, 3])
            .with_stride([2, 2])
            .with_padding(Padding::uniform(1)),
        // One pixel under a window that is larger, and one window on a whole image.
        Pool2d::new([1, 1, 1, 3], [3, 3]).with_padding(Padding::uniform(2)),
        Pool2d::new([3, 4, 5, 2], [4, 5]),
        // Nothing.
        Pool2d::new([0, 4, 4, 3], [2, 2]),
        Pool2d::new([2, 4, 4, 0], [2, 2]),
        Pool2d::new([2, 1, 4, 3], [2, 2]),
        Pool2d::new([2, 0, 4, 3], [3, 2]).with_padding(Padding::same(3)),
    ];
    for channels in [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 67] {
        shapes.push(
            Pool2d::new([2, 4, 5, channels], [3, 3])
                .with_stride([2, 1])
                .with_padding(Padding::same(3)),
        );
    }
    shapes
}

fn check_all<T: Element>(g: &Pool2d) {
    let what = |name: &str| format!("{name} {g:?}");
    let (x, gy) = (numbers::<T>(g.x_len(), 1), numbers::<T>(g.y_len(), 2));
    let (dx, dgy) = (f64s(&x), f64s(&gy));
    // Stale numbers must not show.
    let fresh = |len: usize| vec![T::from_f64(f64::NAN); len];

    let (mut y, mut taps) = (fresh(g.y_len()), fresh(g.y_len()));
    reduce::max_pool(g, &x, &mut y, &mut taps);
    let (expected, places) = reference::max_pool(g, &dx);
    assert_eq!(f64s(&y), expected, "{}", what("max_pool"));
    let found: Vec<usize> = taps.iter().map(|tap| tap.to_f64() as usize).collect();
    assert_eq!(found, places, "{}", what("taps"));
    let mut alone = fresh(g.y_len());
    reduce::max_pool(g, &x, &mut alone, &mut []);
    assert!(alone == y, "{}", what("max_pool without taps"));

    let mut picked = fresh(g.y_len());
    let other = numbers::<T>(g.x_len(), 3);
    reduce::pick_taps(g, &other, &taps, &mut picked);
    let expected = reference::pick_taps(g, &f64s(&other), &places);
    assert_eq!(f64s(&picked), expected, "{}", what("pick_taps"));

    let mut gx = fresh(g.x_len());
    reduce::place_taps(g, &gy, &taps, &mut gx);
    let expected = reference::place_taps(g, &dgy, &places);
    close(&what("place_taps"), &gx, &expected, 4.0);

    reduce::average_pool(g, &x, &mut y);
    close(
        &what("average_pool"),
        &y,
        &reference::average_pool(g, &dx),
        1.0,
    );
    reduce::average_pool_gradient(g, &gy, &mut gx);
    let expected = reference::average_pool_gradient(g, &dgy);
    close(&what("average_pool_gradient"), &gx, &expected, 1.0);
}

#[test]
fn every_shape() {
    fn test<T: Element>() {
        shapes().iter().for_each(check_all::<T>);
    }
    everywhere(test::<f32>, test::<f64>);
}

#[test]
fn ties_infinities_and_nan() {
    everywhere(
        || {
            let g = Pool2d::new([1, 2, 2, 1], [2, 2]);
            let max = |x: [f32; 4]| {
                let (mut y, mut tap) = ([0.0], [0.0]);
                reduce::max_pool(&g, &x, &mut y, &mut tap);
                (y[0], tap[0])
            };
            let (inf, nan) = (f32::INFINITY, f32::NAN);
            assert_eq!(max([1.0, 2.0, 2.0, 0.0]), (2.0, 1.0));
            assert_eq!(max([-inf; 4]), (-inf, 0.0));
            assert_eq!(max([0.0, 1.0, 2.0, inf]), (inf, 3.0));
            for place in 0..4 {
                let mut x = [1.0, 5.0, inf, 2.0];
                x[place] = nan;
                let (y, tap) = max(x);
                assert!(y.is_nan() && tap == place as f32, "{place}: {y} {tap}");
            }
        },
        || {},
    );
}

#[test]
fn threads_change_nothing() {
    let g = Pool2d::new([3, 40, 41, 33], [3, 3])
        .with_stride([2, 2])
        .with_padding(Padding::uniform(1));
    let run = || {
        let (x, gy) = (numbers::<f32>(g.x_len(), 4), numbers(g.y_len(), 5));
        let (mut y, mut taps) = (vec![0.0; g.y_len()], vec![0.0; g.y_len()]);
        let (mut placed, mut shared) = (vec![0.0; g.x_len()], vec![0.0; g.x_len()]);
        reduce::max_pool(&g, &x, &mut y, &mut taps);
        reduce::place_taps(&g, &gy, &taps, &mut placed);
        reduce::average_pool_gradient(&g, &gy, &mut shared);
        (y, taps, placed, shared)
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
    let pool = pool.unwrap();
    for isa in Isa::available() {
        let one = isa.scoped(|| parallel::serial(run));
        let three = pool.install(|| isa.scoped(run));
        assert!(one == three, "{isa}");
    }
}

#[test]
#[should_panic(expected = "must be less than the kernel 2 x 2 on each side")]
fn a_window_that_could_see_nothing_is_refused() {
    let _ = Pool2d::new([1, 4, 4, 1], [2, 2]).with_padding(Padding::uniform(2));
}
