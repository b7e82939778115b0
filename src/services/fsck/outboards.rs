//! Outboards (B4), and what they tell of damaged blobs: which parts are.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use pierhead_storage_format::Digest;
use pierhead_storage_format::outboard::{CHUNK, Outboard, encoded_len};

use super::fix::How;
use super::report::B4;
use super::{Check, Content, MAX_PARTS, Unreadable};

impl Check<'_> {
    /// B4, for an outboard whose blob has a row.
    pub(super) fn outboard(&mut self, path: &str, digest: &Digest, size: u64) -> Result<(), Unreadable> {
        match self.blobs.outboard(digest)? {
            Content::Good(outboard) if outboard.digest == *digest && outboard.len == size => {}
            Content::Good(outboard) => {
                let of = format!("{path} is of {}, {} bytes", outboard.digest, outboard.len);
                self.wrong_outboard(digest, size, of);
            }
            Content::Damaged => {
                self.wrong_outboard(digest, size, format!("{path} is torn or damaged"));
            }
            Content::Missing => {}
        }
        Ok(())
    }

    fn wrong_outboard(&mut self, digest: &Digest, size: u64, what: String) {
        self.report.find(&B4, what);
        let does = format!("make the outboard of blob {digest} anew from its bytes");
        self.report.fix(&B4, does, How::Outboard { digest: *digest, size });
    }

    /// The damaged parts of a blob in words, as far as its outboard can tell.
    pub(super) fn damaged_parts(&self, digest: &Digest) -> Result<String, Unreadable> {
        let Content::Good(outboard) = self.blobs.outboard(digest)? else { return Ok(String::new()) };
        if outboard.digest != *digest {
            return Ok(String::new());
        }
        let parts = self.blobs.damaged_parts(digest, &outboard)?;
        let named: Vec<_> = parts.iter().map(|part| format!("{}-{}", part.start, part.end - 1)).collect();
        let more = if parts.len() == MAX_PARTS { ", perhaps more" } else { "" };
        Ok(if named.is_empty() { String::new() } else { format!(": bytes {}{more}", named.join(", ")) })
    }
}

/// Reads an outboard beside a blob of `size` bytes; never more than such a one has.
pub(super) fn read(file: File, digest: &Digest, size: u64) -> Content<Outboard> {
    let mut bytes = Vec::new();
    let read = file.take(encoded_len(digest, size).saturating_add(1)).read_to_end(&mut bytes);
    match read.map(|_| Outboard::decode(&bytes)) {
        Ok(Ok(outboard)) => Content::Good(outboard),
        _ => Content::Damaged,
    }
}

/// Compares a blob's chunks with its outboard; what cannot be read is damaged. Neighbours are one part.
pub(super) fn compare(blob: &File, outboard: &Outboard) -> Vec<Range<u64>> {
    let mut parts: Vec<Range<u64>> = Vec::new();
    let mut buffer = vec![0; usize::try_from(CHUNK).unwrap_or_default()];
    for (number, hash) in outboard.chunks.iter().enumerate() {
        let place = outboard.place(number);
        let len = usize::try_from(place.end - place.start).unwrap_or_default().min(buffer.len());
        let chunk = &mut buffer[..len];
        if blob.read_exact_at(chunk, place.start).is_ok() && blake3::hash(chunk).as_bytes() == hash {
            continue;
        }
        match parts.pop() {
            Some(last) if last.end == place.start => parts.push(last.start..place.end),
            last => {
                parts.extend(last);
                if parts.len() == MAX_PARTS {
                    break;
                }
                parts.push(place);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use pierhead_storage_format::Algorithm;

    use super::*;

    const LEN: usize = 40 * CHUNK as usize + 7;

    /// Name, bytes that are flipped, parts that are found.
    type Case = (&'static str, Vec<u64>, Vec<(u64, u64)>);

    #[test]
    fn an_outboard_names_the_damaged_parts_of_its_blob() {
        const LAST: u64 = 40 * CHUNK;
        let chunk = |number: u64| number * CHUNK;
        let cases: [Case; 4] = [
            ("none", vec![], vec![]),
            ("a byte", vec![chunk(3) + 9], vec![(chunk(3), chunk(4))]),
            (
                "neighbours, and the short last chunk",
                vec![chunk(1), chunk(2), LAST + 6],
                vec![(chunk(1), chunk(3)), (LAST, LAST + 7)],
            ),
            (
                "more than are named",
                (0..10).map(|n| chunk(2 * n)).collect(),
                (0..8).map(|n| (chunk(2 * n), chunk(2 * n + 1))).collect(),
            ),
        ];
        for (name, flipped, expected) in cases {
            let mut bytes = vec![7; LEN];
            let chunks = bytes.chunks(CHUNK as usize).map(|chunk| *blake3::hash(chunk).as_bytes()).collect();
            let digest = Digest::new(Algorithm::Sha256, &[1; 32]).expect("length matches");
            let outboard = Outboard::new(digest, LEN as u64, chunks).expect("one hash a chunk");
            for at in flipped {
                bytes[at as usize] ^= 1;
            }
            let file = tempfile::tempfile().expect("a file");
            file.write_all_at(&bytes, 0).expect("written");
            let parts: Vec<_> =
                compare(&file, &outboard).into_iter().map(|part| (part.start, part.end)).collect();
            assert_eq!(parts, expected, "{name}");
        }
    }
}
