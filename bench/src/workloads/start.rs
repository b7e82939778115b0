//! Pierhead started on a store of many blobs: from exec until `/v2/` answers 200, the CPU time and memory that took,
//! and how soon the first list of tags is there, which needs the metadata. The store is made by an import of made-up
//! metadata; the files of the blobs are not there, and nothing asks for them. Debian's registry keeps no metadata of
//! its own that a start would read, so there is nothing to compare.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use super::{Sample, counted};
use crate::cache;
use crate::call::Call;
use crate::client::Connection;
use crate::content;
use crate::dump::{self, Store};
use crate::error::BenchError;
use crate::payload::Payload;
use crate::procfs;
use crate::protocol;
use crate::server::{End, Kind, Programs, Server, data_folder};
use crate::statistics::Latency;
use crate::watch::{ServerUse, Used, Watch};

/// A start that makes its index anew reads everything; the others should take a second or two.
const READY_WITHIN: Duration = Duration::from_secs(900);
const STARTS: u32 = 3;
/// Blobs pushed before a kill, so that there is something to catch up with.
const PUSHED: u64 = 64;

/// Measures starts; each on what the one before has left.
pub async fn run(programs: &Programs, blobs: u64) -> Result<Vec<Sample>, BenchError> {
    let content = Store::of(blobs);
    let (folder, rows, import_s) = import(programs, content).await?;
    let mut starts = Starts { programs, content, folder: Some(folder) };
    let case = |what: &str| format!("{} in the metadata, {what}", counted(content.blobs() as usize, "blob"));
    let first = starts.measure(case("first start after an import"), 1, Before::Nothing).await?;
    let first = first.fact("rows", rows as f64).fact("import, s", import_s);
    let mut samples = vec![first];
    samples.push(starts.measure(case("after a stop"), STARTS, Before::Stop).await?);
    samples.push(starts.measure(case("after SIGKILL under pushes"), STARTS, Before::Kill).await?);
    if cache::hindrance().is_none() {
        samples.push(starts.measure(case("after a stop, from the disk"), 1, Before::StopAndEmpty).await?);
    }
    Ok(samples)
}

/// How the store was left before a start that is measured.
#[derive(Clone, Copy)]
enum Before {
    /// As it is.
    Nothing,
    /// By a server that was stopped.
    Stop,
    /// By one that was killed.
    Kill,
    /// By one that was stopped, and is in no cache.
    StopAndEmpty,
}

struct Starts<'a> {
    programs: &'a Programs,
    content: Store,
    /// `None` while a server has it.
    folder: Option<TempDir>,
}

impl Starts<'_> {
    async fn measure(&mut self, case: String, count: u32, before: Before) -> Result<Sample, BenchError> {
        let mut sum = Sum::default();
        for _ in 0..count {
            self.prepare(before).await?;
            let watch = Watch::start(None)?;
            let server = self.start().await?;
            sum.add(watch.stop()?, &server)?;
            self.first_list(&server, &mut sum).await?;
            self.folder = Some(server.end(End::Stop).await?);
        }
        Ok(sum.sample(case))
    }

    async fn prepare(&mut self, before: Before) -> Result<(), BenchError> {
        match before {
            Before::Nothing | Before::Stop => {}
            Before::StopAndEmpty => cache::empty().await?,
            Before::Kill => {
                let server = self.start().await?;
                let mut connection = Connection::new(server.target());
                for number in 0..PUSHED {
                    let bytes = content::random(content::fresh_seed() ^ number, 4096);
                    protocol::push_blob(&mut connection, "bench/pushed", bytes).await?;
                }
                self.folder = Some(server.end(End::Kill).await?);
            }
        }
        Ok(())
    }

    async fn start(&mut self) -> Result<Server, BenchError> {
        let folder = match self.folder.take() {
            Some(folder) => folder,
            // Only after a failure, which ended the run.
            None => return Err(BenchError::Interrupted),
        };
        Server::start_on(folder, Kind::Pierhead, self.programs, None, READY_WITHIN).await
    }

    /// Ready is not enough: the metadata must be there.
    async fn first_list(&self, server: &Server, sum: &mut Sum) -> Result<(), BenchError> {
        #[derive(Deserialize)]
        struct List {
            tags: Vec<String>,
        }
        let call = Call::get(&format!("/v2/{}/tags/list", self.content.repository()))?;
        let begun = Instant::now();
        let reply = Connection::new(server.target()).ask(&call, Payload::EMPTY, StatusCode::OK).await?;
        sum.first_list = sum.first_list.max(server.ready_after() + begun.elapsed());
        let list: List = serde_json::from_slice(&reply.body).map_err(BenchError::json(call.what()))?;
        if list.tags.len() as u64 == dump::IMAGES {
            return Ok(());
        }
        Err(BenchError::content(call.what(), format!("{} tags instead of {}", list.tags.len(), dump::IMAGES)))
    }
}

