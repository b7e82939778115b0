//! Sums samples up: medians over the repetitions, and the ratio of two registries.
//! A ratio is always "so many times better": rates ours by the peer's, costs the peer's by ours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::statistics::median;
use crate::workloads::Sample;

const GIB: f64 = (1_u64 << 30) as f64;
/// The fact that [`Case::put_beside_aes`] adds.
const OF_AES: &str = "rate as % of AES-128-GCM on one core";

/// One sample and where it comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The workload's name.
    pub workload: String,
    /// Whether the registry served HTTPS.
    pub tls: bool,
    /// The registry.
    pub subject: String,
    /// From 1.
    pub repetition: u32,
    /// What was measured.
    #[serde(flatten)]
    pub sample: Sample,
}

/// What rates and costs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Rate in operations a second, CPU in microseconds an operation.
    Operations,
    /// Rate in MB (10^6 bytes) a second, CPU in seconds a GiB.
    Bytes,
}

/// One case over all repetitions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// The workload's name.
    pub workload: String,
    /// Whether the registries served HTTPS.
    pub tls: bool,
    /// What was done.
    pub case: String,
    /// What rates and costs count.
    pub unit: Unit,
    /// Medians of each registry, in the order of the command line.
    pub subjects: Vec<(String, Medians)>,
    /// Of the first registry to the second, if there are two.
    pub ratio: Option<Ratio>,
}

/// Medians of one case and registry. Costs are of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Medians {
    /// MB/s or operations/s.
    pub rate: Option<f64>,
    /// CPU, s/GiB or µs/operation.
    pub cpu: Option<f64>,
    /// The part of it in the server's own code.
    pub cpu_user: Option<f64>,
    /// The part of it in the kernel.
    pub cpu_system: Option<f64>,
    /// Resident MiB before the load.
    pub idle_mib: Option<f64>,
    /// The most resident MiB under it.
    pub peak_mib: Option<f64>,
    /// Half of the operations took at most this.
    pub p50_ms: Option<f64>,
    /// 99 of 100 took at most this.
    pub p99_ms: Option<f64>,
    /// Cores kept busy by this program.
    pub client_cores: Option<f64>,
    /// Cores kept busy or taken by neither of the two: above a tenth, do not trust the figures.
    pub other_cores: Option<f64>,
    /// The samples' own facts, and what follows from the machine's limits.
    pub facts: BTreeMap<String, f64>,
}

/// How many times better the first registry is than the second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// More of it a second.
    pub rate: Option<f64>,
    /// With less CPU.
    pub cpu: Option<f64>,
    /// With less memory at the peak.
    pub peak: Option<f64>,
    /// Half of the answers sooner.
    pub p50: Option<f64>,
    /// Slow answers sooner.
    pub p99: Option<f64>,
}

impl Medians {
    fn of(unit: Unit, samples: &[&Sample]) -> Self {
        let over =
            |of: &dyn Fn(&Sample) -> Option<f64>| median(samples.iter().filter_map(|sample| of(sample)));
        let server = |sample: &Sample| sample.used.server;
        let mut facts: BTreeMap<String, f64> = BTreeMap::new();
        for name in samples.iter().flat_map(|sample| sample.facts.keys()) {
            facts.extend(over(&|sample| sample.facts.get(name).copied()).map(|value| (name.clone(), value)));
        }
        Self {
            rate: over(&|sample| Some(unit.rate(sample))),
            cpu: over(&|sample| server(sample).map(|used| unit.cost(sample, used.cpu.total_s()))),
            cpu_user: over(&|sample| server(sample).map(|used| unit.cost(sample, used.cpu.user_s))),
            cpu_system: over(&|sample| server(sample).map(|used| unit.cost(sample, used.cpu.system_s))),
            idle_mib: over(&|sample| server(sample).map(|used| used.idle_mib)),
            peak_mib: over(&|sample| server(sample).map(|used| used.peak_mib)),
            p50_ms: over(&|sample| sample.latency.map(|latency| latency.p50_ms)),
            p99_ms: over(&|sample| sample.latency.map(|latency| latency.p99_ms)),
            client_cores: over(&|sample| Some(sample.used.client_cpu_s / sample.used.wall_s)),
            other_cores: over(&|sample| {
                Some((sample.used.other_cpu_s? + sample.used.stolen_s) / sample.used.wall_s)
            }),
            facts,
        }
    }
}

