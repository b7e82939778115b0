//! The medians as a drawing: for each case the registries' rates and CPU times as bars, and how many times better the
//! first registry is, on a scale of powers of two that begins at "the same".

use super::Report;
use super::date::day;
use super::draw::{Anchor, Drawing};
use super::words::{cell, cell_in, names, times};
use crate::summary::{Case, Medians, Ratio};

const WIDTH: f64 = 1240.0;
const TOP: f64 = 132.0;
const BOTTOM: f64 = 46.0;
const LINE: f64 = 15.0;
const BAR: f64 = 11.0;
const GAP: f64 = 14.0;
/// Left ends of the columns: names, rates, CPU times, names of ratios, ratios.
const NAMES: f64 = 16.0;
const RATES: f64 = 92.0;
const CPU: f64 = 410.0;
const RATIO_NAMES: f64 = 800.0;
const RATIOS: f64 = 874.0;
/// Widths of the longest bars.
const LONGEST: f64 = 190.0;
const RATIO_WIDTH: f64 = 300.0;
/// The ratios' scale, as powers of two.
const POWERS: (i32, i32) = (-2, 7);
/// Of each registry: the full colour, and a lighter one for system time.
const COLOURS: [[&str; 2]; 3] = [["#1b6d8c", "#8cc3d6"], ["#b86a1f", "#e6bd92"], ["#5d6b3a", "#b9c59a"]];
const BETTER: &str = "#2e7d4f";
const WORSE: &str = "#c0392b";
const FAINT: &str = "#ddd";
const PLAIN: &str = "#888";

impl Report {
    /// The drawing, as the text of an SVG file.
    pub fn svg(&self) -> String {
        let mut drawing = Drawing::default();
        let bottom = TOP + self.cases.iter().map(height).sum::<f64>();
        scale(&mut drawing, bottom);
        self.legend(&mut drawing);
        let mut y = TOP;
        for case in &self.cases {
            draw(&mut drawing, case, y);
            y += height(case);
        }
        drawing.text([NAMES, bottom + 32.0], Anchor::Start, "note", &self.footer());
        drawing.finish(WIDTH, bottom + BOTTOM)
    }

    fn legend(&self, drawing: &mut Drawing) {
        let context = &self.context;
        let quick = if context.quick { " (a quick check: sizes too small to judge by)" } else { "" };
        let title = format!("Measured {}{quick}", day(context.started_unix_s));
        drawing.text([NAMES, 30.0], Anchor::Start, "title", &title);
        let run = format!("{}; {}", context.commit_words(), context.machine);
        drawing.text([NAMES, 50.0], Anchor::Start, "note", &run);
        drawing.text([NAMES, 67.0], Anchor::Start, "note", &context.programs_words());
        let names: Vec<&String> = names(&self.cases).collect();
        let mut x = NAMES;
        for (name, [full, light]) in names.iter().zip(COLOURS) {
            drawing.bar([x, 78.0, 12.0, BAR], full);
            drawing.bar([x + 12.0, 78.0, 12.0, BAR], light);
            drawing.text([x + 30.0, 87.5], Anchor::Start, "note", name);
            x += 120.0;
        }
        drawing.text([RATES, 118.0], Anchor::Start, "note", "rate (longer is better)");
        drawing.text([CPU, 118.0], Anchor::Start, "note", "server CPU, user + system (shorter is better)");
        if let Some(first) = names.first() {
            let better = format!("how many times better {first} is");
            drawing.text([RATIOS, 100.0], Anchor::Start, "note", &better);
        }
    }

    fn footer(&self) -> String {
        let skipped: String = self.skipped.iter().map(|what| format!(" Not measured: {what}.")).collect();
        let (count, body) = (self.context.repetitions, self.context.body.word());
        format!(
            "{body} bodies; medians of {count}. Bars of rate and CPU compare within a case only.{skipped}"
        )
    }
}

fn lines(case: &Case) -> usize {
    case.subjects.len().max(if case.ratio.is_some() { 3 } else { 1 })
}

fn height(case: &Case) -> f64 {
    LINE * (lines(case) + 1) as f64 + GAP
}

/// The lines of the ratios' scale behind everything.
fn scale(drawing: &mut Drawing, bottom: f64) {
    for power in POWERS.0..=POWERS.1 {
        let (x, ratio) = (position(f64::from(power).exp2()), f64::from(power).exp2());
        drawing.rule(x, [TOP - 8.0, bottom], if power == 0 { PLAIN } else { FAINT });
        drawing.text([x, TOP - 14.0], Anchor::Middle, "note", &format!("{ratio}x"));
    }
}

/// Where a ratio stands on the scale; what is beyond its ends stands at its ends.
fn position(ratio: f64) -> f64 {
    let (low, high) = (f64::from(POWERS.0), f64::from(POWERS.1));
    let power = if ratio > 0.0 { ratio.log2().clamp(low, high) } else { low };
    RATIOS + RATIO_WIDTH * (power - low) / (high - low)
}

