//! Rates, bans and upload slots: one greedy or hostile client never harms the others.
//!
//! Words: a request has a *class*; it comes *from* an address, which counts with its /64 if it is of IPv6, and, once
//! somebody signed in, is a *user*'s of an account; a *subject* (address or user) may be *banned* for a time; a *strike* is
//! a wrong credential that was not tried before.
//!
//! - P1: who comes is asked about before a body is read and before signing in costs anything ([`Guard::enter`]), and
//!   again when it is known who he is ([`Guard::user`]).
//! - P2: neither being refused (429) nor waiting for an upload slot is an offence. A flood is: refused requests beyond `flood_factor` times what the rate lets
//!   through in `flood_window`. The anonymous probe of `/v2/` is limited like anything, never counts
//!   as an offence, and is answered to who is banned, too: clients show the reason at what they ask next.
//! - P3: what is done from an address is held against that address; a user is banned by the appliance only for floods
//!   that he sent signed in, so that guessing a password locks nobody else out.
//! - P4: a wrong credential counts once, however often it is tried.
//! - P5: memory is bounded: buckets, strikes and bans each have a most; uploads in flight are as many as connections allow.
//! - P6: a ban holds from the moment it is made, and is durable moments later, or as soon as it can be written; the request
//!   that runs may end.
//!
//! What [`Guard::enter`] costs, unoptimised on a busy core: 2.4 µs with 10,000 addresses about, 7.4 with 100 networks
//! exempt besides, 9.7 with 50,000 bans besides (a test prints it); nothing of it waits or touches the disk.
//!
//! Knows nothing of HTTP. `rules` are the settings, `limits` the rates, `strikes` the wrong credentials, `book` who is
//! banned or exempt now, `durable` writes it down, `asking` is for administrators; [`slots`] lets each account have so
//! many uploads under way at once.

mod asking;
mod book;
mod durable;
mod limits;
mod rules;
pub mod slots;
mod strikes;
#[cfg(test)]
mod tests;
mod uploads;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use pierhead_storage_format::identity::Id;
pub use pierhead_storage_format::protection::BanKey as Subject;
use pierhead_storage_format::protection::BanReason;
use tokio::sync::Semaphore;

pub use self::asking::{Ban, Exempted, Exemption};
pub use self::rules::{Class, Options};
pub use self::uploads::Uploading;
pub use super::network::Network;

use self::book::Book;
use self::limits::{Limits, Taken};
use self::strikes::{Offence, Strikes};
use self::uploads::Uploads;
use super::access::Access;
use super::audit::Audit;
use super::error::Error;
use super::network::of as network_of;
use crate::seams::{Clock, Random, tasks};
use crate::stores::meta::Meta;

/// Bans that are written down as they are made; those beyond wait for the job that writes the rest.
const UNWRITTEN: usize = 64;

/// What the service works with.
pub struct Parts {
    /// Rows.
    pub meta: Meta,
    /// Who there is.
    pub access: Access,
    /// Bans are recorded.
    pub audit: Audit,
    /// The wall clock, and the one that does not jump.
    pub clock: Arc<dyn Clock>,
    /// Makes the key that credentials are remembered under.
    pub random: Arc<dyn Random>,
    /// What the settings decide.
    pub options: Options,
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    meta: Meta,
    access: Access,
    audit: Audit,
    clock: Arc<dyn Clock>,
    options: ArcSwap<Options>,
    limits: Limits,
    strikes: Strikes,
    uploads: Uploads,
    book: Book,
    counts: Counts,
    /// Held while rows are changed, so that rows and `book` are changed in one order.
    writing: tokio::sync::Mutex<()>,
    unwritten: Arc<Semaphore>,
}

/// Since the start.
#[derive(Default)]
struct Counts {
    limited: [AtomicU64; Class::ALL.len()],
    ceiling: AtomicU64,
    turned_away: AtomicU64,
    bans: AtomicU64,
    /// Bans that were not made: there were too many.
    lost: AtomicU64,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Where it comes from, or whose it is, is banned.
    #[error("banned")]
    Banned,
    /// There were too many; after so many milliseconds one is taken.
    #[error("too many requests; the next is taken in {0} ms")]
    Limited(u64),
}

