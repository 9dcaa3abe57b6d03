//! What models can do beside being judged: each ability is asked of every model that hands it out.

use crate::subject::{Subject, on};
use grad::{Tape, Tensor, Var};
use nn::model::{Batch, Classes, CompletionRequest, Features, SampleRequest, Step, Takes};
use nn::params::{Bound, Params};
use nn::random::{normal_tensor, stream};
use std::sync::Arc;

/// How much rounding may differ where other images are computed beside an image.
const ROUNDING: f32 = 2e-5;

/// These are images, `[count, H, W, C]`, with pixels in [0, 1].
#[track_caller]
fn are_images(s: &Subject, images: &Tensor<f32>, count: usize) {
    assert_eq!(
        images.shape()[..],
        s.image.shape(count),
        "{s}: the shape of images"
    );
    let wrong = images.data().iter().find(|x| !(0.0..=1.0).contains(*x));
    assert!(wrong.is_none(), "{s}: a pixel of {wrong:?}");
}

/// The first numbers of `b` are those of `a`, but for rounding.
#[track_caller]
fn begins_with(s: &Subject, b: &Tensor<f32>, a: &Tensor<f32>, what: &str) {
    let mut pairs = a.data().iter().zip(b.data());
    let same =
        a.len() <= b.len() && pairs.all(|(a, b)| (a - b).abs() <= ROUNDING * (1.0 + a.abs()));
    assert!(same, "{s}: {what}");
}

/// Each set of options that a sampler takes, by itself.
fn requests(takes: Takes, count: usize, seed: u64) -> Vec<SampleRequest> {
    let plain = || SampleRequest::new(count, seed);
    let mut all = vec![plain(), plain().classes(Some(3))];
    if takes.temperature {
        all.push(plain().temperature(0.5));
    }
    let mut with = |change: &dyn Fn(&mut SampleRequest)| {
        let mut request = plain();
        change(&mut request);
        all.push(request);
    };
    if takes.steps.is_some() {
        with(&|request| request.steps = Some(3));
    }
    if takes.truncation {
        with(&|request| request.truncation = Some(0.5));
    }
    for name in takes.samplers {
        with(&|request| request.sampler = Some(name.to_string()));
    }
    all
}

/// Samples are images, of the shape and number asked for, whatever options the sampler takes; image
/// i of a seed is the same among few and among many and on any threads, and another seed gives
/// others.
pub fn samples_follow_from_seed_and_number(s: &Subject) {
    let (model, params) = s.shaken(11);
    let Some(sampler) = model.sampler() else {
        return;
    };
    let draw = |threads: usize, request: &SampleRequest| {
        on(threads, || sampler.sample(&params.constants(), request))
    };
    let of = |count, seed| requests(sampler.takes(), count, seed).into_iter();
    for (many, few) in of(5, 1).zip(of(2, 1)) {
        let images = draw(1, &many);
        are_images(s, &images, 5);
        assert!(
            images == draw(3, &many),
            "{s}: threads change a sample, {many:?}"
        );
        begins_with(
            s,
            &images,
            &draw(2, &few),
            "samples depend on how many there are",
        );
    }
    let plain = SampleRequest::new(5, 1);
    let images = draw(1, &plain);
    assert!(
        images != draw(1, &SampleRequest::new(5, 2)),
        "{s}: seeds do not matter"
    );
    if model.classes().is_some() {
        let list: Arc<[u32]> = [0, 1, 2, 3, 4].into();
        let each = plain.classes(Classes::Each(list));
        assert!(images == draw(1, &each), "{s}: the classes in turn");
    }
}

