//! Compression: what is written comes back, at the length that the likelihood promises, and other
//! bytes are refused.

use autoregressive::density::{Density, nll_of};
use autoregressive::{
    Autoregressive, GatedPixelCnn, GatedSizes, Made, MadeOptions, PixelCnn, Pixels,
};
use grad::Tensor;
use lossless::{Archive, Codec, Error, Levels};
use nn::model::{ImageSpec, SampleRequest, Sampler};
use nn::{Builder, Params};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

const SPEC: ImageSpec = ImageSpec::new(5, 4, 1, 2);

/// A model with weights far from 0, so that its conditionals are far from uniform.
fn built<M: Autoregressive>(make: impl Fn(&mut Builder) -> M) -> (Density<M>, Params<f32>) {
    let mut params = Params::new();
    let model = make(&mut Builder::new(&mut params, 3));
    for param in params.iter_mut() {
        param.value = param.value.map(|w| 2.0 * w + 0.1);
    }
    (Density(model), params)
}

/// Images drawn from the model, of the classes in turn if it is conditional.
fn drawn<M: Autoregressive>(model: &Density<M>, params: &Params<f32>, count: usize) -> Levels {
    let images = model.sample(&params.constants(), &SampleRequest::new(count, 1));
    let top = (model.0.spec().levels - 1) as f32;
    let class = |classes: usize| (0..count).map(|i| (i % classes) as u32).collect();
    Levels {
        levels: images
            .data()
            .iter()
            .map(|x| (x * top).round() as u8)
            .collect(),
        classes: model.0.classes().map_or(Vec::new(), class),
    }
}

/// -log2 p of all images.
fn bits<M: Autoregressive>(model: &M, params: &Params<f32>, images: &Levels) -> f64 {
    let spec = model.spec();
    let count = images.levels.len() / spec.dims();
    let shape = [count, spec.height, spec.width, spec.channels];
    let top = (spec.levels - 1) as f64;
    let x = Tensor::from_fn(shape, |i| f64::from(images.levels[i]) / top);
    let labels: Option<Arc<[u32]>> =
        (!images.classes.is_empty()).then(|| images.classes.clone().into());
    let p = params.cast::<f64>().constants();
    let nats = nll_of(model, &p, &x, labels.as_ref(), 0).sum().item();
    let label_bits = model
        .classes()
        .map_or(0.0, |n| (n as f64).log2() * count as f64);
    nats / std::f64::consts::LN_2 + label_bits
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(work)
}

#[test]
fn images_come_back_and_take_as_many_bits_as_the_likelihood_says() {
    fn check<M: Autoregressive>(name: &str, make: impl Fn(&mut Builder) -> M) {
        let (model, params) = built(make);
        let spec = model.0.spec();
        let codec = Codec::new(&model, &params, spec, name).unwrap();
        // One image; some; more than one text of 256.
        for count in [1, 33, 300] {
            let images = drawn(&model, &params, count);
            let bytes = in_pool(1, || codec.write(&images, b"note")).unwrap();
            assert_eq!(
                in_pool(3, || codec.write(&images, b"note")).unwrap(),
                bytes,
                "{name}"
            );
            let archive = Archive::parse(&bytes).unwrap();
            assert_eq!((archive.count(), archive.note()), (count, &b"note"[..]));
            assert!(
                in_pool(3, || codec.read(&archive)).unwrap() == images,
                "{name}"
            );
            let expected = bits(&model.0, &params, &images) / 8.0;
            let excess = bytes.len() as f64 - expected;
            let texts = count.div_ceil(256) as f64;
            assert!(
                (0.0..60.0 + 10.0 * texts + 1e-3 * expected).contains(&excess),
                "{name}, {count}: {} bytes, expected {expected}",
                bytes.len()
            );
        }
    }
    let made = MadeOptions {
        hidden: vec![40],
        masks: 2,
        shuffle: true,
        direct: false,
        seed: 1,
    };
    check("made", |b| Made::new(b, SPEC, &made));
    check("pixelcnn", |b| {
        PixelCnn::new(b, SPEC, Pixels::Bernoulli, 8, 2, 6)
    });
    let colour = ImageSpec::new(3, 4, 3, 256);
    let pixels = Pixels::of(&colour);
    check("softmax", |b| PixelCnn::new(b, colour, pixels, 12, 1, 9));
    let pixels = Pixels::Logistics {
        levels: 256,
        components: 3,
    };
    check("logistics", |b| PixelCnn::new(b, colour, pixels, 12, 1, 9));
    let sizes = GatedSizes {
        channels: 6,
        layers: 2,
        head: 5,
        classes: Some(3),
    };
    check("conditional", |b| {
        GatedPixelCnn::new(b, SPEC, Pixels::Bernoulli, sizes)
    });
}