/// What several starts took, together.
#[derive(Default)]
struct Sum {
    took: Vec<u64>,
    wall_s: f64,
    cpu: procfs::CpuTime,
    peak_mib: f64,
    ready_mib: f64,
    client_cpu_s: f64,
    stolen_s: f64,
    first_list: Duration,
}

impl Sum {
    /// `used` is of the time in which the server started.
    fn add(&mut self, used: Used, server: &Server) -> Result<(), BenchError> {
        let took = server.ready_after();
        self.took.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.wall_s += took.as_secs_f64();
        self.client_cpu_s += used.client_cpu_s;
        self.stolen_s += used.stolen_s;
        if let Some(pid) = server.pid() {
            let (cpu, memory) = (procfs::cpu_of(pid)?, procfs::memory_of(pid)?);
            self.cpu.user_s += cpu.user_s;
            self.cpu.system_s += cpu.system_s;
            self.peak_mib = self.peak_mib.max(memory.peak_kib as f64 / 1024.0);
            self.ready_mib = self.ready_mib.max(memory.resident_kib as f64 / 1024.0);
        }
        Ok(())
    }

    fn sample(self, case: String) -> Sample {
        // Before its start a server has no memory at all.
        let server = ServerUse { cpu: self.cpu, idle_mib: 0.0, peak_mib: self.peak_mib };
        let used = Used {
            wall_s: self.wall_s,
            server: Some(server),
            client_cpu_s: self.client_cpu_s,
            other_cpu_s: None,
            stolen_s: self.stolen_s,
        };
        let facts = BTreeMap::from([
            ("resident when ready, MiB".to_owned(), self.ready_mib),
            ("first list of tags, ms after exec".to_owned(), self.first_list.as_secs_f64() * 1e3),
        ]);
        let operations = self.took.len() as u64;
        Sample { case, operations, bytes: 0, latency: Latency::of(self.took), used, facts }
    }
}

/// A store with this content: its folder, the number of rows, and the seconds that the import took.
async fn import(programs: &Programs, content: Store) -> Result<(TempDir, u64, f64), BenchError> {
    let (folder, scratch) = (programs.folder()?, programs.folder()?);
    let path = Arc::new(scratch.path().join("metadata.jsonl.zst"));
    let file = Arc::clone(&path);
    let rows = tokio::task::spawn_blocking(move || content.write(&file)).await??;
    let begun = Instant::now();
    import_file(programs.of(Kind::Pierhead), &data_folder(folder.path()), &path).await?;
    Ok((folder, rows, begun.elapsed().as_secs_f64()))
}

async fn import_file(program: &Path, data: &Path, input: &Path) -> Result<(), BenchError> {
    let mut command = Command::new(program);
    command.arg("import-metadata").arg("--data").arg(data).arg("--input").arg(input);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(BenchError::io(format!("starting {}", program.display())))?;
    if output.status.success() {
        return Ok(());
    }
    let (program, why) = (program.display().to_string(), format!("imported nothing ({})", output.status));
    Err(BenchError::Start { program, why, log: String::from_utf8_lossy(&output.stderr).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_summed_up_and_their_median_taken() {
        let sum = Sum {
            took: vec![3000, 1000, 2000],
            wall_s: 6.0,
            peak_mib: 40.0,
            ready_mib: 30.0,
            first_list: Duration::from_millis(5),
            ..Sum::default()
        };
        let sample = sum.sample("a start".to_owned());
        assert_eq!(sample.latency, Some(Latency { p50_ms: 2.0, p99_ms: 3.0, max_ms: 3.0 }));
        assert_eq!((sample.operations, sample.used.wall_s), (3, 6.0));
        assert_eq!(sample.facts["resident when ready, MiB"], 30.0);
        assert_eq!(sample.facts["first list of tags, ms after exec"], 5.0);
    }

    #[tokio::test]
    async fn an_import_that_fails_says_so() {
        let nowhere = Path::new("/nowhere");
        let failed = import_file(Path::new("/bin/false"), nowhere, nowhere).await;
        assert!(matches!(failed, Err(BenchError::Start { program, .. }) if program == "/bin/false"));
        assert!(matches!(import_file(nowhere, nowhere, nowhere).await, Err(BenchError::Io { .. })));
    }
}