impl Case {
    /// Puts a stream over TLS beside what one core can encrypt, which is a TLS stream's limit at each end.
    pub fn put_beside_aes(&mut self, aes_mb_s: f64) {
        if !self.tls || self.unit != Unit::Bytes {
            return;
        }
        for (_, medians) in &mut self.subjects {
            let share = medians.rate.map(|rate| 100.0 * rate / aes_mb_s).filter(|share| share.is_finite());
            medians.facts.extend(share.map(|share| (OF_AES.to_owned(), share)));
        }
    }
}

impl Unit {
    fn of(sample: &Sample) -> Self {
        if sample.bytes > 0 { Self::Bytes } else { Self::Operations }
    }

    fn rate(self, sample: &Sample) -> f64 {
        let amount = match self {
            Self::Operations => sample.operations as f64,
            Self::Bytes => sample.bytes as f64 / 1e6,
        };
        amount / sample.used.wall_s
    }

    /// Seconds spread over what was done; not a number if nothing was.
    fn cost(self, sample: &Sample, seconds: f64) -> f64 {
        match self {
            Self::Operations => seconds * 1e6 / sample.operations as f64,
            Self::Bytes => seconds * GIB / sample.bytes as f64,
        }
    }
}

impl Ratio {
    fn of(ours: &Medians, theirs: &Medians) -> Self {
        let by =
            |over: Option<f64>, under: Option<f64>| Some(over? / under?).filter(|ratio| ratio.is_finite());
        Self {
            rate: by(ours.rate, theirs.rate),
            cpu: by(theirs.cpu, ours.cpu),
            peak: by(theirs.peak_mib, ours.peak_mib),
            p50: by(theirs.p50_ms, ours.p50_ms),
            p99: by(theirs.p99_ms, ours.p99_ms),
        }
    }
}

/// Sums records up by workload and case, in the order they first appear.
pub fn cases(records: &[Record]) -> Vec<Case> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for record in records {
        let group = groups.iter_mut().find(|group| group.takes(record));
        match group {
            Some(group) => group.records.push(record),
            None => groups.push(Group { records: vec![record] }),
        }
    }
    groups.iter().filter_map(Group::sum_up).collect()
}

/// The records of one case.
struct Group<'a> {
    records: Vec<&'a Record>,
}

