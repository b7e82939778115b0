//! The medians as tables for a terminal.

use super::Report;
use super::table::{Table, figure};
use super::words::{cell, cell_in, limit_rows, times};
use crate::summary::{Case, Medians, Ratio, Unit};

const HEADS: [&str; 10] =
    ["", "", "rate", "server CPU", "user+system", "MiB idle>peak", "p50 ms", "p99 ms", "client", "other"];

impl Report {
    /// The medians as tables for people.
    pub fn text(&self) -> String {
        let mut table = Table::new(&HEADS);
        for case in &self.cases {
            add(&mut table, case);
        }
        let skipped: String = self.skipped.iter().map(|what| format!("\nSKIPPED {what}")).collect();
        format!(
            "{}\n{}\nMedians of {}. Ratios: how many times better the first registry is. client, other: cores kept \
             busy by the load generator and by neither of the two; do not trust rows with much of the latter.{skipped}\n",
            self.machine().text(),
            table.text(),
            self.context.repetitions
        )
    }

    fn machine(&self) -> Table {
        let mut table = Table::new(&[self.context.machine.as_str(), "before", "after"]);
        for row in limit_rows(&self.limits_before, &self.limits_after) {
            let cells = row.figures.map(|value| format!("{} {}", figure(value), row.unit));
            table.row([vec![row.name.to_owned()], cells.to_vec()].concat());
        }
        table
    }
}

/// A section, a row a registry, and their ratio.
fn add(table: &mut Table, case: &Case) {
    table.section(&format!("{}: {}", case.group(), case.case));
    for (subject, medians) in &case.subjects {
        let mut row = vec![String::new(), subject.clone()];
        row.extend(cells(case.unit, medians));
        row.extend(medians.facts.iter().map(|(name, value)| format!("{name}: {}", figure(*value))));
        table.row(row);
    }
    if let Some(ratio) = &case.ratio {
        table.row(ratio_row(ratio));
    }
}

fn ratio_row(ratio: &Ratio) -> Vec<String> {
    let (rate, cpu, peak) = (times(ratio.rate), times(ratio.cpu), times(ratio.peak));
    vec![
        String::new(),
        "ratio".to_owned(),
        rate,
        cpu,
        String::new(),
        peak,
        times(ratio.p50),
        times(ratio.p99),
    ]
}

fn cells(unit: Unit, medians: &Medians) -> Vec<String> {
    vec![
        cell_in(medians.rate, unit.rate_word()),
        cell_in(medians.cpu, unit.cpu_word()),
        format!("{}+{}", cell(medians.cpu_user), cell(medians.cpu_system)),
        format!("{}>{}", cell(medians.idle_mib), cell(medians.peak_mib)),
        cell(medians.p50_ms),
        cell(medians.p99_ms),
        cell(medians.client_cores),
        cell(medians.other_cores),
    ]
}

#[cfg(test)]
mod tests {
    use crate::report::tests::{both, report};
    use crate::summary::tests::record;

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
    fn the_text_shows_limits_cases_ratio_and_what_was_skipped() {
        let text = both().text();
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for expected in [
            "a processor, 2 threads, 23 GiB, Linux 6.18.1 before after",
            "SHA-256, one core 1900 MB/s 1900 MB/s",
            "AES-128-GCM, one core 7000 MB/s 7000 MB/s",
            "work: a case",
            "pierhead 500/s 1000 µs 250+750 20.0>30.0 1.00 2.00 0.50 0 entries: 100",
            "ratio 10.0x 20.0x 1.00x 2.00x 2.00x",
            "SKIPPED pull-cold: not root",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected:?} is not in\n{text}");
        }
    }
}
