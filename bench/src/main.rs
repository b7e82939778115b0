//! Load against any registry over HTTP and HTTPS, and side-by-side runs of Pierhead and a peer in one run.
//!
//! Words: a *subject* is a registry under load, started here or given by URL; a *workload* sets one up and
//! measures a few *cases*; a *sample* is one case measured once; a *repetition* runs every subject once.
//! Rules: every workload meets an empty store (unless the registry is given by URL); subjects take turns, and the
//! order turns round with every repetition; every answer is checked, so a fast wrong answer is an error and not
//! a record; the machine's own limits are measured in the same run.
//! Knows a registry only by its protocol; but for `dump`, which writes the metadata of a store too large to be pushed,
//! nothing of Pierhead's own crates is used here.
//! Look next: `cli` for the options, `run` for the order of things, `workloads` for what is measured.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing the results is what this program is for"
)]

mod cache;
mod call;
mod cli;
mod client;
mod content;
mod dump;
mod error;
mod load;
mod machine;
mod pace;
mod payload;
mod procfs;
mod protocol;
mod report;
mod run;
mod server;
mod statistics;
mod summary;
mod target;
mod tls;
mod trail;
mod watch;
mod workloads;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Arguments::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pierhead-bench: {error}");
            let mut cause = error.source();
            while let Some(inner) = cause {
                eprintln!("  because: {inner}");
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}
