//! What every test program shares: the real binary on a real socket, a plain HTTP client that can
//! also misbehave, images made from a seed, and the container clients of the machine.
//!
//! Words: a *registry* is where requests go, our own binary as a rule; a *repository* is a fresh
//! name in it, so that tests can share one registry and run in any order.
//! Rules: 1. nothing here reaches inside the product: sockets, signals and files of the data
//! folder only. 2. Nothing waits for a duration: see `wait`. 3. Everything started is ended when
//! its owner is dropped, also on a panic.
//! With `PIERHEAD_TEST_REGISTRY=host:port` requests go to a registry that runs already (a peer, to
//! compare); tests that need to stop, look into or configure the server then skip.

// Each test program compiles this folder and uses a part of it.
#![allow(dead_code, unused_imports, reason = "each test program uses a part of the shared support")]

pub mod certificates;
pub mod clients;
pub mod http;
pub mod images;
pub mod random;
pub mod repository;
pub mod server;
pub mod wait;

pub use http::{Http, Response};
pub use images::{Image, Kind, descriptor, sha256, sha512};
pub use random::Rng;
pub use repository::Repository;
pub use server::{Server, Settings, Shared};

/// What a program printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Says on the terminal, past the test runner's capture, that a test did not run; `./check` repeats
/// these lines at its end.
pub fn skipped(reason: &str) {
    use std::io::Write;
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}
