//! The key file and the frame of what is sealed under it. Secrets that must be known again (SKs)
//! rest in rows as sealed bytes; the keys rest here, in a file of their own that only its owner may
//! read, so that rows, journals, snapshots and dumps can be copied without giving a secret away.
//!
//! Words: *current* - the key that seals; *previous* - one that still opens, until every row is
//! sealed under the current one. Numbers only grow and name a key for as long as the file lives.
//! K1: a file with one bit changed is refused. K2: there is always exactly one current key.
//!
//! Text and frame only: what a key is used for is the caller's.

use std::fmt::Write as _;

use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// The longest key file worth reading, in bytes.
pub const MAX_KEY_FILE: usize = 4096;
/// The most keys a file can have: the current one and those before it.
pub const MAX_KEYS: usize = 16;
/// Bytes of the nonce in front of what is sealed.
pub const NONCE_LEN: usize = 12;
/// Bytes of the tag at its end.
pub const TAG_LEN: usize = 16;

const HEAD: &str = "pierhead key file, format ";
const VERSION: u32 = 1;
const SEALED_VERSION: u8 = 1;
const CHECK_LEN: usize = 16;

/// A key and its number.
pub struct NumberedKey {
    /// From 1.
    pub number: u32,
    /// The key itself, wiped when dropped.
    pub key: Zeroizing<[u8; KEY_LEN]>,
}

/// Why a key file is not used. Never says what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Something else, or the first line is damaged.
    #[error("it is not a Pierhead key file")]
    NotAKeyFile,
    /// Made by a later program.
    #[error("it has format {0}, this program knows format {VERSION}")]
    Version(u32),
    /// Cut short, changed, or put together by hand.
    #[error("it is damaged: restore it from a copy")]
    Damaged,
}

/// The text of a key file; the first key is the current one, the rest descend.
pub fn encode(keys: &[NumberedKey]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_KEY_FILE));
    let _ = writeln!(text, "{HEAD}{VERSION}");
    for NumberedKey { number, key } in keys {
        let _ = write!(text, "key {number} ");
        push_hex(&mut text, key.as_slice());
        text.push('\n');
    }
    let check = check(&text);
    text.push_str("check ");
    push_hex(&mut text, &check);
    text.push('\n');
    text
}

/// Reads the text of a key file: at least one key, the current one first.
pub fn decode(bytes: &[u8]) -> Result<Vec<NumberedKey>, KeyFileError> {
    let text = std::str::from_utf8(bytes).map_err(|_| KeyFileError::NotAKeyFile)?;
    let (version, _) =
        text.strip_prefix(HEAD).and_then(|rest| rest.split_once('\n')).ok_or(KeyFileError::NotAKeyFile)?;
    match canonical_number(version) {
        Some(VERSION) => {}
        Some(other) => return Err(KeyFileError::Version(other)),
        None => return Err(KeyFileError::NotAKeyFile),
    }
    parse(text).filter(|keys| (1..=MAX_KEYS).contains(&keys.len())).ok_or(KeyFileError::Damaged)
}

fn parse(text: &str) -> Option<Vec<NumberedKey>> {
    let before = text.rfind("check ")?;
    let (body, last) = text.split_at(before);
    let found: Zeroizing<[u8; CHECK_LEN]> = read_hex(last.strip_prefix("check ")?.strip_suffix('\n')?)?;
    if *found != check(body) {
        return None;
    }
    let mut keys: Vec<NumberedKey> = Vec::new();
    for line in body.strip_suffix('\n')?.split('\n').skip(1) {
        let (number, key) = line.strip_prefix("key ")?.split_once(' ')?;
        let number = canonical_number(number).filter(|number| *number > 0)?;
        if keys.last().is_some_and(|newer| newer.number <= number) {
            return None;
        }
        keys.push(NumberedKey { number, key: read_hex(key)? });
    }
    Some(keys)
}

fn check(body: &str) -> [u8; CHECK_LEN] {
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&blake3::hash(body.as_bytes()).as_bytes()[..CHECK_LEN]);
    check
}

fn canonical_number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading = text.len() > 1 && text.starts_with('0');
    text.parse().ok().filter(|_| digits && !leading)
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

