//! Everything a run found out: as JSON, which can be read again, and rendered for people as text, as Markdown and as
//! a drawing. Renderings are made from the JSON's content alone, so that a page always shows a real run.

mod date;
mod draw;
mod markdown;
mod page;
mod svg;
mod table;
mod text;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use page::put_into;

use crate::content::Filling;
use crate::error::BenchError;
use crate::machine::Limits;
use crate::summary::{Case, Record, cases};
use crate::workloads::Sizes;

/// The version of the form this program writes and reads.
const FORM: u32 = 2;

/// Everything a run found out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Version of this form.
    pub form: u32,
    /// What the run was.
    pub context: Context,
    /// The machine before the run.
    pub limits_before: Limits,
    /// The machine after the run.
    pub limits_after: Limits,
    /// What could not be measured, and why.
    pub skipped: Vec<String>,
    /// Medians, a case each, in the order they were measured.
    pub cases: Vec<Case>,
    /// Every single sample.
    pub records: Vec<Record>,
}

/// What a run was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Context {
    /// When it began, seconds since 1970.
    pub started_unix_s: u64,
    /// The commit that was measured, as told.
    pub commit: Option<String>,
    /// The machine in one line.
    pub machine: String,
    /// What the registries' programs say their versions are.
    pub programs: BTreeMap<String, String>,
    /// Whether sizes were those of a check that all works, and not of a measurement.
    pub quick: bool,
    /// What bodies were made of.
    pub body: Filling,
    /// How much of everything.
    pub sizes: Sizes,
    /// How often each workload met each registry.
    pub repetitions: u32,
}

impl Report {
    /// Sums records up.
    pub fn new(context: Context, limits: [Limits; 2], skipped: Vec<String>, records: Vec<Record>) -> Self {
        let [limits_before, limits_after] = limits;
        let aes_mb_s = f64::midpoint(limits_before.aes128gcm_mb_s, limits_after.aes128gcm_mb_s);
        let mut cases = cases(&records);
        cases.iter_mut().for_each(|case| case.put_beside_aes(aes_mb_s));
        Self { form: FORM, context, limits_before, limits_after, skipped, cases, records }
    }

    /// All of it as JSON.
    pub fn json(&self) -> Result<Vec<u8>, BenchError> {
        let wrong = BenchError::json("writing the results as JSON");
        let mut text = serde_json::to_vec_pretty(self).map_err(wrong)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads what [`Report::json`] wrote; `what` names it in the error.
    pub fn from_json(what: &str, text: &[u8]) -> Result<Self, BenchError> {
        #[derive(Deserialize)]
        struct Form {
            form: u32,
        }
        let wrong = || BenchError::json(format!("{what} is no result of this program"));
        let Form { form } = serde_json::from_slice(text).map_err(wrong())?;
        if form != FORM {
            return Err(BenchError::content(what, format!("form {form} of results; {FORM} is read")));
        }
        serde_json::from_slice(text).map_err(wrong())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::summary::tests::record;

    fn limits() -> Limits {
        Limits {
            processor: "a processor".to_owned(),
            threads: 2,
            memory_gib: 23.4,
            kernel: "6.18.1".to_owned(),
            sha256_mb_s: 1900.0,
            aes128gcm_mb_s: 7000.0,
            loopback_mb_s: 4000.0,
            small_files_s: 2500.0,
            write_mb_s: 900.0,
        }
    }

    /// A report of these records, for the tests of its renderings.
    pub fn report(records: Vec<Record>) -> Report {
        let context = Context {
            started_unix_s: 1_795_305_600,
            commit: Some("0123abc".to_owned()),
            machine: limits().line(),
            programs: BTreeMap::from([("peer".to_owned(), "registry <2.8> | x".to_owned())]),
            quick: false,
            body: Filling::Random,
            sizes: Sizes {
                blob: 1,
                many: 1,
                large: 1,
                tags: 1,
                repositories: 1,
                known: 1,
                events: 1,
                seconds: 1.0,
                connections: 1,
            },
            repetitions: 3,
        };
        Report::new(context, [limits(), limits()], vec!["pull-cold: not root".to_owned()], records)
    }

    /// Both registries, ours ten times faster.
    pub fn both() -> Report {
        report(vec![record("pierhead", 1, 1000, 0, 1.0), record("peer", 1, 100, 0, 2.0)])
    }

    #[test]
    fn the_json_holds_medians_and_single_samples() {
        let json = report(vec![record("peer", 1, 100, 0, 2.0)]).json().expect("numbers and text are JSON");
        let read: serde_json::Value = serde_json::from_slice(&json).expect("it was written as JSON");
        assert_eq!(read["form"], 2);
        assert_eq!(read["cases"][0]["subjects"][0][1]["rate"], 50.0);
        assert_eq!(read["records"][0]["used"]["server"]["cpu"]["user_s"], 0.5);
        assert_eq!(read["records"][0]["case"], "a case");
    }

    #[test]
    fn what_was_written_is_read_again() {
        let mut nothing = record("peer", 1, 0, 0, 0.0);
        nothing.sample.used.server = None;
        for records in
            [vec![record("pierhead", 1, 9, 1 << 30, 1.5), record("peer", 1, 9, 9, 2.0)], vec![nothing]]
        {
            let report = report(records);
            let json = report.json().expect("numbers and text are JSON");
            let read = Report::from_json("it", &json).expect("it was just written");
            assert_eq!(read.text(), report.text());
            assert_eq!(read.svg(), report.svg());
            assert_eq!(read.markdown(None), report.markdown(None));
        }
    }

    #[test]
    fn every_rendering_has_what_tls_is_compared_with() {
        let mut record = record("peer", 1, 9, 7_000_000_000, 1.5);
        record.tls = true;
        let report = report(vec![record]);
        let json = String::from_utf8(report.json().expect("numbers and text are JSON")).expect("UTF-8");
        assert!(json.contains("\"rate as % of AES-128-GCM on one core\": 50.0"), "{json}");
        for text in [report.text(), report.markdown(None)] {
            assert!(text.contains("rate as % of AES-128-GCM on one core: 50.0"), "{text}");
        }
    }

    #[test]
    fn other_files_are_refused() {
        let table = [
            ("empty", "", "no result"),
            ("other JSON", "true", "no result"),
            ("another form", "{\"form\":1}", "form 1"),
            ("cut", "{\"form\":2,\"context\":{", "no result"),
            ("fields missing", "{\"form\":2}", "no result"),
        ];
        for (row, text, expected) in table {
            let said = Report::from_json("it", text.as_bytes()).map_err(|error| error.to_string());
            assert!(said.is_err_and(|said| said.contains(expected)), "{row}");
        }
    }
}
