//! What the long tests share: a workload with a ledger, and a checker that knows from the ledger
//! what a server must still have after it was ended in any way.
//!
//! Words: a *change* is one request that alters a repository; it is *acknowledged* by its answer,
//! *refused* by a 4xx, else *unknown* (no answer, or a 5xx): then it may have happened or not.
//! A *shelf* is a repository only one writer changes, so that the ledger knows its contents to the
//! last tag; the *common* repository is changed by all at once and checked by times.
//!
//! Rules: 1. the checker compares whole states: after a restart a shelf is exactly what the
//! acknowledged changes made, with each unknown change either wholly there or not at all.
//! 2. The same seed gives the same choices. 3. Black box: HTTP, signals, mounts, and the files
//! that `FORMAT.md` names.
//!
//! `model` is the ledger's arithmetic, `calls` the requests, `writer` and `common` the workload,
//! `observe` and `verdict` the checker, `daemon` the process, `filesystem` mounts and power cuts.

#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]

pub mod calls;
pub mod common;
pub mod daemon;
pub mod filesystem;
pub mod load;
pub mod model;
pub mod observe;
pub mod sample;
pub mod sizes;
pub mod verdict;
pub mod writer;

pub use common::Common;
pub use daemon::{Daemon, Launch};
pub use load::Load;
pub use model::{Candidates, Change, State};
pub use sample::{Copy, Sample};
pub use writer::{Habits, Writer};