/// What is known of an image stays, what is not is drawn, by the seed.
pub fn completions_keep_what_is_known(s: &Subject) {
    let (model, params) = s.shaken(12);
    let Some(completer) = model.completer() else {
        return;
    };
    let (data, dims) = (s.data(), s.image.dims());
    let batch = s.batch(&data, 4);
    let classes = Classes::Each(batch.labels.clone().expect("labels"));
    let complete = |threads: usize, known: &[bool], seed: u64| {
        let request = CompletionRequest::new(batch.images.clone(), known.to_vec(), seed);
        let request = request.classes(classes.clone());
        on(threads, || {
            completer.complete(&params.constants(), &request)
        })
    };
    let some: Vec<bool> = (0..dims).map(|d| d % 3 == 1 || d < dims / 3).collect();
    let images = complete(1, &some, 1);
    are_images(s, &images, 4);
    for (i, (found, given)) in images.data().iter().zip(batch.images.data()).enumerate() {
        assert!(
            !some[i % dims] || found == given,
            "{s}: pixel {i} was known"
        );
    }
    assert!(
        images == complete(3, &some, 1),
        "{s}: threads change a completion"
    );
    assert!(images != complete(1, &some, 2), "{s}: nothing is drawn");
    assert!(
        complete(1, &vec![true; dims], 1) == batch.images,
        "{s}: all is known"
    );
    are_images(s, &complete(1, &vec![false; dims], 1), 4);
}

/// Something of each image of a batch, `[B, ..]`: of an image by itself it is the same.
#[track_caller]
fn is_of_each_image(
    s: &Subject,
    params: &Params<f32>,
    shape: &[usize],
    what: &str,
    of: impl Fn(&Step) -> Tensor<f32>,
) -> Tensor<f32> {
    let data = s.data();
    let batch = s.batch(&data, 4);
    let ask = |batch: &Batch| {
        let (tape, p) = (Tape::new(), params.constants());
        of(&Step::new(&tape, &p, batch))
    };
    let whole = ask(&batch);
    assert_eq!(
        whole.shape()[..],
        [&[4], shape].concat(),
        "{s}: the shape of {what}"
    );
    assert!(
        whole.data().iter().all(|x| x.is_finite()),
        "{s}: {what} not finite"
    );
    let width = whole.len() / 4;
    for i in 0..4 {
        let dims = s.image.dims();
        let image = Tensor::new(s.image.shape(1), &batch.images.data()[i * dims..][..dims]);
        let labels = batch.labels.as_ref().expect("labels");
        let alone = Batch::new(image, [batch.noise[i]]).with_labels([labels[i]]);
        let of_image = Tensor::new([width], &whole.data()[i * width..][..width]);
        let complaint = format!("{what} of an image depend on the others");
        begins_with(s, &ask(&alone), &of_image, &complaint);
    }
    whole
}

/// Codes have the shape that is told, draws from the prior are told by seed and number, any of them
/// is decoded to an image, and an image's code does not depend on other images.
pub fn codes_are_of_one_image_and_become_one(s: &Subject) {
    let (model, params) = s.shaken(13);
    let Some(latent) = model.latent() else {
        return;
    };
    let p = params.constants();
    let shape = latent.shape();
    let prior = |count, seed| latent.prior(&p, count, seed);
    let codes = prior(5, 1);
    assert_eq!(
        codes.shape()[..],
        [&[5], &shape[..]].concat(),
        "{s}: the shape of codes"
    );
    begins_with(
        s,
        &codes,
        &prior(2, 1),
        "codes depend on how many there are",
    );
    assert!(
        codes.len() < 2 || codes != prior(5, 2),
        "{s}: seeds do not matter"
    );
    let classes: Option<Arc<[u32]>> = model.classes().map(|_| [0, 1, 2, 3, 4].into());
    let decode = |threads: usize, codes: &Tensor<f32>, classes: Option<&Arc<[u32]>>| {
        on(threads, || {
            latent.decode(&params.constants(), codes, classes)
        })
    };
    let images = decode(1, &codes, classes.as_ref());
    are_images(s, &images, 5);
    assert!(
        images == decode(3, &codes, classes.as_ref()),
        "{s}: threads change what is decoded"
    );
    let two: Option<Arc<[u32]>> = classes.as_ref().map(|_| [0, 1].into());
    let few = decode(1, &prior(2, 1), two.as_ref());
    begins_with(s, &images, &few, "what is decoded depends on other codes");
    let Some(encoder) = latent.encoder() else {
        return;
    };
    let encoded = is_of_each_image(s, &params, &shape, "codes", |step| encoder.encode(step));
    let labels = classes.as_ref().map(|_| [0, 1, 2, 3].into());
    are_images(s, &decode(2, &encoded, labels.as_ref()), 4);
    let spread = |step: &Step| encoder.spread(step);
    let data = s.data();
    let (tape, batch) = (Tape::new(), s.batch(&data, 4));
    if spread(&Step::new(&tape, &p, &batch)).is_some() {
        let found = is_of_each_image(s, &params, &shape, "deviations", |step| {
            encoder.spread(step).expect("there was one")
        });
        assert!(
            found.data().iter().all(|&sd| sd > 0.0),
            "{s}: a deviation of 0"
        );
    }
}

