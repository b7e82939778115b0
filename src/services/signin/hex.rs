//! Lower-case hex, the one spelling in which keys and signatures are given out and taken.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The bytes as lower-case hex.
pub fn encode(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The 32 bytes of 64 lower-case hex digits; `None` for any other text.
pub fn decode32(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_come_back_from_their_one_spelling(bytes in any::<[u8; 32]>(), text in ".{0,70}") {
            let spelt = encode(&bytes);
            prop_assert_eq!(decode32(&spelt), Some(bytes));
            if spelt.contains(|digit: char| digit.is_ascii_lowercase()) {
                prop_assert_eq!(decode32(&spelt.to_uppercase()), None);
            }
            prop_assert!(decode32(&text).is_none_or(|bytes| encode(&bytes) == text));
        }
    }
}
