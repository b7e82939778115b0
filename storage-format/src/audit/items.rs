//! Events one after another: what a batch of a log and a frame of a segment are made of. Each is its
//! trace id (16 bytes), the length of its record (2) and the record.

use crate::codec::{FormatError, MAX_RECORD};
use crate::identity::Id;
use crate::journal::Fields;

/// An event whose record is not decoded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Its trace id.
    pub id: Id,
    /// Its record, encoded.
    pub record: &'a [u8],
}

/// Adds an event to `bytes`; an error for what is no record by its size.
pub fn push_item(bytes: &mut Vec<u8>, item: Item<'_>) -> Result<(), FormatError> {
    let len = u16::try_from(item.record.len()).ok().filter(|_| item.record.len() <= MAX_RECORD);
    let len = len.ok_or(FormatError::TooLarge)?;
    bytes.extend_from_slice(item.id.as_bytes());
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(item.record);
    Ok(())
}

/// The events in `bytes`; the last is an error if they are not filled by them.
pub fn items(bytes: &[u8]) -> impl Iterator<Item = Result<Item<'_>, FormatError>> {
    let mut fields = Fields(bytes);
    std::iter::from_fn(move || {
        if fields.0.is_empty() {
            return None;
        }
        let item = next(&mut fields);
        if item.is_err() {
            fields = Fields(&[]);
        }
        Some(item)
    })
}

fn next<'a>(fields: &mut Fields<'a>) -> Result<Item<'a>, FormatError> {
    let id = Id::from_bytes(fields.array()?);
    let len = usize::from(fields.u16()?);
    if len > MAX_RECORD {
        return Err(FormatError::TooLarge);
    }
    Ok(Item { id, record: fields.take(len)? })
}
