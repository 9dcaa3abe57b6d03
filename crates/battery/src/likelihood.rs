//! Likelihoods: they are of distributions, and coders write what they say.

use crate::subject::{Subject, on};
use dataset::Dataset;
use lossless::{Archive, Codec, Levels};
use nn::model::{Built, Kind, Scored};
use nn::random::{stream, uniform};
use std::collections::BTreeSet;

/// Sizes of images of at most 12 pixels; the first that the model can be built for is taken.
const TINY: [(usize, usize); 4] = [(3, 4), (2, 4), (4, 2), (2, 2)];

/// The probabilities of all binary images of a tiny size sum to one, given any class. Bounds sum to
/// one at the most, estimates nearly do.
pub fn probabilities_sum_to_one(s: &Subject) {
    if !s.image.is_binary() {
        return;
    }
    let sized = |(height, width)| Subject {
        image: s.image.with_size(height, width),
        ..s.clone()
    };
    let Some(s) = TINY.into_iter().map(sized).find(Subject::is_possible) else {
        return;
    };
    let s = &s;
    let dims = s.image.dims();
    let count = 1usize << dims;
    let all = (0..count * dims)
        .map(|i| ((i / dims) >> (i % dims) & 1) as u8)
        .collect();
    let some: Vec<u8> = (0..10 * dims).map(|i| (i * i / 3 % 2) as u8).collect();
    let classes: Vec<u8> = (0..10).collect();
    let data = s.dataset(
        [some, Vec::new(), all],
        [classes, Vec::new(), vec![7; count]],
    );
    let (model, mut params) = s.build_on(&data, 6);
    crate::subject::shake(&mut params, 0.3, 6);
    let built: Built = (model, params);
    let likelihood = |score: &Scored| score.about().iter().any(|info| info.is_likelihood());
    let scores: Vec<Scored> = built.0.scores().into_iter().filter(likelihood).collect();
    // One draw of a stochastic bound may lie on either side of it.
    for measured in on(2, || s.judge_by(64, &built, &data, &scores)) {
        let info = measured.figure.info;
        let Some(nats) = measured.values.filter(|_| info.is_likelihood()) else {
            continue;
        };
        let sum: f64 = nats.iter().map(|nats| (-nats).exp()).sum();
        let range = match info.kind {
            Kind::Exact => 0.999..1.001,
            Kind::UpperBound => 0.0..1.02,
            Kind::Estimate | Kind::Metric => 0.5..2.0,
        };
        assert!(
            range.contains(&sum),
            "{s}: p(x) sums to {sum}, {}",
            info.kind.name()
        );
    }
}

/// Images of random levels, as levels, classes and a data set.
struct Random {
    levels: Vec<u8>,
    classes: Vec<u32>,
    data: Dataset,
}

fn random(s: &Subject, count: usize) -> Random {
    let mut noise = stream(&[8]);
    let level = |_| (uniform(&mut noise) * s.image.levels as f64) as u8;
    let levels: Vec<u8> = (0..count * s.image.dims()).map(level).collect();
    let labels: Vec<u8> = (0..count).map(|i| (3 * i % 10) as u8).collect();
    let (train, all) = (vec![0; 10 * s.image.dims()], (0..10).collect());
    Random {
        classes: labels.iter().map(|&label| label.into()).collect(),
        data: s.dataset(
            [train, Vec::new(), levels.clone()],
            [all, Vec::new(), labels],
        ),
        levels,
    }
}

/// What a coder says of one image after another.
struct Told {
    /// Dimensions in the order they come.
    order: Vec<usize>,
    /// The probabilities of each dimension: [image][dimension].
    of: Vec<Vec<Vec<f64>>>,
}

fn tell(s: &Subject, built: &Built, levels: &[u8], classes: &[u32]) -> Option<Told> {
    let coder = built.0.coder()?;
    let (dims, count) = (s.image.dims(), classes.len());
    let classes = built.0.classes().map(|_| classes);
    let mut told = Told {
        order: Vec::new(),
        of: vec![vec![Vec::new(); dims]; count],
    };
    let p = built.1.constants();
    coder.code(&p, count, classes, &mut |image, d, probabilities| {
        assert!(
            told.of[image][d].is_empty(),
            "{s}: dimension {d} comes twice"
        );
        let sum: f64 = probabilities.iter().sum();
        let in_range = probabilities.iter().all(|p| (0.0..=1.0).contains(p));
        assert!(
            in_range && (sum - 1.0).abs() < 1e-6,
            "{s}: probabilities sum to {sum}"
        );
        assert_eq!(
            probabilities.len(),
            s.image.levels,
            "{s}: one for each level"
        );
        if image == 0 {
            told.order.push(d);
        }
        told.of[image][d] = probabilities.to_vec();
        levels[image * dims + d].into()
    });
    let whole = told.of.iter().flatten().all(|p| !p.is_empty());
    assert!(whole, "{s}: the coder leaves dimensions out");
    Some(told)
}

