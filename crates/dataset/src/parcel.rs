//! Files whose pixels are kept elsewhere, compressed: their names, and how each is made of images.

use crate::error::Malformed;
use crate::formats::{FORMATS, Format, Images};
use crate::image::ImageShape;
use std::borrow::Cow;

/// What a file is made of beside its pixels.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The file's name, without a directory.
    pub name: String,
    /// What kind of file it is.
    pub form: Form,
    /// What a level is multiplied by to give the file's pixel: 255 where black and white are 0 and
    /// 255 and the image has two levels.
    pub scale: u8,
    /// How many images it holds.
    pub count: usize,
    /// Labels, where they are in the same file.
    pub labels: Option<Vec<u8>>,
}

/// A kind of file.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// One of [`FORMATS`].
    Format(&'static Format),
    /// A picture, of which the pixels are kept and not the way they are packed.
    Picture,
}

/// How a picture is marked where others have their place in [`FORMATS`].
const PICTURE: u8 = 255;

impl Parcel {
    /// The file as it was, or nothing for a picture: images `[count, H, W, C]` as levels.
    pub fn join(&self, shape: ImageShape, levels: &[u8]) -> Option<Vec<u8>> {
        let Form::Format(format) = self.form else {
            return None;
        };
        let scaled = levels.iter().map(|&level| level.wrapping_mul(self.scale));
        Some((format.write)(&Images {
            shape,
            levels: 256,
            count: self.count,
            pixels: Cow::Owned(scaled.collect()),
            labels: self.labels.clone(),
        }))
    }

    /// A list of parcels as bytes: form, scale, count, labels and name of each.
    pub fn encode(parcels: &[Parcel]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for parcel in parcels {
            let place =
                |format: &Format| FORMATS.iter().position(|other| other.name == format.name);
            bytes.push(match parcel.form {
                Form::Format(format) => place(format).map_or(PICTURE, |place| place as u8),
                Form::Picture => PICTURE,
            });
            bytes.push(parcel.scale);
            bytes.extend((parcel.count as u32).to_le_bytes());
            let name = &parcel.name.as_bytes()[..parcel.name.len().min(255)];
            bytes.push(name.len() as u8);
            bytes.extend(name);
            bytes.push(u8::from(parcel.labels.is_some()));
            bytes.extend(parcel.labels.iter().flatten());
        }
        bytes
    }

    /// Whether this names a file in a directory and not a way out of it, on any system, in at most
    /// 255 bytes.
    pub fn is_plain(name: &str) -> bool {
        let plain = |c: char| !c.is_control() && !"/\\:".contains(c);
        !["", ".", ".."].contains(&name) && name.len() < 256 && name.chars().all(plain)
    }

    /// A name that occurs twice, or that some system does not tell from another.
    pub fn twice(parcels: &[Parcel]) -> Option<&str> {
        let mut names = parcels.iter().enumerate();
        let (_, found) = names.find(|(i, parcel)| {
            let others = &parcels[..*i];
            others.iter().any(|other| same(&other.name, &parcel.name))
        })?;
        Some(&found.name)
    }

