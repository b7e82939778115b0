//! `run`: what is measured, on what and how much of it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::output::{Files, Told, write};
use crate::content::Filling;
use crate::error::BenchError;
use crate::run::{self, Plan, Subjects, Task};
use crate::server::{Kind, Programs};
use crate::tls::Trust;
use crate::workloads::{Sizes, Workload};

/// Measures registries.
#[derive(Args, Debug)]
pub struct Run {
    /// What to measure over plain HTTP (all of it if not given)
    #[arg(long, value_enum, value_delimiter = ',')]
    workload: Vec<Workload>,
    /// What to measure over TLS besides, with a certificate made for the run
    #[arg(long, value_enum, value_delimiter = ',')]
    tls_workload: Vec<Workload>,
    /// Measure nothing over plain HTTP
    #[arg(long, requires = "tls_workload", conflicts_with = "workload")]
    no_plain: bool,
    /// How often each workload meets each registry [default: 3; quick: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: Option<u32>,
    /// MiB of a large blob [default: 1024; quick: 64]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    size: Option<u64>,
    /// MiB of each of the 20 blobs that are pushed at once [default: 128; quick: 8]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    many_size: Option<u64>,
    /// MiB of the very large blob, pushed once, and pulled cold once [default: 10240; quick: 256]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    large_size: Option<u64>,
    /// What bodies are made of
    #[arg(long, value_enum, default_value_t)]
    body: Filling,
    /// Tags of the repository whose tags are listed [default: 10000; quick: 500]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    tags: Option<u64>,
    /// Repositories of the catalog that is listed [default: 5000; quick: 250]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    repos: Option<u64>,
    /// Blobs of the store that Pierhead is started on [default: 1000000; quick: 20000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    known_blobs: Option<u64>,
    /// Events of the audit trail that is searched [default: 10000000; quick: 100000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    events: Option<u64>,
    /// Seconds of each case of small requests [default: 5; quick: 1]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,
    /// Connections for small requests
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// The small size: a few minutes, to see that everything works
    #[arg(long)]
    quick: bool,
    /// Registries to start and compare, the first one against the others
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Pierhead, Kind::Peer])]
    against: Vec<Kind>,
    /// Drive a registry that runs already, http[s]://host[:port]; what is pushed stays there
    #[arg(long, conflicts_with_all = ["against", "tls_workload"])]
    url: Option<String>,
    /// Whom to trust over https: certificates in PEM
    #[arg(long, value_name = "FILE", requires = "url", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Trust anyone over https
    #[arg(long, requires = "url")]
    insecure: bool,
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
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    told: Told,
}

impl Run {
    /// Measures, prints, and writes the files that are wanted; the JSON first.
    pub fn execute(&self) -> Result<(), BenchError> {
        self.files.check()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(BenchError::io("starting threads"))?;
        let plan = self.plan();
        let report = runtime.block_on(async {
            tokio::select! {
                report = Box::pin(run::run(&plan)) => report,
                () = interrupted() => Err(BenchError::Interrupted),
            }
        })?;
        println!("{}", report.text());
        if let Some(path) = &self.json {
            write(path, report.json()?)?;
        }
        self.files.write(&report)
    }

    fn plan(&self) -> Plan {
        let trust = Trust { ca: self.ca.clone(), insecure: self.insecure };
        let subjects = match &self.url {
            Some(url) => Subjects::Url { url: url.clone(), trust, pid: self.pid },
            None => Subjects::Started(self.against.clone()),
        };
        Plan {
            tasks: self.tasks(),
            subjects,
            repetitions: self.repetitions.unwrap_or(self.either(3, 1)),
            sizes: self.sizes(),
            quick: self.quick,
            body: self.body,
            commit: self.told.commit(),
            machine: self.told.machine(),
            limit_mib: self.either(1024, 128),
            programs: Programs {
                pierhead: self.pierhead.clone(),
                peer: self.peer.clone(),
                scratch: self.scratch.clone(),
                environment: Vec::new(),
            },
        }
    }

    /// First plain, then over TLS; a registry given by URL is spoken to as its URL says.
    fn tasks(&self) -> Vec<Task> {
        let https = self.url.as_ref().is_some_and(|url| url.starts_with("https:"));
        let first = match self.workload.as_slice() {
            _ if self.no_plain => &[],
            [] => Workload::value_variants(),
            some => some,
        };
        let first = first.iter().map(|&workload| Task { workload, tls: https });
        let over_tls = self.tls_workload.iter().map(|&workload| Task { workload, tls: true });
        first.chain(over_tls).collect()
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            blob: self.size.unwrap_or(self.either(1024, 64)) << 20,
            many: self.many_size.unwrap_or(self.either(128, 8)) << 20,
            large: self.large_size.unwrap_or(self.either(10_240, 256)) << 20,
            tags: self.tags.unwrap_or(self.either(10_000, 500)),
            repositories: self.repos.unwrap_or(self.either(5000, 250)),
            known: self.known_blobs.unwrap_or(self.either(1_000_000, 20_000)),
            events: self.events.unwrap_or(self.either(10_000_000, 100_000)),
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
    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Command};

