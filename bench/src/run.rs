//! The order of a run: limits of the machine, then for every workload and repetition every subject in turn, then
//! the limits again, so that a machine that changed under the run shows.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::client::Target;
use crate::content::{self, Pool};
use crate::error::BenchError;
use crate::machine;
use crate::report::Report;
use crate::server::{Kind, Programs, Server};
use crate::summary::Record;
use crate::workloads::{Bench, Sample, Sizes, Workload};

/// The longest one workload may take on one subject: a registry that hangs must not hang the run.
const LIMIT: Duration = Duration::from_secs(1800);

/// Everything a run is told.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to measure, in this order.
    pub workloads: Vec<Workload>,
    /// The registries.
    pub subjects: Subjects,
    /// How often each workload meets each registry.
    pub repetitions: u32,
    /// How much of everything.
    pub sizes: Sizes,
    /// MiB hashed, sent and written to find the machine's limits.
    pub limit_mib: u32,
    /// Programs of the registries to start, and the folder for stores.
    pub programs: Programs,
}

/// The registries of a run.
#[derive(Clone, Debug)]
pub enum Subjects {
    /// Started by the run, each on empty stores.
    Started(Vec<Kind>),
    /// Running already; what the run pushes stays there.
    Url {
        /// Where.
        url: String,
        /// Its process, if it is on this machine and to be accounted.
        pid: Option<u32>,
    },
}

/// Does it all; says on stderr what it is at.
pub async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let started_unix_s = now_unix_s();
    let limits_before = limits(plan)?;
    let pool = Pool::new(content::fresh_seed());
    let mut records = Vec::new();
    for &workload in &plan.workloads {
        for repetition in 1..=plan.repetitions {
            let turn = Turn { plan, workload, repetition, pool: &pool, seed: content::fresh_seed() };
            turn.run(&mut records).await?;
        }
    }
    let limits_after = limits(plan)?;
    let (sizes, repetitions) = (plan.sizes, plan.repetitions);
    Ok(Report::new(started_unix_s, sizes, repetitions, limits_before, limits_after, records))
}

fn limits(plan: &Plan) -> Result<machine::Limits, BenchError> {
    eprintln!("measuring the machine's limits");
    let folder = plan.programs.folder()?;
    machine::measure(folder.path(), plan.limit_mib)
}

#[expect(clippy::disallowed_methods, reason = "a report says when it was made; nothing is decided by it")]
fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// One workload and repetition over all subjects.
struct Turn<'a> {
    plan: &'a Plan,
    workload: Workload,
    repetition: u32,
    pool: &'a Pool,
    seed: u64,
}

impl Turn<'_> {
    async fn run(&self, records: &mut Vec<Record>) -> Result<(), BenchError> {
        match &self.plan.subjects {
            Subjects::Started(kinds) => {
                for kind in alternate(kinds, self.repetition) {
                    let server = Server::start(kind, &self.plan.programs).await?;
                    let bench = self.bench(server.target().clone(), server.pid());
                    self.record(kind.name(), &bench, records).await?;
                    server.stop().await?;
                }
            }
            Subjects::Url { url, pid } => {
                let bench = self.bench(Target::from_url(url).await?.into(), *pid);
                self.record("url", &bench, records).await?;
            }
        }
        Ok(())
    }

    fn bench(&self, target: std::sync::Arc<Target>, pid: Option<u32>) -> Bench {
        Bench { target, pid, sizes: self.plan.sizes, pool: self.pool.clone(), seed: self.seed }
    }

    async fn record(
        &self,
        subject: &'static str,
        bench: &Bench,
        records: &mut Vec<Record>,
    ) -> Result<(), BenchError> {
        let (workload, repetition) = (self.workload, self.repetition);
        let what = format!("{} of {subject}, repetition {repetition}", name(workload));
        let begun = Instant::now();
        let ran = tokio::time::timeout(LIMIT, Box::pin(workload.run(bench))).await;
        let samples = ran.map_err(|_| BenchError::TooLong { what: what.clone(), limit: LIMIT })??;
        eprintln!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
        let record = |sample: Sample| Record { workload: name(workload), subject, repetition, sample };
        records.extend(samples.into_iter().map(record));
        Ok(())
    }
}

/// Who begins changes with every repetition, so that what warms up or fills up over a run favours nobody.
fn alternate(kinds: &[Kind], repetition: u32) -> Vec<Kind> {
    let mut kinds = kinds.to_vec();
    if repetition.is_multiple_of(2) {
        kinds.reverse();
    }
    kinds
}

/// A workload's name on the command line.
fn name(workload: Workload) -> String {
    use clap::ValueEnum;
    workload.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_take_turns_at_beginning() {
        let both = [Kind::Pierhead, Kind::Peer];
        assert_eq!(alternate(&both, 1), both);
        assert_eq!(alternate(&both, 2), [Kind::Peer, Kind::Pierhead]);
        assert_eq!(alternate(&both, 3), both);
    }

    #[test]
    fn workloads_have_the_names_of_the_command_line() {
        assert_eq!(name(Workload::ManifestGet), "manifest-get");
    }
}
