//! The one writer of the log. No timer: a group is whatever waits when the one before is durable.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};

use super::segment::{Claim, Log, Segment};
use super::{Ground, Job, SEGMENT_RECORDS, SEGMENTS};
use crate::stores::blobs::lock;

/// The most blobs in a group.
const GROUP_JOBS: usize = 256;
/// A group with this many bytes takes no more.
const GROUP_BYTES: usize = 1 << 20;

/// A blob whose record is durable.
pub(super) type Logged = (Job, Claim);

pub(super) struct Committer {
    ground: Arc<Ground>,
    jobs: Receiver<Job>,
    placer: Sender<Vec<Logged>>,
    retirer: Sender<(Arc<Segment>, usize, u64)>,
    log: Option<Log>,
    /// The number of the next segment.
    next: u64,
    buffer: Vec<u8>,
}

impl Committer {
    pub(super) fn new(
        ground: Arc<Ground>,
        jobs: Receiver<Job>,
        placer: Sender<Vec<Logged>>,
        retirer: Sender<(Arc<Segment>, usize, u64)>,
        next: u64,
    ) -> Self {
        Self { ground, jobs, placer, retirer, log: None, next, buffer: Vec::new() }
    }

    /// Serves until the store closes.
    pub(super) fn run(mut self) {
        while let Ok(first) = self.jobs.recv() {
            let mut bytes = first.bytes.len();
            let mut group = vec![first];
            while group.len() < GROUP_JOBS && bytes < GROUP_BYTES {
                let Ok(job) = self.jobs.try_recv() else { break };
                bytes += job.bytes.len();
                group.push(job);
            }
            self.commit(group);
        }
        self.seal();
    }

    fn commit(&mut self, group: Vec<Job>) {
        match self.append(&group) {
            Ok(Some(segment)) => {
                let claimed = |job: Job| {
                    let claim = segment.claim(job.digest);
                    (job, claim)
                };
                // It ends after this thread; if it panicked, the callers find their replies gone.
                let _ = self.placer.send(group.into_iter().map(claimed).collect());
                return;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, blobs = group.len(), "the log of small blobs cannot be written; they get syncs of their own");
                self.seal();
            }
        }
        for job in group {
            let _ = job.reply.send(Ok(None)); // the caller may have gone
        }
    }

    /// Makes the records of `group` durable; `None` if too many segments wait to go.
    fn append(&mut self, group: &[Job]) -> io::Result<Option<Arc<Segment>>> {
        let room =
            |log: &Log| log.end < self.ground.segment_bytes && log.records + group.len() <= SEGMENT_RECORDS;
        if self.log.as_ref().is_some_and(|log| !room(log)) {
            self.seal();
        }
        if self.log.is_none() && !self.begin()? {
            return Ok(None);
        }
        let Some(log) = self.log.as_mut() else { return Ok(None) };
        self.buffer.clear();
        for job in group {
            let encoded = log.key.encode(&mut self.buffer, log.end, &job.digest, &job.bytes);
            encoded.map_err(io::Error::other)?;
        }
        log.append(&mut self.buffer, group.len())?;
        let mut logged = lock(&self.ground.logged);
        logged.extend(group.iter().map(|job| (job.digest, log.segment.number)));
        Ok(Some(Arc::clone(&log.segment)))
    }

    fn begin(&mut self) -> io::Result<bool> {
        if self.ground.segments.load(Ordering::SeqCst) >= SEGMENTS {
            return Ok(false);
        }
        // A number is used once: a failed one may be there, with or without its name.
        let number = self.next;
        self.next += 1;
        self.ground.newest.store(number, Ordering::SeqCst);
        self.log = Some(Log::create(&self.ground, number)?);
        self.ground.segments.fetch_add(1, Ordering::SeqCst);
        Ok(true)
    }

    /// The open segment takes nothing more.
    fn seal(&mut self) {
        if let Some(log) = self.log.take() {
            let _ = self.retirer.send((log.segment, log.records, log.end)); // it ends after this thread
        }
    }
}
