//! Named tensors as bytes: safetensors files with a checksum.
//!
//! A file is the length of a header (u64, little endian), the header (JSON: name, type, shape and
//! place of each tensor, and a map of strings), and the numbers. Any safetensors reader can read
//! it. Equal tensors and metadata give equal bytes, whatever the run. The metadata holds a
//! [`CHECKSUM`] over the whole file, so that a flipped bit is an error, not another model; files
//! written elsewhere have none and are read without.

use crate::params::Params;
use grad::{MAX_RANK, Shape, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorInfo};
use std::collections::BTreeMap;

/// What goes along with the tensors: any strings by name.
pub type Metadata = BTreeMap<String, String>;

/// Tensors with their names, in the order of a file.
pub type NamedTensors = Vec<(String, Tensor<f32>)>;

/// The key of the metadata that the checksum occupies; readers do not see it.
pub const CHECKSUM: &str = "checksum";
/// Where the header keeps its map of strings, so no tensor may be called so.
const METADATA: &str = "__metadata__";
/// What stands in the place of the checksum while it is computed.
const NO_CHECKSUM: &str = "0000000000000000";
/// The length of the length.
const PREFIX: usize = 8;

/// Bytes that are no file of named tensors, or of other tensors than expected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// Not a safetensors file, or a damaged one.
    #[error("expected a safetensors file, found {length} bytes that are none: {reason}")]
    Format {
        /// How many bytes there were.
        length: usize,
        /// What the parser stumbled over.
        reason: String,
    },
    /// The file was changed after it was written.
    #[error("expected a file of checksum {expected}, found {found}: it was damaged or edited")]
    Checksum {
        /// What the file says, 16 hexadecimal digits.
        expected: String,
        /// What its bytes give.
        found: String,
    },
    /// A tensor of numbers that are not f32.
    #[error("tensor {name:?}: expected numbers of type F32, found {found}")]
    Dtype {
        /// The tensor.
        name: String,
        /// Their type.
        found: String,
    },
    /// A tensor of another shape, or of more axes than a tensor may have.
    #[error("tensor {name:?}: expected {expected}, found shape {found:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape it should have, or a limit.
        expected: String,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor is not there.
    #[error("tensor {name:?}: expected shape {expected}, found no tensor of this name")]
    Missing {
        /// The tensor.
        name: String,
        /// The shape it should have.
        expected: Shape,
    },
    /// A tensor is there that nobody asked for.
    #[error("tensor {name:?}: expected no tensor of this name, found one of shape {found}")]
    Surplus {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Shape,
    },
    /// A NaN or an infinity.
    #[error("tensor {name:?}: expected finite numbers, found {found} at position {position}")]
    NotFinite {
        /// The tensor.
        name: String,
        /// Row-major position of the first such number.
        position: usize,
        /// The number.
        found: f32,
    },
}

