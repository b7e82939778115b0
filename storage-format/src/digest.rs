//! A content address: algorithm and raw hash. Text form as in the OCI image specification,
//! "Digests": `sha256:<64 lower-case hex>` or `sha512:<128 lower-case hex>`; the binary form used in
//! keys is one algorithm byte (1 sha256, 2 sha512) and the raw bytes, so that it delimits itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::codec::FormatError;

/// The digest algorithms a blob may be addressed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, the canonical algorithm.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, in the order of their key bytes.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The registered name, also the folder below `blobs/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the raw hash in bytes.
    pub const fn raw_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Sha256),
            2 => Some(Self::Sha512),
            _ => None,
        }
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::ALL.into_iter().find(|a| a.name() == text).ok_or(DigestError::Algorithm)
    }
}

/// Why a text is not a digest this registry can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No `algorithm:` in front.
    #[error("a digest has the form algorithm:hex")]
    Form,
    /// Not sha256 or sha512.
    #[error("the digest algorithm is not supported; sha256 and sha512 are")]
    Algorithm,
    /// Wrong length, or characters that are not lower-case hex.
    #[error("the digest's hex part has the wrong length or characters")]
    Hex,
}

/// A content address. Equal digests mean equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    raw: [u8; 64],
}

impl Digest {
    /// From a finished hash; `None` if `raw` has not the algorithm's length.
    pub fn new(algorithm: Algorithm, raw: &[u8]) -> Option<Self> {
        if raw.len() != algorithm.raw_len() {
            return None;
        }
        let mut padded = [0; 64];
        padded[..raw.len()].copy_from_slice(raw);
        Some(Self { algorithm, raw: padded })
    }

    /// The algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw hash.
    pub fn raw(&self) -> &[u8] {
        &self.raw[..self.algorithm.raw_len()]
    }

    /// The hash as lower-case hex, without the algorithm.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(2 * self.raw().len());
        for byte in self.raw() {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    /// Appends the self-delimiting binary form: algorithm byte, raw hash.
    pub fn write_key(&self, key: &mut Vec<u8>) {
        key.push(self.algorithm.code());
        key.extend_from_slice(self.raw());
    }

    /// Reads the binary form from the front of `key`; returns the digest and the rest.
    pub fn read_key(key: &[u8]) -> Result<(Self, &[u8]), FormatError> {
        let (&code, rest) = key.split_first().ok_or(FormatError::Key)?;
        let algorithm = Algorithm::from_code(code).ok_or(FormatError::Key)?;
        let (raw, rest) = rest.split_at_checked(algorithm.raw_len()).ok_or(FormatError::Key)?;
        let digest = Self::new(algorithm, raw).ok_or(FormatError::Key)?;
        Ok((digest, rest))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or(DigestError::Form)?;
        let algorithm: Algorithm = name.parse()?;
        if hex.len() != 2 * algorithm.raw_len() {
            return Err(DigestError::Hex);
        }
        let mut raw = [0; 64];
        for (byte, pair) in raw.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self { algorithm, raw })
    }
}

fn nibble(digit: u8) -> Result<u8, DigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestError::Hex),
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text in human-readable formats (the dump), the binary key form in records.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        let mut bytes = Vec::with_capacity(65);
        self.write_key(&mut bytes);
        bytes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return text.parse().map_err(de::Error::custom);
        }
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        match Self::read_key(&bytes) {
            Ok((digest, [])) => Ok(digest),
            _ => Err(de::Error::custom("not a digest")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_digest_that_is_not_lower_case_hex_of_the_right_length_is_refused() {
        let cases = [
            ("no colon", "abc", DigestError::Form),
            ("unknown algorithm", "md5:00", DigestError::Algorithm),
            ("upper-case algorithm", "SHA256:00", DigestError::Algorithm),
            ("too short", "sha256:baddigeststring", DigestError::Hex),
            ("upper-case hex", &format!("sha256:{}", "A".repeat(64)), DigestError::Hex),
            ("sha512 with sha256's length", &format!("sha512:{}", "a".repeat(64)), DigestError::Hex),
        ];
        for (name, text, error) in cases {
            assert_eq!(text.parse::<Digest>(), Err(error), "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_digest_survives_text_key_and_record_form(raw in prop::collection::vec(any::<u8>(), 64), long in any::<bool>()) {
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let digest = Digest::new(algorithm, &raw[..algorithm.raw_len()]).expect("length matches");
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
            let mut key = Vec::new();
            digest.write_key(&mut key);
            key.push(7);
            prop_assert_eq!(Digest::read_key(&key), Ok((digest, &[7u8][..])));
        }

        #[test]
        fn no_text_makes_the_digest_parser_panic(text in ".*") {
            let _ = text.parse::<Digest>();
        }
    }
}
