//! The whole metadata from snapshot and journal alone: the newest snapshot that holds, and the
//! change sets after it laid over it, in the order of table and key.
//!
//! The change sets after the snapshot are collected in memory. Where they exceed a bound, only the
//! lowest keys are kept, the rows up to there are given, and the journal is read again for the
//! rest: memory is bounded, however long the journal. Needs no lock: files are opened first, and
//! stay readable though a running server removes them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use pierhead_storage_format::journal::{Change, Position, each_change};
use pierhead_storage_format::keys::Table;

use super::chain::{Chain, Frame, Segment, Tail};
use super::error::TruthError;
use super::snapshots::{self, Receiver, Snapshot};
use crate::stores::disk::Disk;

/// Rows set (`Some`) or removed, by table number and key.
pub(super) type Overlay = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

const OVERLAY_BYTES: usize = 128 << 20;
/// What an entry of the overlay costs beyond its bytes, roughly.
const ENTRY_BYTES: usize = 96;
const ATTEMPTS: usize = 20;

/// The key of a row in index and overlay: table number, then the key in the table.
pub(super) fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + key.len());
    row.push(table.number());
    row.extend_from_slice(key);
    row
}

/// Splits what [`row_key`] joined.
pub(super) fn split_row_key(row: &[u8]) -> Option<(Table, &[u8])> {
    let (number, key) = row.split_first()?;
    Some((Table::from_number(*number).ok()?, key))
}

/// Gives the changes of a frame to `each`; an error names the frame.
pub(super) fn changes_of(
    segment: &Segment,
    offset: u64,
    frame: &Frame<'_>,
    each: &mut dyn FnMut(Change<'_>),
) -> Result<(), TruthError> {
    each_change(frame.body, frame.count, &mut |_, change| each(change))
        .map_err(|e| TruthError::damaged(&segment.path, offset, e.to_string()))
}

/// Snapshot and journal, opened.
pub(super) struct Truth {
    pub(super) snapshot: Option<Snapshot>,
    pub(super) damaged_snapshots: Vec<String>,
    pub(super) chain: Chain,
}

impl Truth {
    /// Opens the newest snapshot that holds and the segments after it. Opened again from the
    /// start when a file goes away meanwhile. As long as `goes_on` says so.
    pub(super) fn open(disk: &dyn Disk, goes_on: &dyn Fn() -> bool) -> Result<Self, TruthError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let before = snapshots::names(disk)?;
            match Self::open_once(disk, goes_on) {
                Err(error)
                    if attempt < ATTEMPTS && (error.vanished() || before != snapshots::names(disk)?) => {}
                result => return result,
            }
        }
    }

    /// As [`Truth::open`], but of the newest snapshot only the header is read: good for its position and
    /// for the frames after it, not for its rows.
    pub(super) fn open_unproved(disk: &dyn Disk) -> Result<Self, TruthError> {
        let newest = snapshots::names(disk)?.into_iter().next_back();
        let snapshot = newest.map(|sequence| snapshots::open_unproved(disk, sequence)).transpose()?;
        let chain = Chain::open(disk, snapshot.as_ref().map_or(0, |s| s.position.sequence))?;
        Ok(Self { snapshot, damaged_snapshots: Vec::new(), chain })
    }

    fn open_once(disk: &dyn Disk, goes_on: &dyn Fn() -> bool) -> Result<Self, TruthError> {
        let found = snapshots::newest(disk, goes_on)?;
        let base = found.newest.as_ref().map_or(0, |s| s.position.sequence);
        let chain = Chain::open(disk, base)?;
        if chain.segments.is_empty() && (found.newest.is_some() || !found.damaged.is_empty()) {
            let folder = std::path::Path::new(pierhead_storage_format::paths::JOURNAL);
            return Err(TruthError::damaged(folder, 0, "there are snapshots but no journal segment"));
        }
        Ok(Self { snapshot: found.newest, damaged_snapshots: found.damaged, chain })
    }

    /// Where the snapshot ends and the journal takes over.
    pub(super) fn base(&self) -> Position {
        self.snapshot.as_ref().map_or_else(Position::default, |s| s.position)
    }

    /// Gives every frame after the snapshot to `each`; the journal must go through the snapshot's
    /// very position. `None` if there is no journal.
    pub(super) fn frames(
        &self,
        each: &mut dyn FnMut(&Segment, u64, &Frame<'_>) -> Result<(), TruthError>,
    ) -> Result<Option<Tail>, TruthError> {
        let base = self.base();
        let strange = |segment: &Segment, offset| {
            TruthError::damaged(
                &segment.path,
                offset,
                "the journal and the snapshot are of different histories",
            )
        };
        let tail = self.chain.walk(&mut |segment, offset, frame| {
            if frame.before.sequence >= base.sequence {
                if frame.before.sequence == base.sequence && frame.before != base {
                    return Err(strange(segment, offset));
                }
                return each(segment, offset, frame);
            }
            if frame.after.sequence > base.sequence { Err(strange(segment, offset)) } else { Ok(()) }
        })?;
        match (&tail, self.chain.segments.last()) {
            (Some(tail), Some(last)) if tail.position.sequence < base.sequence => {
                let what = format!("the journal ends at {}, before the snapshot", tail.position.sequence);
                Err(TruthError::damaged(&last.path, tail.end, what))
            }
            (Some(tail), Some(last)) if tail.position.sequence == base.sequence && tail.position != base => {
                Err(strange(last, tail.end))
            }
            _ => Ok(tail),
        }
    }

    /// Gives every row at `until` (the end of the journal if `None`) to `each`, in order.
    pub(super) fn rows(
        &self,
        until: Option<Position>,
        each: &mut Receiver<'_>,
    ) -> Result<Position, TruthError> {
        self.rows_within(until, OVERLAY_BYTES, each)
    }

    pub(super) fn rows_within(
        &self,
        mut until: Option<Position>,
        bytes: usize,
        each: &mut Receiver<'_>,
    ) -> Result<Position, TruthError> {
        let mut from: Vec<u8> = Vec::new();
        loop {
            let mut slice = Slice { from, below: None, rows: Overlay::new(), bytes: 0, bound: bytes };
            let position = self.collect(until, &mut slice)?;
            if let (Some(until), Some(last)) = (until, self.chain.segments.last())
                && until != position
            {
                return Err(TruthError::damaged(
                    &last.path,
                    0,
                    "the journal does not hold the position asked for",
                ));
            }
            until = Some(position);
            self.merge(&slice, each)?;
            match slice.below {
                None => return Ok(position),
                Some(below) => from = below,
            }
        }
    }

    fn collect(&self, until: Option<Position>, slice: &mut Slice) -> Result<Position, TruthError> {
        let limit = until.map_or(u64::MAX, |p| p.sequence);
        let mut position = self.base();
        self.frames(&mut |segment, offset, frame| {
            if frame.after.sequence > limit {
                return Ok(());
            }
            position = frame.after;
            changes_of(segment, offset, frame, &mut |change| slice.take(change))
        })?;
        Ok(position)
    }

    fn merge(&self, slice: &Slice, each: &mut Receiver<'_>) -> Result<(), TruthError> {
        let mut give = |row: &[u8], value: &[u8]| match split_row_key(row) {
            Some((table, key)) => each(table, key, value),
            None => Ok(()), // change sets with tables that are not known do not decode
        };
        let mut overlay = slice.rows.iter().peekable();
        if let Some(snapshot) = &self.snapshot {
            let mut rows = snapshot.rows()?;
            while let Some(old) = rows.next_row().map_err(|e| snapshot.error(e))? {
                let key = row_key(old.table, &old.key);
                if !slice.holds(&key) {
                    continue;
                }
                while let Some((row, value)) = overlay.next_if(|(row, _)| **row < key) {
                    value.as_ref().map_or(Ok(()), |value| give(row, value))?;
                }
                match overlay.next_if(|(row, _)| **row == key) {
                    Some((row, value)) => value.as_ref().map_or(Ok(()), |value| give(row, value))?,
                    None => give(&key, &old.value)?,
                }
            }
        }
        overlay.try_for_each(|(row, value)| value.as_ref().map_or(Ok(()), |value| give(row, value)))
    }
}

