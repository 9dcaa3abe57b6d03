//! What a run promises: the same bytes on any number of threads and across any interruption, and
//! nothing lost when something is wrong.

mod common;

use common::{StopAfter, TOY, config, data};
use dataset::Dataset;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use train::{Config, Error, Event, Outcome, Pool, RunDir, Session, Trained};

/// Runs until the end or `steps` more steps.
fn run(mut session: Session, threads: usize, steps: u64) -> Result<(Outcome, Vec<Event>), Error> {
    let stop = AtomicBool::new(steps == 0);
    let mut observer = StopAfter {
        steps,
        stop: &stop,
        events: Vec::new(),
    };
    let pool = Pool::new(Some(threads))?;
    let outcome = session.run(&pool, &mut observer, &stop)?;
    Ok((outcome, observer.events))
}

fn begin<'d>(dir: &Path, config: &Config, data: &'d Dataset) -> Result<Session<'d>, Error> {
    Session::begin(RunDir::create(dir)?, &TOY, config.clone(), data)
}

fn resume<'d>(dir: &Path, data: &'d Dataset) -> Result<Session<'d>, Error> {
    let dir = RunDir::open(dir)?;
    let config = train::read_config(&dir)?;
    Session::resume(dir, &TOY, config, data)
}

/// The files that depend on nothing but the configuration, and the metrics without times.
fn bytes(dir: &Path) -> (Vec<Vec<u8>>, Vec<Event>) {
    let names = ["config.toml", "checkpoint.safetensors", "best.safetensors"];
    let files = names.map(|name| fs::read(dir.join(name)).unwrap());
    let metrics = fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let event = |line: &str| Event {
        images_per_second: 0.0,
        seconds: 0.0,
        ..serde_json::from_str(line).unwrap()
    };
    (files.to_vec(), metrics.lines().map(event).collect())
}

#[test]
fn threads_do_not_change_a_byte() {
    let data = data(0);
    for lane in [1, 3, 7, 32, 1000] {
        let config = config(&data, &format!("seed = 4\nhypers.lane = {lane}"));
        let all = [1, 2, 3, 5].map(|threads| {
            let root = tempfile::tempdir().unwrap();
            let dir = root.path().join("run");
            let (outcome, _) = run(begin(&dir, &config, &data).unwrap(), threads, 1000).unwrap();
            assert_eq!(outcome, Outcome::Finished);
            bytes(&dir)
        });
        for other in &all[1..] {
            assert!(*other == all[0], "lanes of {lane}");
        }
    }
}

#[test]
fn stopping_anywhere_and_resuming_does_not_change_a_byte() {
    let data = data(0);
    // 100 images in batches of 32: 4 steps an epoch, the last of 4 images.
    for limit in ["epochs = 3", "steps = 10", "steps = 8"] {
        let config = config(&data, limit);
        let root = tempfile::tempdir().unwrap();
        let whole = root.path().join("whole");
        run(begin(&whole, &config, &data).unwrap(), 2, 1000).unwrap();
        for at in 0..9 {
            let parts = root.path().join(format!("parts-{at}"));
            let session = begin(&parts, &config, &data).unwrap();
            let mut outcome = run(session, 2, at).unwrap().0;
            while outcome == Outcome::Stopped {
                outcome = run(resume(&parts, &data).unwrap(), 1, at + 2).unwrap().0;
            }
            assert!(bytes(&parts) == bytes(&whole), "{limit}, stopped at {at}");
        }
    }
}

#[test]
fn a_run_can_be_made_longer_and_finished_ones_stay() {
    let data = data(0);
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("run");
    // The schedule must not depend on the end for the bytes to agree.
    let short = config(&data, "steps = 6\nschedule.kind = 'constant'");
    let long = config(&data, "steps = 11\nschedule.kind = 'constant'");
    run(begin(&dir, &short, &data).unwrap(), 1, 1000).unwrap();
    let before = bytes(&dir);
    run(resume(&dir, &data).unwrap(), 1, 1000).unwrap();
    assert!(bytes(&dir) == before, "a finished run has changed");
    let place = RunDir::open(&dir).unwrap();
    run(
        Session::resume(place, &TOY, long.clone(), &data).unwrap(),
        1,
        1000,
    )
    .unwrap();
    let other = root.path().join("other");
    run(begin(&other, &long, &data).unwrap(), 1, 1000).unwrap();
    assert!(bytes(&dir).0[..2] == bytes(&other).0[..2]);
}