/// Features are as many as is told, and those of an image do not depend on the others.
pub fn features_are_of_one_image(s: &Subject) {
    let (model, params) = s.shaken(14);
    if let Some(features) = model.features() {
        let of = |step: &Step| Features::features(features, step);
        is_of_each_image(s, &params, &[features.width()], "features", of);
    }
}

/// Logits are one for each class; they do not depend on other images, and can be differentiated by
/// the pixels of each image and by the parameters.
pub fn logits_are_of_one_image_and_differentiable(s: &Subject) {
    let (model, params) = s.shaken(15);
    let Some(classifier) = model.classifier() else {
        return;
    };
    let classes = s.image.classes.expect("classes");
    let p = params.constants();
    let logits = |p: &Bound<f32>, x: Tensor<f32>| classifier.logits(p, &Var::constant(x));
    is_of_each_image(s, &params, &[classes], "logits", |step| {
        logits(step.p, step.batch.images.clone()).into_value()
    });
    let data = s.data();
    let images = s.batch(&data, 4).images;
    let mix: Tensor<f32> = normal_tensor([4, classes], &mut stream(&[15]));
    let value = |x: &Tensor<f32>| {
        let sum = (logits(&p, x.clone()) * Var::constant(mix.clone())).sum();
        f64::from(sum.item())
    };
    let tape = Tape::new();
    let x = tape.var(images.clone());
    let recorded = params.bind(&tape).in_mode(nn::layers::Mode::Evaluate);
    let sum = (classifier.logits(&recorded, &x) * Var::constant(mix.clone())).sum();
    let weights = recorded.recorded().map(|(_, var)| var);
    let wrt: Vec<&Var<f32>> = [&x].into_iter().chain(weights).collect();
    let gradients = tape.gradients(&sum, &wrt);
    let moved = |gradient: &&Tensor<f32>| gradient.data().iter().any(|&g| g != 0.0);
    assert!(
        gradients[1..].iter().any(|g| moved(&g)),
        "{s}: no parameter matters"
    );
    let gradient = &gradients[0];
    for image in gradient.data().chunks_exact(s.image.dims()) {
        assert!(
            image.iter().any(|&g| g != 0.0),
            "{s}: the pixels of an image do not matter"
        );
    }
    let size = gradient
        .data()
        .iter()
        .map(|&g| f64::from(g).powi(2))
        .sum::<f64>()
        .sqrt();
    let difference = |h: f64| {
        let at = |h: f64| {
            let pixels = images.data().iter().zip(gradient.data());
            let step = |(x, g): (&f32, &f32)| x + (h * f64::from(*g) / size) as f32;
            value(&Tensor::new(
                *images.shape(),
                &pixels.map(step).collect::<Vec<_>>(),
            ))
        };
        (at(h) - at(-h)) / (2.0 * h)
    };
    // Short steps, since a step across the kink of a ReLU is no derivative.
    let found = [1e-2, 3e-3, 1e-3, 3e-4, 3e-2].map(difference);
    let agrees = found.iter().any(|found| (found / size - 1.0).abs() < 0.02);
    assert!(
        agrees,
        "{s}: the gradient by the pixels is {size}, differences give {found:?}"
    );
}
