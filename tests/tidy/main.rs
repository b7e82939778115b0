//! The rules of the house, held against the source itself: which room may name what, how large a
//! file and a function may grow, what every module says first, how dependencies are written down.
//! Each rule reads the files of the repository; none compiles anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod dependencies;
mod rooms;
mod source;
mod text;
