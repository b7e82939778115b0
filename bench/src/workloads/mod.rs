//! What is measured. Each workload sets a registry up over the protocol and returns one sample a case.
//! A workload must not know which registry it drives: what a registry leaves out (pages, for one) shows in its
//! figures. To add one: a file here with `run`, a variant of [`Workload`], an arm in [`Workload::run`].

pub mod audit;
mod beside;
mod catalog;
pub mod flood;
mod image;
mod listing;
mod manifests;
mod mixed;
mod pull;
mod push;
mod small;
pub mod start;
mod tags;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde::{Deserialize, Serialize};

use crate::cache;
use crate::call::Call;
use crate::client::Connection;
use crate::content::Pool;
use crate::error::BenchError;
use crate::load::{self, Operation, Until};
use crate::protocol;
use crate::statistics::Latency;
use crate::target::Target;
use crate::watch::{Used, Watch};

/// The workloads, by the name they have on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// GET of small manifests by tag
    ManifestGet,
    /// HEAD of small manifests by tag
    HeadManifest,
    /// HEAD of small blobs
    HeadBlob,
    /// Blobs of 4 KiB, each POST and PUT
    SmallPush,
    /// Whole small images, config, three layers and manifest: pushed, then pulled
    Image,
    /// Three reads of manifests and small blobs to one push
    Mixed,
    /// Large blobs, each POST, one streamed PATCH and PUT
    Push,
    /// As push, with bodies that compress, whatever --body says
    PushText,
    /// Large blobs, each POST and one PUT of announced length
    PushPut,
    /// 20 uploads at once
    PushMany,
    /// One very large blob, once whatever the repetitions: how long the final PUT takes
    PushLarge,
    /// Large blobs read back at 1 and at 8 connections, from a warm cache
    Pull,
    /// Large blobs read once, right after they were pushed
    PullAfterPush,
    /// Large blobs read at 1 and at 8 connections after the machine's caches were emptied; needs root
    PullCold,
    /// Manifests read by tag, alone and beside a cold, slow pull of one very large blob, once; needs root
    ReadsBesideColdPull,
    /// Pages of a repository of many tags
    Tags,
    /// Pages of a catalog of many repositories
    Catalog,
    /// Pages of Pierhead's audit trail of many events, and what recording one costs
    Audit,
    /// Manifests read by tag from one address, alone and beside a flood from another that is told to wait, then banned
    Flood,
    /// Pierhead started on a store of many blobs (metadata alone): after an import, a stop, SIGKILL
    Start,
}

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    /// Bytes of a large blob.
    pub blob: u64,
    /// Bytes of each of the blobs that are pushed at once.
    pub many: u64,
    /// Bytes of a very large blob.
    pub large: u64,
    /// Tags of the repository whose tags are listed.
    pub tags: u64,
    /// Repositories of the catalog that is listed.
    pub repositories: u64,
    /// Blobs of the store that is started on.
    #[serde(default)]
    pub known: u64,
    /// Events of the audit trail that is searched.
    #[serde(default)]
    pub events: u64,
    /// How long a case of small requests lasts.
    pub seconds: f64,
    /// Connections for small requests.
    pub connections: usize,
}

/// One case, measured once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// What was done, in a few words; the same for every subject and repetition.
    pub case: String,
    /// How often it was done.
    pub operations: u64,
    /// Bytes of blobs that were moved, where bytes are what counts; else 0.
    pub bytes: u64,
    /// How long single operations took.
    pub latency: Option<Latency>,
    /// Time, CPU and memory.
    pub used: Used,
    /// Anything else worth knowing about the answers, by name.
    pub facts: BTreeMap<String, f64>,
}

/// A registry under one workload.
pub struct Bench {
    /// Where it listens.
    pub target: Arc<Target>,
    /// Its process, if it is known.
    pub pid: Option<u32>,
    /// How much of everything.
    pub sizes: Sizes,
    /// What large bodies are cut from.
    pub pool: Pool,
    /// Makes bodies and names of this repetition unlike others'; the same for every subject.
    pub seed: u64,
}

impl Sample {
    /// With something else worth knowing.
    fn fact(mut self, name: &str, value: f64) -> Self {
        self.facts.insert(name.to_owned(), value);
        self
    }
}

impl Workload {
    /// Why it cannot be measured on this machine by this user; `None` if it can.
    pub fn hindrance(self) -> Option<String> {
        let cold = matches!(self, Self::PullCold | Self::ReadsBesideColdPull);
        if cold { cache::hindrance() } else { None }
    }

