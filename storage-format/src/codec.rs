//! The one place that names bincode. A record is a version byte, then fixed-width little-endian
//! bincode under a size limit; trailing bytes are an error (F2).

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest encoded record, in bytes. Anything bigger belongs in a content file.
pub const MAX_RECORD: usize = 4096;

/// Why bytes from the disk are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A key that no key type of its table produces.
    #[error("a key that does not parse")]
    Key,
    /// A version this program does not know.
    #[error("version {0} is not known to this program")]
    Version(u8),
    /// A known version whose body does not decode.
    #[error("a record that does not decode")]
    Record,
    /// A record over [`MAX_RECORD`].
    #[error("a record larger than {MAX_RECORD} bytes")]
    TooLarge,
    /// A table number this program does not know.
    #[error("table {0} is not known to this program")]
    Table(u8),
    /// A checksum, magic or length that does not hold.
    #[error("{0}")]
    Damaged(&'static str),
}

/// A value kept in a table. Old versions decode by a chain: this version, the one before, a
/// function between.
pub trait Record: Sized + Serialize + DeserializeOwned {
    /// The version written today.
    const VERSION: u8;

    /// Decodes the body of a record of `version`.
    fn from_version(version: u8, body: &[u8]) -> Result<Self, FormatError> {
        if version == Self::VERSION { decode_body(body) } else { Err(FormatError::Version(version)) }
    }

    /// Version byte and body.
    fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut bytes = vec![Self::VERSION];
        options().serialize_into(&mut bytes, self).map_err(|_| FormatError::TooLarge)?;
        Ok(bytes)
    }

    /// The inverse of [`Record::encode`], for every version ever written.
    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (&version, body) = bytes.split_first().ok_or(FormatError::Record)?;
        Self::from_version(version, body)
    }
}

/// Decodes a bincode body that fills `body` exactly.
pub fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, FormatError> {
    options().deserialize(body).map_err(|_| FormatError::Record)
}

/// As [`decode_body`], for a type whose texts stay where they are.
pub(crate) fn decode_borrowed<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, FormatError> {
    options().deserialize(body).map_err(|_| FormatError::Record)
}

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .with_limit(MAX_RECORD as u64 - 1)
        .reject_trailing_bytes()
}
