//! The journal's bytes: segment headers, frames, change sets. A segment is a header and frames; a
//! frame is one durable group; its body is change sets; a change sets one row or removes it.
//! All numbers are little-endian and of fixed width. Layout in `FORMAT.md`.
//!
//! - J1: every header, frame header and body carries a BLAKE3 check. A frame's are keyed by its
//!   segment's header and bound to its offset, so that bytes copied from elsewhere (or a value
//!   made to look like a frame) never pass for one.
//! - J2: a frame says up to which offset its segment was durable when it was written. A frame
//!   header that holds is therefore a witness that everything before that offset was once durable.
//! - J3: a [`Position`] is a sequence number and a hash of all bodies up to it; two histories that
//!   differ never share one.
//!
//! Pure: nothing here opens a file. Who reads and writes them: `src/stores/meta`.

use crate::codec::{FormatError, MAX_RECORD};
use crate::keys::Table;

/// Bytes of an encoded [`SegmentHeader`].
pub const SEGMENT_HEADER: usize = 68;
/// Bytes of an encoded [`FrameHeader`].
pub const FRAME_HEADER: usize = 44;
/// What a frame header starts with, as it lies on disk.
pub const FRAME_MAGIC: [u8; 4] = *b"PhFr";
/// Bytes of the check after a frame's body.
pub const FRAME_CHECK: usize = 16;
/// The longest body of a frame, in bytes.
pub const MAX_BODY: usize = 64 << 20;
/// The longest key of a row, in bytes.
pub const MAX_KEY: usize = 1024;

const SEGMENT_MAGIC: [u8; 8] = *b"PhJournl";
const SEGMENT_VERSION: u32 = 1;
const SET_VERSION: u8 = 1;
const NO_VALUE: u32 = u32::MAX;
const KEY_CONTEXT: &str = "pierhead journal segment 1: frame checks";

/// A hash of everything up to a sequence number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tag(pub [u8; 16]);

/// How far a history goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The last change set in it; 0 before the first.
    pub sequence: u64,
    /// The hash of the history.
    pub tag: Tag,
}

impl Position {
    /// The position after a frame of `count` change sets, encoded as `body`; `None` once sequence
    /// numbers run out.
    pub fn after(self, count: u32, body: &[u8]) -> Option<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&self.tag.0)
            .update(&self.sequence.to_le_bytes())
            .update(&count.to_le_bytes())
            .update(body);
        let sequence = self.sequence.checked_add(u64::from(count))?;
        Some(Self { sequence, tag: Tag(short(&hasher)) })
    }
}

pub(crate) fn short(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut check = [0; 16];
    hasher.finalize_xof().fill(&mut check);
    check
}

/// Reads fixed-width fields from the front of bytes.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(FormatError::Damaged("ends early"))?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(FormatError::Damaged("ends early"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The version of a file, which has to be `known`.
    pub(crate) fn version(&mut self, known: u32) -> Result<(), FormatError> {
        is_known(self.u32()?, known)
    }
}

/// For what names its version before the check that proves it: only what was checked is called another version.
pub(crate) fn is_known(version: u32, known: u32) -> Result<(), FormatError> {
    match version == known {
        true => Ok(()),
        false => Err(FormatError::Version(u8::try_from(version).unwrap_or(u8::MAX))),
    }
}

/// The front of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The position its first frame continues; its file is named by the sequence after it.
    pub start: Position,
    /// The name of the segment before, 0 for the first of a store.
    pub previous: u64,
    /// Where the truth in that segment ends; bytes beyond were never acknowledged.
    pub previous_end: u64,
}

