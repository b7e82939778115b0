//! The ids of accounts, projects, users, groups and policies.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::FormatError;

/// 16 random bytes, written as 32 lower-case hex digits. Never given to anything else again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// Bytes of an id.
    pub const LEN: usize = 16;

    /// The id of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, as in keys.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Takes an id from the front of a key.
    pub(crate) fn read_key(key: &[u8]) -> Result<(Self, &[u8]), FormatError> {
        let (head, rest) = key.split_first_chunk::<16>().ok_or(FormatError::Key)?;
        Ok((Self(*head), rest))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let digits = text.as_bytes();
        if digits.len() != 2 * Self::LEN || !digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(FormatError::Key);
        }
        let mut bytes = [0; Self::LEN];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| FormatError::Key)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| FormatError::Key)?;
        }
        Ok(Self(bytes))
    }
}

/// Hex where people read it, raw bytes on the disk.
impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            Deserialize::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling_and_comes_back_from_it() {
        let id = Id::from_bytes(*b"\x00\x01\x7f\x80\xff0123456789a");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in
            ["", "00", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33), "+0000000000000000000000000000000"]
        {
            assert_eq!(wrong.parse::<Id>(), Err(FormatError::Key), "{wrong:?}");
        }
    }
}
