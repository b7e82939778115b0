//! Manifests read by tag while another address floods Pierhead: one client's flood must not harm the others. Both
//! clients are held to a pace, so that neither takes the processors away from the registry, and the same GETs are
//! measured alone on the same server first: the ratio is the result. Once with bans off, where every refused request is
//! told to wait, and once with them on, where all but the first are turned away as banned. Debian's registry has no
//! rates, so there is nothing to compare.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::{Method, StatusCode};

use super::beside::{GETS, measure, times_alone};
use super::{Bench, Sample, Sizes, manifests};
use crate::call::Call;
use crate::client::Connection;
use crate::content::{Filling, Pool};
use crate::error::BenchError;
use crate::load::Operation;
use crate::pace::{Rate, open_loop};
use crate::payload::Payload;
use crate::protocol;
use crate::server::{End, Kind, Programs, Server};

/// Who floods.
const FLOODER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Who pulls meanwhile.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
/// Four times what is let through, and several times what the server does with one core.
const FLOOD: Rate = Rate { per_second: 4000, connections: 16 };
/// What an address may, far more than the other asks for.
const ALLOWED: &str = "1000/s";
/// GETs before each case: connections are open and manifests in memory. Within what is allowed at once.
const WARM: u64 = 320;

/// Measures both.
pub async fn run(programs: &Programs, sizes: Sizes) -> Result<Vec<Sample>, BenchError> {
    let mut samples = told_to_wait(programs, sizes, "false", "bans off").await?;
    samples.extend(told_to_wait(programs, sizes, "true", "bans on").await?);
    Ok(samples)
}

async fn told_to_wait(
    programs: &Programs,
    sizes: Sizes,
    bans: &'static str,
    words: &str,
) -> Result<Vec<Sample>, BenchError> {
    let mut programs = programs.clone();
    programs.environment.extend([
        ("PIERHEAD_PROTECTION_TRUSTED", ""),
        ("PIERHEAD_PROTECTION_ADDRESS_READ", ALLOWED),
        ("PIERHEAD_PROTECTION_FLOOD_FACTOR", "1"),
        ("PIERHEAD_PROTECTION_FLOOD_WINDOW", "1s"),
        ("PIERHEAD_PROTECTION_BANS", bans),
    ]);
    let server = Server::start(Kind::Pierhead, &programs, None).await?;
    let target = Arc::new(server.target().coming_from(OTHER));
    let bench = Bench { target, pid: server.pid(), sizes, pool: Pool::new(1, Filling::Random), seed: 1 };
    let gets = Arc::new(manifests::prepare(&bench, &Method::GET).await?);
    let what = format!("GET by tag, {} a second", GETS.per_second);
    bench.fill(&gets, WARM).await?;
    let (alone, ()) = measure(&bench, format!("{what}, alone ({words})"), &gets, span(sizes)).await?;
    let flood = Arc::new(Flood::of(&bench)?);
    let flooder = Arc::new(server.target().coming_from(FLOODER));
    let case = format!("{what}, beside a flood of {} a second ({words})", FLOOD.per_second);
    let flooding = open_loop(&flooder, &flood, FLOOD, span(sizes));
    let (beside, _) = measure(&bench, case, &gets, flooding).await?;
    server.end(End::Stop).await?;
    let beside = flood.facts(times_alone(beside, &alone));
    Ok(vec![alone, beside])
}

async fn span(sizes: Sizes) -> Result<(), BenchError> {
    tokio::time::sleep(Duration::from_secs_f64(sizes.seconds)).await;
    Ok(())
}

/// Asks for one manifest and counts what is answered.
struct Flood {
    call: Call,
    served: AtomicU64,
    told: AtomicU64,
    banned: AtomicU64,
    bytes: AtomicU64,
}

impl Flood {
    fn of(bench: &Bench) -> Result<Self, BenchError> {
        let call = protocol::ask_manifest(Method::GET, &bench.repository("manifests"), "v0")?;
        let [served, told, banned, bytes] = Default::default();
        Ok(Self { call, served, told, banned, bytes })
    }

    fn facts(&self, sample: Sample) -> Sample {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let sample = sample.fact("flooder: 200", of(&self.served)).fact("flooder: 429", of(&self.told));
        sample.fact("flooder: 403", of(&self.banned)).fact("flooder: bytes of bodies", of(&self.bytes))
    }
}

impl Operation for Flood {
    async fn run(&self, connection: &mut Connection, _: u64) -> Result<(), BenchError> {
        let (status, reply) = connection.try_ask(&self.call, Payload::EMPTY).await?;
        let count = match status {
            StatusCode::OK => &self.served,
            StatusCode::TOO_MANY_REQUESTS => &self.told,
            StatusCode::FORBIDDEN => &self.banned,
            _ => return Err(BenchError::content(self.call.what(), format!("{status} to a flood"))),
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(reply.body.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}
