//! Everything a run found out, as tables for people and as JSON for programs.

use serde::Serialize;

use crate::error::BenchError;
use crate::machine::Limits;
use crate::summary::{Case, Record, cases};
use crate::table::{Table, figure};
use crate::workloads::Sizes;

/// Everything a run found out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this form.
    pub form: u32,
    /// When the run began, seconds since 1970.
    pub started_unix_s: u64,
    /// How much of everything.
    pub sizes: Sizes,
    /// How often each workload met each registry.
    pub repetitions: u32,
    /// The machine before the run.
    pub limits_before: Limits,
    /// The machine after the run.
    pub limits_after: Limits,
    /// Medians, a case each, in the order they were measured.
    pub cases: Vec<Case>,
    /// Every single sample.
    pub records: Vec<Record>,
}

impl Report {
    /// Sums records up.
    pub fn new(
        started_unix_s: u64,
        sizes: Sizes,
        repetitions: u32,
        limits_before: Limits,
        limits_after: Limits,
        records: Vec<Record>,
    ) -> Self {
        let cases = cases(&records);
        Self { form: 1, started_unix_s, sizes, repetitions, limits_before, limits_after, cases, records }
    }

    /// All of it as JSON.
    pub fn json(&self) -> Result<Vec<u8>, BenchError> {
        let mut text = serde_json::to_vec_pretty(self).map_err(BenchError::Json)?;
        text.push(b'\n');
        Ok(text)
    }

    /// The medians as tables for people.
    pub fn text(&self) -> String {
        let mut text = self.machine().text();
        let heads = [
            "",
            "",
            "rate",
            "server CPU",
            "user+system",
            "MiB idle>peak",
            "p50 ms",
            "p99 ms",
            "client",
            "other",
        ];
        let mut table = Table::new(&heads);
        for case in &self.cases {
            case.rows(&mut table);
        }
        text.push('\n');
        text.push_str(&table.text());
        text.push_str(&format!(
            "\nMedians of {}. Ratios: how many times better the first registry is. client, other: cores kept busy by \
             the load generator and by neither of the two; do not trust rows with much of the latter.\n",
            self.repetitions
        ));
        text
    }

    fn machine(&self) -> Table {
        let (before, after) = (&self.limits_before, &self.limits_after);
        let title = format!("{}, {} threads", before.processor, before.threads);
        let mut table = Table::new(&[title.as_str(), "before", "after"]);
        let mut row = |name: &str, unit: &str, figures: [f64; 2]| {
            let cells = figures.map(|value| format!("{} {unit}", figure(value)));
            table.row([vec![name.to_owned()], cells.to_vec()].concat());
        };
        row("SHA-256, one core", "MB/s", [before.sha256_mb_s, after.sha256_mb_s]);
        row("loopback, one stream", "MB/s", [before.loopback_mb_s, after.loopback_mb_s]);
        row("4 KiB files, each flushed", "/s", [before.small_files_s, after.small_files_s]);
        row("one file, flushed", "MB/s", [before.write_mb_s, after.write_mb_s]);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::record;

    fn limits() -> Limits {
        Limits {
            processor: "a processor".to_owned(),
            threads: 2,
            sha256_mb_s: 1900.0,
            loopback_mb_s: 4000.0,
            small_files_s: 2500.0,
            write_mb_s: 900.0,
        }
    }

    fn report(records: Vec<Record>) -> Report {
        let sizes = Sizes { blob: 1, tags: 1, repositories: 1, seconds: 1.0, connections: 1 };
        Report::new(7, sizes, 3, limits(), limits(), records)
    }

    #[test]
    fn a_case_in_which_nothing_was_done_is_no_number_and_no_panic() {
        let mut nothing = record("url", 1, 0, 0, 0.0);
        nothing.sample.used.server = None;
        nothing.sample.latency = None;
        let report = report(vec![nothing]);
        assert_eq!(report.cases[0].subjects[0].1.cpu, None);
        assert!(report.text().contains("-+-"), "{}", report.text());
    }

    #[test]
    fn the_text_shows_limits_cases_and_ratio() {
        let text = report(vec![record("pierhead", 1, 1000, 0, 1.0), record("peer", 1, 100, 0, 2.0)]).text();
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for expected in [
            "a processor, 2 threads before after",
            "SHA-256, one core 1900 MB/s 1900 MB/s",
            "work: a case",
            "pierhead 500/s 1000 µs 250+750 20.0>30.0 1.00 2.00 0.50 0 entries: 100",
            "ratio 10.0x 20.0x 1.00x 2.00x 2.00x",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected:?} is not in\n{text}");
        }
    }

    #[test]
    fn the_json_holds_medians_and_single_samples() {
        let json = report(vec![record("peer", 1, 100, 0, 2.0)]).json().expect("numbers and text are JSON");
        let read: serde_json::Value = serde_json::from_slice(&json).expect("it was written as JSON");
        assert_eq!(read["form"], 1);
        assert_eq!(read["cases"][0]["subjects"][0][1]["rate"], 50.0);
        assert_eq!(read["records"][0]["used"]["server"]["cpu"]["user_s"], 0.5);
        assert_eq!(read["records"][0]["case"], "a case");
    }
}
