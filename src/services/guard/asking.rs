//! What administrators see and do. Rows are durable before they hold here, and before the answer.

use std::net::IpAddr;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::UserKey;
use pierhead_storage_format::protection::{
    BanExemptionKey, BanExemptionRecord, BanKey, BanReason, BanRecord,
};

use super::book::{MOST, next_times};
use super::durable::reason;
use super::{Facts, Guard, Network, Subject};
use crate::services::access::{Action, Permit};
use crate::services::error::{Error, Thing};
use crate::services::network::around;

/// Exemptions there may be: every request is compared with the networks among them.
const EXEMPTIONS: usize = 1000;
/// The longest ban an administrator makes: ten years.
const LONGEST_MS: u64 = 10 * 366 * 86_400_000;
/// Characters of a note.
const NOTE: usize = 255;

/// A ban as it is shown. Times are UTC milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// `192.0.2.7`, `2001:db8::/64`, `user:acme/anna`.
    pub subject: String,
    /// What for: `flood`, `failed_sign_ins`, `invalid_tokens`, `parallel_uploads`, `administrator`.
    pub reason: &'static str,
    /// When it began.
    pub since: u64,
    /// When it ends.
    pub until: u64,
    /// It holds now; one that ended makes the next one longer for a while.
    pub holds: bool,
    /// The number in a row.
    pub times: u64,
    /// Who said so.
    pub by: String,
    /// What was written beside it.
    pub note: String,
    /// For the next page.
    pub key: Subject,
}

/// An exemption as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemption {
    /// `10.0.0.0/8`, `user:acme/anna`.
    pub subject: String,
    /// Since when, UTC milliseconds.
    pub since: u64,
    /// Who said so.
    pub by: String,
    /// What was written beside it.
    pub note: String,
}

impl Guard {
    /// The subject that an address is.
    pub fn subject_of(address: IpAddr) -> Subject {
        BanKey::Address(super::network_of(address))
    }