impl Refused {
    /// Whole seconds after which it makes sense to try again; none if waiting does not help.
    pub const fn retry_after(self) -> Option<u64> {
        match self {
            Self::Banned => None,
            Self::Limited(ms) => Some(ms.div_ceil(1000)),
        }
    }
}

/// A request as far as it is known before anybody looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Asks {
    /// What is asked.
    pub class: Class,
    /// It brings a password, which costs a while to check.
    pub signs_in: bool,
    /// It is the anonymous probe of `/v2/`.
    pub is_probe: bool,
}

/// A credential that was not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A name and what should prove it.
    Login,
    /// A token that was never given.
    Token,
}

/// How it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Subjects banned now.
    pub banned: u64,
    /// Exemptions.
    pub exemptions: u64,
    /// Since the start: requests over a rate, by class.
    pub limited: [u64; Class::ALL.len()],
    /// Since the start: requests over the ceiling.
    pub ceiling: u64,
    /// Since the start: requests of who was banned.
    pub turned_away: u64,
    /// Since the start: bans made by the appliance itself.
    pub bans: u64,
    /// Since the start: bans that were not made, because there were too many.
    pub lost: u64,
    /// Bans that are in memory alone for now.
    pub unwritten: u64,
    /// Addresses, users and accounts that are kept in mind.
    pub keys: u64,
}

impl Guard {
    /// Reads who is banned and who is exempt. Blocks.
    pub fn open(parts: Parts) -> Result<Self, Error> {
        let Parts { meta, access, audit, clock, random, options } = parts;
        let mut key = [0; 32];
        random.fill(&mut key).map_err(|_| Error::Bug("the host gives no random bytes"))?;
        let limits = Limits::new(&clock);
        limits.set(&options);
        let book = Book::load(&meta)?;
        Ok(Self(Arc::new(Inner {
            limits,
            book,
            strikes: Strikes::new(key),
            uploads: Uploads::default(),
            options: ArcSwap::from_pointee(options),
            counts: Counts::default(),
            writing: tokio::sync::Mutex::default(),
            unwritten: Arc::new(Semaphore::new(UNWRITTEN)),
            meta,
            access,
            audit,
            clock,
        })))
    }

    /// Other settings from now on. Nobody's bucket is filled, no ban ends.
    pub fn set(&self, options: Options) {
        self.0.limits.set(&options);
        self.0.options.store(Arc::new(options));
    }

    /// Whether a request may come in, by where it comes from.
    pub fn enter(&self, from: IpAddr, asks: Asks) -> Result<(), Refused> {
        if self.trusts(from) {
            return Ok(());
        }
        let (network, inner) = (network_of(from), &self.0);
        // The probe opens nothing, and clients that are refused at it do not show why.
        if !asks.is_probe {
            self.admitted(Subject::Address(network))?;
        }
        if asks.signs_in && asks.class != Class::SignIn {
            let looked = inner.limits.address.look(&network, Class::SignIn);
            looked.map_err(|wait| self.limited(Class::SignIn, wait.0))?;
        }
        match inner.limits.address.take(&network, asks.class, !asks.is_probe) {
            Taken::Yes => {}
            Taken::No(wait) => return Err(self.limited(asks.class, wait)),
            Taken::Flood(wait) => {
                self.offends(Subject::Address(network), BanReason::Flood);
                return Err(self.limited(asks.class, wait));
            }
        }
        inner.limits.ceiling.take(&()).map_err(|wait| {
            inner.counts.ceiling.fetch_add(1, Ordering::Relaxed);
            Refused::Limited(wait.0)
        })
    }

    /// Whether a request may go on, now that it is known whose it is.
    pub fn user(&self, user: Id, from: Option<IpAddr>, class: Class) -> Result<(), Refused> {
        self.admitted(Subject::User(user))?;
        if from.is_some_and(|from| self.trusts(from)) || self.0.book.exempts_user(user) {
            return Ok(());
        }
        let limits = &self.0.limits;
        match limits.user.take(&user, class, true) {
            Taken::Yes => {}
            Taken::No(wait) => return Err(self.limited(class, wait)),
            Taken::Flood(wait) => {
                self.offends(Subject::User(user), BanReason::Flood);
                return Err(self.limited(class, wait));
            }
        }
        let account = self.0.access.directory().user(user).map(|user| user.account);
        match account.map_or(Taken::Yes, |account| limits.account.take(&account, class, false)) {
            Taken::Yes => Ok(()),
            Taken::No(wait) | Taken::Flood(wait) => Err(self.limited(class, wait)),
        }
    }