    /// What [`encode`](Self::encode) wrote. Never panics, whatever the bytes are.
    ///
    /// # Errors
    /// Where they end too early, or a form, count or name is none. A name with a directory in it
    /// is none: it could lead anywhere.
    pub fn parse(bytes: &[u8]) -> Result<Vec<Parcel>, Malformed> {
        let mut rest = bytes;
        let mut parcels = Vec::new();
        while !rest.is_empty() {
            let offset = bytes.len() - rest.len();
            let error =
                |expected: &str, found: String| Err(Malformed::new(offset as u64, expected, found));
            let Some((&[form, scale, a, b, c, d, length], tail)) = rest.split_first_chunk() else {
                return error("7 bytes of a file's form", format!("{}", rest.len()));
            };
            let count = u32::from_le_bytes([a, b, c, d]) as usize;
            let form = match (form, FORMATS.get(usize::from(form))) {
                (PICTURE, _) => Form::Picture,
                (_, Some(format)) => Form::Format(format),
                (_, None) => return error("a known form of file", form.to_string()),
            };
            if count == 0 || scale == 0 {
                return error("some images", format!("{count} times {scale}"));
            }
            let Some((name, tail)) = tail.split_at_checked(length.into()) else {
                return error("a name", format!("{} of {length} bytes", tail.len()));
            };
            let named = std::str::from_utf8(name).ok();
            let Some(name) = named.filter(|name| Parcel::is_plain(name)) else {
                let found = format!("\"{}\"", name.escape_ascii());
                return error("a file's name", found);
            };
            if parcels
                .iter()
                .any(|parcel: &Parcel| same(&parcel.name, name))
            {
                return error("a name for each file", format!("{name:?} twice"));
            }
            let (labels, tail) = match tail.split_first() {
                Some((0, tail)) => (None, tail),
                Some((1, tail)) if tail.len() >= count => {
                    let (labels, tail) = tail.split_at(count);
                    (Some(labels.to_vec()), tail)
                }
                _ => return error("0, or 1 and the labels", format!("{} bytes", tail.len())),
            };
            parcels.push(Parcel {
                name: name.into(),
                form,
                scale,
                count,
                labels,
            });
            rest = tail;
        }
        Ok(parcels)
    }
}

/// Whether two names may be one file: some systems do not tell large letters from small ones.
fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Part;

    #[test]
    fn every_format_writes_what_it_reads() {
        let amat = b"0 1 1 0\n1 0 1 1\n".to_vec();
        let mut idx = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3];
        idx.extend([9, 8, 7, 6, 5, 255]);
        let mut colours = vec![0, 0, 8, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        colours.extend([1, 2, 3, 4, 5, 6]);
        let cifar: Vec<u8> = (0..2 * 3073).map(|i| (i % 3073 % 241 % 10) as u8).collect();
        let labelled = b"0 1 1 0 7\n1 0 1 1 3\n".to_vec();
        for (name, file) in [
            ("amat", amat),
            ("amat", labelled),
            ("idx", idx),
            ("idx", colours),
            ("cifar-10", cifar),
        ] {
            let format = FORMATS.iter().find(|format| format.name == name).unwrap();
            let Part::Images(images) = (format.parse)(&file).unwrap() else {
                panic!("{name}: no images");
            };
            assert!((format.write)(&images) == file, "{name}");
            let parcel = Parcel {
                name: "a b.c".into(),
                form: Form::Format(format),
                scale: 1,
                count: images.count,
                labels: images.labels.clone(),
            };
            let twice = [parcel.clone(), parcel.clone()];
            assert_eq!(Parcel::twice(&twice), Some("a b.c"));
            Parcel::parse(&Parcel::encode(&twice)).unwrap_err();
            let other = Parcel {
                name: "b".into(),
                ..parcel.clone()
            };
            let bytes = Parcel::encode(&[other, parcel]);
            let back = Parcel::parse(&bytes).unwrap();
            assert_eq!(back.len(), 2);
            assert_eq!(back[1].name, "a b.c");
            assert!(
                back[1].join(images.shape, &images.pixels).unwrap() == file,
                "{name}"
            );
        }
    }

    #[test]
    fn names_that_lead_elsewhere_and_broken_lists_are_refused() {
        let list = |name: &str| {
            Parcel::encode(&[Parcel {
                name: name.into(),
                form: Form::Picture,
                scale: 255,
                count: 3,
                labels: Some(vec![1, 2, 3]),
            }])
        };
        let whole = list("picture.png");
        assert_eq!(
            Parcel::parse(&whole).unwrap()[0].labels,
            Some(vec![1, 2, 3])
        );
        for name in ["", "..", "a/b", "/etc/passwd", "..\\x", "c:x", "a\nb"] {
            let error = Parcel::parse(&list(name)).unwrap_err().to_string();
            assert!(
                error.contains("a file's name") && !error.contains('\n'),
                "{error}"
            );
        }
        for length in 1..whole.len() {
            assert!(Parcel::parse(&whole[..length]).is_err(), "{length}");
        }
        assert!(Parcel::parse(&[7, 1, 1, 0, 0, 0, 1, b'a', 0]).is_err());
        assert!(Parcel::parse(&[0, 0, 1, 0, 0, 0, 1, b'a', 0]).is_err());
    }
}