/// The changes to keys from `from` on and below `below`, as many as fit.
struct Slice {
    from: Vec<u8>,
    below: Option<Vec<u8>>,
    rows: Overlay,
    bytes: usize,
    bound: usize,
}

impl Slice {
    fn holds(&self, row: &[u8]) -> bool {
        row >= self.from.as_slice() && self.below.as_ref().is_none_or(|below| row < below.as_slice())
    }

    fn take(&mut self, change: Change<'_>) {
        let row = row_key(change.table, change.key);
        if !self.holds(&row) {
            return;
        }
        let value = change.value.map(<[u8]>::to_vec);
        let value_len = value.as_ref().map_or(0, Vec::len);
        match self.rows.entry(row) {
            Entry::Occupied(mut old) => {
                self.bytes -= old.get().as_ref().map_or(0, Vec::len);
                old.insert(value);
            }
            Entry::Vacant(new) => {
                self.bytes += ENTRY_BYTES + new.key().len();
                new.insert(value);
            }
        }
        self.bytes += value_len;
        while self.bytes > self.bound && self.rows.len() > 1 {
            let Some((row, value)) = self.rows.pop_last() else { break };
            self.bytes -= ENTRY_BYTES + row.len() + value.as_ref().map_or(0, Vec::len);
            self.below = Some(row);
        }
    }
}

/// The metadata at one moment, of a store that may be written on meanwhile: its files are open, and
/// stay readable though a newer snapshot removes them.
pub struct Moment {
    truth: Truth,
    position: Position,
}

impl Moment {
    /// As of now: what was acknowledged before is in it, and perhaps a change set that will never be.
    pub fn open(disk: &dyn Disk) -> Result<Self, TruthError> {
        let truth = Truth::open(disk, &|| true)?;
        let mut position = truth.base();
        truth.frames(&mut |_, _, frame| {
            position = frame.after;
            Ok(())
        })?;
        Ok(Self { truth, position })
    }

    /// The last change set in it.
    pub const fn sequence(&self) -> u64 {
        self.position.sequence
    }

    /// Streams its rows in the order of table and key to `each`, an error of which ends it. May be
    /// called again.
    pub fn rows(&self, each: &mut Receiver<'_>) -> Result<(), TruthError> {
        self.truth.rows(Some(self.position), each).map(drop)
    }
}

/// Streams the whole metadata in the order of table and key to `each`, from snapshot and journal
/// alone: no index, no lock, also while a server writes (then: as of the moment it is called).
/// Returns how far the rows go. Rows are not decoded. An error of `each` ends it, and so does `goes_on`, which is asked for
/// each row: [`TruthError::Stopped`].
pub fn read_truth(
    disk: &dyn Disk,
    goes_on: &dyn Fn() -> bool,
    each: &mut Receiver<'_>,
) -> Result<Position, TruthError> {
    Truth::open(disk, goes_on)?.rows(None, &mut |table, key, value| {
        if goes_on() { each(table, key, value) } else { Err(TruthError::Stopped) }
    })
}
