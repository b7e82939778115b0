//! An appliance that lives for days, by a clock that is set from outside: Debian's `faketime` tells the server, and the
//! SDK's process, that it is so many hours later. No clock jumps while they run.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::support::clients::skip_unless;
use super::support::{Server, Settings};
use super::{command, furnished, python, run_with};

/// The library that `faketime` puts before the others, if this machine has it.
fn library() -> Option<PathBuf> {
    let found = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let places = found.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    places.into_iter().find(|path| path.is_file())
}

/// What has a process live so many hours later.
fn later(library: &Path, hours: u64) -> Vec<(String, String)> {
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        set("LD_PRELOAD", library.to_str().expect("a plain path")),
        set("FAKETIME", &format!("+{hours}h")),
        set("NO_FAKE_STAT", "1"),
    ]
}

fn settings(environment: Vec<(String, String)>) -> Settings {
    let closed = Settings { closed: true, ..Settings::default() }.set("TLS_MODE", "auto");
    Settings { environment: [closed.environment, environment].concat(), ..closed }
}

/// One who is away for more than a day waits a day first, since its clock may be wrong: so it is started each day.
/// The last day comes two starts after the one before, so that the time of the daily run lies between them at
/// whatever time of day the test begins.
#[test]
fn swrs_two_examples_of_retention_hold_through_the_python_sdk_on_an_appliance_that_lives_for_days() {
    let found = library();
    if !skip_unless(found.is_some(), "needs Debian's faketime") {
        return;
    }
    let (Some(library), Some(python)) = (found, python()) else { return };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let mut given = Value::Null;
    for (hours, phase) in [(0, "first"), (23, ""), (46, ""), (69, "third"), (92, ""), (115, "fourth")] {
        let clock = later(&library, hours);
        let Some(mut server) = Server::on_data(folder.path(), settings(clock.clone())) else { return };
        if given.is_null() {
            given = furnished(&server);
        }
        given["endpoint"] = json!(format!("https://{}", server.address()));
        given["phase"] = json!(phase);
        let seen = command(&server, "jobs run retention-clock");
        assert_eq!((&seen["last"]["ok"], &seen["last"]["result"]), (&json!(true), &json!("")), "{seen}");
        if !phase.is_empty() {
            run_with(&python, "retention.py", &given.to_string(), &clock);
        }
        assert!(server.stop().success());
    }
}