/// The bytes of a file that holds these tensors, in this order.
///
/// # Panics
/// If two tensors share a name, a tensor is called `__metadata__`, or the metadata has a key
/// [`CHECKSUM`].
#[track_caller]
pub fn write_tensors<'a>(
    tensors: impl IntoIterator<Item = (impl Into<String>, &'a Tensor<f32>)>,
    metadata: &Metadata,
) -> Vec<u8> {
    // The header is written here, not by the safetensors crate: that writes the metadata in hash
    // order, which differs from run to run.
    let tensors: Vec<(String, &Tensor<f32>)> = tensors
        .into_iter()
        .map(|(name, tensor)| (name.into(), tensor))
        .collect();
    let mut strings = metadata.clone();
    let taken = strings.insert(CHECKSUM.into(), NO_CHECKSUM.into());
    assert!(
        taken.is_none(),
        "write_tensors: the metadata key {CHECKSUM} is reserved"
    );
    let json = |text: &str| serde_json::to_string(text).expect("a string is valid JSON");
    let strings = serde_json::to_string(&strings).expect("strings are valid JSON");
    let mut header = format!("{{{}:{strings}", json(METADATA));
    let mut names = std::collections::HashSet::new();
    let mut end = 0;
    for (name, tensor) in &tensors {
        assert!(
            name != METADATA,
            "write_tensors: the name {METADATA} is reserved"
        );
        assert!(
            names.insert(name),
            "write_tensors: the name {name} occurs twice"
        );
        let info = TensorInfo {
            dtype: Dtype::F32,
            shape: tensor.shape().to_vec(),
            data_offsets: (end, end + 4 * tensor.len()),
        };
        end = info.data_offsets.1;
        let info = serde_json::to_string(&info).expect("numbers are valid JSON");
        header.push_str(&format!(",{}:{info}", json(name)));
    }
    header.push('}');
    while !header.len().is_multiple_of(PREFIX) {
        header.push(' ');
    }

    let mut bytes = Vec::with_capacity(PREFIX + header.len() + end);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    for (_, tensor) in &tensors {
        for x in tensor.data() {
            bytes.extend(x.to_le_bytes());
        }
    }
    let place = checksum_place(&bytes, header.len(), NO_CHECKSUM).expect("just written");
    let (head, data) = bytes.split_at(PREFIX + header.len());
    let digits = checksum(head, data);
    bytes[place..][..digits.len()].copy_from_slice(digits.as_bytes());
    bytes
}