impl SegmentHeader {
    /// The sequence number of the first change set it can hold, which names its file.
    pub const fn first(&self) -> u64 {
        self.start.sequence.saturating_add(1)
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER);
        bytes.extend_from_slice(&SEGMENT_MAGIC);
        bytes.extend_from_slice(&SEGMENT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.start.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.start.tag.0);
        bytes.extend_from_slice(&self.previous.to_le_bytes());
        bytes.extend_from_slice(&self.previous_end.to_le_bytes());
        let check = short(blake3::Hasher::new().update(&bytes));
        let mut whole = [0; SEGMENT_HEADER];
        whole[..SEGMENT_HEADER - 16].copy_from_slice(&bytes);
        whole[SEGMENT_HEADER - 16..].copy_from_slice(&check);
        whole
    }

    /// The inverse of [`SegmentHeader::encode`]; bytes after the header are not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let whole = Fields(bytes).take(SEGMENT_HEADER)?;
        let mut fields = Fields(whole);
        if fields.array()? != SEGMENT_MAGIC {
            return Err(FormatError::Damaged("not a journal segment"));
        }
        let version = fields.u32()?;
        if whole[SEGMENT_HEADER - 16..] != short(blake3::Hasher::new().update(&whole[..SEGMENT_HEADER - 16]))
        {
            return Err(FormatError::Damaged("the segment header's checksum does not hold"));
        }
        is_known(version, SEGMENT_VERSION)?;
        Ok(Self {
            start: Position { sequence: fields.u64()?, tag: Tag(fields.array()?) },
            previous: fields.u64()?,
            previous_end: fields.u64()?,
        })
    }

    /// What the checks of its frames are keyed by.
    pub fn key(&self) -> SegmentKey {
        SegmentKey(blake3::derive_key(KEY_CONTEXT, &self.encode()))
    }
}

/// Keys the checks of one segment's frames.
#[derive(Clone, Copy, Debug)]
pub struct SegmentKey([u8; 32]);

impl SegmentKey {
    fn hasher(&self, offset: u64) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&offset.to_le_bytes());
        hasher
    }
}

/// The front of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the body, at most [`MAX_BODY`].
    pub body_len: u32,
    /// The sequence number of its first change set.
    pub first: u64,
    /// Its change sets, at least one.
    pub count: u32,
    /// The segment was durable up to here when the frame was written; never beyond its own offset.
    pub durable: u64,
}

impl FrameHeader {
    /// Bytes from the frame's first to the first after it.
    pub fn frame_len(&self) -> u64 {
        u64::from(self.body_len) + (FRAME_HEADER + FRAME_CHECK) as u64
    }

    fn fields(&self) -> [u8; FRAME_HEADER - 16] {
        let mut bytes = [0; FRAME_HEADER - 16];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..8].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.count.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.durable.to_le_bytes());
        bytes
    }

    /// Reads the header of a frame that lies at `offset`; bytes after it are not looked at.
    pub fn decode(key: &SegmentKey, offset: u64, bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields(bytes);
        if fields.array()? != FRAME_MAGIC {
            return Err(FormatError::Damaged("no frame starts here"));
        }
        let header = Self {
            body_len: fields.u32()?,
            first: fields.u64()?,
            count: fields.u32()?,
            durable: fields.u64()?,
        };
        if fields.array()? != short(key.hasher(offset).update(&header.fields())) {
            return Err(FormatError::Damaged("the frame header's checksum does not hold"));
        }
        let sound = header.body_len as usize <= MAX_BODY && header.count > 0 && header.durable <= offset;
        if sound {
            Ok(header)
        } else {
            Err(FormatError::Damaged("the frame header's fields contradict each other"))
        }
    }

    /// Checks what follows the header: `rest` is body and check.
    pub fn check<'a>(&self, key: &SegmentKey, offset: u64, rest: &'a [u8]) -> Result<&'a [u8], FormatError> {
        let mut fields = Fields(rest);
        let body = fields.take(self.body_len as usize)?;
        if fields.array()? != short(key.hasher(offset).update(&self.fields()).update(body)) {
            return Err(FormatError::Damaged("the frame's checksum does not hold"));
        }
        Ok(body)
    }
}