    fn plan(arguments: &[&str]) -> Plan {
        let arguments = ["pierhead-bench", "run"].iter().chain(arguments);
        let parsed = Arguments::try_parse_from(arguments).expect("these are arguments");
        let Command::Run(run) = parsed.command else { panic!("run was asked for") };
        run.plan()
    }

    fn tasks(workloads: &[Workload], tls: bool) -> Vec<Task> {
        workloads.iter().map(|&workload| Task { workload, tls }).collect()
    }

    #[test]
    fn everything_is_measured_at_full_size_unless_told_otherwise() {
        let plan = plan(&[]);
        assert_eq!(plan.tasks, tasks(Workload::value_variants(), false));
        assert_eq!((plan.sizes.blob, plan.sizes.tags, plan.repetitions), (1 << 30, 10_000, 3));
        assert_eq!((plan.sizes.many, plan.sizes.large, plan.sizes.known), (128 << 20, 10 << 30, 1_000_000));
        assert_eq!((plan.body, plan.quick), (Filling::Random, false));
        assert!(matches!(plan.subjects, Subjects::Started(kinds) if kinds == [Kind::Pierhead, Kind::Peer]));
    }

    #[test]
    fn a_given_figure_goes_before_the_quick_size() {
        let plan = plan(&["--quick", "--tags", "7", "--workload", "tags,pull", "--body", "text"]);
        assert_eq!((plan.sizes.blob, plan.sizes.tags, plan.repetitions), (64 << 20, 7, 1));
        assert_eq!(plan.tasks, tasks(&[Workload::Tags, Workload::Pull], false));
        assert_eq!((plan.body, plan.quick), (Filling::Text, true));
    }

    #[test]
    fn tls_is_measured_besides_or_alone() {
        let all = Workload::value_variants();
        let (push, pull) = ([Workload::Push], [Workload::Pull]);
        let table: [(&str, &[&str], Vec<Task>); 4] = [
            ("besides all", &["--tls-workload", "pull"], [tasks(all, false), tasks(&pull, true)].concat()),
            (
                "besides one",
                &["--workload", "push", "--tls-workload", "pull"],
                [tasks(&push, false), tasks(&pull, true)].concat(),
            ),
            ("alone", &["--tls-workload", "pull", "--no-plain"], tasks(&pull, true)),
            ("by url", &["--url", "https://h", "--insecure", "--workload", "pull"], tasks(&pull, true)),
        ];
        for (row, arguments, expected) in table {
            assert_eq!(plan(arguments).tasks, expected, "{row}");
        }
    }

    #[test]
    fn starts_are_measured_where_the_run_starts_pierhead_itself() {
        let table: [(&str, &[&str], bool); 4] = [
            ("both", &[], true),
            ("the peer alone", &["--against", "peer"], false),
            ("by url", &["--url", "http://h"], false),
            ("over TLS", &["--no-plain", "--tls-workload", "start"], false),
        ];
        for (row, arguments, measured) in table {
            let plan = plan(arguments);
            let mut tasks = plan.tasks.iter().filter(|task| task.workload == Workload::Start);
            assert!(tasks.all(|&task| plan.hindrance(task).is_none() == measured), "{row}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let table: [(&str, &[&str]); 9] = [
            ("a url and registries to start", &["--url", "http://h", "--against", "peer"]),
            ("a process without its url", &["--pid", "5"]),
            ("no repetition", &["--repetitions", "0"]),
            ("an unknown workload", &["--workload", "sing"]),
            ("trust without a url", &["--insecure"]),
            ("trust in some and in anyone", &["--url", "https://h", "--ca", "f", "--insecure"]),
            ("a certificate for a registry that runs", &["--url", "https://h", "--tls-workload", "pull"]),
            ("nothing at all", &["--no-plain"]),
            ("plain and no plain", &["--no-plain", "--tls-workload", "pull", "--workload", "pull"]),
        ];
        for (row, arguments) in table {
            let arguments = ["pierhead-bench", "run"].iter().chain(arguments);
            assert!(Arguments::try_parse_from(arguments).is_err(), "{row}");
        }
    }
}
