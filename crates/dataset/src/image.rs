//! The vocabulary of the crate: the shape of an image and the parts of a dataset.

use std::fmt;
use std::str::FromStr;

use crate::error::ParseNameError;

/// Height, width and channels of every image of a dataset; pixels lie in that order (HWC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Values a pixel: 1 for grey, 3 for red, green, blue.
    pub channels: usize,
}

impl ImageShape {
    /// height · width · channels: the number of values of an image.
    ///
    /// # Panics
    /// Where the product does not fit a `usize`; no shape of an opened dataset does that.
    pub const fn len(self) -> usize {
        self.height * self.width * self.channels
    }

    /// True where an image has no values; no shape of an opened dataset is empty.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The same product, or `None` where it is zero or does not fit, or a factor is not a u32.
    pub(crate) fn checked_len(self) -> Option<usize> {
        for factor in [self.height, self.width, self.channels] {
            u32::try_from(factor).ok()?;
        }
        self.height
            .checked_mul(self.width)?
            .checked_mul(self.channels)
            .filter(|&len| len > 0)
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.height, self.width, self.channels)
    }
}

/// A part of a dataset. Fit on `Train`, select on `Valid`, report `Test` once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Split {
    /// The examples to learn from.
    Train,
    /// The examples to choose between models with.
    Valid,
    /// The examples to report.
    Test,
}

impl Split {
    /// All three, in the order in which a mapped file keeps them.
    pub const ALL: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

    /// `train`, `valid` or `test`.
    pub const fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Valid => "valid",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Split {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Split, ParseNameError> {
        Split::ALL
            .into_iter()
            .find(|split| split.name() == text)
            .ok_or_else(|| ParseNameError {
                expected: "train, valid, test",
                found: text.to_owned(),
            })
    }
}