/// The bytes of a frame at `offset` of the segment with `key`, which is durable up to `durable`.
pub fn encode_frame(
    key: &SegmentKey,
    offset: u64,
    durable: u64,
    first: u64,
    count: u32,
    body: &[u8],
) -> Result<Vec<u8>, FormatError> {
    let body_len = u32::try_from(body.len()).map_err(|_| FormatError::TooLarge)?;
    if body.len() > MAX_BODY || count == 0 || durable > offset {
        return Err(FormatError::TooLarge);
    }
    let header = FrameHeader { body_len, first, count, durable };
    let mut bytes = Vec::with_capacity(FRAME_HEADER + body.len() + FRAME_CHECK);
    bytes.extend_from_slice(&header.fields());
    bytes.extend_from_slice(&short(key.hasher(offset).update(&header.fields())));
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&short(key.hasher(offset).update(&header.fields()).update(body)));
    Ok(bytes)
}

/// One row set or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The table.
    pub table: Table,
    /// The row's key in it, at most [`MAX_KEY`] bytes.
    pub key: &'a [u8],
    /// The row's record, at most [`MAX_RECORD`] bytes; `None` removes it.
    pub value: Option<&'a [u8]>,
}

impl Change<'_> {
    /// Bytes it takes in a body.
    pub fn encoded_len(&self) -> usize {
        7 + self.key.len() + self.value.map_or(0, <[u8]>::len)
    }
}

/// Appends one change set to a body. On an error `body` is as it was.
pub fn encode_change_set(changes: &[Change<'_>], body: &mut Vec<u8>) -> Result<(), FormatError> {
    let start = body.len();
    let result = append_change_set(changes, body);
    if result.is_err() {
        body.truncate(start);
    }
    result
}

fn append_change_set(changes: &[Change<'_>], body: &mut Vec<u8>) -> Result<(), FormatError> {
    let count = u32::try_from(changes.len()).map_err(|_| FormatError::TooLarge)?;
    body.push(SET_VERSION);
    body.extend_from_slice(&count.to_le_bytes());
    for change in changes {
        let value = change.value.unwrap_or_default();
        if change.key.len() > MAX_KEY || value.len() > MAX_RECORD {
            return Err(FormatError::TooLarge);
        }
        let key_len = u16::try_from(change.key.len()).map_err(|_| FormatError::TooLarge)?;
        let value_len = match change.value {
            Some(value) => u32::try_from(value.len()).map_err(|_| FormatError::TooLarge)?,
            None => NO_VALUE,
        };
        body.push(change.table.number());
        body.extend_from_slice(&key_len.to_le_bytes());
        body.extend_from_slice(&value_len.to_le_bytes());
        body.extend_from_slice(change.key);
        body.extend_from_slice(value);
        if body.len() > MAX_BODY {
            return Err(FormatError::TooLarge);
        }
    }
    Ok(())
}

/// Gives every change of a body of `count` change sets to `each`, with the number of its change
/// set in the body. The body must hold exactly that many.
pub fn each_change(
    body: &[u8],
    count: u32,
    each: &mut dyn FnMut(u32, Change<'_>),
) -> Result<(), FormatError> {
    let mut fields = Fields(body);
    for set in 0..count {
        match fields.u8()? {
            SET_VERSION => {}
            version => return Err(FormatError::Version(version)),
        }
        for _ in 0..fields.u32()? {
            each(set, change(&mut fields)?);
        }
    }
    if fields.0.is_empty() { Ok(()) } else { Err(FormatError::Damaged("bytes after the last change set")) }
}

fn change<'a>(fields: &mut Fields<'a>) -> Result<Change<'a>, FormatError> {
    let table = Table::from_number(fields.u8()?)?;
    let key_len = usize::from(fields.u16()?);
    let value_len = fields.u32()?;
    if key_len > MAX_KEY || (value_len != NO_VALUE && value_len as usize > MAX_RECORD) {
        return Err(FormatError::TooLarge);
    }
    let key = fields.take(key_len)?;
    let value = if value_len == NO_VALUE { None } else { Some(fields.take(value_len as usize)?) };
    Ok(Change { table, key, value })
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
