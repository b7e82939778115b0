//! The clients people have, against the real binary: docker with a daemon of its own, containerd's
//! ctr, podman, buildah, skopeo. What they push is compared by digest with what they pull and with
//! what a plain HTTP client sees. Daemons and their state live in scratch folders and go with them.
//! A missing client skips its tests loudly, unless `PIERHEAD_REQUIRE_CLIENTS=1`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

#[path = "../support/mod.rs"]
mod support;

mod containerd;
mod credentials;
mod docker;
#[path = "../endurance/filesystem.rs"]
#[allow(dead_code, reason = "one of its filesystems is used here")]
mod filesystem;
mod full_disk;
mod podman;
mod skopeo;
mod trust;
