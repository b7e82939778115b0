//! The index: the rows in an engine, and one state row that says up to which position they are,
//! with a running sum of every table. The state row is written in the batch it describes, so an
//! index is right when a full scan gives the sums it claims, and its position is on the journal's
//! history.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pierhead_storage_format::journal::{Position, Tag};
use pierhead_storage_format::snapshot::Sums;

use super::engine::{Engine, EngineError, Write};
use super::truth::Overlay;

/// No table has number 0.
const STATE_KEY: &[u8] = &[0];
const STATE_VERSION: u8 = 1;
const SCAN_PAGE: usize = 1000;

/// What the state row says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) position: Position,
    pub(super) sums: Sums,
}

impl State {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![STATE_VERSION];
        bytes.extend_from_slice(&self.position.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.position.tag.0);
        self.sums.encode(&mut bytes);
        let check = *blake3::hash(&bytes).as_bytes();
        bytes.extend_from_slice(&check);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (rest, check) = bytes.split_last_chunk::<32>()?;
        let (&STATE_VERSION, rest) = rest.split_first()? else { return None };
        if blake3::hash(&bytes[..bytes.len() - 32]) != *check {
            return None;
        }
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (tag, sums) = rest.split_first_chunk::<16>()?;
        let position = Position { sequence: u64::from_le_bytes(*sequence), tag: Tag(*tag) };
        Some(Self { position, sums: Sums::decode(sums).ok()? })
    }
}

/// Rows and their state.
pub(super) struct Index {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) state: State,
    /// The check of every row, until it has come to the end.
    pub(super) proof: Option<Proof>,
}

/// How far the check of every row has come.
pub(super) struct Proof {
    /// The last row checked.
    after: Vec<u8>,
    /// Of the rows up to it, as they are now.
    sums: Sums,
    /// Rows read.
    pub(super) rows: u64,
}

impl Index {
    /// Takes over an engine with nothing but its state row looked at: [`Index::prove_some`] is to follow.
    pub(super) fn unproved(engine: Arc<dyn Engine>) -> Result<Self, EngineError> {
        let broken = |what: &str| EngineError::Broken(what.into());
        let row = engine.get(STATE_KEY)?.ok_or_else(|| broken("it has no state row"))?;
        let state = State::decode(&row).ok_or_else(|| broken("its state row does not decode"))?;
        let proof = Some(Proof { after: STATE_KEY.to_vec(), sums: Sums::default(), rows: 0 });
        Ok(Self { engine, state, proof })
    }

    /// Takes over an engine after checking every row; `progress` counts rows.
    pub(super) fn inspect(engine: Arc<dyn Engine>, progress: &AtomicU64) -> Result<Self, EngineError> {
        let mut index = Self::unproved(engine)?;
        while !index.prove_some()? {
            progress.fetch_add(1, Ordering::Relaxed);
        }
        Ok(index)
    }

    /// Checks some more rows; whether all are. What is applied meanwhile is accounted for: to the rows
    /// already checked by [`Index::apply`], to the others by reading them.
    pub(super) fn prove_some(&mut self) -> Result<bool, EngineError> {
        let Some(proof) = &mut self.proof else { return Ok(true) };
        let page = self.engine.page(&[], &proof.after, true, SCAN_PAGE)?;
        let Some((last, _)) = page.last() else {
            if proof.sums != self.state.sums {
                return Err(EngineError::Broken("its rows are not those its sums were made of".into()));
            }
            self.proof = None;
            return Ok(true);
        };
        if *last <= proof.after {
            return Err(EngineError::Broken("its rows are out of order".into()));
        }
        proof.after.clone_from(last);
        proof.rows += page.len() as u64;
        for (row, value) in &page {
            if let Some((&table, key)) = row.split_first() {
                proof.sums.add(table, key, value);
            }
        }
        Ok(false)
    }

    /// Makes the changes of one frame, which ends at `to`.
    pub(super) fn apply(&mut self, to: Position, changes: Overlay) -> Result<(), EngineError> {
        let mut state = State { position: to, sums: self.state.sums.clone() };
        let mut writes: Vec<Write> = Vec::with_capacity(changes.len() + 1);
        for (row, value) in changes {
            let Some((&table, key)) = row.split_first() else { continue };
            let old = self.engine.get(&row)?;
            let checked = self.proof.as_mut().filter(|proof| row <= proof.after);
            for sums in [Some(&mut state.sums), checked.map(|proof| &mut proof.sums)].into_iter().flatten() {
                if let Some(old) = &old {
                    sums.remove(table, key, old);
                }
                if let Some(value) = &value {
                    sums.add(table, key, value);
                }
            }
            writes.push((row, value));
        }
        writes.push((STATE_KEY.to_vec(), Some(state.encode())));
        self.engine.apply(&writes)?;
        self.state = state;
        Ok(())
    }
}

