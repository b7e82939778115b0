//! A store that was used and is not running, to be damaged in copies.

use super::{Habits, Launch, Load, verdict};
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Sample {
    folder: tempfile::TempDir,
    pub load: Load,
}

/// A copy of a sample's data; gone when dropped.
pub struct Copy(tempfile::TempDir);

impl Sample {
    /// After `steps` changes of each of two writers, over two runs of the server; ended in order or
    /// by SIGKILL.
    pub fn new(seed: u64, steps: usize, in_order: bool, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("pierhead-sample-").tempdir().expect("a scratch folder");
        let mut sample = Self { folder, load: Load::new(2, seed, Habits::usual()) };
        for _ in 0..2 {
            sample.go_on(steps / 2, in_order, settings);
        }
        sample
    }

    /// Another run of the server.
    pub fn go_on(&mut self, steps: usize, in_order: bool, settings: &[(&str, &str)]) {
        let mut launch = Launch::on(&self.data());
        for (key, value) in settings {
            launch = launch.set(key, value);
        }
        let server = launch.start();
        self.load.script(server.http(), steps);
        if in_order {
            server.stop();
        } else {
            server.kill();
        }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn copy(&self) -> Copy {
        let folder = tempfile::Builder::new().prefix("pierhead-copy-").tempdir().expect("a scratch folder");
        let status = Command::new("cp").arg("-a").arg(self.data()).arg(folder.path()).status();
        assert!(status.expect("cp starts").success(), "the sample is copied");
        Copy(folder)
    }

    /// Starts a server on the copy: everything must be there, and `fsck` clean after an ordered
    /// stop. Its log.
    pub fn must_start(&mut self, copy: &Copy) -> String {
        let server = Launch::on(&copy.data()).start();
        verdict::kept(server.http(), None, &mut self.load.writers, &self.load.common);
        let log = server.stop();
        assert!(!log.contains("panicked at"), "the server panicked\n{log}");
        verdict::sound(&copy.data());
        log
    }
}

impl Copy {
    pub fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.data().join(below)
    }

    /// A start must end in an error that says `words`, must not crash, and must leave journal,
    /// snapshots and blobs as they are; `fsck` must find fault as well, in the words of `finding`.
    pub fn must_refuse(&self, words: &[&str], finding: &[&str]) {
        let before = fingerprint(&self.data());
        let refusal = match Launch::on(&self.data()).try_start() {
            Err(refusal) => refusal,
            Ok(server) => panic!("the server started, and should have said {words:?}\n{}", server.kill()),
        };
        assert!(refusal.status.code().is_some_and(|code| code != 0), "{}\n{}", refusal.status, refusal.log);
        assert!(!refusal.log.contains("panicked at"), "{}", refusal.log);
        for word in words {
            assert!(refusal.log.contains(word), "the refusal does not say {word:?}:\n{}", refusal.log);
        }
        assert!(before == fingerprint(&self.data()), "the refused start has changed files");
        self.fsck_must_say(finding);
        assert!(before == fingerprint(&self.data()), "fsck has changed files");
    }

    /// `fsck` must find fault in these words.
    pub fn fsck_must_say(&self, words: &[&str]) {
        let output = super::daemon::fsck(&self.data());
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "fsck finds fault:\n{said}");
        for word in words {
            assert!(said.contains(word), "fsck does not say {word:?}:\n{said}");
        }
    }
}

/// Names and contents of everything that is the truth.
fn fingerprint(data: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for below in ["meta/journal", "meta/snapshot", "blobs"] {
        collect(&data.join(below), &mut found);
    }
    found.sort();
    found
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            let content = std::fs::read(&path).expect("the file can be read");
            found.push((path, crate::support::sha256(&content)));
        }
    }
}
