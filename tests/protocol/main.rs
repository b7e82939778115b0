//! The registry protocol over a real socket, a file a feature. What each test asserts is in its
//! name. All tests share one server and use repositories of their own, so order does not matter;
//! a test that needs other settings starts a server of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

#[path = "../support/mod.rs"]
mod support;

mod base;
mod blobs;
mod catalog;
mod chunks;
mod concurrency;
mod deletes;
mod hostile;
mod limits;
mod location;
mod manifests;
mod mounts;
mod names;
mod referrers;
mod subjects;
mod tags;
mod uploads;