impl Group<'_> {
    fn takes(&self, record: &Record) -> bool {
        let key = |of: &Record| (of.workload.clone(), of.tls, of.sample.case.clone());
        self.records.first().is_some_and(|first| key(first) == key(record))
    }

    /// `None` for an empty group, which is never made.
    fn sum_up(&self) -> Option<Case> {
        let first = self.records.first()?;
        let unit = Unit::of(&first.sample);
        let mut names: Vec<&String> = Vec::new();
        for record in &self.records {
            if !names.contains(&&record.subject) {
                names.push(&record.subject);
            }
        }
        let medians = |name: &String| {
            let samples = self.records.iter().filter(|record| record.subject == *name);
            let samples: Vec<&Sample> = samples.map(|record| &record.sample).collect();
            (name.clone(), Medians::of(unit, &samples))
        };
        let subjects: Vec<_> = names.into_iter().map(medians).collect();
        let ratio = match subjects.as_slice() {
            [(_, ours), (_, theirs)] => Some(Ratio::of(ours, theirs)),
            _ => None,
        };
        let (workload, tls, case) = (first.workload.clone(), first.tls, first.sample.case.clone());
        Some(Case { workload, tls, case, unit, subjects, ratio })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::procfs::CpuTime;
    use crate::statistics::Latency;
    use crate::watch::{ServerUse, Used};

    /// A record of two seconds, for this file's tests and the report's.
    pub fn record(subject: &str, repetition: u32, operations: u64, bytes: u64, cpu_s: f64) -> Record {
        let cpu = CpuTime { user_s: cpu_s / 4.0, system_s: cpu_s * 3.0 / 4.0 };
        let used = Used {
            wall_s: 2.0,
            server: Some(ServerUse { cpu, idle_mib: 20.0, peak_mib: 30.0 }),
            client_cpu_s: 1.0,
            other_cpu_s: Some(0.0),
            stolen_s: 0.0,
        };
        let latency = Some(Latency { p50_ms: cpu_s, p99_ms: cpu_s * 2.0, max_ms: cpu_s * 3.0 });
        let facts = BTreeMap::from([("entries".to_owned(), 100.0)]);
        let sample = Sample { case: "a case".to_owned(), operations, bytes, latency, used, facts };
        Record { workload: "work".to_owned(), tls: false, subject: subject.to_owned(), repetition, sample }
    }

    #[test]
    fn medians_are_taken_over_repetitions_and_ratios_between_registries() {
        let records = vec![
            record("pierhead", 1, 800, 0, 1.0),
            record("peer", 1, 100, 0, 2.0),
            record("peer", 2, 100, 0, 2.0),
            record("pierhead", 2, 1000, 0, 1.0),
            record("pierhead", 3, 5000, 0, 1.0),
        ];
        let cases = cases(&records);
        assert_eq!(cases.len(), 1);
        let (name, ours) = &cases[0].subjects[0];
        assert_eq!((name.as_str(), ours.rate, ours.cpu), ("pierhead", Some(500.0), Some(1000.0)));
        assert_eq!(
            (ours.cpu_user, ours.cpu_system, ours.client_cores),
            (Some(250.0), Some(750.0), Some(0.5))
        );
        let ratio = cases[0].ratio.expect("there are two");
        assert_eq!((ratio.rate, ratio.cpu), (Some(10.0), Some(20.0)), "a cost's ratio is turned round");
        assert_eq!((ratio.peak, ratio.p50), (Some(1.0), Some(2.0)));
    }

    #[test]
    fn bytes_count_in_megabytes_and_gibibytes() {
        let cases = cases(&[record("pierhead", 1, 1, 1 << 30, 0.5)]);
        let (_, medians) = &cases[0].subjects[0];
        assert_eq!((cases[0].unit, medians.cpu), (Unit::Bytes, Some(0.5)));
        assert_eq!(medians.rate.map(f64::round), Some(537.0));
        assert_eq!(cases[0].ratio, None, "one registry has no ratio");
    }

    #[test]
    fn the_same_case_over_tls_is_another_case() {
        let (plain, mut tls) = (record("peer", 1, 1, 0, 1.0), record("peer", 1, 1, 0, 1.0));
        tls.tls = true;
        let cases = cases(&[plain, tls]);
        assert_eq!(cases.iter().map(|case| case.tls).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn bytes_over_tls_are_put_beside_the_rate_of_encryption() {
        let share = |tls, bytes, aes| {
            let mut record = record("peer", 1, 1, bytes, 1.0);
            record.tls = tls;
            let mut case = cases(&[record]).remove(0);
            case.put_beside_aes(aes);
            case.subjects[0].1.facts.get(OF_AES).copied()
        };
        assert_eq!(share(true, 2_000_000_000, 4000.0), Some(25.0), "1000 MB/s");
        assert_eq!(share(false, 2_000_000_000, 4000.0), None, "plain");
        assert_eq!(share(true, 0, 4000.0), None, "requests");
        assert_eq!(share(true, 2_000_000_000, 0.0), None, "a limit that was not measured");
    }
}