    /// How often it meets each registry if all are repeated so often.
    pub fn repetitions(self, repetitions: u32) -> u32 {
        let once = matches!(self, Self::PushLarge | Self::ReadsBesideColdPull | Self::Start | Self::Audit);
        if once { repetitions.min(1) } else { repetitions }
    }

    /// Sets up and measures all cases of this workload.
    pub async fn run(self, bench: &Bench) -> Result<Vec<Sample>, BenchError> {
        match self {
            Self::ManifestGet => manifests::run(bench, Method::GET).await,
            Self::HeadManifest => manifests::run(bench, Method::HEAD).await,
            Self::HeadBlob => small::run_head(bench).await,
            Self::SmallPush => small::run_push(bench).await,
            Self::Image => image::run(bench).await,
            Self::Mixed => mixed::run(bench).await,
            Self::Push => push::run(bench).await,
            Self::PushText => push::run_text(bench).await,
            Self::PushPut => push::run_put(bench).await,
            Self::PushMany => push::run_many(bench).await,
            Self::PushLarge => push::run_large(bench).await,
            Self::Pull => pull::run_warm(bench).await,
            Self::PullAfterPush => pull::run_after_push(bench).await,
            Self::PullCold => pull::run_cold(bench).await,
            Self::ReadsBesideColdPull => beside::run(bench).await,
            Self::Tags => tags::run(bench).await,
            Self::Catalog => catalog::run(bench).await,
            // It needs none that runs already: the run calls it itself.
            Self::Start | Self::Audit | Self::Flood => Ok(Vec::new()),
        }
    }
}

impl Bench {
    /// A repository of this repetition.
    pub fn repository(&self, name: &str) -> String {
        format!("bench/{:016x}-{name}", self.seed)
    }

    /// Reads a blob back; an error if it is not what its digest says.
    async fn check_blob(&self, repository: &str, digest: &str) -> Result<(), BenchError> {
        let call = Call::get(&protocol::blob_path(repository, digest))?;
        if Connection::new(&self.target).digest(&call).await? == *digest {
            return Ok(());
        }
        Err(BenchError::content(call.what(), "these are not the blob's bytes"))
    }

    /// The length of a case of small requests.
    fn span(&self) -> Until {
        Until::Elapsed(Duration::from_secs_f64(self.sizes.seconds))
    }

    /// The length of one of many cases.
    fn short_span(&self) -> Until {
        Until::Elapsed(Duration::from_secs_f64(self.sizes.seconds * 0.4))
    }

    /// Does something `count` times as quickly as the registry takes it, without measuring.
    async fn fill<O: Operation>(&self, operation: &Arc<O>, count: u64) -> Result<(), BenchError> {
        load::closed_loop(&self.target, operation, 16, Until::Count(count)).await.map(drop)
    }

    /// Runs a loop and accounts for it. `bytes` is what one operation moves, 0 where operations count.
    async fn measure<O: Operation>(
        &self,
        case: String,
        operation: &Arc<O>,
        connections: usize,
        until: Until,
        bytes: u64,
    ) -> Result<Sample, BenchError> {
        let watch = Watch::start(self.pid)?;
        let took = load::closed_loop(&self.target, operation, connections, until).await?;
        let used = watch.stop()?;
        let operations = took.len() as u64;
        let (bytes, latency) = (operations * bytes, Latency::of(took));
        Ok(Sample { case, operations, bytes, latency, used, facts: BTreeMap::new() })
    }
}

/// `1 stream`, `8 streams`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_very_large_blob_is_pushed_once() {
        assert_eq!(Workload::PushLarge.repetitions(5), 1);
        assert_eq!(Workload::ReadsBesideColdPull.repetitions(5), 1);
        assert_eq!(Workload::Push.repetitions(5), 5);
    }

    #[test]
    fn only_cold_reads_need_more_than_a_user_may() {
        assert_eq!(Workload::Pull.hindrance(), None);
        for workload in [Workload::PullCold, Workload::ReadsBesideColdPull] {
            assert_eq!(workload.hindrance(), cache::hindrance());
        }
    }

    #[test]
    fn nouns_are_counted() {
        assert_eq!((counted(1, "stream"), counted(8, "stream")), ("1 stream".into(), "8 streams".into()));
    }
}