    /// Up to `limit` bans after `after`, those that ended and are not forgotten included, and whether there are more.
    pub fn bans(
        &self,
        permit: &Permit,
        after: Option<Subject>,
        limit: usize,
    ) -> Result<(Vec<Ban>, bool), Error> {
        self.covers(permit, Action::ListBans)?;
        let now = self.0.clock.now_ms();
        let mut found = self.0.book.page(after, limit.saturating_add(1), |_, _| true);
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found.into_iter().map(|(subject, ban)| self.shown(subject, ban, now)).collect(), more))
    }

    /// How it is, and up to `most` of those who are banned now, who was banned last first. For the status.
    pub fn standing(&self, permit: &Permit, most: usize) -> Result<(Facts, Vec<Ban>), Error> {
        self.covers(permit, Action::ReadStatus)?;
        let now = self.0.clock.now_ms();
        let newest = self.0.book.newest(now, most).into_iter();
        Ok((self.facts(), newest.map(|(subject, ban)| self.shown(subject, ban, now)).collect()))
    }

    /// Bans a subject for so many milliseconds, or as long as the settings say; one that is banned from now on anew.
    pub async fn ban(
        &self,
        permit: &Permit,
        subject: Subject,
        lasts: Option<u64>,
        note: String,
    ) -> Result<Ban, Error> {
        self.covers(permit, Action::ManageBans)?;
        let note = checked(note)?;
        if lasts.is_some_and(|ms| !(1000..=LONGEST_MS).contains(&ms)) {
            let why = "a ban lasts a second at least and ten years at most".to_owned();
            return Err(Error::Invalid { field: "duration_ms", why });
        }
        let inner = &self.0;
        let _alone = inner.writing.lock().await;
        if inner.book.exempts(subject) {
            let why = format!("{} is exempt from bans; end that first", self.named(subject));
            return Err(Error::Invalid { field: "subject", why });
        }
        if let Some(network) = self.trusted_around(subject) {
            let name = self.named(subject);
            let why = format!(
                "{name} is in protection.trusted ({network}), which no ban holds for; take that out first"
            );
            return Err(Error::Invalid { field: "subject", why });
        }
        let (now, before, terms) =
            (inner.clock.now_ms(), inner.book.get(subject), inner.options.load().terms());
        if before.is_none() && inner.book.len() >= MOST {
            return Err(Error::Limit { what: "bans", limit: MOST as u64 });
        }
        let times = next_times(before.as_ref(), &terms, now);
        let until = now.saturating_add(lasts.unwrap_or_else(|| terms.lasts(times)));
        let (reason, by) = (BanReason::Administrator, self.who(permit));
        let ban = BanRecord { since: now, until, times, reason, by, note };
        let record = ban.clone();
        let done = inner.access.commit(&inner.meta, permit, move |tx| Ok(tx.put(&subject, &record)?));
        done.await?;
        inner.book.set(subject, Some(ban.clone()));
        inner.book.written(subject, Some(&ban));
        Ok(self.shown(subject, ban, now))
    }

    /// Ends a ban and forgets it, and what led to it.
    pub async fn lift(&self, permit: &Permit, subject: Subject) -> Result<String, Error> {
        self.covers(permit, Action::ManageBans)?;
        let inner = &self.0;
        let _alone = inner.writing.lock().await;
        let name = self.named(subject);
        if inner.book.get(subject).is_none() {
            return Err(Error::Missing(Thing::Ban(name)));
        }
        inner.access.commit(&inner.meta, permit, move |tx| Ok(tx.delete(&subject)?)).await?;
        inner.book.set(subject, None);
        if let BanKey::Address(network) = subject {
            inner.strikes.forget(network);
        }
        Ok(name)
    }

    /// Every exemption.
    pub fn exemptions(&self, permit: &Permit) -> Result<Vec<Exemption>, Error> {
        self.covers(permit, Action::ListBans)?;
        let rows = self.0.book.exemptions();
        Ok(rows.into_iter().map(|(key, record)| self.shown_exemption(key, record)).collect())
    }

    /// Exempts a network or user from rates, and from bans that the appliance would make itself.
    pub async fn exempt(&self, permit: &Permit, who: Exempted, note: String) -> Result<Exemption, Error> {
        self.covers(permit, Action::ManageBans)?;
        let (note, inner, key) = (checked(note)?, &self.0, who.key());
        let _alone = inner.writing.lock().await;
        let rows = inner.book.exemptions();
        if rows.len() >= EXEMPTIONS && !rows.contains_key(&key) {
            return Err(Error::Limit { what: "exemptions", limit: EXEMPTIONS as u64 });
        }
        let record = BanExemptionRecord { since: inner.clock.now_ms(), by: self.who(permit), note };
        let put = record.clone();
        inner.access.commit(&inner.meta, permit, move |tx| Ok(tx.put(&key, &put)?)).await?;
        inner.book.set_exemption(key, Some(record.clone()));
        Ok(self.shown_exemption(key, record))
    }

    /// Ends an exemption.
    pub async fn end_exemption(&self, permit: &Permit, who: Exempted) -> Result<String, Error> {
        self.covers(permit, Action::ManageBans)?;
        let (inner, key) = (&self.0, who.key());
        let _alone = inner.writing.lock().await;
        let name = self.exempted(key);
        if !inner.book.exemptions().contains_key(&key) {
            return Err(Error::Missing(Thing::Exemption(name)));
        }
        inner.access.commit(&inner.meta, permit, move |tx| Ok(tx.delete(&key)?)).await?;
        inner.book.set_exemption(key, None);
        Ok(name)
    }

    /// The trusted network that all of a subject is in, so that a ban of it would be none.
    fn trusted_around(&self, subject: Subject) -> Option<Network> {
        let BanKey::Address(start) = subject else { return None };
        let whole = around(start);
        self.0.options.load().trusted.iter().find(|network| network.covers(&whole)).copied()
    }

    fn covers(&self, permit: &Permit, action: Action) -> Result<(), Error> {
        match permit.covers_registry(action) {
            true => Ok(()),
            false => Err(Error::Bug("a permit for something else")),
        }
    }

    fn shown(&self, subject: Subject, ban: BanRecord, now: u64) -> Ban {
        let BanRecord { since, until, times, reason: why, by, note } = ban;
        let (named, reason) = (self.named(subject), reason(why));
        Ban { subject: named, reason, since, until, holds: until > now, times, by, note, key: subject }
    }

    fn shown_exemption(&self, key: BanExemptionKey, record: BanExemptionRecord) -> Exemption {
        let BanExemptionRecord { since, by, note } = record;
        Exemption { subject: self.exempted(key), since, by, note }
    }

    fn exempted(&self, key: BanExemptionKey) -> String {
        match key {
            BanExemptionKey::Network(start, bits) => Network::new(start, bits).to_string(),
            BanExemptionKey::User(id) => self.user_named(id),
        }
    }

    /// `user:acme/anna`; by id if he is gone.
    pub(super) fn user_named(&self, id: Id) -> String {
        let directory = self.0.access.directory();
        let user = directory.user(id);
        let account = user.and_then(|user| directory.account(user.account));
        match user.zip(account) {
            Some((user, account)) => format!("user:{}/{}", account.name, user.name),
            None => format!("user:{id}"),
        }
    }

    /// Whether no such user is left. An id is never used again. The directory alone does not tell: one that could
    /// not be read has nobody.
    pub(super) fn is_gone(&self, user: Id) -> bool {
        let unknown = self.0.access.directory().user(user).is_none();
        unknown && matches!(self.0.meta.get(&UserKey { id: user }), Ok(None))
    }

    /// Who asks, as it is kept: short.
    fn who(&self, permit: &Permit) -> String {
        let actor = permit.actor();
        let user = match actor {
            crate::services::access::Actor::User(id) => Some(self.user_named(*id)),
            _ => None,
        };
        let mut name = user.unwrap_or_else(|| actor.to_string());
        name.truncate(name.floor_char_boundary(255));
        name
    }
}

/// Who is exempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exempted {
    /// A network.
    Network(Network),
    /// A user.
    User(Id),
}

impl Exempted {
    fn key(self) -> BanExemptionKey {
        match self {
            Self::Network(network) => {
                let (start, bits) = network.parts();
                BanExemptionKey::Network(start, bits)
            }
            Self::User(id) => BanExemptionKey::User(id),
        }
    }
}

fn checked(note: String) -> Result<String, Error> {
    if note.chars().count() > NOTE || note.chars().any(char::is_control) {
        let why = format!("at most {NOTE} characters, none of them control characters");
        return Err(Error::Invalid { field: "note", why });
    }
    Ok(note)
}
