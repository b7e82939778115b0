//! What is measured. Each workload sets a registry up over the protocol and returns one sample a case.
//! A workload must not know which registry it drives: what a registry leaves out (pages, for one) shows in its
//! figures. To add one: a file here with `run`, a variant of [`Workload`], an arm in [`Workload::run`].

mod catalog;
mod listing;
mod manifests;
mod pull;
mod push;
mod small;
mod tags;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::client::Target;
use crate::content::Pool;
use crate::error::BenchError;
use crate::load::{self, Operation, Until};
use crate::statistics::Latency;
use crate::watch::{Used, Watch};

/// The workloads, by the name they have on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// GET of small manifests by tag
    ManifestGet,
    /// HEAD of small blobs
    HeadBlob,
    /// Blobs of 4 KiB, each POST and PUT
    SmallPush,
    /// Large blobs, each POST, one streamed PATCH and PUT
    Push,
    /// Large blobs read back at 1 and at 8 connections, from a warm cache
    Pull,
    /// Pages of a repository of many tags
    Tags,
    /// Pages of a catalog of many repositories
    Catalog,
}

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sizes {
    /// Bytes of a large blob.
    pub blob: u64,
    /// Tags of the repository whose tags are listed.
    pub tags: u64,
    /// Repositories of the catalog that is listed.
    pub repositories: u64,
    /// How long a case of small requests lasts.
    pub seconds: f64,
    /// Connections for small requests.
    pub connections: usize,
}

/// One case, measured once.
#[derive(Clone, Debug, Serialize)]
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
    pub facts: BTreeMap<&'static str, f64>,
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

impl Workload {
    /// Sets up and measures all cases of this workload.
    pub async fn run(self, bench: &Bench) -> Result<Vec<Sample>, BenchError> {
        match self {
            Self::ManifestGet => manifests::run(bench).await,
            Self::HeadBlob => small::run_head(bench).await,
            Self::SmallPush => small::run_push(bench).await,
            Self::Push => push::run(bench).await,
            Self::Pull => pull::run(bench).await,
            Self::Tags => tags::run(bench).await,
            Self::Catalog => catalog::run(bench).await,
        }
    }
}

impl Bench {
    /// A repository of this repetition.
    pub fn repository(&self, name: &str) -> String {
        format!("bench/{:016x}-{name}", self.seed)
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