    /// A credential that came from there was not good. `parts` are all of it; it is not kept. `is_charged` if the
    /// request was let in as a sign-in, and paid as one.
    pub fn wrong(&self, from: IpAddr, what: Wrong, parts: &[&[u8]], is_charged: bool) {
        if self.trusts(from) {
            return;
        }
        let (network, inner) = (network_of(from), &self.0);
        if !is_charged {
            // Whether it is refused is for the next one to find out.
            let _ = inner.limits.address.take(&network, Class::SignIn, false);
        }
        let options = inner.options.load();
        let offence = match what {
            Wrong::Login => Offence::Login { most: options.failed_sign_ins },
            Wrong::Token => Offence::Token { most: options.invalid_tokens },
        };
        let now = inner.clock.monotonic_ms();
        if inner.strikes.add(network, offence, parts, now, options.strike_window_ms) {
            self.offends(Subject::Address(network), offence.reason());
        }
    }

    /// An upload from there is received until what this gives is dropped. One that waits for its slot is not.
    pub fn uploading(&self, from: IpAddr) -> Uploading {
        let network = network_of(from);
        let at_once = self.0.uploads.begin(network);
        if at_once > self.0.options.load().parallel_uploads && !self.trusts(from) {
            self.offends(Subject::Address(network), BanReason::ParallelUploads);
        }
        Uploading::new(self.clone(), network)
    }

    fn ended(&self, network: Ipv6Addr) {
        self.0.uploads.end(network);
    }

    /// Whether an address is held to nothing.
    fn trusts(&self, from: IpAddr) -> bool {
        self.0.options.load().trusted.iter().any(|network| network.contains(from))
            || self.0.book.exempts_address(from)
    }

    fn admitted(&self, subject: Subject) -> Result<(), Refused> {
        if !self.0.book.bans(subject, || self.0.clock.now_ms()) {
            return Ok(());
        }
        self.0.counts.turned_away.fetch_add(1, Ordering::Relaxed);
        Err(Refused::Banned)
    }

    fn limited(&self, class: Class, wait: u64) -> Refused {
        self.0.counts.limited[class as usize].fetch_add(1, Ordering::Relaxed);
        Refused::Limited(wait)
    }

    /// Bans a subject, if the settings say so: at once here, and soon in the store.
    fn offends(&self, subject: Subject, reason: BanReason) {
        let (inner, options) = (&self.0, self.0.options.load());
        if !options.bans {
            return;
        }
        let Some(ban) = inner.book.add(subject, reason, &options.terms(), inner.clock.now_ms()) else {
            inner.counts.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let Some(ban) = ban else { return }; // somebody was faster
        inner.counts.bans.fetch_add(1, Ordering::Relaxed);
        if let Subject::Address(network) = subject {
            inner.strikes.forget(network);
        }
        tracing::warn!(
            subject = %self.named(subject), ?reason, times = ban.times, ms = ban.until - ban.since, "banned"
        );
        let Ok(turn) = Arc::clone(&inner.unwritten).try_acquire_owned() else { return };
        let guard = self.clone();
        tasks::aside(async move {
            if let Err(error) = guard.write_down(subject).await {
                tracing::warn!(%error, "a ban is in memory alone; writing it is tried again");
            }
            drop(turn);
        });
    }

    /// How it is.
    pub fn facts(&self) -> Facts {
        let (inner, count) = (&self.0, |counter: &AtomicU64| counter.load(Ordering::Relaxed));
        let (banned, exemptions) = inner.book.counts(inner.clock.now_ms());
        Facts {
            banned,
            exemptions,
            limited: inner.counts.limited.each_ref().map(count),
            ceiling: count(&inner.counts.ceiling),
            turned_away: count(&inner.counts.turned_away),
            bans: count(&inner.counts.bans),
            lost: count(&inner.counts.lost),
            unwritten: inner.book.count_unwritten() as u64,
            keys: (inner.limits.keys() + inner.strikes.len()) as u64,
        }
    }
}
