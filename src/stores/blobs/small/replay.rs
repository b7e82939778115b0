//! What start-up does with the log of an earlier run. For every record whose bytes its digest proves:
//! without a metadata record the blob's file goes; with one it is compared with the bytes, past the page
//! cache (what is read back from memory may be lost), and written anew where it differs. Where nobody can tell yet
//! it gets its file too, and before its segment goes an intent below `uploads/`, so that it is asked about again. Then
//! everything is made durable, and the segments go. A sync that fails may tell of any of them, and tells
//! once: all are then gone through again, a few times.
//!
//! What cannot be mended (a full disk) keeps its segment until the next start, and the store opens:
//! everything else is served.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use pierhead_storage_format::small::{self, MAX_SEGMENT};
use pierhead_storage_format::{Digest, paths};

use super::{Ground, Small, placer, retirer, segments};
use crate::stores::blobs::Leftover;
use crate::stores::blobs::error::{BlobError, io as failed};
use crate::stores::blobs::hash;
use crate::stores::blobs::pool::{BLOCK, Pool};
use crate::stores::blobs::readers::together;
use crate::stores::disk::Disk;

/// Threads that read and compare: mostly they wait for the disk.
const READERS: usize = 4;
/// What is read past the page cache is read in multiples of this.
const PAGE: usize = 4096;

/// What was found in the log of an earlier run, and done about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Blobs that have a record in the metadata.
    pub blobs: u64,
    /// Files of them that were missing or wrong, and were written anew.
    pub rewritten: u64,
    /// Files that nobody recorded, and that were removed.
    pub removed: u64,
    /// Segments that stay, because something could not be done.
    pub kept: u64,
    /// Blobs that nobody could tell of: their files are there, and are to be cleared if they have no record after all.
    pub unsure: Option<Leftover>,
}

/// What the metadata says of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// It has a record.
    Yes,
    /// It has none.
    No,
    /// It seems to have none, and that cannot be relied on yet.
    Unsure,
}

impl From<bool> for Named {
    fn from(is_recorded: bool) -> Self {
        if is_recorded { Self::Yes } else { Self::No }
    }
}

impl Small {
    /// Goes through what an earlier run left. `recorded` tells whether the metadata has a blob; its
    /// error ends everything, and nothing is lost. Blocks.
    pub(in crate::stores::blobs) fn replay<E, N: Into<Named>>(
        &self,
        recorded: &mut dyn FnMut(&Digest) -> Result<N, E>,
        error: fn(BlobError) -> E,
    ) -> Result<Replayed, E> {
        let ground = &self.ground;
        let left = remove_parts(ground).and_then(|()| segments(ground.disk.as_ref()));
        let numbers = left.map_err(failed("listing the log of small blobs")).map_err(error)?;
        let mut rewritten = 0;
        for left in (0..retirer::ROUNDS).rev() {
            // Nothing else uses the log yet: what is doubted from here on is what this round is told of.
            ground.doubt.store(0, Ordering::SeqCst);
            let round = self.go_through(&numbers, recorded)?;
            rewritten += round.done.rewritten;
            let gone = self.let_go(&round);
            if gone.is_err() && ground.is_doubted(1) && left > 0 {
                tracing::warn!("a sync failed; the log of small blobs is gone through again");
                continue;
            }
            round.kept.iter().for_each(|(number, error)| keep(*number, error));
            let unsure = match gone {
                Ok(unsure) => {
                    ground.segments.fetch_sub(round.through.len(), Ordering::SeqCst);
                    unsure
                }
                Err(error) => {
                    round.through.iter().for_each(|number| keep(*number, &error));
                    None
                }
            };
            let kept = ground.segments.load(Ordering::SeqCst) as u64;
            return Ok(Replayed { rewritten, kept, unsure, ..round.done });
        }
        Ok(Replayed::default()) // there is a last round
    }

    fn go_through<E, N: Into<Named>>(
        &self,
        numbers: &[u64],
        recorded: &mut dyn FnMut(&Digest) -> Result<N, E>,
    ) -> Result<Round, E> {
        let (mut round, mut unsure) = (Round::default(), BTreeSet::new());
        let recorded = &mut |digest: &Digest| {
            let named = recorded(digest)?.into();
            if named == Named::Unsure {
                unsure.insert(*digest);
            }
            Ok(named != Named::No)
        };
        for &number in numbers {
            let segment = Logged::read(self.ground.disk.as_ref(), number, u64::MAX);
            let ground = &self.ground;
            match segment.map(|segment| (segment.heal(ground, recorded, &|_| true), segment.named())) {
                Ok((Ok(healed), named)) => {
                    round.done.add(&healed);
                    round.through.push(number);
                    round.digests.extend(named);
                }
                Ok((Err(Healing::Recorded(error)), _)) => return Err(error),
                Ok((Err(Healing::Disk(error)), _)) | Err(error) => round.kept.push((number, error)),
            }
        }
        round.unsure = unsure.into_iter().collect();
        Ok(round)
    }

    fn let_go(&self, round: &Round) -> io::Result<Option<Leftover>> {
        if round.through.is_empty() {
            return Ok(None);
        }
        retirer::sync_files(&self.ground, &round.digests.iter().collect())?;
        if self.ground.is_doubted(1) {
            return Err(io::Error::other("a sync failed after some of the files were compared"));
        }
        let unsure = if round.unsure.is_empty() {
            None
        } else {
            let id = retirer::leave_intents(&self.ground, &round.unsure)?;
            Some(Leftover { id, published: round.unsure.clone() })
        };
        for number in &round.through {
            self.ground.disk.remove_file(&paths::small_segment(*number))?;
        }
        self.ground.disk.sync_dir(Path::new(paths::SMALL))?;
        Ok(unsure)
    }
}

