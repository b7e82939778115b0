//! The guard of a running appliance: opened after the trail, before anything listens; its settings can be read again.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::audit::rate;
use super::people::People;
use super::rooms::DISK_EVERY;
use super::store::Store;
use crate::causes;
use crate::config::{ProtectionSettings, Settings};
use crate::jobs::{Job, Jobs};
use crate::seams::{Clock, OsRandom};
use crate::services::access::{Access, Action, Actor, Permit, Resource};
use crate::services::audit::Audit;
use crate::services::error::Error;
use crate::services::guard::{Class, Guard, Network, Options, Parts};

/// How often bans that are forgotten are removed.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Opens it. Blocks.
pub fn open(
    settings: &Settings,
    store: &Store,
    people: &People,
    audit: &Audit,
    clock: Arc<dyn Clock>,
) -> Result<Guard, Error> {
    Guard::open(Parts {
        meta: store.meta.clone(),
        access: people.access.clone(),
        audit: audit.clone(),
        clock,
        random: Arc::new(OsRandom),
        options: options(&settings.protection),
    })
}

/// The settings as the guard has them.
pub fn options(settings: &ProtectionSettings) -> Options {
    let network = |network: &crate::config::Cidr| {
        let (start, bits) = network.in_v6();
        Network::new(start, bits)
    };
    let s = settings;
    Options {
        trusted: s.trusted.iter().map(network).collect(),
        ceiling: rate(s.ceiling),
        address: [s.address_sign_in, s.address_read, s.address_write, s.address_manage].map(rate),
        user: [s.user_sign_in, s.user_read, s.user_write, s.user_manage].map(rate),
        account: [s.account_sign_in, s.account_read, s.account_write, s.account_manage].map(rate),
        bans: s.bans,
        flood_factor: s.flood_factor,
        flood_window_ms: s.flood_window.as_ms(),
        failed_sign_ins: s.failed_sign_ins,
        invalid_tokens: s.invalid_tokens,
        strike_window_ms: s.strike_window.as_ms(),
        parallel_uploads: s.parallel_uploads,
        ban_ms: s.ban.as_ms(),
        longest_ban_ms: s.longest_ban.as_ms(),
        forget_ms: s.forget_bans.as_ms(),
    }
}

/// Lets `jobs` remove bans that are forgotten, and tell the metrics.
pub fn watch(guard: &Guard, access: &Access, gauges: &ProtectionGauges, jobs: &Jobs) {
    let (guard, access) = (guard.clone(), access.clone());
    let (counted, gauges) = (guard.clone(), gauges.clone());
    let job = Job::every("protection-metrics", "tells the metrics who is limited and banned", DISK_EVERY);
    jobs.every(job, move |_| {
        gauges.update(&counted);
        std::future::ready(Ok::<_, String>(String::new()))
    });
    let job = Job::every("bans", "writes bans that could not be, removes those forgotten", TIDY_EVERY);
    jobs.every(job, move |_| {
        let (guard, access) = (guard.clone(), access.clone());
        async move {
            match tidy(&guard, &access).await {
                Ok((0, 0)) => Ok(String::new()),
                Ok((written, removed)) => Ok(format!("wrote {written} bans, removed {removed}")),
                Err(error) => Err(causes::chain(&error)),
            }
        }
    });
}

/// Bans that are in memory alone are not forgotten by a stop in order.
pub async fn settle(guard: &Guard, access: &Access) {
    let written = match maintains(access) {
        Ok(permit) => guard.write_rest(&permit).await,
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        tracing::warn!(error = causes::chain(&error), "bans that were not written down are forgotten");
    }
}

fn maintains(access: &Access) -> Result<Permit, Error> {
    Ok(access.authorise(&Actor::System("guard"), Action::MaintainStore, Resource::Registry)?)
}

/// How many were written, and how many removed.
async fn tidy(guard: &Guard, access: &Access) -> Result<(usize, usize), Error> {
    let permit = maintains(access)?;
    let written = guard.write_rest(&permit).await?;
    Ok((written, guard.tidy(&permit).await?))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

/// What the guard counts, for `/metrics`. Clones are the same ones.
#[derive(Clone, Default)]
pub struct ProtectionGauges {
    banned: Gauge,
    exemptions: Gauge,
    keys: Gauge,
    limited: Family<ClassLabel, Gauge>,
    turned_away: Gauge,
    bans: Gauge,
    lost: Gauge,
    unwritten: Gauge,
}

impl ProtectionGauges {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("protection_banned", "Addresses and users banned now", self.banned.clone());
        registry.register("protection_exemptions", "Exemptions from bans and rates", self.exemptions.clone());
        registry.register("protection_keys", "Addresses, users and accounts kept in mind", self.keys.clone());
        let limited = "Requests over a rate since the start";
        registry.register("protection_limited", limited, self.limited.clone());
        let turned_away = "Requests since the start of who was banned";
        registry.register("protection_turned_away", turned_away, self.turned_away.clone());
        registry.register("protection_bans", "Bans the appliance made since the start", self.bans.clone());
        let lost = "Bans since the start that were not made: there were too many";
        registry.register("protection_bans_lost", lost, self.lost.clone());
        let unwritten = "Bans that are in memory alone for now";
        registry.register("protection_bans_unwritten", unwritten, self.unwritten.clone());
    }

    /// Brings them up to date.
    pub fn update(&self, guard: &Guard) {
        let clamp = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let facts = guard.facts();
        self.banned.set(clamp(facts.banned));
        self.exemptions.set(clamp(facts.exemptions));
        self.keys.set(clamp(facts.keys));
        let classes = Class::ALL.map(Class::name).into_iter().zip(facts.limited);
        for (class, count) in classes.chain([("ceiling", facts.ceiling)]) {
            self.limited.get_or_create(&ClassLabel { class }).set(clamp(count));
        }
        self.turned_away.set(clamp(facts.turned_away));
        self.bans.set(clamp(facts.bans));
        self.lost.set(clamp(facts.lost));
        self.unwritten.set(clamp(facts.unwritten));
    }
}
