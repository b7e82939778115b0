//! Pierhead's audit trail: pages of 100 of many events, asked for on the admin socket as `pierhead audit` does, and
//! what recording an event costs a request. Debian's registry has none, so there is nothing to compare.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::{Bench, Sample, Sizes, counted};
use crate::call::Call;
use crate::client::Connection;
use crate::content::{Filling, Pool};
use crate::error::BenchError;
use crate::load::Operation;
use crate::payload::Payload;
use crate::protocol;
use crate::server::{End, Kind, Programs, Server, data_folder};
use crate::statistics::Latency;
use crate::trail::{INCIDENT, RARE, SELDOM, Trail};
use crate::watch::Watch;

/// Reading the index of many segments takes less.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Pages of a case: enough for a p99.
const PAGES: u32 = 300;

/// Measures both.
pub async fn run(programs: &Programs, sizes: Sizes) -> Result<Vec<Sample>, BenchError> {
    let mut samples = pages(programs, sizes.events).await?;
    samples.extend(recording(programs, sizes).await?);
    Ok(samples)
}

async fn pages(programs: &Programs, events: u64) -> Result<Vec<Sample>, BenchError> {
    let folder = programs.folder()?;
    let data = data_folder(folder.path());
    let trail = Trail { events, now: now_ms() };
    let below = data.clone();
    let bytes = tokio::task::spawn_blocking(move || trail.write(&below)).await??;
    std::fs::create_dir_all(&data).map_err(BenchError::io("making a data directory"))?;
    let server = Server::start_on(folder, Kind::Pierhead, programs, None, READY_WITHIN).await?;
    let mut asker = Asker::connect(&data.join("admin.sock")).await?;
    let middle = trail.at(events / 2);
    let (middle, hour) = (rfc3339(middle), rfc3339(middle + 3_600_000));
    let cases = [
        ("the newest 100", String::new()),
        ("100 of one user in 300", "&user=user-77".to_owned()),
        (&*format!("100 of a user of one event in {SELDOM}"), "&user=seldom".to_owned()),
        (&*format!("of a user of one event in {RARE}"), "&user=rare".to_owned()),
        ("of a user who did nothing", "&user=nobody".to_owned()),
        ("100 of one resource", "&resource=org-7/image-77:v7".to_owned()),
        (&*format!("incidents, one event in {INCIDENT}"), "&rating=incident".to_owned()),
        ("100 of an hour three days ago", format!("&from={middle}&until={hour}")),
        ("100 deletions of an account, oldest first", "&trace_name=deleteImageTag&order=oldest".to_owned()),
    ];
    let mut samples = Vec::new();
    for (what, query) in cases {
        let (watch, mut took, mut found) = (Watch::start(server.pid())?, Vec::new(), 0);
        for _ in 0..PAGES {
            let begun = Instant::now();
            found = asker.page(&query).await?;
            took.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        let case = format!("{} in the trail: {what}", counted(usize::try_from(events).unwrap_or(0), "event"));
        let latency = Latency::of(took);
        let facts = BTreeMap::from([
            ("events found".to_owned(), found as f64),
            ("bytes an event on the disk".to_owned(), bytes as f64 / events.max(1) as f64),
            ("ready after, ms".to_owned(), server.ready_after().as_secs_f64() * 1e3),
        ]);
        let used = watch.stop()?;
        samples.push(Sample { case, operations: PAGES.into(), bytes: 0, latency, used, facts });
    }
    server.end(End::Stop).await?;
    Ok(samples)
}

/// The same reads, recorded and not.
async fn recording(programs: &Programs, sizes: Sizes) -> Result<Vec<Sample>, BenchError> {
    let mut samples = Vec::new();
    for (value, words) in [("true", "recorded"), ("false", "not recorded")] {
        let mut programs = programs.clone();
        programs.environment.push(("PIERHEAD_AUDIT_READS", value));
        let server = Server::start(Kind::Pierhead, &programs, None).await?;
        let (target, pid) = (Arc::clone(server.target()), server.pid());
        let bench = Bench { target, pid, sizes, pool: Pool::new(1, Filling::Random), seed: 1 };
        samples.push(lists(&bench, format!("lists of one tag, {words}")).await?);
        server.end(End::Stop).await?;
    }
    Ok(samples)
}

async fn lists(bench: &Bench, case: String) -> Result<Sample, BenchError> {
    let repository = bench.repository("audit");
    let mut connection = Connection::new(&bench.target);
    let config = Bytes::from_static(protocol::EMPTY_CONFIG);
    protocol::push_blob(&mut connection, &repository, config).await?;
    let manifest = protocol::empty_manifest("audit");
    protocol::push_manifest(&mut connection, &repository, "v1", &manifest).await?;
    let call = Call::get(&format!("/v2/{repository}/tags/list"))?;
    bench.measure(case, &Arc::new(List { call }), bench.sizes.connections, bench.span(), 0).await
}

struct List {
    call: Call,
}

impl Operation for List {
    async fn run(&self, connection: &mut Connection, _: u64) -> Result<(), BenchError> {
        connection.ask(&self.call, Payload::EMPTY, StatusCode::OK).await.map(drop)
    }
}

fn now_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "events are kept for days from now")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}

/// Of whole seconds.
fn rfc3339(ms: u64) -> String {
    let of_day = ms / 1000 % 86_400;
    let day = pierhead_storage_format::audit::day_name(ms);
    format!("{day}T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// A connection to the admin socket.
struct Asker {
    /// Ends with this.
    _driver: JoinSet<()>,
    sender: hyper::client::conn::http1::SendRequest<Empty<Bytes>>,
    path: PathBuf,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<serde_json::Value>,
    next: Option<String>,
}

impl Asker {
    async fn connect(path: &Path) -> Result<Self, BenchError> {
        let what = format!("connecting to {}", path.display());
        let stream = UnixStream::connect(path).await.map_err(BenchError::io(what.clone()))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| BenchError::content(what, error.to_string()))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.await) });
        Ok(Self { _driver: driver, sender, path: path.to_owned() })
    }

    /// The events of a page of 100, and of those after it until there are 100 or none is left.
    async fn page(&mut self, query: &str) -> Result<usize, BenchError> {
        let (mut found, mut after) = (0, String::new());
        loop {
            let page = self.ask(&format!("/api/v1/audit?limit=100{query}{after}")).await?;
            found += page.items.len();
            match page.next.filter(|_| found < 100) {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(found),
            }
        }
    }

    async fn ask(&mut self, target: &str) -> Result<Page, BenchError> {
        let what = format!("GET {target} on {}", self.path.display());
        let wrong = |why: String| BenchError::content(what.clone(), why);
        let request = Request::builder().method(Method::GET).uri(target).header(header::HOST, "localhost");
        let request = request.body(Empty::new()).map_err(|error| wrong(error.to_string()))?;
        self.sender.ready().await.map_err(|error| wrong(error.to_string()))?;
        let reply = self.sender.send_request(request).await.map_err(|error| wrong(error.to_string()))?;
        let status = reply.status();
        let body = reply.into_body().collect().await.map_err(|error| wrong(error.to_string()))?.to_bytes();
        if status != StatusCode::OK {
            return Err(wrong(format!("{status}: {}", String::from_utf8_lossy(&body))));
        }
        serde_json::from_slice(&body).map_err(|error| wrong(error.to_string()))
    }
}
