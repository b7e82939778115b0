//! The order of a run: limits of the machine, then for every workload and repetition every subject in turn, then
//! the limits again, so that a machine that changed under the run shows.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::content::{self, Filling, Pool};
use crate::error::BenchError;
use crate::machine;
use crate::report::{Context, Report};
use crate::server::{Kind, Programs, Server};
use crate::summary::Record;
use crate::target::Target;
use crate::tls::{Identity, Trust};
use crate::workloads::{Bench, Sample, Sizes, Workload, audit, flood, start};

/// The longest one workload may take on one subject: a registry that hangs must not hang the run.
const LIMIT: Duration = Duration::from_secs(1800);

/// Everything a run is told.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to measure, in this order.
    pub tasks: Vec<Task>,
    /// The registries.
    pub subjects: Subjects,
    /// How often each workload meets each registry.
    pub repetitions: u32,
    /// How much of everything.
    pub sizes: Sizes,
    /// Whether these are the sizes of a check.
    pub quick: bool,
    /// What bodies are made of.
    pub body: Filling,
    /// The commit that is measured, as told.
    pub commit: Option<String>,
    /// The machine, if it is not to be described by what it says of itself.
    pub machine: Option<String>,
    /// MiB hashed, sent and written to find the machine's limits.
    pub limit_mib: u32,
    /// Programs of the registries to start, and the folder for stores.
    pub programs: Programs,
}

/// One workload, over plain HTTP or TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// What is measured.
    pub workload: Workload,
    /// Whether over TLS; a registry given by URL is spoken to as its URL says.
    pub tls: bool,
}

impl Task {
    fn name(self) -> String {
        format!("{}{}", name(self.workload), if self.tls { " over TLS" } else { "" })
    }
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
        /// Whom to trust, if it serves HTTPS.
        trust: Trust,
        /// Its process, if it is on this machine and to be accounted.
        pid: Option<u32>,
    },
}

/// Does it all; says on stderr what it is at.
pub async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let started_unix_s = now_unix_s();
    let identity = plan.identity()?;
    let programs = plan.versions().await?;
    if let Subjects::Url { url, trust, .. } = &plan.subjects {
        // What is wrong with it is said before anything is measured.
        Target::from_url(url, trust).await?;
    }
    let before = limits(plan)?;
    let pool = Pool::new(content::fresh_seed(), plan.body);
    let (mut records, mut skipped) = (Vec::new(), Vec::new());
    for &task in &plan.tasks {
        if let Some(why) = plan.hindrance(task) {
            skipped.push(format!("{}: {why}", task.name()));
            eprintln!("SKIPPED {}: {why}", task.name());
            continue;
        }
        for repetition in 1..=task.workload.repetitions(plan.repetitions) {
            let seed = content::fresh_seed();
            let turn = Turn { plan, task, repetition, pool: &pool, seed, identity: identity.as_ref() };
            turn.run(&mut records).await?;
        }
    }
    let after = limits(plan)?;
    let context = plan.context(started_unix_s, before.line(), programs);
    Ok(Report::new(context, [before, after], skipped, records))
}

impl Plan {
    /// A certificate, if any registry is to be started with one.
    fn identity(&self) -> Result<Option<Identity>, BenchError> {
        let wanted = self.tasks.iter().any(|task| task.tls) && matches!(self.subjects, Subjects::Started(_));
        wanted.then(Identity::new).transpose()
    }

    /// Why a task cannot be measured; `None` if it can.
    pub fn hindrance(&self, task: Task) -> Option<String> {
        let started = matches!(&self.subjects, Subjects::Started(kinds) if kinds.contains(&Kind::Pierhead));
        match task.workload {
            Workload::Start | Workload::Audit | Workload::Flood if !started => {
                Some("only Pierhead, started by the run, is measured".to_owned())
            }
            Workload::Start | Workload::Audit | Workload::Flood if task.tls => {
                Some("a start is the same over TLS".to_owned())
            }
            workload => workload.hindrance(),
        }
    }

    /// Versions by registry. Programs that cannot be started are found out before anything is measured.
    async fn versions(&self) -> Result<BTreeMap<String, String>, BenchError> {
        let mut versions = BTreeMap::new();
        if let Subjects::Started(kinds) = &self.subjects {
            for &kind in kinds {
                versions.insert(kind.name().to_owned(), self.programs.version(kind).await?);
            }
        }
        Ok(versions)
    }

    fn context(&self, started_unix_s: u64, line: String, programs: BTreeMap<String, String>) -> Context {
        Context {
            started_unix_s,
            commit: self.commit.clone(),
            machine: self.machine.clone().unwrap_or(line),
            programs,
            quick: self.quick,
            body: self.body,
            sizes: self.sizes,
            repetitions: self.repetitions,
        }
    }
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
    task: Task,
    repetition: u32,
    pool: &'a Pool,
    seed: u64,
    identity: Option<&'a Identity>,
}

impl Turn<'_> {
    async fn run(&self, records: &mut Vec<Record>) -> Result<(), BenchError> {
        if self.task.workload == Workload::Start {
            let Plan { programs, sizes, .. } = self.plan;
            return self.record(Kind::Pierhead.name(), start::run(programs, sizes.known), records).await;
        }
        if self.task.workload == Workload::Audit {
            let Plan { programs, sizes, .. } = self.plan;
            return self.record(Kind::Pierhead.name(), audit::run(programs, *sizes), records).await;
        }
        if self.task.workload == Workload::Flood {
            let Plan { programs, sizes, .. } = self.plan;
            return self.record(Kind::Pierhead.name(), flood::run(programs, *sizes), records).await;
        }
        match &self.plan.subjects {
            Subjects::Started(kinds) => {
                let identity = self.identity.filter(|_| self.task.tls);
                for kind in alternate(kinds, self.repetition) {
                    let server = Server::start(kind, &self.plan.programs, identity).await?;
                    let bench = self.bench(Arc::clone(server.target()), server.pid());
                    self.record(kind.name(), self.task.workload.run(&bench), records).await?;
                    server.stop().await?;
                }
            }
            Subjects::Url { url, trust, pid } => {
                let bench = self.bench(Target::from_url(url, trust).await?.into(), *pid);
                self.record("url", self.task.workload.run(&bench), records).await?;
            }
        }
        Ok(())
    }

    fn bench(&self, target: Arc<Target>, pid: Option<u32>) -> Bench {
        Bench { target, pid, sizes: self.plan.sizes, pool: self.pool.clone(), seed: self.seed }
    }

    async fn record(
        &self,
        subject: &str,
        measuring: impl Future<Output = Result<Vec<Sample>, BenchError>>,
        records: &mut Vec<Record>,
    ) -> Result<(), BenchError> {
        let Task { workload, tls } = self.task;
        let repetition = self.repetition;
        let what = format!("{} of {subject}, repetition {repetition}", self.task.name());
        let begun = Instant::now();
        let ran = tokio::time::timeout(LIMIT, Box::pin(measuring)).await;
        let samples = ran.map_err(|_| BenchError::TooLong { what: what.clone(), limit: LIMIT })??;
        eprintln!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
        let (workload, subject) = (name(workload), subject.to_owned());
        let record = |sample: Sample| Record {
            workload: workload.clone(),
            tls,
            subject: subject.clone(),
            repetition,
            sample,
        };
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
        assert_eq!(Task { workload: Workload::PushPut, tls: true }.name(), "push-put over TLS");
    }
}
