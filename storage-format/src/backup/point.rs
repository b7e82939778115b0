//! The record of a point: what it has, and checks of it. JSON on one line, then a line with the
//! BLAKE3 of that line.

use serde::{Deserialize, Serialize};

/// What [`Point::format`] is.
const FORMAT: &str = "pierhead-backup";
/// The version written today.
const VERSION: u32 = 1;
/// Bytes of a record at most.
const MAX: usize = 64 << 10;

/// A file of a point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Bytes.
    pub bytes: u64,
    /// BLAKE3 of them, 64 lower-case hex digits.
    pub blake3: String,
}

/// The record of a point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// `pierhead-backup`.
    pub format: String,
    /// 1.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// The program that made it.
    pub program: String,
    /// UTC milliseconds since 1970: when it was begun.
    pub created_at: u64,
    /// The last change set of its metadata.
    pub sequence: u64,
    /// Rows of its metadata.
    pub rows: u64,
    /// Blobs it has.
    pub blobs: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Blobs that its metadata names and it has not: the store had lost or damaged them.
    pub missing: u64,
    /// Other files.
    pub files: u64,
    /// Whether the key file is among them.
    pub secrets: bool,
    /// `metadata.jsonl.zst`.
    pub metadata: Part,
    /// `blobs.list`.
    pub blob_list: Part,
    /// `missing.list`.
    pub missing_list: Part,
    /// `files.list`.
    pub file_list: Part,
}

/// Why bytes are no record of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    /// Its check does not hold, or it is cut.
    #[error("the record of the backup is damaged")]
    Damaged,
    /// A version this program does not know.
    #[error("the backup has version {0}, this program knows version {VERSION}")]
    Version(u32),
}

impl Point {
    /// One of this format without content.
    pub fn new(name: &str, program: &str, created_at: u64, sequence: u64) -> Self {
        let part = Part::default;
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            name: name.to_owned(),
            program: program.to_owned(),
            created_at,
            sequence,
            rows: 0,
            blobs: 0,
            bytes: 0,
            missing: 0,
            files: 0,
            secrets: false,
            metadata: part(),
            blob_list: part(),
            missing_list: part(),
            file_list: part(),
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Result<String, PointError> {
        let line = serde_json::to_string(self).map_err(|_| PointError::Damaged)?;
        let check = blake3::hash(line.as_bytes()).to_hex();
        Ok(format!("{line}\n{check}\n"))
    }

    /// What `bytes`, all of a file, say.
    pub fn decode(bytes: &[u8]) -> Result<Self, PointError> {
        #[derive(Deserialize)]
        struct Named {
            format: String,
            version: u32,
        }
        if bytes.len() > MAX {
            return Err(PointError::Damaged);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PointError::Damaged)?;
        let (line, check) = text.split_once('\n').ok_or(PointError::Damaged)?;
        if check.strip_suffix('\n') != Some(blake3::hash(line.as_bytes()).to_hex().as_str()) {
            return Err(PointError::Damaged);
        }
        let named: Named = serde_json::from_str(line).map_err(|_| PointError::Damaged)?;
        if named.format != FORMAT {
            return Err(PointError::Damaged);
        }
        if named.version != VERSION {
            return Err(PointError::Version(named.version));
        }
        let point: Self = serde_json::from_str(line).map_err(|_| PointError::Damaged)?;
        if super::is_name(&point.name) { Ok(point) } else { Err(PointError::Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Point {
        let mut point = Point::new("20261121T212425123Z-00000000000000000042", "0.1.0", 7, 42);
        point.metadata = Part { bytes: 9, blake3: "0".repeat(64) };
        point
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_one_of_a_later_version_is_refused() {
        let point = sample();
        assert_eq!(Point::decode(point.encode().expect("JSON").as_bytes()), Ok(point.clone()));
        let later = Point { version: 2, ..point.clone() };
        assert_eq!(Point::decode(later.encode().expect("JSON").as_bytes()), Err(PointError::Version(2)));
        let strange = Point { name: "../x".into(), ..point };
        assert_eq!(Point::decode(strange.encode().expect("JSON").as_bytes()), Err(PointError::Damaged));
    }

    proptest! {
        #[test]
        fn a_record_that_was_cut_or_altered_is_none(at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let bytes = sample().encode().expect("JSON").into_bytes();
            let at = at.index(bytes.len());
            prop_assert!(Point::decode(&bytes[..at]).is_err());
            let mut altered = bytes;
            altered[at] ^= 1 << bit;
            prop_assert!(Point::decode(&altered).is_err());
        }
    }
}
