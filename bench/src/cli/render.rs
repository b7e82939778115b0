//! `render`: an earlier result as text, drawing or page.

use std::path::PathBuf;

use clap::Args;

use super::output::{Files, Told, read};
use crate::error::BenchError;
use crate::report::Report;

/// Renders the result of an earlier run; into no file, it is printed.
#[derive(Args, Debug)]
pub struct Render {
    /// What `run --json` wrote
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    told: Told,
}

impl Render {
    /// Does it.
    pub fn execute(&self) -> Result<(), BenchError> {
        let report = self.report()?;
        if !self.files.any() {
            println!("{}", report.text());
        }
        self.files.write(&report)
    }

    /// The result; what is told now goes before what was told when it was measured.
    fn report(&self) -> Result<Report, BenchError> {
        let mut report = Report::from_json(&self.from.display().to_string(), &read(&self.from)?)?;
        if let Some(commit) = self.told.commit() {
            report.context.commit = Some(commit);
        }
        if let Some(machine) = self.told.machine() {
            report.context.machine = machine;
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Command};
    use crate::report::tests::both;

    fn render(arguments: &[&str]) -> Render {
        let arguments = ["pierhead-bench", "render"].iter().chain(arguments);
        let parsed = Arguments::try_parse_from(arguments).expect("these are arguments");
        let Command::Render(render) = parsed.command else { panic!("render was asked for") };
        render
    }

    #[test]
    fn a_result_is_rendered_into_a_page_and_its_drawing() {
        let folder = tempfile::tempdir().expect("the system has a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("r.json"), both().json().expect("JSON")).expect("a file in scratch");
        let (from, svg, page) = (path("r.json"), path("p.svg"), path("p.md"));
        let arguments = ["--from", &from, "--svg", &svg, "--markdown", &page, "--commit", "fedcba9"];
        for _ in 0..2 {
            render(&arguments).execute().expect("files in scratch");
        }
        let read = |path: &str| std::fs::read_to_string(path).expect("it was written");
        assert_eq!(read(&page).matches("](p.svg)").count(), 1, "a second time replaces the first");
        assert!(read(&page).contains("commit fedcba9"), "what is told now counts");
        assert!(read(&svg).contains("commit fedcba9"));
    }

    #[test]
    fn a_result_that_is_not_there_or_none_is_an_error() {
        assert!(matches!(render(&["--from", "/nowhere"]).execute(), Err(BenchError::Io { .. })));
        assert!(matches!(render(&["--from", "/dev/null"]).execute(), Err(BenchError::Json { .. })));
    }
}
