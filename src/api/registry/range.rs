//! Byte ranges: `Range` of a download (RFC 9110 §14) and `Content-Range` of an upload's chunk (OCI
//! distribution-spec, "Pushing a blob in chunks").
//!
//! R1: a `Range` this registry does not serve - several ranges, another unit, bad syntax - is
//! ignored, and the whole blob is sent (§14.2). The one exception is a range whose end is before
//! its start, which is refused, as §14.2 allows and the conformance suite asks.
//! R2: what is wanted is never outside the blob and never empty, whatever the numbers were.
//!
//! Must not know a header map or a blob: text and a size in, a range out.

use std::ops::Range;

/// What a download asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// These bytes: at least one, all of them inside the blob.
    Part(Range<u64>),
    /// Bytes the blob does not have.
    Unsatisfiable,
}

/// Reads the `Range` header of a download of `size` bytes.
pub fn wanted(header: &str, size: u64) -> Wanted {
    let Some((unit, set)) = header.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    // A list may hold empty elements, which do not count (RFC 9110 §5.6.1.2).
    let mut specs = set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty());
    match (specs.next(), specs.next()) {
        (Some(spec), None) => one(spec, size),
        _ => Wanted::Whole,
    }
}

fn one(spec: &str, size: u64) -> Wanted {
    let Some((first, last)) = spec.split_once('-') else { return Wanted::Whole };
    match (first.is_empty(), number(first), last.is_empty(), number(last)) {
        (true, _, _, Some(length)) => suffix(length, size),
        (_, Some(first), true, _) => part(first, u64::MAX, size),
        (_, Some(first), _, Some(last)) => part(first, last, size),
        _ => Wanted::Whole,
    }
}

fn suffix(length: u64, size: u64) -> Wanted {
    match (length, size) {
        (0, _) => Wanted::Unsatisfiable,
        // All of an empty blob is no byte, which no `Content-Range` can say.
        (_, 0) => Wanted::Whole,
        _ => Wanted::Part(size.saturating_sub(length)..size),
    }
}

fn part(first: u64, last: u64, size: u64) -> Wanted {
    if last < first || first >= size {
        return Wanted::Unsatisfiable;
    }
    Wanted::Part(first..last.saturating_add(1).min(size))
}

/// Digits only; a number too large for a file is as good as the largest.
fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Where a chunk says it lies in its upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// Its first byte.
    pub first: u64,
    /// Bytes, at least one.
    pub length: u64,
}

/// A `Content-Range` that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Content-Range has not the form first-last")]
pub struct BadChunkRange;

/// Reads the `Content-Range` header of a chunk: `first-last` as in the distribution specification;
/// RFC 9110's `bytes first-last/length` is understood too, since some clients send it.
pub fn chunk(header: &str) -> Result<ChunkRange, BadChunkRange> {
    let text = header.trim();
    let (range, complete) = match text.strip_prefix("bytes ") {
        Some(rest) => rest.split_once('/').ok_or(BadChunkRange)?,
        None => (text, "*"),
    };
    let (first, last) = range.split_once('-').ok_or(BadChunkRange)?;
    let (first, last) = (exact(first)?, exact(last)?);
    let complete = if complete == "*" { u64::MAX } else { exact(complete)? };
    if last < first || last >= complete {
        return Err(BadChunkRange);
    }
    Ok(ChunkRange { first, length: last - first + 1 })
}

