//! The audit trail: what an event is, the outbox that changes are recorded in, and the files of the
//! trail. `log` is the file events are appended to, `segment` the sealed one, `filter` tells which parts
//! of a segment need not be read, `day` names folders.
//!
//! An *event* is a key, its trace id, and a record. Changes are rows of the table `audit-outbox` until
//! they are in the trail; reads and refusals go to the trail at once.

mod day;
mod event;
mod filter;
mod items;
mod log;
mod segment;

pub use day::{DAY_MS, day_name, parse_day};
pub use event::{EventKey, EventRecord, EventView, Rating};
pub use filter::{Field, Hashed};
pub use items::{Item, items, push_item};
pub use log::{LogHeader, LogKey, read_log};
pub use segment::{
    Entry, FRAME_EVENTS, Index, SEGMENT_HEADER, SegmentWriter, TRAILER, Trailer, decode_segment_header,
};