#[test]
fn metrics_are_means_over_images_and_the_best_parameters_are_kept() {
    let data = data(0);
    let config = config(&data, "epochs = 4\noptimisers.loss.lr = 0.1");
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("run");
    let (_, events) = run(begin(&dir, &config, &data).unwrap(), 2, 1000).unwrap();
    let valid: Vec<f64> = events
        .iter()
        .filter(|e| e.is_valid())
        .map(|e| e.nats.unwrap())
        .collect();
    let train: Vec<&Event> = events.iter().filter(|e| !e.is_valid()).collect();
    assert_eq!((valid.len(), train.len()), (4, 4));
    assert_eq!(
        train.iter().map(|e| (e.step, e.epoch)).collect::<Vec<_>>(),
        [(4, 1), (8, 2), (12, 3), (16, 4)]
    );
    for event in &train {
        assert_eq!(event.parts["pixels"], 12.0);
        let nats = event.nats.unwrap();
        assert!(nats > 0.0 && nats < 20.0, "{nats}");
    }
    assert!(train[3].nats < train[0].nats, "it does not learn");
    let saved = Trained::read(&RunDir::open(&dir).unwrap(), &TOY, &config).unwrap();
    let best = valid.iter().copied().fold(f64::INFINITY, f64::min);
    let epoch = valid.iter().position(|&nats| nats == best).unwrap() as u64;
    assert_eq!(saved.step, 4 * (epoch + 1));
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint() {
    let data = data(0);
    let config = config(&data, "hypers.explode = 1e38\nclip_norm = 1e9");
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("run");
    let session = begin(&dir, &config, &data).unwrap();
    let before = fs::read(dir.join("checkpoint.safetensors")).unwrap();
    let error = run(session, 1, 1000).unwrap_err();
    assert_eq!(
        error.to_string(),
        "step 1: expected a finite loss (loss), found inf"
    );
    assert!(fs::read(dir.join("checkpoint.safetensors")).unwrap() == before);
    resume(&dir, &data).unwrap();
}

#[test]
fn other_data_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("run");
    let first = data(0);
    run(begin(&dir, &config(&first, ""), &first).unwrap(), 1, 2).unwrap();
    let other = data(1);
    let error = resume(&dir, &other).err().unwrap().to_string();
    assert!(
        error.contains("expected the data the run began with"),
        "{error}"
    );
    resume(&dir, &first).unwrap();
}

#[test]
fn an_edited_configuration_is_refused() {
    let data = data(0);
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("run");
    run(begin(&dir, &config(&data, ""), &data).unwrap(), 1, 2).unwrap();
    let path = dir.join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    let cases = [
        (
            text.replace("batch_size = 32", "batch_size = 16"),
            "expected that of config.toml",
        ),
        (
            text.replace("lr = 0.01", "lr = -1.0"),
            "lr: expected a number above 0, found -1",
        ),
        (
            text.replace("seed = 0", "seed = \"a\""),
            "invalid type: string",
        ),
        (text.replace("seed = 0\n", ""), "missing field `seed`"),
        (
            text.replace("seed = 0", "seed = 0\nsead = 1"),
            "unknown field `sead`",
        ),
        (text.replace("seed = 0", "seed = "), "line 7: "),
        (
            text.replace("hidden = 5", "hidden = 100000"),
            "expected at most 1000, found 100000",
        ),
        (
            text.replace("hidden = 5", "hidden = 6"),
            "expected that of config.toml",
        ),
        (
            text.replace("epochs = 2", "epochs = 2\nsteps = 2"),
            "expected one of epochs, steps, time",
        ),
        (text.replace("epochs = 2", "epochs = 0"), "found 0"),
        (String::new(), "missing field"),
    ];
    for (edited, expected) in cases {
        assert_ne!(edited, text);
        fs::write(&path, &edited).unwrap();
        let error = resume(&dir, &data)
            .err()
            .unwrap_or_else(|| panic!("accepted: {edited}"));
        let error = error.to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(
        resume(&dir, &data)
            .err()
            .unwrap()
            .to_string()
            .contains("UTF-8")
    );
    fs::write(&path, &text).unwrap();
    resume(&dir, &data).unwrap();
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_old_one() {
    let data = data(0);
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("run");
    let session = begin(&dir, &config(&data, ""), &data).unwrap();
    // A directory in the place of a file: renaming fails, as on a full disk writing would.
    let best = dir.join("best.safetensors");
    fs::create_dir(&best).unwrap();
    let before = fs::read(dir.join("checkpoint.safetensors")).unwrap();
    let error = run(session, 1, 1000).unwrap_err().to_string();
    assert!(
        error.contains("best.safetensors: cannot replace"),
        "{error}"
    );
    assert!(fs::read(dir.join("checkpoint.safetensors")).unwrap() == before);
    fs::remove_dir(&best).unwrap();
    run(resume(&dir, &data).unwrap(), 1, 1000).unwrap();
}
