//! SWR's management API on the real binary: signed requests over a socket, with exact statuses, headers and bodies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

mod account;
mod client;
mod engines;
mod errors;
mod harbor;
mod images;
mod loops;
mod model;
mod organisations;
mod repositories;
mod retention;
mod shares;
#[path = "../support/mod.rs"]
mod support;
