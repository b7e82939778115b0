//! A sealed part of the trail: frames of events in the order of their trace ids, their filters, an index of
//! the frames, and a trailer that says where these are. Written whole, never changed. Frames are
//! compressed; that is the caller's business, and so is reading.

use super::event::EventView;
use super::filter::Values;
use super::items::{Item, push_item};
use crate::codec::FormatError;
use crate::identity::Id;
use crate::journal::{Fields, is_known, short};

/// The most events of a frame.
pub const FRAME_EVENTS: usize = 1024;
/// Bytes of the front of a segment.
pub const SEGMENT_HEADER: usize = 8 + 4 + 8 + CHECK;
/// Bytes of the trailer.
pub const TRAILER: usize = 4 * 8 + 4 + 4 + 3 * CHECK + 8;

const MAGIC: [u8; 8] = *b"PhAudSeg";
const END: [u8; 8] = *b"PhAudEnd";
const VERSION: u32 = 1;
const CHECK: usize = 16;
const ENTRY: usize = 8 + 3 * 4 + 2 * 16 + 2 * 8 + 1 + CHECK + 4;

/// A frame, as the index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it begins.
    pub offset: u64,
    /// Its bytes, compressed.
    pub len: u32,
    /// Its bytes when they are not.
    pub raw: u32,
    /// Events.
    pub count: u32,
    /// The first trace id.
    pub first: Id,
    /// The last one.
    pub last: Id,
    /// The earliest event, UTC milliseconds.
    pub from: u64,
    /// The latest one.
    pub to: u64,
    /// The bits of the ratings in it.
    pub ratings: u8,
    /// Of its compressed bytes.
    pub check: [u8; CHECK],
    /// Bytes of its filter.
    pub filter: u32,
}

impl Entry {
    /// Whether these are the frame's compressed bytes.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.len as usize && short(blake3::Hasher::new().update(bytes)) == self.check
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        for number in [self.len, self.raw, self.count] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(self.first.as_bytes());
        bytes.extend_from_slice(self.last.as_bytes());
        bytes.extend_from_slice(&self.from.to_le_bytes());
        bytes.extend_from_slice(&self.to.to_le_bytes());
        bytes.push(self.ratings);
        bytes.extend_from_slice(&self.check);
        bytes.extend_from_slice(&self.filter.to_le_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            offset: fields.u64()?,
            len: fields.u32()?,
            raw: fields.u32()?,
            count: fields.u32()?,
            first: Id::from_bytes(fields.array()?),
            last: Id::from_bytes(fields.array()?),
            from: fields.u64()?,
            to: fields.u64()?,
            ratings: fields.u8()?,
            check: fields.array()?,
            filter: fields.u32()?,
        })
    }
}

/// The end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The segment's number.
    pub number: u64,
    /// Events in it.
    pub events: u64,
    /// Where the filters begin: behind the last frame.
    pub filters_at: u64,
    /// Where the index begins: behind the filters.
    pub index_at: u64,
    /// Frames.
    pub frames: u32,
    filters_check: [u8; CHECK],
    index_check: [u8; CHECK],
}

impl Trailer {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TRAILER);
        for number in [self.number, self.events, self.filters_at, self.index_at] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.frames.to_le_bytes());
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.filters_check);
        bytes.extend_from_slice(&self.index_check);
        let check = short(blake3::Hasher::new().update(&bytes));
        bytes.extend_from_slice(&check);
        bytes.extend_from_slice(&END);
        bytes
    }

    /// The last [`TRAILER`] bytes of a file of `len` bytes.
    pub fn decode(bytes: &[u8], len: u64) -> Result<Self, FormatError> {
        let mut fields = Fields(bytes);
        let (number, events, filters_at, index_at) =
            (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
        let frames = fields.u32()?;
        let version = fields.u32()?;
        let (filters_check, index_check) = (fields.array()?, fields.array()?);
        let check: [u8; CHECK] = fields.array()?;
        let trailer = Self { number, events, filters_at, index_at, frames, filters_check, index_check };
        if fields.array()? != END || check != short(blake3::Hasher::new().update(&bytes[..TRAILER - 24])) {
            return Err(FormatError::Damaged("the segment's end does not hold"));
        }
        is_known(version, VERSION)?;
        let end = index_at.checked_add(u64::from(frames) * ENTRY as u64 + TRAILER as u64);
        if filters_at > index_at || end != Some(len) {
            return Err(FormatError::Damaged("the segment's length is not what its end says"));
        }
        Ok(trailer)
    }

    /// Bytes of the index.
    pub const fn index_len(&self) -> usize {
        self.frames as usize * ENTRY
    }

    /// Bytes of all filters.
    pub const fn filters_len(&self) -> u64 {
        self.index_at - self.filters_at
    }

    /// Whether these are the filters.
    pub fn holds_filters(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.filters_len()
            && short(blake3::Hasher::new().update(bytes)) == self.filters_check
    }
}

/// What a segment has, frame by frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// In the order of trace ids, which do not overlap.
    pub entries: Vec<Entry>,
}