type Model = (Density<PixelCnn>, Params<f32>);

static MODEL: LazyLock<Model> =
    LazyLock::new(|| built(|b| PixelCnn::new(b, SPEC, Pixels::Bernoulli, 4, 1, 4)));

/// 260 images of that model: two texts.
static WRITTEN: LazyLock<(Levels, Vec<u8>)> = LazyLock::new(|| {
    let images = drawn(&MODEL.0, &MODEL.1, 260);
    let bytes = codec().write(&images, b"a note").unwrap();
    (images, bytes)
});

fn codec() -> Codec<'static> {
    Codec::new(&MODEL.0, &MODEL.1, SPEC, "pixelcnn").unwrap()
}

#[test]
fn other_weights_architectures_and_instruction_sets_are_refused() {
    let (_, bytes) = &*WRITTEN;
    let archive = Archive::parse(bytes).unwrap();
    let error = |codec: &Codec| codec.read(&archive).unwrap_err().to_string();
    let mut params = MODEL.1.clone();
    let first = params.ids().next().unwrap();
    params.get_mut(first).value.make_mut()[0] += 1e-6;
    let changed = error(&Codec::new(&MODEL.0, &params, SPEC, "pixelcnn").unwrap());
    assert!(
        changed.starts_with("it was compressed with the weights "),
        "{changed}"
    );
    let renamed = error(&Codec::new(&MODEL.0, &MODEL.1, SPEC, "pixelcnn, seed 2").unwrap());
    assert!(renamed.contains("the weights"), "{renamed}");
    let larger = SPEC.with_size(6, 4);
    let (model, params) = built(|b| PixelCnn::new(b, larger, Pixels::Bernoulli, 4, 1, 4));
    let resized = error(&Codec::new(&model, &params, larger, "pixelcnn").unwrap());
    assert_eq!(
        resized,
        "it was compressed with a model of images 5x4x1 of 2 levels, this is 6x4x1 of 2 levels"
    );
    // The name of the instruction set comes after magic, version and its own length.
    let mut other = bytes.clone();
    other[6] ^= 1;
    let error = codec().read(&Archive::parse(&other).unwrap()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Other {
                what: "the instruction set",
                ..
            }
        ),
        "{error}"
    );
    // Behind that name: a hash of the weights, then one of the probabilities.
    let mut other = bytes.clone();
    other[6 + usize::from(bytes[5]) + 8] ^= 1;
    let error = codec().read(&Archive::parse(&other).unwrap()).unwrap_err();
    let expected = "it was compressed with a version of genzoo with the fingerprint ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let write = |levels: Vec<u8>, classes: Vec<u32>| {
        let error = codec().write(&Levels { levels, classes }, b"").unwrap_err();
        error.to_string()
    };
    assert_eq!(
        write(vec![0; 30], vec![]),
        "expected whole images of 20 pixels, found 30 pixels"
    );
    assert_eq!(
        write(vec![], vec![]),
        "expected whole images of 20 pixels, found 0 pixels"
    );
    assert_eq!(
        write(vec![2; 20], vec![]),
        "expected levels below 2, found 2"
    );
    assert_eq!(write(vec![1; 20], vec![0]), "expected 0 classes, found 1");
}

#[test]
fn a_file_cut_short_or_with_any_byte_changed_is_refused() {
    let (images, bytes) = &*WRITTEN;
    let read = |bytes: &[u8]| codec().read(&Archive::parse(bytes)?);
    assert_eq!(&read(bytes).unwrap(), images);
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "cut to {length}");
    }
    assert!(read(&[&bytes[..], &[0]].concat()).is_err());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(read(&changed).is_err(), "byte {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Archive::parse(&bytes).is_err());
    }

    #[test]
    fn no_mixture_of_a_file_and_other_bytes_panics(
        at in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 1..12),
        insert in any::<bool>(),
    ) {
        let (images, bytes) = &*WRITTEN;
        let at = at.index(bytes.len());
        let end = if insert { at } else { (at + with.len()).min(bytes.len()) };
        let mut mixed = bytes.clone();
        mixed.splice(at..end, with);
        if let Ok(found) = Archive::parse(&mixed).and_then(|archive| codec().read(&archive)) {
            prop_assert_eq!(&found, images);
        }
    }
}
