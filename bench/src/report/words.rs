//! How figures and names are written, the same in every rendering.

use super::table::figure;
use super::{Context, Filling, Limits};
use crate::summary::{Case, Unit};

/// A figure that may be missing.
pub fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), figure)
}

/// A figure that may be missing, with its unit.
pub fn cell_in(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{}{unit}", figure(value)))
}

/// How many times better.
pub fn times(value: Option<f64>) -> String {
    cell_in(value, "x")
}

impl Unit {
    /// What rates are counted in.
    pub fn rate_word(self) -> &'static str {
        match self {
            Self::Operations => "/s",
            Self::Bytes => " MB/s",
        }
    }

    /// What CPU time is counted in.
    pub fn cpu_word(self) -> &'static str {
        match self {
            Self::Operations => " µs",
            Self::Bytes => " s/GiB",
        }
    }
}

impl Case {
    /// The workload, and TLS where there was some.
    pub fn group(&self) -> String {
        if self.tls { format!("{} over TLS", self.workload) } else { self.workload.clone() }
    }
}

/// The registries' names, in the order of every case: those of a case that has most of them.
pub fn names<'a>(cases: impl IntoIterator<Item = &'a Case>) -> impl Iterator<Item = &'a String> {
    let fullest = cases.into_iter().max_by_key(|case| case.subjects.len());
    fullest.into_iter().flat_map(|case| case.subjects.iter().map(|(name, _)| name))
}

impl Context {
    /// `commit 0123abc`, where one was told.
    pub fn commit_words(&self) -> String {
        self.commit.as_ref().map_or_else(|| "commit not told".to_owned(), |commit| format!("commit {commit}"))
    }

    /// The programs that were measured.
    pub fn programs_words(&self) -> String {
        let one = |(name, version): (&String, &String)| format!("{name}: {version}");
        self.programs.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

impl Filling {
    /// What bodies were made of, to begin a line with.
    pub fn word(self) -> &'static str {
        match self {
            Self::Random => "Random",
            Self::Text => "Compressible",
        }
    }
}

/// One limit of the machine.
pub struct LimitRow {
    /// What was measured.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Before and after the run.
    pub figures: [f64; 2],
}

/// The machine's limits, in the order they are shown.
pub fn limit_rows(before: &Limits, after: &Limits) -> [LimitRow; 5] {
    let row = |name, unit, of: fn(&Limits) -> f64| LimitRow { name, unit, figures: [of(before), of(after)] };
    [
        row("SHA-256, one core", "MB/s", |limits| limits.sha256_mb_s),
        row("AES-128-GCM, one core", "MB/s", |limits| limits.aes128gcm_mb_s),
        row("loopback, one stream", "MB/s", |limits| limits.loopback_mb_s),
        row("4 KiB files, each flushed", "/s", |limits| limits.small_files_s),
        row("one file, flushed", "MB/s", |limits| limits.write_mb_s),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::both;

    #[test]
    fn what_is_missing_is_a_dash() {
        assert_eq!((cell(None), cell_in(None, "x"), times(None)), ("-".into(), "-".into(), "-".into()));
        assert_eq!((cell(Some(1.5)), times(Some(12.0))), ("1.50".into(), "12.0x".into()));
    }

    #[test]
    fn a_case_says_that_it_ran_over_tls() {
        let mut case = both().cases.remove(0);
        assert_eq!(case.group(), "work");
        case.tls = true;
        assert_eq!(case.group(), "work over TLS");
    }

    #[test]
    fn a_commit_that_was_not_told_is_not_made_up() {
        let mut context = both().context;
        assert_eq!(context.commit_words(), "commit 0123abc");
        context.commit = None;
        assert_eq!(context.commit_words(), "commit not told");
    }
}