impl Index {
    /// The index of a segment that ends with `trailer`.
    pub fn decode(trailer: &Trailer, bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() != trailer.index_len()
            || short(blake3::Hasher::new().update(bytes)) != trailer.index_check
        {
            return Err(FormatError::Damaged("the segment's index does not hold"));
        }
        let mut fields = Fields(bytes);
        let entries: Vec<Entry> =
            (0..trailer.frames).map(|_| Entry::read(&mut fields)).collect::<Result<_, _>>()?;
        let (mut at, mut filters, mut events) = (SEGMENT_HEADER as u64, 0u64, 0u64);
        let mut before = None;
        for entry in &entries {
            let in_order = before.is_none_or(|id| id < entry.first) && entry.first <= entry.last;
            if entry.offset != at || !in_order {
                return Err(FormatError::Damaged("the segment's frames are not in order"));
            }
            at = at.checked_add(u64::from(entry.len)).ok_or(FormatError::Record)?;
            (filters, events) = (filters + u64::from(entry.filter), events + u64::from(entry.count));
            before = Some(entry.last);
        }
        if at != trailer.filters_at || filters != trailer.filters_len() || events != trailer.events {
            return Err(FormatError::Damaged("the segment's frames are not what its end says"));
        }
        Ok(Self { entries })
    }
}

/// The number of a segment, from its front.
pub fn decode_segment_header(bytes: &[u8]) -> Result<u64, FormatError> {
    let mut fields = Fields(bytes);
    if fields.array()? != MAGIC {
        return Err(FormatError::Damaged("not a segment of the audit trail"));
    }
    fields.version(VERSION)?;
    let number = fields.u64()?;
    if fields.array()? != short(blake3::Hasher::new().update(&bytes[..SEGMENT_HEADER - CHECK])) {
        return Err(FormatError::Damaged("the header's checksum does not hold"));
    }
    Ok(number)
}

/// Makes a segment.
pub struct SegmentWriter<C> {
    number: u64,
    compress: C,
    bytes: Vec<u8>,
    filters: Vec<u8>,
    entries: Vec<Entry>,
    frame: Frame,
}

#[derive(Default)]
struct Frame {
    raw: Vec<u8>,
    count: u32,
    ids: Option<(Id, Id)>,
    times: Option<(u64, u64)>,
    ratings: u8,
    values: Values,
}

impl<E: From<FormatError>, C: FnMut(&[u8]) -> Result<Vec<u8>, E>> SegmentWriter<C> {
    /// The segment `number`; `compress` gives a frame's bytes.
    pub fn new(number: u64, compress: C) -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes());
        let check = short(blake3::Hasher::new().update(&bytes));
        bytes.extend_from_slice(&check);
        Self { number, compress, bytes, filters: Vec::new(), entries: Vec::new(), frame: Frame::default() }
    }

    /// Adds an event; trace ids ascend. One that does not decode is an error, and is not added.
    pub fn push(&mut self, item: Item<'_>) -> Result<(), E> {
        let view = EventView::of(item.record)?;
        let before = self.frame.ids.map(|ids| ids.1).or(self.entries.last().map(|entry| entry.last));
        if before.is_some_and(|before| before >= item.id) {
            return Err(FormatError::Key.into());
        }
        let frame = &mut self.frame;
        push_item(&mut frame.raw, item)?;
        frame.ids = Some((frame.ids.map_or(item.id, |ids| ids.0), item.id));
        let (from, to) = frame.times.unwrap_or((view.at, view.at));
        frame.times = Some((from.min(view.at), to.max(view.at)));
        frame.ratings |= view.rating.bit();
        frame.values.add(&view);
        frame.count += 1;
        if frame.count as usize == FRAME_EVENTS { self.end_frame() } else { Ok(()) }
    }

    fn end_frame(&mut self) -> Result<(), E> {
        let frame = std::mem::take(&mut self.frame);
        let (Some((first, last)), Some((from, to))) = (frame.ids, frame.times) else { return Ok(()) };
        let compressed = (self.compress)(&frame.raw)?;
        let filter = frame.values.filter();
        let small = |len: usize| u32::try_from(len).map_err(|_| FormatError::TooLarge);
        self.entries.push(Entry {
            offset: self.bytes.len() as u64,
            len: small(compressed.len())?,
            raw: small(frame.raw.len())?,
            count: frame.count,
            first,
            last,
            from,
            to,
            ratings: frame.ratings,
            check: short(blake3::Hasher::new().update(&compressed)),
            filter: small(filter.len())?,
        });
        self.bytes.extend_from_slice(&compressed);
        self.filters.extend_from_slice(&filter);
        Ok(())
    }

    /// The whole file.
    pub fn finish(mut self) -> Result<Vec<u8>, E> {
        self.end_frame()?;
        let mut index = Vec::with_capacity(self.entries.len() * ENTRY);
        self.entries.iter().for_each(|entry| entry.write(&mut index));
        let filters_at = self.bytes.len() as u64;
        let trailer = Trailer {
            number: self.number,
            events: self.entries.iter().map(|entry| u64::from(entry.count)).sum(),
            filters_at,
            index_at: filters_at + self.filters.len() as u64,
            frames: u32::try_from(self.entries.len()).map_err(|_| FormatError::TooLarge)?,
            filters_check: short(blake3::Hasher::new().update(&self.filters)),
            index_check: short(blake3::Hasher::new().update(&index)),
        };
        self.bytes.extend_from_slice(&self.filters);
        self.bytes.extend_from_slice(&index);
        self.bytes.extend_from_slice(&trailer.encode());
        Ok(self.bytes)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