fn read_hex<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = Zeroizing::new([0; N]);
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// What is sealed, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// The number of the key it is sealed under.
    pub number: u32,
    /// Used once with that key.
    pub nonce: [u8; NONCE_LEN],
    /// What the seal covers beside the secret and its context: version and number.
    pub head: [u8; 5],
    /// The encrypted secret and its tag.
    pub body: &'a [u8],
}

/// The bytes in front of what is sealed: version and key number.
pub fn sealed_head(number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [SEALED_VERSION, a, b, c, d]
}

/// Takes sealed bytes apart; `None` for another version or too few bytes.
pub fn split_sealed(bytes: &[u8]) -> Option<Sealed<'_>> {
    let (head, rest) = bytes.split_first_chunk::<5>()?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
    let [version, a, b, c, d] = *head;
    let sound = version == SEALED_VERSION && body.len() >= TAG_LEN;
    sound.then(|| Sealed { number: u32::from_be_bytes([a, b, c, d]), nonce: *nonce, head: *head, body })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(numbers: &[u32]) -> Vec<NumberedKey> {
        numbers
            .iter()
            .map(|&number| NumberedKey { number, key: Zeroizing::new([number as u8; 32]) })
            .collect()
    }

    /// The released layout: it may be added to, never changed.
    const GOLDEN: &str = include_str!("../golden/key-file/v1.txt");

    #[test]
    fn the_golden_file_is_read_and_written_again_and_every_changed_bit_is_seen() {
        assert_eq!(encode(&keys(&[2, 1])).as_str(), GOLDEN);
        let read = decode(GOLDEN.as_bytes()).unwrap();
        assert_eq!(read.iter().map(|key| key.number).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(*read[0].key, [2; 32]);
        for at in 0..GOLDEN.len() {
            for bit in 0..8 {
                let mut bytes = GOLDEN.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                assert!(decode(&bytes).is_err(), "byte {at}, bit {bit}");
            }
            assert!(decode(&GOLDEN.as_bytes()[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_file_that_holds_no_sound_list_of_keys_is_refused_by_its_reason() {
        let cases = [
            ("empty", String::new(), KeyFileError::NotAKeyFile),
            ("another file", "pierhead store, format 1\n".to_owned(), KeyFileError::NotAKeyFile),
            ("later", "pierhead key file, format 2\n".to_owned(), KeyFileError::Version(2)),
            ("no keys", encode(&[]).to_string(), KeyFileError::Damaged),
            ("key 0", encode(&keys(&[0])).to_string(), KeyFileError::Damaged),
            ("twice", encode(&keys(&[2, 2])).to_string(), KeyFileError::Damaged),
            ("ascending", encode(&keys(&[1, 2])).to_string(), KeyFileError::Damaged),
            (
                "too many",
                encode(&keys(&(1..18).rev().collect::<Vec<_>>())).to_string(),
                KeyFileError::Damaged,
            ),
            ("more behind", format!("{GOLDEN}\n"), KeyFileError::Damaged),
        ];
        for (name, text, expected) in cases {
            assert_eq!(decode(text.as_bytes()).err(), Some(expected), "{name}");
        }
        let longest = keys(&(0..MAX_KEYS as u32).map(|n| u32::MAX - n).collect::<Vec<_>>());
        assert!(encode(&longest).len() <= MAX_KEY_FILE);
        assert_eq!(decode(encode(&longest).as_bytes()).unwrap().len(), MAX_KEYS);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,100}") {
            let _ = decode(&bytes);
            let _ = decode(format!("pierhead key file, format 1\n{text}").as_bytes());
            let _ = split_sealed(&bytes);
        }

        #[test]
        fn what_is_put_together_comes_apart_again(number in any::<u32>(), nonce in any::<[u8; 12]>(), body in prop::collection::vec(any::<u8>(), 0..64)) {
            let head = sealed_head(number);
            let bytes = [&head[..], &nonce, &body].concat();
            let parts = split_sealed(&bytes);
            if body.len() < TAG_LEN {
                prop_assert_eq!(parts, None);
            } else {
                prop_assert_eq!(parts, Some(Sealed { number, nonce, head, body: &body }));
            }
            let mut later = bytes;
            later[0] = 2;
            prop_assert_eq!(split_sealed(&later), None);
        }
    }
}