/// Digits only. The largest number itself is refused, so that one past it is a number too.
fn exact(digits: &str) -> Result<u64, BadChunkRange> {
    number(digits).filter(|&n| n < u64::MAX).ok_or(BadChunkRange)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_is_served_refused_or_ignored_as_rfc_9110_says() {
        let huge = format!("bytes=0-{}", "9".repeat(40));
        let cases = [
            ("both ends", "bytes=500-1499", Wanted::Part(500..1500)),
            ("one byte", "bytes=0-0", Wanted::Part(0..1)),
            ("open end", "bytes=500-", Wanted::Part(500..2000)),
            ("suffix", "bytes=-500", Wanted::Part(1500..2000)),
            ("suffix longer than the blob", "bytes=-5000", Wanted::Part(0..2000)),
            ("end past the blob", "bytes=1000-9999", Wanted::Part(1000..2000)),
            ("end past any number", &huge, Wanted::Part(0..2000)),
            ("unit in capitals", "Bytes=0-9", Wanted::Part(0..10)),
            ("blanks and empty elements", "bytes= , 0-9 ,", Wanted::Part(0..10)),
            ("starts at the end", "bytes=2000-", Wanted::Unsatisfiable),
            ("starts past the end", "bytes=5000-10000", Wanted::Unsatisfiable),
            ("ends before it starts", "bytes=500-0", Wanted::Unsatisfiable),
            ("suffix of nothing", "bytes=-0", Wanted::Unsatisfiable),
            ("several ranges", "bytes=0-9,20-29", Wanted::Whole),
            ("another unit", "lines=0-9", Wanted::Whole),
            ("no unit", "0-9", Wanted::Whole),
            ("no numbers", "bytes=-", Wanted::Whole),
            ("no range", "bytes=", Wanted::Whole),
            ("letters", "bytes=a-b", Wanted::Whole),
            ("a sign", "bytes=+1-2", Wanted::Whole),
            ("three numbers", "bytes=1-2-3", Wanted::Whole),
        ];
        for (name, header, expected) in cases {
            assert_eq!(wanted(header, 2000), expected, "{name}");
        }
    }

    #[test]
    fn an_empty_blob_has_no_part() {
        let cases = [
            ("bytes=0-", Wanted::Unsatisfiable),
            ("bytes=0-0", Wanted::Unsatisfiable),
            ("bytes=-1", Wanted::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(wanted(header, 0), expected, "{header}");
        }
    }

    #[test]
    fn a_chunk_range_is_two_numbers_in_order() {
        let cases = [
            ("as specified", "0-99", Some((0, 100))),
            ("one byte", "7-7", Some((7, 1))),
            ("as in RFC 9110", "bytes 10-19/100", Some((10, 10))),
            ("length not known", "bytes 10-19/*", Some((10, 10))),
            ("blanks around", " 0-9 ", Some((0, 10))),
            ("past the complete length", "bytes 10-19/19", None),
            ("backwards", "9-0", None),
            ("no end", "9-", None),
            ("no start", "-9", None),
            ("empty", "", None),
            ("letters", "a-b", None),
            ("a sign", "+1-2", None),
            ("blank inside", "1 -2", None),
            ("too large", "0-18446744073709551615", None),
            ("far too large", "0-99999999999999999999999", None),
            ("unit without length", "bytes 1-2", None),
        ];
        for (name, header, expected) in cases {
            let expected = expected.map(|(first, length)| ChunkRange { first, length });
            assert_eq!(chunk(header).ok(), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_wanted_part_is_never_empty_nor_outside(header in "(bytes=)?[0-9,\\- ]{0,30}|.{0,40}", size: u64) {
            if let Wanted::Part(range) = wanted(&header, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }

        #[test]
        fn every_range_inside_is_served_as_asked(first in 0u64..1000, more in 0u64..1000, beyond in 1u64..1000) {
            let last = first + more;
            let got = wanted(&format!("bytes={first}-{last}"), last + beyond);
            prop_assert_eq!(got, Wanted::Part(first..last + 1));
        }

        #[test]
        fn no_text_makes_the_chunk_range_parser_panic(header in "(bytes )?[0-9]{0,22}-[0-9]{0,22}(/[0-9*]{0,22})?|.{0,40}") {
            if let Ok(range) = chunk(&header) {
                prop_assert!(range.length > 0 && range.first.checked_add(range.length).is_some());
            }
        }
    }
}
