//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::error::BenchError;
use crate::run::{self, Plan, Subjects};
use crate::server::{Kind, Programs};
use crate::workloads::{Sizes, Workload};

/// Load against registries, and side-by-side runs of Pierhead and a peer
#[derive(Debug, Parser)]
#[command(name = "pierhead-bench", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure registries: a table on stdout, progress on stderr
    ///
    /// Example: pierhead-bench run --workload manifest-get,push --repetitions 5 --json run.json
    Run(Box<Run>),
}

#[derive(Args, Debug)]
struct Run {
    /// What to measure (all of it if not given)
    #[arg(long, value_enum, value_delimiter = ',')]
    workload: Vec<Workload>,
    /// How often each workload meets each registry [default: 3; quick: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: Option<u32>,
    /// MiB of a large blob [default: 1024; quick: 64]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    size: Option<u64>,
    /// Tags of the repository whose tags are listed [default: 10000; quick: 500]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    tags: Option<u64>,
    /// Repositories of the catalog that is listed [default: 5000; quick: 250]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    repos: Option<u64>,
    /// Seconds of each case of small requests [default: 5; quick: 1]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,
    /// Connections for small requests
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// The small size: a minute or so, to see that everything works
    #[arg(long)]
    quick: bool,
    /// Registries to start and compare, the first one against the others
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Pierhead, Kind::Peer])]
    against: Vec<Kind>,
    /// Drive a registry that runs already, http://host[:port]; what is pushed stays there
    #[arg(long, conflicts_with = "against")]
    url: Option<String>,
    /// The process of the registry at --url, for its CPU time and memory
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// Pierhead's program
    #[arg(long, value_name = "FILE", default_value = "target/release/pierhead")]
    pierhead: PathBuf,
    /// The peer's program: Debian's docker-registry
    #[arg(long, value_name = "FILE", default_value = "docker-registry")]
    peer: PathBuf,
    /// Folder for stores, removed after each use (the system's temporary folder if not given)
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Also write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Arguments {
    /// Does what was asked.
    pub fn execute(self) -> Result<(), BenchError> {
        let Command::Run(run) = self.command;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(BenchError::io("starting threads"))?;
        let plan = run.plan();
        let report = runtime.block_on(async {
            tokio::select! {
                report = Box::pin(run::run(&plan)) => report,
                () = interrupted() => Err(BenchError::Interrupted),
            }
        })?;
        println!("{}", report.text());
        match &run.json {
            Some(path) => std::fs::write(path, report.json()?)
                .map_err(BenchError::io(format!("writing {}", path.display()))),
            None => Ok(()),
        }
    }
}

impl Run {
    fn plan(&self) -> Plan {
        let workloads = match self.workload.as_slice() {
            [] => Workload::value_variants().to_vec(),
            some => some.to_vec(),
        };
        let subjects = match &self.url {
            Some(url) => Subjects::Url { url: url.clone(), pid: self.pid },
            None => Subjects::Started(self.against.clone()),
        };
        Plan {
            workloads,
            subjects,
            repetitions: self.repetitions.unwrap_or(self.either(3, 1)),
            sizes: self.sizes(),
            limit_mib: self.either(1024, 128),
            programs: Programs {
                pierhead: self.pierhead.clone(),
                peer: self.peer.clone(),
                scratch: self.scratch.clone(),
            },
        }
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            blob: self.size.unwrap_or(self.either(1024, 64)) << 20,
            tags: self.tags.unwrap_or(self.either(10_000, 500)),
            repositories: self.repos.unwrap_or(self.either(5000, 250)),
            seconds: self.seconds.unwrap_or(self.either(5, 1)) as f64,
            connections: usize::from(self.connections),
        }
    }

    fn either<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// Ends with the first SIGINT or SIGTERM; never where signals cannot be heard.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let hear = |kind| signal(kind).ok();
    match (hear(SignalKind::interrupt()), hear(SignalKind::terminate())) {
        (Some(mut interrupt), Some(mut terminate)) => {
            tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
        }
        _ => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn plan(arguments: &[&str]) -> Plan {
        let arguments = ["pierhead-bench", "run"].iter().chain(arguments);
        let Command::Run(run) = Arguments::try_parse_from(arguments).expect("these are arguments").command;
        run.plan()
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn everything_is_measured_at_full_size_unless_told_otherwise() {
        let plan = plan(&[]);
        assert_eq!(plan.workloads, Workload::value_variants());
        assert_eq!((plan.sizes.blob, plan.sizes.tags, plan.repetitions), (1 << 30, 10_000, 3));
        assert!(matches!(plan.subjects, Subjects::Started(kinds) if kinds == [Kind::Pierhead, Kind::Peer]));
    }

    #[test]
    fn a_given_figure_goes_before_the_quick_size() {
        let plan = plan(&["--quick", "--tags", "7", "--workload", "tags,pull"]);
        assert_eq!((plan.sizes.blob, plan.sizes.tags, plan.repetitions), (64 << 20, 7, 1));
        assert_eq!(plan.workloads, [Workload::Tags, Workload::Pull]);
    }

    #[test]
    fn contradictions_are_refused() {
        let table: [(&str, &[&str]); 4] = [
            ("a url and registries to start", &["--url", "http://h", "--against", "peer"]),
            ("a process without its url", &["--pid", "5"]),
            ("no repetition", &["--repetitions", "0"]),
            ("an unknown workload", &["--workload", "sing"]),
        ];
        for (row, arguments) in table {
            let arguments = ["pierhead-bench", "run"].iter().chain(arguments);
            assert!(Arguments::try_parse_from(arguments).is_err(), "{row}");
        }
    }
}
