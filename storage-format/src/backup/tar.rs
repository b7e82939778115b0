//! The tar in which a backup travels: POSIX ustar headers, with a pax header before those whose path or
//! length does not fit. Regular files only; a reader skips nothing and refuses everything else.

use std::io::{self, ErrorKind, Read};

const BLOCK: usize = 512;
/// Bytes of a path in a header; longer ones have a pax header.
const SHORT: usize = 100;
/// The first length that eleven octal digits cannot say.
const LONG: u64 = 1 << 33;
/// Bytes of a pax header's body that are read.
const MAX_PAX: u64 = 4096;

/// A file in a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path, `/` between parts.
    pub path: String,
    /// Bytes that follow, before the padding.
    pub size: u64,
}

/// Why a stream is no tar of ours.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// A header that does not hold, or that is of something else than a file.
    #[error("the stream is no backup: {0}")]
    Format(&'static str),
    /// The stream cannot be read, or ends too early.
    #[error("the stream cannot be read")]
    Read(#[from] io::Error),
}

/// The zeros after `size` bytes.
pub const fn padding(size: u64) -> usize {
    (BLOCK as u64 - 1 - (size.wrapping_sub(1)) % BLOCK as u64) as usize % BLOCK
}

/// What comes before the bytes of a file: only its owner may read it if it is `private`.
pub fn header(path: &str, size: u64, modified_s: u64, private: bool) -> Vec<u8> {
    let mode = if private { 0o600 } else { 0o644 };
    let mut bytes = Vec::with_capacity(BLOCK);
    let mut pax = String::new();
    if path.len() > SHORT {
        pax.push_str(&pax_record("path", path));
    }
    if size >= LONG {
        pax.push_str(&pax_record("size", &size.to_string()));
    }
    if !pax.is_empty() {
        bytes.extend(block("pax", pax.len() as u64, modified_s, mode, b'x'));
        bytes.extend(pax.as_bytes());
        bytes.resize(bytes.len() + padding(pax.len() as u64), 0);
    }
    let shown = path.get(..SHORT).unwrap_or(path);
    bytes.extend(block(shown, if size < LONG { size } else { 0 }, modified_s, mode, b'0'));
    bytes
}

/// What ends a tar.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

fn pax_record(key: &str, value: &str) -> String {
    let body = format!(" {key}={value}\n");
    let mut len = body.len() + 1;
    while len != body.len() + len.to_string().len() {
        len = body.len() + len.to_string().len();
    }
    format!("{len}{body}")
}

fn block(path: &str, size: u64, modified_s: u64, mode: u32, kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| {
        for (place, byte) in block.iter_mut().skip(at).zip(text.bytes()) {
            *place = byte;
        }
    };
    put(0, path);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, &format!("{:011o}", modified_s.min(LONG - 1)));
    put(148, "        ");
    put(257, "ustar");
    put(263, "00");
    block[156] = kind;
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    for (place, byte) in block.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *place = byte;
    }
    block
}

/// The next file; `None` at the tar's end. The caller reads its bytes and its padding.
pub fn next(from: &mut dyn Read) -> Result<Option<Entry>, TarError> {
    let (mut path, mut size) = (None, None);
    loop {
        let mut raw = [0; BLOCK];
        from.read_exact(&mut raw)?;
        if raw == [0; BLOCK] {
            return if path.is_none() { Ok(None) } else { Err(TarError::Format("a header is missing")) };
        }
        let head = parse(&raw)?;
        match head.kind {
            b'0' | 0 => {
                let (path, size) = (path.unwrap_or(head.path), size.unwrap_or(head.size));
                return Ok(Some(Entry { path, size }));
            }
            b'x' => (path, size) = pax(&body(from, head.size)?, (path, size))?,
            _ => return Err(TarError::Format("it has something else than files")),
        }
    }
}

struct Head {
    path: String,
    size: u64,
    kind: u8,
}

fn parse(raw: &[u8; BLOCK]) -> Result<Head, TarError> {
    const BAD: TarError = TarError::Format("a header does not hold");
    let sum: u32 = raw
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    if octal(&raw[148..156]) != Some(u64::from(sum)) {
        return Err(BAD);
    }
    let name = raw.iter().take(SHORT).position(|byte| *byte == 0).unwrap_or(SHORT);
    let path = std::str::from_utf8(&raw[..name]).map_err(|_| BAD)?.to_owned();
    Ok(Head { path, size: octal(&raw[124..136]).ok_or(BAD)?, kind: raw[156] })
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    u64::from_str_radix(text, 8).ok()
}

fn body(from: &mut dyn Read, size: u64) -> Result<Vec<u8>, TarError> {
    if size > MAX_PAX {
        return Err(TarError::Format("a header is too long"));
    }
    let mut bytes = Vec::new();
    let wanted = size + padding(size) as u64;
    if from.take(wanted).read_to_end(&mut bytes)? as u64 != wanted {
        return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
    }
    bytes.truncate(usize::try_from(size).unwrap_or_default());
    Ok(bytes)
}

type Extended = (Option<String>, Option<u64>);

/// What a pax header says of path and length; other keys are nothing to us.
fn pax(bytes: &[u8], mut known: Extended) -> Result<Extended, TarError> {
    const BAD: TarError = TarError::Format("an extended header does not hold");
    let mut rest = std::str::from_utf8(bytes).map_err(|_| BAD)?;
    while !rest.is_empty() {
        let (len, _) = rest.split_once(' ').ok_or(BAD)?;
        let digits = len.len();
        let len: usize = len.parse().map_err(|_| BAD)?;
        let record = rest.get(digits + 1..len).ok_or(BAD)?.strip_suffix('\n').ok_or(BAD)?;
        match record.split_once('=').ok_or(BAD)? {
            ("path", path) => known.0 = Some(path.to_owned()),
            ("size", size) => known.1 = Some(size.parse().map_err(|_| BAD)?),
            _ => {}
        }
        rest = rest.get(len..).ok_or(BAD)?;
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tar_is_read_as_it_was_written_long_names_and_lengths_included() {
        let long = format!("blobs/sha512/ab/{}.b3", "ab".repeat(64));
        let cases = [("a", 0), ("blobs/x", 511), (&long, 512), (&long, LONG), ("b", 10 * LONG + 7)];
        for (path, size) in cases {
            let bytes = header(path, size, 1_795_000_000, true);
            assert_eq!(bytes.len() % BLOCK, 0, "{path}");
            let read = next(&mut &bytes[..]).expect("a header").expect("a file");
            assert_eq!(read, Entry { path: path.to_owned(), size });
        }
        assert_eq!(next(&mut &END[..]).expect("an end"), None);
        let paddings = [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)];
        for (size, expected) in paddings {
            assert_eq!(padding(size), expected, "{size}");
        }
    }

    proptest! {
        #[test]
        fn a_header_that_was_altered_never_panics(at in 0..512usize, byte in any::<u8>(), size in any::<u64>()) {
            let mut bytes = header("blobs/sha256/ab/cd", size, 0, false);
            bytes[at] = byte;
            let _ = next(&mut &bytes[..]);
        }

        #[test]
        fn any_text_for_an_extended_header_is_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = pax(&text, (None, None));
        }

        #[test]
        fn a_pax_record_names_its_own_length(value in "[a-z]{1,300}") {
            let record = pax_record("path", &value);
            prop_assert_eq!(pax(record.as_bytes(), (None, None)).expect("a record").0, Some(value));
        }
    }
}
