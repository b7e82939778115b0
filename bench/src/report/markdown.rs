//! The medians as Markdown, for a page of the documentation.

use super::Report;
use super::date::day;
use super::table::figure;
use super::words::{cell, limit_rows, names, times};
use crate::summary::{Case, Medians, Ratio, Unit};
use crate::workloads::counted;

const CAUTION: &str =
    "**Sizes of a quick check: this run shows that everything works, not how fast it is.**\n\n";

impl Report {
    /// What the run was, the machine's limits, and a table each of what is counted in bytes and in operations.
    /// `image` is the drawing's path as seen from the page.
    pub fn markdown(&self, image: Option<&str>) -> String {
        let mut text = self.head();
        if let Some(image) = image {
            text.push_str(&format!("![Medians and ratios of this run]({image})\n\n"));
        }
        text.push_str(&self.limits());
        for (unit, title) in [(Unit::Bytes, "Bytes"), (Unit::Operations, "Requests")] {
            let cases: Vec<&Case> = self.cases.iter().filter(|case| case.unit == unit).collect();
            text.push_str(&table(title, unit, &cases));
        }
        text
    }

    fn head(&self) -> String {
        let context = &self.context;
        let (day, commit, programs) =
            (day(context.started_unix_s), context.commit_words(), escape(&context.programs_words()));
        let machine = escape(&context.machine);
        let caution = if context.quick { CAUTION } else { "" };
        let skipped = self.skipped.iter().map(|what| format!("Not measured: {}.\n\n", escape(what)));
        let skipped: String = skipped.collect();
        let how = match context.programs.is_empty() {
            true => "a registry that ran already".to_owned(),
            false => {
                format!("{programs}; in turn, each on an empty store, started and measured by the same run")
            }
        };
        let repetitions = counted(context.repetitions as usize, "repetition");
        let body = context.body.word();
        format!(
            "{caution}Run of {day}, {commit}, on {machine}. Measured: {how}. {body} bodies; medians of \
             {repetitions}.\n\n{skipped}"
        )
    }

    fn limits(&self) -> String {
        let mut text = "| the machine's own limits | before | after |\n| --- | ---: | ---: |\n".to_owned();
        for row in limit_rows(&self.limits_before, &self.limits_after) {
            let [before, after] = row.figures.map(figure);
            text.push_str(&format!("| {} | {before} {} | {after} {} |\n", row.name, row.unit, row.unit));
        }
        text + "\n"
    }
}

/// A table with a row a case; empty without cases. Registries stand in one cell, the first one first.
fn table(title: &str, unit: Unit, cases: &[&Case]) -> String {
    if cases.is_empty() {
        return String::new();
    }
    let names = names(cases.iter().copied()).map(|name| escape(name)).collect::<Vec<_>>().join(" / ");
    let (rate, cpu) = (unit.rate_word().trim(), unit.cpu_word().trim());
    let rate = if unit == Unit::Operations { "per second" } else { rate };
    let mut text = format!(
        "## {title}\n\nEach cell: {names}. \"Better\" is how many times. CPU is the server's, user and system apart; \
         memory is what is resident at its peak, pages of mapped files included, and in parentheses what of it \
         came with the load.\n\n\
         | case | {rate} | better | CPU {cpu} (user + system) | better | peak MiB | p50 ms | p99 ms | also |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n"
    );
    cases.iter().for_each(|case| text.push_str(&row(case)));
    text + "\n"
}

fn row(case: &Case) -> String {
    let each = |of: &dyn Fn(&Medians) -> String| {
        case.subjects.iter().map(|(_, medians)| of(medians)).collect::<Vec<_>>().join(" / ")
    };
    let ratio = |of: &dyn Fn(&Ratio) -> Option<f64>| times(case.ratio.as_ref().and_then(of));
    let cells = [
        format!("**{}** {}", escape(&case.group()), escape(&case.case)),
        each(&|medians| cell(medians.rate)),
        ratio(&|ratio| ratio.rate),
        each(&|medians| {
            let [all, user, system] = [medians.cpu, medians.cpu_user, medians.cpu_system].map(cell);
            format!("{all} ({user} + {system})")
        }),
        ratio(&|ratio| ratio.cpu),
        each(&|medians| format!("{} (+{})", cell(medians.peak_mib), cell(grown(medians)))),
        each(&|medians| cell(medians.p50_ms)),
        each(&|medians| cell(medians.p99_ms)),
        facts(case),
    ];
    format!("| {} |\n", cells.join(" | "))
}

