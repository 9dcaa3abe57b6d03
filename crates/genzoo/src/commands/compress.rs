//! `genzoo compress` and `genzoo decompress`: files of images as about as many bits as the model's
//! -log2 p, and back.

use crate::failure;
use crate::finished::{Finished, From};
use crate::output::{print, print_about, read_file, thousands, write_file};
use crate::picture::Picture;
use crate::pixels::{Pixels, to_levels};
use anyhow::Context;
use dataset::formats::{FORMATS, HEAD, Part};
use dataset::{Form, ImageShape, Parcel};
use lossless::{Archive, Codec, Levels};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use train::Pool;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory of a run of a model that draws one pixel after another.
    run: PathBuf,
    /// Files of images as the model has learned: IDX, CIFAR-10 binary, .amat of 0 and 1, or PNG (of
    /// which the pixels come back, not the packing). A model with several orderings codes with the
    /// first.
    #[arg(
        value_name = "FILE",
        conflicts_with = "from",
        required_unless_present = "from"
    )]
    files: Vec<PathBuf>,
    /// Images of the run's data instead; they come back as an IDX file.
    #[arg(long, value_name = "SPLIT:A..B")]
    from: Option<From>,
    /// Other data than the run's own, of the same shape.
    #[arg(long, value_name = "NAME|DIR", conflicts_with = "files")]
    data: Option<String>,
    /// The class of all images, for a conditional model and files without labels.
    #[arg(long, value_name = "C")]
    class: Option<u32>,
    /// The file to write.
    #[arg(long, value_name = "FILE", default_value = "images.gzll")]
    out: PathBuf,
    /// Threads; they do not change the file [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads())]
    threads: Option<u64>,
}

