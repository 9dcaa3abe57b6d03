//! What can go wrong with archives. Every message is one line.

/// Why a file cannot be read or images cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not such a file, or a damaged one.
    #[error("byte {offset}: expected {expected}, found {found}")]
    Malformed {
        /// Where.
        offset: usize,
        /// What should be there.
        expected: String,
        /// What is.
        found: String,
    },
    /// It was written with other weights, another instruction set, kernels that add in another
    /// order, or for other images.
    #[error("it was compressed with {what} {expected}, this is {found}")]
    Other {
        /// What differs.
        what: &'static str,
        /// That of the file.
        expected: String,
        /// What there is here.
        found: String,
    },
    /// All bytes were read and do not hold what was written.
    #[error("expected images with the checksum {expected:016x}, found {found}")]
    Damaged {
        /// What the writer saw.
        expected: u64,
        /// What came out.
        found: String,
    },
    /// The images cannot be written with this model.
    #[error("expected {expected}, found {found}")]
    Images {
        /// What the model takes.
        expected: String,
        /// What it was given.
        found: String,
    },
}
