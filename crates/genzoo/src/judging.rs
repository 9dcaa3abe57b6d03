//! The witness of the judge: a classifier that is trained once on the data and kept in the cache.

use crate::progress::{Display, figure};
use crate::{failure, registry};
use dataset::{Binarize, Cache, Dataset, Split};
use judge::{SampleScore, Witness};
use nn::model::Entry;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use toml::{Table, Value};
use train::{Config, Images, Outcome, Pool, RunDir, Session, Trained};

/// The model that is trained, and the channels of its stages: a small one is right on more than 98%
/// of digits after a minute, and its features tell samples apart as well.
const CLASSIFIER: &str = "conv-classifier";
const CHANNELS: &str = "16,32";
/// About how many images it sees in training, in whole epochs and at most [`MOST_EPOCHS`] of them.
const IMAGES: usize = 150_000;
const MOST_EPOCHS: usize = 10;
/// Training images that say how large features are.
const CALIBRATION: usize = 1000;
/// Samples that are drawn each time a run is judged.
const SAMPLES: usize = 2000;
/// Where the fingerprint of the parameters is kept, beside them.
const FINGERPRINT: &str = "fingerprint";

/// A witness with what it is called in reports.
pub(crate) struct Called {
    pub(crate) witness: Arc<Witness>,
    /// How many classes it tells.
    pub(crate) classes: usize,
    /// `conv-classifier 0123456789abcdef`.
    pub(crate) name: String,
}

/// Why images of a data set cannot be judged, if they cannot.
fn obstacle(data: &Dataset) -> Option<String> {
    if data.classes().is_none() {
        let name = data.name();
        return Some(format!(
            "{name} has no labels, so no classifier can be trained on it"
        ));
    }
    None
}

/// The witness for these data with pixels as they are or binarised: from the cache, or else trained
/// now and put there.
pub(crate) fn witness(
    data: &Dataset,
    name: &str,
    binarize: Binarize,
    pool: &Pool,
    stop: &AtomicBool,
) -> anyhow::Result<Called> {
    if let Some(reason) = obstacle(data) {
        return Err(failure::failed(
            reason,
            "the judge needs a classifier of the same data",
        ));
    }
    let entry = registry::find(CLASSIFIER)?;
    let root = Cache::from_environment()?.directory().join("judges");
    let key = format!(
        "{:016x}-{binarize}-{CLASSIFIER}-{CHANNELS}",
        data.fingerprint()
    );
    let place = root.join(&key);
    if !place.exists() {
        std::fs::create_dir_all(&root)?;
        let workshop = root.join(format!("{key}.{}", std::process::id()));
        if workshop.exists() {
            std::fs::remove_dir_all(&workshop)?;
        }
        let made = make(entry, data, name, binarize, &workshop, (pool, stop));
        if let Err(error) = made {
            let _ = std::fs::remove_dir_all(&workshop);
            return Err(error);
        }
        // Another process may have been faster: its witness is as good.
        if std::fs::rename(&workshop, &place).is_err() {
            let _ = std::fs::remove_dir_all(&workshop);
        }
    }
    read(entry, (data, binarize), &place)
}

/// Trains a witness in this directory.
fn make(
    entry: &'static Entry,
    data: &Dataset,
    name: &str,
    binarize: Binarize,
    place: &Path,
    (pool, stop): (&Pool, &AtomicBool),
) -> anyhow::Result<()> {
    let images = data.split(Split::Train).len().max(1);
    let epochs = IMAGES.div_ceil(images).clamp(1, MOST_EPOCHS);
    let mut layer = Table::new();
    layer.insert("binarize".into(), Value::String(binarize.to_string()));
    layer.insert("epochs".into(), Value::Integer(epochs as i64));
    let channels = ("channels".to_string(), Value::String(CHANNELS.into()));
    layer.insert("hypers".into(), Value::Table(Table::from_iter([channels])));
    let config = Config::resolve(entry, name, data, vec![(layer, "the judge")])?;
    eprintln!(
        "training the judge's classifier on {}, once: {} epochs of {images} images",
        data.name(),
        epochs
    );
    let dir = RunDir::create(place)?;
    let mut session = Session::begin(dir, entry, config, data)?;
    let mut display = Display::new(session.done());
    let outcome = session.run(pool, &mut display, stop);
    display.finish();
    if outcome? == Outcome::Stopped {
        let message = "stopped before the judge's classifier was trained";
        return Err(failure::failed(
            message,
            "--no-judge trains without a judge",
        ));
    }
    if let Some((info, value)) = session.best() {
        eprintln!("the judge's classifier: {} {}", info.name, figure(value));
    }
    let witness = load(entry, place)?.0;
    let text = format!("{:016x}\n", witness.fingerprint());
    Ok(train::write_whole(
        &place.join(FINGERPRINT),
        text.as_bytes(),
    )?)
}

fn load(entry: &'static Entry, place: &Path) -> anyhow::Result<(Witness, usize)> {
    let dir = RunDir::open(place)?;
    let config = train::read_config(&dir)?;
    let trained = Trained::read(&dir, entry, &config)?;
    let classes = config.image.classes.unwrap_or(0);
    let witness = Witness::new(trained.model, trained.params);
    Ok((
        witness.expect("the judge's classifier has features"),
        classes,
    ))
}

fn read(
    entry: &'static Entry,
    (data, binarize): (&Dataset, Binarize),
    place: &Path,
) -> anyhow::Result<Called> {
    let (witness, classes) = load(entry, place)?;
    let found = format!("{:016x}", witness.fingerprint());
    let path = place.join(FINGERPRINT);
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected.trim() != found {
        return Err(failure::failed(
            format!(
                "{}: expected parameters of fingerprint {:?}, found {found}",
                path.display(),
                expected.trim().chars().take(16).collect::<String>()
            ),
            "remove this directory, and the classifier is trained anew",
        ));
    }
    let training = Images::evaluation(data, Split::Train, binarize);
    let images = judge::real(&training, 0, CALIBRATION, judge::HALVES).images;
    Ok(Called {
        witness: Arc::new(witness.in_units_of(&images)),
        classes,
        name: format!("{CLASSIFIER} {found}"),
    })
}

/// The session with a judge of samples, where the model makes images and has no score of its own.
pub(crate) fn judged<'d>(
    session: Session<'d>,
    entry: &Entry,
    data: &Dataset,
    pool: &Pool,
    stop: &AtomicBool,
) -> anyhow::Result<Session<'d>> {
    let model = session.engine().model();
    let valid = data.split(Split::Valid).len();
    if !model.scores().is_empty() || model.sampler().is_none() || session.done() >= 1.0 {
        return Ok(session);
    }
    let few = (!judge::is_enough(valid))
        .then(|| format!("the valid split of {} has {valid} images", data.name()));
    if let Some(reason) = obstacle(data).or(few) {
        eprintln!("samples are not judged, and the last parameters are kept: {reason}");
        return Ok(session);
    }
    let config = session.config();
    let called = witness(data, &config.data, config.binarize, pool, stop)?;
    let (model, _) = entry.build_for(&config.hypers(entry)?, config.image, config.seed)?;
    let score = SampleScore::new(called.witness, model, config.image, called.classes, SAMPLES);
    eprintln!(
        "samples are judged by {}, which is not Inception",
        called.name
    );
    Ok(session.judged_by(Box::new(score))?)
}
