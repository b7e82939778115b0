//! Manifests read by tag while somebody else pulls a very large blob that is in no cache: a thread that waits for the
//! disk, or for a slow client, must not keep others waiting. Both clients are held to a rate, so that neither takes
//! the processors away from the registry, and the same GETs are measured alone first: the ratio is the result.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;

use super::{Bench, Sample, manifests};
use crate::cache;
use crate::call::Call;
use crate::client::Connection;
use crate::error::BenchError;
use crate::pace::{Rate, open_loop};
use crate::protocol;
use crate::statistics::Latency;
use crate::watch::Watch;

/// What a registry answers with a hundredth of a core.
pub const GETS: Rate = Rate { per_second: 200, connections: 4 };
/// What reading costs a client a small part of a core.
const PULL_MB_S: u32 = 200;
/// GETs before each case: connections are open and manifests in memory.
const WARM: u64 = 640;

/// Measures the GETs alone, then during the pull.
pub async fn run(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let gets = Arc::new(manifests::prepare(bench, &Method::GET).await?);
    let what = format!("GET by tag, {} a second", GETS.per_second);
    bench.fill(&gets, WARM).await?;
    let time = Duration::from_secs_f64(bench.sizes.seconds * 2.0);
    let elapsed = async {
        tokio::time::sleep(time).await;
        Ok(())
    };
    let (idle, ()) = measure(bench, format!("{what}, alone"), &gets, elapsed).await?;

    let pull = Pull::prepare(bench).await?;
    cache::empty().await?;
    // Only the blob is to be cold.
    bench.fill(&gets, WARM).await?;
    let mib = bench.sizes.large >> 20;
    let case = format!("{what}, beside a cold pull of {mib} MiB at {PULL_MB_S} MB/s (CPU of both)");
    let (sample, ()) = measure(bench, case, &gets, pull.run(bench)).await?;
    bench.check_blob(&pull.repository, &pull.digest).await?;
    let sample = compare(sample, &idle, bench.sizes.large);
    Ok(vec![idle, sample])
}

/// How long the GETs took while `span` ran, with the CPU of all that ran meanwhile.
pub async fn measure<T>(
    bench: &Bench,
    case: String,
    gets: &Arc<manifests::Ask>,
    span: impl Future<Output = Result<T, BenchError>>,
) -> Result<(Sample, T), BenchError> {
    let watch = Watch::start(bench.pid)?;
    let (took, outcome) = Box::pin(open_loop(&bench.target, gets, GETS, span)).await?;
    let used = watch.stop()?;
    let (operations, latency) = (took.len() as u64, Latency::of(took));
    let sample = Sample { case, operations, bytes: 0, latency, used, facts: Default::default() };
    let max = latency.map(|latency| latency.max_ms);
    let sample = if let Some(max) = max { sample.fact("max, ms", max) } else { sample };
    Ok((sample, outcome))
}

/// With how many times longer the GETs took than alone, and how fast the pull really was.
fn compare(sample: Sample, idle: &Sample, bytes: u64) -> Sample {
    let rate = bytes as f64 / 1e6 / sample.used.wall_s;
    times_alone(sample, idle).fact("pull, MB/s", rate)
}

/// With how many times longer the GETs took than alone.
pub fn times_alone(sample: Sample, idle: &Sample) -> Sample {
    let (Some(beside), Some(alone)) = (sample.latency, idle.latency) else { return sample };
    let sample = sample.fact("p50 by alone, times", beside.p50_ms / alone.p50_ms);
    sample.fact("p99 by alone, times", beside.p99_ms / alone.p99_ms)
}

struct Pull {
    repository: String,
    digest: String,
    call: Call,
}

impl Pull {
    /// Pushes the blob.
    async fn prepare(bench: &Bench) -> Result<Self, BenchError> {
        let repository = bench.repository("beside");
        let content = bench.pool.content(bench.seed, bench.sizes.large);
        let digest = content.digest();
        let mut connection = Connection::new(&bench.target);
        protocol::push_streamed(&mut connection, &repository, &content, &digest).await?;
        let call = Call::get(&protocol::blob_path(&repository, &digest))?;
        Ok(Self { repository, digest, call })
    }

    async fn run(&self, bench: &Bench) -> Result<(), BenchError> {
        let mut connection = Connection::new(&bench.target);
        let length = connection.drain_at(&self.call, f64::from(PULL_MB_S) * 1e6).await?;
        if length == bench.sizes.large {
            return Ok(());
        }
        Err(BenchError::content(self.call.what(), format!("{length} bytes instead of {}", bench.sizes.large)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::record;

    #[test]
    fn the_ratio_is_how_many_times_longer_the_gets_took() {
        let (alone, beside) = (record("peer", 1, 400, 0, 1.0).sample, record("peer", 1, 400, 0, 3.0).sample);
        let facts = compare(beside, &alone, 400_000_000).facts;
        assert_eq!(facts["p50 by alone, times"], 3.0);
        assert_eq!(facts["p99 by alone, times"], 3.0);
        assert_eq!(facts["pull, MB/s"], 200.0, "400 MB in two seconds");
    }
}