/// Once through all segments.
#[derive(Default)]
struct Round {
    done: Replayed,
    through: Vec<u64>,
    digests: BTreeSet<Digest>,
    unsure: Vec<Digest>,
    kept: Vec<(u64, io::Error)>,
}

fn keep(number: u64, error: &io::Error) {
    tracing::error!(segment = number, %error, "a log of small blobs cannot be gone through; it stays until the next start");
}

fn remove_parts(ground: &Ground) -> io::Result<()> {
    for entry in ground.disk.list(Path::new(paths::SMALL))? {
        if entry.name.ends_with(".tmp") {
            ground.disk.remove_file(&Path::new(paths::SMALL).join(entry.name))?;
        }
    }
    Ok(())
}

impl Replayed {
    fn add(&mut self, other: &Self) {
        self.blobs += other.blobs;
        self.rewritten += other.rewritten;
        self.removed += other.removed;
    }
}

/// Why a segment could not be gone through.
#[derive(Debug)]
pub(super) enum Healing<E> {
    /// Nobody could tell what is recorded.
    Recorded(E),
    /// The disk.
    Disk(io::Error),
}

impl From<Healing<Self>> for io::Error {
    fn from(healing: Healing<Self>) -> Self {
        match healing {
            Healing::Recorded(error) | Healing::Disk(error) => error,
        }
    }
}

/// A segment in memory, with the records that their digests prove.
pub(super) struct Logged {
    bytes: Vec<u8>,
    records: Vec<(Digest, Range<usize>)>,
    /// How many records that is, with those of a blob that came more than once.
    pub(super) found: usize,
}

impl Logged {
    /// Reads a segment up to `end`. One whose header is of another number was about to be used again: it
    /// has no records any more.
    pub(super) fn read(disk: &dyn Disk, number: u64, end: u64) -> io::Result<Self> {
        let mut bytes = Vec::new();
        disk.open_read(&paths::small_segment(number))?.take(MAX_SEGMENT as u64).read_to_end(&mut bytes)?;
        let (header, found) = small::read(&bytes).map_err(io::Error::other)?;
        let mut records = Vec::new();
        for record in found {
            let blob = &bytes[record.bytes.clone()];
            let asked = header.number == number && record.bytes.end as u64 <= end;
            if asked && hash::of(record.digest.algorithm(), blob) == record.digest {
                records.push((record.digest, record.bytes));
            }
        }
        let found = records.len();
        // Pushed twice, or more often, it is one blob.
        records.sort_by_key(|(digest, _)| *digest);
        records.dedup_by_key(|(digest, _)| *digest);
        Ok(Self { bytes, records, found })
    }

    /// The blobs it names.
    pub(super) fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.records.iter().map(|(digest, _)| digest)
    }

    fn named(&self) -> Vec<Digest> {
        self.digests().copied().collect()
    }

    /// Makes the files what the records say, not yet durable; of what is not `wanted`, which is asked with its
    /// place locked, none is made.
    pub(super) fn heal<E>(
        &self,
        ground: &Ground,
        recorded: &mut dyn FnMut(&Digest) -> Result<bool, E>,
        wanted: &(dyn Fn(&Digest) -> bool + Sync),
    ) -> Result<Replayed, Healing<E>> {
        if self.records.len() > retirer::FEW {
            // At once, instead of a file at a time. What fails here shows when these are compared; other
            // segments are doubted.
            let _ = ground.sync();
        }
        let (mut there, mut removed) = (Vec::new(), 0);
        for (digest, range) in &self.records {
            if recorded(digest).map_err(Healing::Recorded)? {
                there.push((digest, &self.bytes[range.clone()]));
            } else {
                ground.disk.remove_file(&paths::blob(digest)).map_err(Healing::Disk)?;
                removed += 1;
            }
        }
        let rewritten = heal_all(ground, &there, wanted).map_err(Healing::Disk)?;
        Ok(Replayed { blobs: there.len() as u64, rewritten, removed, ..Replayed::default() })
    }
}

fn heal_all(
    ground: &Ground,
    blobs: &[(&Digest, &[u8])],
    wanted: &(dyn Fn(&Digest) -> bool + Sync),
) -> io::Result<u64> {
    let (next, rewritten, pool) = (AtomicUsize::new(0), AtomicU64::new(0), Pool::new());
    let work = || -> io::Result<()> {
        while let Some((digest, bytes)) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if heal_one(ground, digest, bytes, &pool, wanted)? {
                rewritten.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    };
    together(READERS.min(blobs.len()), work, |error| error)?;
    Ok(rewritten.into_inner())
}

/// Whether the file had to be written anew.
fn heal_one(
    ground: &Ground,
    digest: &Digest,
    bytes: &[u8],
    pool: &Arc<Pool>,
    wanted: &(dyn Fn(&Digest) -> bool + Sync),
) -> io::Result<bool> {
    let _place = ground.places.lock(digest);
    if !wanted(digest) {
        return Ok(false);
    }
    let sound = match ground.disk.open_read_direct(&paths::blob(digest)) {
        Ok(file) => is_on_disk(&file, bytes, pool),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if !sound {
        placer::write(ground.disk.as_ref(), digest, bytes)?;
    }
    Ok(!sound)
}

/// Whether the file is these bytes. One that cannot be read is not.
fn is_on_disk(file: &File, bytes: &[u8], pool: &Arc<Pool>) -> bool {
    if !file.metadata().is_ok_and(|meta| meta.len() == bytes.len() as u64) {
        return false;
    }
    let mut block = pool.block();
    let buffer = block.space(bytes.len().next_multiple_of(PAGE).clamp(PAGE, BLOCK));
    file.read_at(buffer, 0).is_ok_and(|read| buffer.get(..read) == Some(bytes))
}