fn grown(medians: &Medians) -> Option<f64> {
    Some(medians.peak_mib? - medians.idle_mib?)
}

/// Facts any of the registries has, by name.
fn facts(case: &Case) -> String {
    let mut names: Vec<&String> =
        case.subjects.iter().flat_map(|(_, medians)| medians.facts.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let one = |name: &String| {
        let figures = case.subjects.iter().map(|(_, medians)| cell(medians.facts.get(name).copied()));
        format!("{}: {}", escape(name), figures.collect::<Vec<_>>().join(" / "))
    };
    names.into_iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Text that may hold anything, as text in a cell.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' => escaped.extend(['\\', letter]),
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{both, report};
    use crate::summary::tests::record;

    #[test]
    fn a_row_has_figures_of_both_ratios_and_facts() {
        let text = both().markdown(Some("performance.svg"));
        for expected in [
            "Run of 2026-11-22, commit 0123abc, on a processor, 2 threads, 23 GiB, Linux 6.18.1.",
            "Measured: peer: registry &lt;2.8> \\| x; in turn,",
            "Random bodies; medians of 3 repetitions.",
            "Not measured: pull-cold: not root.",
            "![Medians and ratios of this run](performance.svg)",
            "| AES-128-GCM, one core | 7000 MB/s | 7000 MB/s |",
            "## Requests\n\nEach cell: pierhead / peer.",
            "| **work** a case | 500 / 50.0 | 10.0x | 1000 (250 + 750) / 20000 (5000 + 15000) | 20.0x | \
             30.0 (+10.0) / 30.0 (+10.0) | 1.00 / 2.00 | 2.00 / 4.00 | entries: 100 / 100 |\n",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
        assert!(!text.contains("## Bytes") && !text.contains("quick"), "{text}");
    }

    #[test]
    fn a_quick_run_is_called_one() {
        let mut quick = both();
        quick.context.quick = true;
        assert!(quick.markdown(None).starts_with(CAUTION));
    }

    #[test]
    fn a_registry_that_ran_already_is_not_said_to_be_started() {
        let mut report = both();
        report.context.programs.clear();
        let text = report.markdown(None);
        assert!(text.contains("a registry that ran already") && !text.contains("empty store"), "{text}");
    }

    #[test]
    fn one_registry_has_no_ratio_and_bytes_have_their_own_table() {
        let text = report(vec![record("url", 1, 1, 1 << 30, 0.5)]).markdown(None);
        assert!(text.contains("## Bytes\n") && text.contains("| MB/s |"), "{text}");
        assert!(text.contains("| **work** a case | 537 | - | 0.50 (0.12 + 0.38) | - |"), "{text}");
    }

    #[test]
    fn a_case_of_one_registry_does_not_hide_the_other_s_name() {
        let mut report = both();
        let mut alone = report.cases[0].clone();
        alone.subjects.truncate(1);
        report.cases.insert(0, alone);
        let (text, drawing) = (report.markdown(None), report.svg());
        assert!(text.contains("Each cell: pierhead / peer."), "{text}");
        assert!(drawing.contains("class=\"note\">peer<"), "{drawing}");
    }

    #[test]
    fn every_row_has_as_many_cells_as_its_head() {
        let mut report = both();
        report.cases[0].case = "a | b\nc".to_owned();
        let text = report.markdown(None).replace("\\|", "");
        let lines = text.lines().filter(|line| line.contains("work") || line.starts_with("| case"));
        let cells: Vec<usize> = lines.map(|line| line.matches('|').count()).collect();
        assert_eq!(cells, [10, 10], "{text}");
    }
}
