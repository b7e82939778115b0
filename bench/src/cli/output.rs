//! What is told about a result, and the files it is rendered into.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::BenchError;
use crate::report::{self, Report};

/// What a program cannot find out by itself.
#[derive(Args, Clone, Debug, Default)]
pub struct Told {
    /// The commit the measured program was built from; nothing checks it [default: PIERHEAD_BENCH_COMMIT of the environment]
    #[arg(long)]
    commit: Option<String>,
    /// The machine in a line [default: PIERHEAD_BENCH_MACHINE; else what the kernel says of it]
    #[arg(long, value_name = "LINE")]
    machine: Option<String>,
}

impl Told {
    /// The commit, from the flag or the environment.
    pub fn commit(&self) -> Option<String> {
        or_environment(&self.commit, "PIERHEAD_BENCH_COMMIT")
    }

    /// The machine, from the flag or the environment.
    pub fn machine(&self) -> Option<String> {
        or_environment(&self.machine, "PIERHEAD_BENCH_MACHINE")
    }
}

fn or_environment(flag: &Option<String>, name: &str) -> Option<String> {
    flag.clone().or_else(|| std::env::var(name).ok()).filter(|text| !text.is_empty())
}

/// Files to render into.
#[derive(Args, Clone, Debug, Default)]
pub struct Files {
    /// Draw the result into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Put the result into this page, between its two marks; a page that is not there is made
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

impl Files {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.svg.is_some() || self.markdown.is_some()
    }

    /// Finds out before a long run whether the page can be written into.
    pub fn check(&self) -> Result<(), BenchError> {
        let Some(path) = &self.markdown else { return Ok(()) };
        put(path, "").map(drop)
    }

    /// Renders the result into all of them.
    pub fn write(&self, report: &Report) -> Result<(), BenchError> {
        if let Some(path) = &self.svg {
            write(path, report.svg())?;
        }
        if let Some(path) = &self.markdown {
            let image = self.svg.as_deref().map(|svg| seen_from(path, svg));
            let page = put(path, &report.markdown(image.as_deref()))?;
            write(path, page)?;
        }
        Ok(())
    }
}

/// Writes a file, naming it in the error.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), BenchError> {
    std::fs::write(path, bytes).map_err(BenchError::io(format!("writing {}", path.display())))
}

/// Reads a file, naming it in the error.
pub fn read(path: &Path) -> Result<Vec<u8>, BenchError> {
    std::fs::read(path).map_err(BenchError::io(format!("reading {}", path.display())))
}

fn put(path: &Path, lines: &str) -> Result<String, BenchError> {
    let page = match std::fs::read_to_string(path) {
        Ok(page) => Some(page),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(BenchError::io(format!("reading {}", path.display()))(error)),
    };
    report::put_into(&path.display().to_string(), page.as_deref(), lines)
}

/// The drawing's path in the page: relative if it lies in or below the page's folder.
fn seen_from(page: &Path, svg: &Path) -> String {
    let folder = page.parent().unwrap_or(Path::new(""));
    svg.strip_prefix(folder).unwrap_or(svg).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_beside_its_page_is_named_without_the_folder() {
        let table = [
            ("docs/p.md", "docs/p.svg", "p.svg"),
            ("p.md", "p.svg", "p.svg"),
            ("docs/p.md", "docs/drawings/p.svg", "drawings/p.svg"),
            ("docs/p.md", "/elsewhere/p.svg", "/elsewhere/p.svg"),
        ];
        for (page, svg, expected) in table {
            assert_eq!(seen_from(Path::new(page), Path::new(svg)), expected, "{page} {svg}");
        }
    }

    #[test]
    fn a_page_of_somebody_else_is_found_out_before_the_run() {
        let folder = tempfile::tempdir().expect("the system has a temporary folder");
        let page = folder.path().join("p.md");
        let files = Files { svg: None, markdown: Some(page.clone()) };
        assert!(files.check().is_ok(), "a page that is not there is made");
        assert!(!page.exists(), "but not by looking");
        write(&page, "# Mine\n").expect("a file in scratch");
        assert!(matches!(files.check(), Err(BenchError::Marks { .. })));
        assert!(Files::default().check().is_ok() && !Files::default().any());
    }
}