/// The tensors in `bytes` in the order they lie there, and the metadata.
///
/// # Errors
/// If the bytes are no safetensors file, are damaged, or hold numbers that are not f32.
pub fn read_tensors(bytes: &[u8]) -> Result<(NamedTensors, Metadata), ParamsError> {
    let format = |reason: String| ParamsError::Format {
        length: bytes.len(),
        reason,
    };
    let (header, layout) =
        SafeTensors::read_metadata(bytes).map_err(|error| format(error.to_string()))?;
    let mut metadata: Metadata = layout
        .metadata()
        .iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    if let Some(expected) = metadata.remove(CHECKSUM) {
        verify(bytes, header, expected)?;
    }
    let data = &bytes[PREFIX + header..];
    let mut tensors = Vec::new();
    for name in layout.offset_keys() {
        let info = layout
            .info(&name)
            .ok_or_else(|| format(format!("no place for {name:?}")))?;
        if info.dtype != Dtype::F32 {
            let found = info.dtype.to_string();
            return Err(ParamsError::Dtype { name, found });
        }
        if info.shape.len() > MAX_RANK {
            let expected = format!("at most {MAX_RANK} axes");
            return Err(ParamsError::Shape {
                name,
                expected,
                found: info.shape.clone(),
            });
        }
        // `read_metadata` has checked that the offsets lie inside and agree with type and shape.
        let numbers = &data[info.data_offsets.0..info.data_offsets.1];
        let tensor = Tensor::build(&info.shape[..], |out| {
            for (x, bytes) in out.iter_mut().zip(numbers.chunks_exact(4)) {
                *x = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
        });
        tensors.push((name, tensor));
    }
    Ok((tensors, metadata))
}

/// Where the digits of the checksum stand, if the header has them.
fn checksum_place(bytes: &[u8], header: usize, digits: &str) -> Option<usize> {
    // Inside a JSON string a quote is escaped, so this is found in its one place only.
    let entry = format!("\"{CHECKSUM}\":\"{digits}\"");
    let header = &bytes[PREFIX..PREFIX + header];
    let start = header
        .windows(entry.len())
        .position(|window| window == entry.as_bytes())?;
    Some(PREFIX + start + entry.len() - digits.len() - 1)
}

fn verify(bytes: &[u8], header: usize, expected: String) -> Result<(), ParamsError> {
    let place = checksum_place(bytes, header, &expected);
    let found = match place {
        Some(place) if expected.len() == NO_CHECKSUM.len() => {
            let (head, data) = bytes.split_at(PREFIX + header);
            let mut head = head.to_vec();
            head[place..][..expected.len()].copy_from_slice(NO_CHECKSUM.as_bytes());
            checksum(&head, data)
        }
        _ => "other digits".to_string(),
    };
    if found == expected {
        Ok(())
    } else {
        Err(ParamsError::Checksum { expected, found })
    }
}

/// A hash of the header and the numbers as 16 hexadecimal digits; a change within any one word of
/// 8 bytes always changes it.
fn checksum(head: &[u8], data: &[u8]) -> String {
    // Each step is a bijection of the state for a fixed word and of the word for a fixed state.
    let step = |state: u64, word: [u8; 8]| {
        let mixed = (state ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    };
    let state = [head, data].into_iter().fold(0, |state, bytes| {
        let (words, rest) = bytes.as_chunks();
        let state = words.iter().fold(state, |state, word| step(state, *word));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        step(step(state, last), (bytes.len() as u64).to_le_bytes())
    });
    format!("{state:016x}")
}

/// Hands out tensors by name: how parameters, moments and averages get back what was saved, from
/// one file or from several.
pub type Lookup<'a> = dyn FnMut(&str) -> Option<Tensor<f32>> + 'a;

/// The tensor `name` from `lookup`, of this shape and finite.
///
/// # Errors
/// If it is not there, has another shape, or holds a NaN or an infinity.
pub fn take(lookup: &mut Lookup, name: &str, shape: &Shape) -> Result<Tensor<f32>, ParamsError> {
    let Some(tensor) = lookup(name) else {
        return Err(ParamsError::Missing {
            name: name.into(),
            expected: *shape,
        });
    };
    if tensor.shape() != shape {
        return Err(ParamsError::Shape {
            name: name.into(),
            expected: format!("shape {shape}"),
            found: tensor.shape().to_vec(),
        });
    }
    match tensor.data().iter().position(|x| !x.is_finite()) {
        None => Ok(tensor),
        Some(position) => Err(ParamsError::NotFinite {
            name: name.into(),
            position,
            found: tensor.data()[position],
        }),
    }
}

impl Params<f32> {
    /// All parameters under their names, for [`write_tensors`].
    pub fn tensors(&self) -> impl Iterator<Item = (String, &Tensor<f32>)> {
        self.iter().map(|param| (param.name.clone(), &param.value))
    }

    /// The bytes of a file that holds these parameters and no others.
    ///
    /// # Panics
    /// If the metadata has a key [`CHECKSUM`].
    #[track_caller]
    pub fn to_bytes(&self, metadata: &Metadata) -> Vec<u8> {
        write_tensors(self.tensors(), metadata)
    }

    /// Takes every value from the bytes of [`to_bytes`](Self::to_bytes); gives the metadata.
    ///
    /// # Errors
    /// If the bytes are not such a file, or a tensor is missing, is one too many, or has another
    /// shape. Then no parameter has changed.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<Metadata, ParamsError> {
        let (tensors, metadata) = read_tensors(bytes)?;
        let mut tensors: BTreeMap<String, Tensor<f32>> = tensors.into_iter().collect();
        let values = self.gather(&mut |name| tensors.remove(name))?;
        if let Some((name, tensor)) = tensors.pop_first() {
            return Err(ParamsError::Surplus {
                name,
                found: *tensor.shape(),
            });
        }
        self.replace(values);
        Ok(metadata)
    }

    /// Takes every value from `lookup` under its name.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape. Then no parameter has changed.
    pub fn restore_from(&mut self, lookup: &mut Lookup) -> Result<(), ParamsError> {
        let values = self.gather(lookup)?;
        self.replace(values);
        Ok(())
    }

    fn gather(&self, lookup: &mut Lookup) -> Result<Vec<Tensor<f32>>, ParamsError> {
        self.iter()
            .map(|param| take(lookup, &param.name, param.value.shape()))
            .collect()
    }

    fn replace(&mut self, values: Vec<Tensor<f32>>) {
        for (param, value) in self.iter_mut().zip(values) {
            param.value = value;
        }
    }
}
