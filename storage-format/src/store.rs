//! The file `FORMAT` at the top of a data directory: one line of text that names the layout of
//! everything beside it. It is written last when a store is made, so that a folder without it holds
//! nothing of value, and read first by everything that opens one.
//!
//! The number changes only when a program that knows the old one would do harm: folders moved, the
//! journal's meaning changed. Records and files have versions of their own.

/// The layout written and read by this program.
pub const VERSION: u32 = 1;

/// How much of what may be on disk this program can read: the versions of records, keys and files in `golden/`, counted, so
/// that it only grows. A program of a lower level may not know what one of this level wrote.
pub const LEVEL: u32 = 101;

/// The longest [`paths::LEVEL`](crate::paths::LEVEL) file worth reading, in bytes.
pub const MAX_LEVEL_FILE: usize = 16;

/// The longest `FORMAT` file worth reading, in bytes.
pub const MAX_FORMAT_FILE: usize = 64;

const NAME: &str = "pierhead store, format ";

/// Why a data directory is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The file says something else: this is not a data directory, or its `FORMAT` is damaged.
    #[error("the FORMAT file is not a Pierhead store's")]
    NotAStore,
    /// Made by a later program.
    #[error("the store has format {0}, this program knows format {VERSION}")]
    Version(u32),
}

/// What the `FORMAT` file of a new store says.
pub fn encode() -> String {
    format!("{NAME}{VERSION}\n")
}

/// Checks the content of a `FORMAT` file.
pub fn decode(bytes: &[u8]) -> Result<(), StoreError> {
    let text = std::str::from_utf8(bytes).map_err(|_| StoreError::NotAStore)?;
    let digits = text.strip_prefix(NAME).and_then(|t| t.strip_suffix('\n')).ok_or(StoreError::NotAStore)?;
    let canonical =
        !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    let version = digits.parse().ok().filter(|_| canonical).ok_or(StoreError::NotAStore)?;
    if version == VERSION { Ok(()) } else { Err(StoreError::Version(version)) }
}

/// What the level's file of a store says that this program uses.
pub fn encode_level() -> String {
    format!("{LEVEL}\n")
}

/// The level that a file names; `None` if it is damaged.
pub fn decode_level(bytes: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| canonical)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_one_line_of_this_version_opens_a_store() {
        let cases: [(&str, &[u8], Result<(), StoreError>); 9] = [
            ("today's", b"pierhead store, format 1\n", Ok(())),
            ("later", b"pierhead store, format 2\n", Err(StoreError::Version(2))),
            ("empty", b"", Err(StoreError::NotAStore)),
            ("no newline", b"pierhead store, format 1", Err(StoreError::NotAStore)),
            ("more text", b"pierhead store, format 1\n\n", Err(StoreError::NotAStore)),
            ("no number", b"pierhead store, format \n", Err(StoreError::NotAStore)),
            ("signed", b"pierhead store, format +1\n", Err(StoreError::NotAStore)),
            ("leading zero", b"pierhead store, format 01\n", Err(StoreError::NotAStore)),
            ("not text", b"\xff\xfe\n", Err(StoreError::NotAStore)),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(decode(bytes), expected, "{name}");
        }
        assert_eq!(decode(encode().as_bytes()), Ok(()));
        assert!(encode().len() <= MAX_FORMAT_FILE);
    }

    #[test]
    fn a_level_is_one_line_with_a_number() {
        let cases: [(&str, &[u8], Option<u32>); 8] = [
            ("some level", b"43\n", Some(43)),
            ("empty", b"", None),
            ("no newline", b"43", None),
            ("more text", b"43\n\n", None),
            ("no number", b"\n", None),
            ("signed", b"+43\n", None),
            ("leading zero", b"043\n", None),
            ("too large", b"4294967296\n", None),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(decode_level(bytes), expected, "{name}");
        }
        assert_eq!(decode_level(encode_level().as_bytes()), Some(LEVEL));
        assert!(encode_level().len() <= MAX_LEVEL_FILE);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (decode(&bytes), decode_level(&bytes));
        }
    }
}