/// What a coder says adds up to what the score says of whole images. So no pixel is predicted with
/// the knowledge of itself or of later ones, which the score has and the coder has not. Of a mixture
/// the coder uses one member, and the mixture is at least as likely as that member's share.
pub fn coders_agree_with_scores(s: &Subject) {
    let built = s.shaken(7);
    let random = random(s, 5);
    let Some(told) = tell(s, &built, &random.levels, &random.classes) else {
        return;
    };
    let members = built.0.coder().expect("it has told").members();
    let exact =
        |score: &Scored| score.about()[0].is_likelihood() && score.about()[0].kind == Kind::Exact;
    let scores: Vec<Scored> = built.0.scores().into_iter().filter(exact).collect();
    assert!(
        !scores.is_empty(),
        "{s}: a coder without an exact likelihood"
    );
    let measured = on(2, || s.judge(&built, &random.data, &scores[..1]));
    let values = measured[0].values.as_ref().expect("of each image");
    let dims = s.image.dims();
    for (image, (of, &expected)) in told.of.iter().zip(values).enumerate() {
        let nat = |d: usize| -of[d][usize::from(random.levels[image * dims + d])].ln();
        let found: f64 = (0..dims).map(nat).sum();
        let near = 1e-4 * (1.0 + expected.abs());
        if members == 1 {
            assert!(
                (found - expected).abs() < near,
                "{s}: {found} nats coded, {expected} scored"
            );
        } else {
            let most = found + (members as f64).ln();
            assert!(
                expected < most + near,
                "{s}: {expected} nats, a member alone {most}"
            );
        }
    }
}

/// Parameters that the next test tries: some units are at rest for any one of them.
const TRIES: u64 = 4;

/// A dimension does not change what was said of those before it, and does change what is said of
/// some later one; most dimensions look at some earlier one.
pub fn dimensions_depend_on_earlier_ones(s: &Subject) {
    let (dims, base) = (s.image.dims(), random(s, 1).levels);
    // One image as it is, and one for each dimension that is moved half the range.
    let half = s.image.levels / 2;
    let moved = |i: usize| {
        let (image, d) = (i / dims, i % dims);
        let by = if image == d + 1 { half } else { 0 };
        ((usize::from(base[d]) + by) % s.image.levels) as u8
    };
    let levels: Vec<u8> = (0..(dims + 1) * dims).map(moved).collect();
    let (mut sees, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..TRIES {
        let built = s.shaken(seed);
        let Some(told) = tell(s, &built, &levels, &vec![4; dims + 1]) else {
            return;
        };
        for (i, &from) in told.order.iter().enumerate() {
            for (k, &to) in told.order.iter().enumerate() {
                if told.of[from + 1][to] == told.of[0][to] {
                    continue;
                }
                assert!(
                    i < k,
                    "{s}: {to} is {k}th and changes with {from}, the {i}th"
                );
                sees.insert(to);
                seen.insert(from);
            }
        }
    }
    let most = dims - dims / 4;
    assert!(
        sees.len() >= most && seen.len() >= most,
        "{s}: of {dims} dimensions {} look at another, {} are looked at",
        sees.len(),
        seen.len()
    );
}

/// Images that a coder has written come back, on other threads, and take as many bits as it says.
pub fn coded_images_come_back(s: &Subject) {
    let built = s.shaken(10);
    let Some(codec) = Codec::new(&*built.0, &built.1, s.image, s.entry.name) else {
        return;
    };
    let random = random(s, 6);
    let conditional = built.0.classes().is_some();
    let images = Levels {
        classes: if conditional {
            random.classes.clone()
        } else {
            Vec::new()
        },
        levels: random.levels.clone(),
    };
    let bytes = on(1, || codec.write(&images, b"")).unwrap_or_else(|error| panic!("{s}: {error}"));
    let archive = Archive::parse(&bytes).expect("a file");
    assert!(
        on(3, || codec.read(&archive)).expect("its own file") == images,
        "{s}: other images"
    );
    let told = tell(s, &built, &random.levels, &random.classes).expect("a coder");
    let nats = |(i, &level): (usize, &u8)| {
        -told.of[i / s.image.dims()][i % s.image.dims()][usize::from(level)].ln()
    };
    let nats: f64 = random.levels.iter().enumerate().map(nats).sum();
    let expected = nats / std::f64::consts::LN_2 / 8.0;
    let excess = bytes.len() as f64 - expected;
    assert!(
        (0.0..120.0).contains(&excess),
        "{s}: {} bytes, {expected} expected",
        bytes.len()
    );
}
