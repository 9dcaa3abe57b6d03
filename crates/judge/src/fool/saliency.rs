//! Which pixels an answer depends on.

use grad::{Tape, Tensor};
use nn::Params;
use nn::model::Classifier;
use nn::random::{normal, stream};

/// |d logit / d pixel| of each image's class, the largest of a pixel's colours, scaled so that an
/// image's largest is 1: `[N, H, W, 1]`. K. Simonyan et al. 2014, arXiv:1312.6034, section 3.
///
/// # Panics
/// If there is not a class for each image.
#[track_caller]
pub fn saliency(
    classifier: &dyn Classifier,
    params: &Params<f32>,
    images: &Tensor<f32>,
    classes: &[u32],
) -> Tensor<f32> {
    map(images, &slopes(classifier, params, images, classes))
}

/// The same of the mean slope over `draws` images with noise of this deviation: D. Smilkov et al.
/// 2017, arXiv:1706.03825.
///
/// # Panics
/// If there is not a class for each image.
#[track_caller]
pub fn smooth_saliency(
    classifier: &dyn Classifier,
    params: &Params<f32>,
    images: &Tensor<f32>,
    classes: &[u32],
    (draws, deviation): (usize, f32),
) -> Tensor<f32> {
    let mut sums = vec![0.0; images.len()];
    for draw in 0..draws {
        let mut random = stream(&[draw as u64]);
        let mut noisy = images.clone();
        for x in noisy.make_mut() {
            *x += deviation * normal(&mut random) as f32;
        }
        let slopes = slopes(classifier, params, &noisy, classes);
        sums.iter_mut().zip(&slopes).for_each(|(sum, x)| *sum += x);
    }
    map(images, &sums)
}

#[track_caller]
fn slopes(
    classifier: &dyn Classifier,
    params: &Params<f32>,
    images: &Tensor<f32>,
    classes: &[u32],
) -> Vec<f32> {
    assert_eq!(
        images.shape()[0],
        classes.len(),
        "saliency: a class for each image"
    );
    super::in_parts(images, |start, x| {
        let classes = &classes[start..start + x.shape()[0]];
        let (tape, p) = (Tape::new(), params.constants());
        let var = tape.var(x);
        let of_class = classifier.logits(&p, &var).pick(classes.into()).sum();
        tape.into_gradients(&of_class, &[&var])[0].data().to_vec()
    })
}

fn map(images: &Tensor<f32>, slopes: &[f32]) -> Tensor<f32> {
    let [n, h, w, c] = images.shape()[..] else {
        panic!("saliency: expected [N, H, W, C]")
    };
    let sizes = slopes
        .chunks_exact(c)
        .map(|pixel| pixel.iter().fold(0.0, |m: f32, x| m.max(x.abs())));
    let mut sizes: Vec<f32> = sizes.collect();
    for image in sizes.chunks_exact_mut((h * w).max(1)) {
        let most = image.iter().copied().fold(0.0, f32::max);
        if most > 0.0 {
            image.iter_mut().for_each(|x| *x /= most);
        }
    }
    Tensor::new([n, h, w, 1], &sizes)
}