/// Opens an engine again that was closed.
pub(super) type Reopen<'a> = dyn Fn() -> Result<Arc<dyn Engine>, EngineError> + 'a;

/// Fills an empty engine; the state row comes last, so that half an index is known as one.
///
/// The engine is opened again every so many rows: sled lets go of the memory that bulk work took, and
/// writes down where its pages are, only then. (Four million rows at once took 5.5 GB, and 14 s to open
/// the next time.)
pub(super) struct Filling<'a> {
    engine: Arc<dyn Engine>,
    sums: Sums,
    writes: Vec<Write>,
    since: usize,
    reopen: Option<&'a Reopen<'a>>,
}

impl<'a> Filling<'a> {
    const BATCH: usize = 1000;
    const REOPENED_AFTER: usize = 250 * Self::BATCH;

    /// Into `engine`, which `reopen` opens again where that can be done.
    pub(super) fn new(engine: Arc<dyn Engine>, reopen: Option<&'a Reopen<'a>>) -> Self {
        Self { engine, sums: Sums::default(), writes: Vec::with_capacity(Self::BATCH), since: 0, reopen }
    }

    pub(super) fn row(&mut self, table: u8, row: Vec<u8>, value: &[u8]) -> Result<(), EngineError> {
        self.sums.add(table, &row[1..], value);
        self.writes.push((row, Some(value.to_vec())));
        if self.writes.len() >= Self::BATCH {
            self.engine.apply(&self.writes)?;
            self.writes.clear();
            self.since += Self::BATCH;
        }
        if self.since >= Self::REOPENED_AFTER {
            self.open_again()?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self, position: Position) -> Result<Index, EngineError> {
        if self.sums.total() >= Self::REOPENED_AFTER as u64 {
            self.open_again()?;
        }
        let state = State { position, sums: self.sums };
        self.writes.push((STATE_KEY.to_vec(), Some(state.encode())));
        self.engine.apply(&self.writes)?;
        self.engine.flush()?;
        Ok(Index { engine: self.engine, state, proof: None })
    }

    fn open_again(&mut self) -> Result<(), EngineError> {
        self.since = 0;
        if let Some(reopen) = self.reopen {
            self.engine.flush()?;
            self.engine.close();
            self.engine = reopen()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::meta::engine::MemoryEngine;

    #[test]
    fn a_state_row_with_any_flipped_bit_or_missing_byte_does_not_decode() {
        let mut state =
            State { position: Position { sequence: 7, tag: Tag([1; 16]) }, sums: Sums::default() };
        state.sums.add(3, b"key", b"value");
        let bytes = state.encode();
        assert_eq!(State::decode(&bytes), Some(state));
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(State::decode(&flipped), None, "bit {bit}");
            assert_eq!(State::decode(&bytes[..bit / 8]), None, "cut at {}", bit / 8);
        }
    }

    #[test]
    fn an_index_whose_rows_changed_behind_its_back_is_broken() {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
        let mut index = Filling::new(Arc::clone(&engine), None).finish(Position::default()).expect("memory");
        let change = |v: &[u8]| Overlay::from([(vec![4, 1], Some(v.to_vec()))]);
        index.apply(Position { sequence: 1, ..Position::default() }, change(b"a")).expect("memory");
        index.apply(Position { sequence: 2, ..Position::default() }, change(b"b")).expect("memory");
        assert!(Index::inspect(Arc::clone(&engine), &AtomicU64::new(0)).is_ok());
        engine.apply(&[(vec![4, 2], Some(vec![]))]).expect("memory");
        assert!(Index::inspect(Arc::clone(&engine), &AtomicU64::new(0)).is_err(), "a row too many");
        engine.apply(&[(vec![4, 2], None), (vec![4, 1], Some(b"a".to_vec()))]).expect("memory");
        assert!(Index::inspect(engine, &AtomicU64::new(0)).is_err(), "an older value");
    }
}