#[derive(clap::Args)]
pub(crate) struct BackArgs {
    /// The directory of the run that the file was compressed with.
    run: PathBuf,
    /// A file that `genzoo compress` has written.
    archive: PathBuf,
    /// The directory for the files; none of them may be there with other contents.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Threads; they do not change the files [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads())]
    threads: Option<u64>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let run = Finished::open(&args.run)?;
    let codec = codec(&run)?;
    run.check_class(args.class)?;
    let mut images = Levels::default();
    let mut parcels = Vec::new();
    if let Some(from) = &args.from {
        let (parcel, labels) = split(&args, &run, from, &mut images.levels)?;
        add_classes(&args, &run, &parcel, labels, &mut images.classes)?;
        parcels.push(parcel);
    }
    for path in &args.files {
        let parcel = file(path, &run, &mut images.levels)?;
        let labels = parcel.labels.iter().flatten().map(|&label| label.into());
        let labels = parcel.labels.is_some().then(|| labels.collect());
        add_classes(&args, &run, &parcel, labels, &mut images.classes)?;
        parcels.push(parcel);
    }
    if let Some(name) = Parcel::twice(&parcels) {
        return Err(failure::failed(
            format!("{name:?} is the name of two files: decompressed, one would replace the other"),
            "compress them into two archives, or rename one",
        ));
    }
    if let Some(input) = args.files.iter().find(|input| is_one(input, &args.out)) {
        return Err(failure::failed(
            format!(
                "--out {}: that is one of the files to compress",
                input.display()
            ),
            "--out names another file",
        ));
    }
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    let bytes = pool.run(|| codec.write(&images, &Parcel::encode(&parcels)))?;
    write_file(&args.out, &bytes)?;
    let (dims, pixels) = (run.config.image.dims(), images.levels.len());
    print_about(
        &args.out,
        format!(
            "{} images of {dims} pixels in {}: {} bytes, {:.4} bits a dimension{}",
            thousands((pixels / dims) as u64),
            args.out.display(),
            thousands(bytes.len() as u64),
            8.0 * bytes.len() as f64 / pixels as f64,
            by_ordering(codec.members()),
        ),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// By which ordering of the pixels images are coded, where that is not all of the model.
fn by_ordering(members: usize) -> String {
    match members {
        1 => String::new(),
        n => format!(", by ordering 1 of {n}"),
    }
}

pub(crate) fn back(args: BackArgs) -> anyhow::Result<ExitCode> {
    let run = Finished::open(&args.run)?;
    let codec = codec(&run)?;
    let place = args.archive.display().to_string();
    let bytes = read_file(&args.archive)?;
    let archive = Archive::parse(&bytes).with_context(|| place.clone())?;
    let parcels = Parcel::parse(archive.note()).with_context(|| place.clone())?;
    let counts = parcels
        .iter()
        .try_fold(0usize, |sum, parcel| sum.checked_add(parcel.count));
    if counts != Some(archive.count()) {
        let message = format!("{place}: expected files of {} images", archive.count());
        return Err(failure::failed(message, ""));
    }
    let pool = Pool::new(args.threads.map(|n| n as usize))?;
    let images = pool.run(|| codec.read(&archive)).with_context(|| place)?;
    let spec = run.config.image;
    let shape = ImageShape {
        height: spec.height,
        width: spec.width,
        channels: spec.channels,
    };
    let mut rest = &images.levels[..];
    let mut files = Vec::new();
    for parcel in &parcels {
        let (levels, tail) = rest.split_at(parcel.count * spec.dims());
        rest = tail;
        let bytes = match parcel.join(shape, levels) {
            Some(bytes) => bytes,
            None => {
                let pixels = levels.iter().map(|level| level.wrapping_mul(parcel.scale));
                Picture::plain(shape, pixels.collect()).encode()?
            }
        };
        files.push((args.out.join(&parcel.name), bytes));
    }
    // Nothing is written over, and if one is in the way nothing is written.
    for (path, bytes) in &files {
        if path.exists() && std::fs::read(path).ok().as_ref() != Some(bytes) {
            return Err(failure::failed(
                format!("{}: there is another file of this name", path.display()),
                "--out puts the files into another directory",
            ));
        }
    }
    std::fs::create_dir_all(&args.out).with_context(|| format!("{}", args.out.display()))?;
    for ((path, bytes), parcel) in files.iter().zip(&parcels) {
        write_file(path, bytes)?;
        print(format!(
            "{}: {} images, {} bytes{}",
            path.display(),
            thousands(parcel.count as u64),
            thousands(bytes.len() as u64),
            by_ordering(archive.members()),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether two paths lead to one file that is there.
fn is_one(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| path.canonicalize().ok();
    place(a).is_some() && place(a) == place(b)
}

/// The run's model as an encoder and decoder.
fn codec(run: &Finished) -> anyhow::Result<Codec<'_>> {
    let config = &run.config;
    let architecture = format!(
        "{} {:?} {:?} {}",
        config.model, config.hypers, config.image, config.seed
    );
    Codec::new(
        run.model(),
        &run.trained.params,
        config.image,
        &architecture,
    )
    .ok_or_else(|| run.cannot("does not tell the distribution of a pixel given those before it"))
}

/// Images of a data set, as the IDX file that they come back as.
fn split(
    args: &Args,
    run: &Finished,
    from: &From,
    levels: &mut Vec<u8>,
) -> anyhow::Result<(Parcel, Option<Vec<u32>>)> {
    let data = run.data(args.data.as_ref())?;
    let (images, indices) = run.images(&data, from)?;
    let batch = images.batch(&indices);
    let top = (run.config.image.levels - 1) as f32;
    levels.extend(batch.images.data().iter().map(|x| (x * top).round() as u8));
    let idx = FORMATS.iter().find(|format| format.name == "idx");
    let step = 255 / (run.config.image.levels - 1).max(1);
    let (first, last) = (indices[0], indices[indices.len() - 1] + 1);
    let parcel = Parcel {
        name: format!("{}-{first}-{last}.idx", from.split),
        form: Form::Format(idx.expect("IDX is a format")),
        scale: if 255 % (run.config.image.levels - 1) == 0 {
            step as u8
        } else {
            1
        },
        count: indices.len(),
        labels: None,
    };
    Ok((parcel, batch.labels.map(|labels| labels.to_vec())))
}

/// The images of a file.
fn file(path: &Path, run: &Finished, levels: &mut Vec<u8>) -> anyhow::Result<Parcel> {
    let spec = run.config.image;
    let place = path.display();
    let bytes = read_file(path)?;
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name.filter(|name| Parcel::is_plain(name)) else {
        let message = format!(
            "{place}: expected a name of at most 255 bytes of UTF-8 without control characters, \
             colons and backslashes, so that it can be written again on any system"
        );
        return Err(failure::failed(message, "rename the file"));
    };
    let of_levels = |pixels: &[u8]| {
        to_levels(pixels, spec.levels).map_err(|pixel| {
            let expected = format!("expected pixels of {} levels", spec.levels);
            failure::failed(format!("{place}: {expected}, found {pixel}"), "")
        })
    };
    if bytes.starts_with(b"\x89PNG") {
        let (found, scale) = of_levels(&Pixels::exact(path, &bytes, &spec)?.data)?;
        levels.extend(found);
        return Ok(Parcel {
            name: name.into(),
            form: Form::Picture,
            scale,
            count: 1,
            labels: None,
        });
    }
    let head = &bytes[..bytes.len().min(HEAD)];
    let Some(format) = FORMATS.iter().find(|format| (format.sniff)(head)) else {
        return Err(failure::failed(
            format!("{place}: expected IDX, CIFAR-10, .amat or PNG, found something else"),
            "a file that is packed (.gz) must be unpacked first",
        ));
    };
    let part = (format.parse)(&bytes).map_err(|error| error.at(path))?;
    let Part::Images(images) = part else {
        return Err(failure::failed(
            format!("{place}: expected images, found labels"),
            "",
        ));
    };
    let expected = [spec.height, spec.width, spec.channels];
    let found = [
        images.shape.height,
        images.shape.width,
        images.shape.channels,
    ];
    if found != expected {
        let message = format!("{place}: expected images {expected:?}, found {found:?}");
        return Err(failure::failed(message, "height, width, colours"));
    }
    let (of_file, scale) = of_levels(&images.pixels)?;
    let parcel = Parcel {
        name: name.into(),
        form: Form::Format(format),
        scale,
        count: images.count,
        labels: images.labels.clone(),
    };
    if parcel.join(images.shape, &of_file).as_ref() != Some(&bytes) {
        return Err(failure::failed(
            format!("{place}: its bytes do not follow from its images alone"),
            "blanks or numbers are written in another way than this program does",
        ));
    }
    levels.extend(of_file);
    Ok(parcel)
}

/// The classes of a file's images, where the model needs them.
fn add_classes(
    args: &Args,
    run: &Finished,
    parcel: &Parcel,
    labels: Option<Vec<u32>>,
    classes: &mut Vec<u32>,
) -> anyhow::Result<()> {
    let Some(most) = run.model().classes() else {
        return Ok(());
    };
    let own = match (args.class, labels) {
        (Some(class), _) => vec![class; parcel.count],
        (None, Some(labels)) => labels,
        (None, None) => {
            let message = format!(
                "{}: the model needs classes, these images have none",
                parcel.name
            );
            return Err(failure::failed(message, "--class gives all of them one"));
        }
    };
    if let Some(class) = own.iter().find(|&&class| class as usize >= most) {
        let message = format!(
            "{}: expected classes below {most}, found {class}",
            parcel.name
        );
        return Err(failure::failed(message, ""));
    }
    classes.extend(own);
    Ok(())
}