fn draw(drawing: &mut Drawing, case: &Case, top: f64) {
    let title = format!("{}: {}", case.group(), case.case);
    drawing.text([NAMES, top + 11.0], Anchor::Start, "case", &title);
    let largest = |of: fn(&Medians) -> Option<f64>| {
        let values = case.subjects.iter().filter_map(|(_, medians)| of(medians));
        values.fold(f64::MIN_POSITIVE, f64::max)
    };
    let (most, dearest) = (largest(|medians| medians.rate), largest(|medians| medians.cpu));
    let rows = case.subjects.iter().zip(COLOURS.into_iter().cycle());
    for (index, ((name, medians), [full, light])) in rows.enumerate() {
        let y = top + LINE * (index + 1) as f64 + 2.0;
        let text = |drawing: &mut Drawing, x: f64, text: &str| {
            drawing.text([x, y + 9.5], Anchor::Start, "value", text);
        };
        text(drawing, NAMES, name);
        let rate = LONGEST * medians.rate.unwrap_or(0.0) / most;
        drawing.bar([RATES, y, rate, BAR], full);
        text(drawing, RATES + rate + 5.0, &cell_in(medians.rate, case.unit.rate_word()));
        let [user, system] = [medians.cpu_user, medians.cpu_system].map(|cpu| cpu.unwrap_or(0.0));
        // Medians of the parts need not add up to the median of the whole: the bar is the whole's, shared out.
        let whole = LONGEST * medians.cpu.unwrap_or(0.0) / dearest;
        let part = whole * if user + system > 0.0 { user / (user + system) } else { 0.0 };
        drawing.bar([CPU, y, part, BAR], full);
        drawing.bar([CPU + part, y, whole - part, BAR], light);
        text(drawing, CPU + whole + 5.0, &cpu_words(case, medians));
    }
    if let Some(ratio) = &case.ratio {
        draw_ratio(drawing, ratio, top);
    }
}

fn cpu_words(case: &Case, medians: &Medians) -> String {
    let [user, system] = [medians.cpu_user, medians.cpu_system].map(cell);
    format!("{} ({user} + {system})", cell_in(medians.cpu, case.unit.cpu_word()))
}

fn draw_ratio(drawing: &mut Drawing, ratio: &Ratio, top: f64) {
    let same = position(1.0);
    for (name, value, line) in
        [("rate", ratio.rate, 1.0), ("CPU", ratio.cpu, 2.0), ("memory", ratio.peak, 3.0)]
    {
        let y = top + LINE * line + 2.0;
        drawing.text([RATIO_NAMES, y + 9.5], Anchor::Start, "value", name);
        let end = position(value.unwrap_or(1.0));
        let (from, to) = (same.min(end), same.max(end));
        drawing.bar([from, y, to - from, BAR], if end < same { WORSE } else { BETTER });
        drawing.text([to + 5.0, y + 9.5], Anchor::Start, "value", &times(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{both, report};
    use crate::summary::tests::record;

    #[test]
    fn the_scale_begins_at_its_ends_and_has_the_same_in_between() {
        let table = [
            (0.25, RATIOS),
            (128.0, RATIOS + RATIO_WIDTH),
            (0.0, RATIOS),
            (-1.0, RATIOS),
            (f64::NAN, RATIOS),
            (1e9, RATIOS + RATIO_WIDTH),
        ];
        for (ratio, expected) in table {
            assert!((position(ratio) - expected).abs() < 1e-9, "{ratio}");
        }
        assert!(position(1.0) > position(0.5) && position(1.0) < position(2.0));
    }

    #[test]
    fn the_drawing_names_run_machine_cases_and_figures() {
        let svg = both().svg();
        for expected in [
            "Measured 2026-11-22<",
            "commit 0123abc; a processor, 2 threads, 23 GiB, Linux 6.18.1<",
            "peer: registry &lt;2.8&gt; | x<",
            ">how many times better pierhead is<",
            ">work: a case<",
            ">500/s<",
            ">1000 µs (250 + 750)<",
            ">10.0x<",
            "Not measured: pull-cold: not root.",
        ] {
            assert!(svg.contains(expected), "{expected:?} is not in\n{svg}");
        }
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn a_better_ratio_is_drawn_to_the_right_and_a_worse_one_to_the_left() {
        let faster = both().svg();
        assert!(faster.contains(BETTER) && !faster.contains(WORSE));
        let slower = report(vec![record("pierhead", 1, 1, 0, 9.0), record("peer", 1, 9, 0, 1.0)]).svg();
        assert!(slower.contains(WORSE) && !slower.contains(BETTER));
    }

    #[test]
    fn any_number_of_registries_and_cases_is_drawn() {
        let four = ["a", "b", "c", "d"].map(|name| record(name, 1, 5, 0, 1.0));
        let mut nothing = record("e", 1, 0, 0, 0.0);
        nothing.sample.used.server = None;
        for records in [Vec::new(), vec![nothing], four.to_vec()] {
            let svg = report(records).svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
