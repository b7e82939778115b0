//! `/api/v1/bans` and `/api/v1/ban-exemptions`: who may not come in, and who is held to nothing.

use std::borrow::Cow;
use std::net::IpAddr;

use pierhead_storage_format::identity::Id;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::errors::{Failure, Kind};
use super::query::Limit;
use super::reply::{Page, Removed, Reply, time};
use super::text::{Description, Time};
use super::{Admin, Call};
use crate::config::Cidr;
use crate::services::guard::{Ban, Exempted, Exemption, Guard, Network, Subject};

/// How a subject is written.
pub struct SubjectText;

impl JsonSchema for SubjectText {
    fn schema_name() -> Cow<'static, str> {
        "Subject".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 255,
            "description": "An address (`192.0.2.7`; of IPv6 its /64), for an exemption also a network (`10.0.0.0/8`), \
                            or a user: `user:NAME` of the only account or the operator's, `user:ACCOUNT/NAME`, `user:ID`.",
        })
    }
}

/// A ban.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct BanView {
    /// `192.0.2.7`, `2001:db8::/64`, `user:acme/anna`.
    pub subject: String,
    /// What for.
    #[schemars(extend("enum" = ["flood", "failed_sign_ins", "invalid_tokens", "parallel_uploads", "administrator"]))]
    pub reason: String,
    /// When it began, RFC 3339.
    #[schemars(with = "Time")]
    pub since: String,
    /// When it ends, RFC 3339.
    #[schemars(with = "Time")]
    pub until: String,
    /// It holds now. One that ended makes the next one longer for a while.
    pub holds: bool,
    /// The number in a row.
    pub times: u64,
    /// Who said so.
    pub by: String,
    /// What was written beside it.
    pub note: String,
}

impl From<Ban> for BanView {
    fn from(ban: Ban) -> Self {
        Self {
            subject: ban.subject,
            reason: ban.reason.to_owned(),
            since: time(ban.since),
            until: time(ban.until),
            holds: ban.holds,
            times: ban.times,
            by: ban.by,
            note: ban.note,
        }
    }
}

/// An exemption.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExemptionView {
    /// `10.0.0.0/8`, `user:acme/anna`.
    pub subject: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub since: String,
    /// Who said so.
    pub by: String,
    /// What was written beside it.
    pub note: String,
}

impl From<Exemption> for ExemptionView {
    fn from(exemption: Exemption) -> Self {
        let Exemption { subject, since, by, note } = exemption;
        Self { subject, since: time(since), by, note }
    }
}

/// Which bans are listed.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BansQuery {
    /// Items at most, 1 to 1,000.
    limit: Limit,
    /// The `next` of the page before.
    after: Option<String>,
}

/// A new ban.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBanBody {
    /// Whom.
    #[schemars(with = "SubjectText")]
    subject: String,
    /// How long, milliseconds; as the settings say if not given.
    #[serde(default)]
    duration_ms: Option<u64>,
    /// Shown beside it.
    #[serde(default)]
    #[schemars(with = "Description")]
    note: String,
}

/// A new exemption.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewExemptionBody {
    /// Whom.
    #[schemars(with = "SubjectText")]
    subject: String,
    /// Shown beside it.
    #[serde(default)]
    #[schemars(with = "Description")]
    note: String,
}

fn wrong(text: &str) -> Failure {
    let why = "is no address or network, nor user:NAME, user:ACCOUNT/NAME or user:ID";
    Failure::about(Kind::Invalid, format!("subject {text:?} {why}"))
}

/// The user that `user:` names; one that is gone by his id.
fn user(admin: &Admin, name: &str) -> Result<Id, Failure> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let identity = &admin.0.services.identity;
    let (account, name) = match name.split_once('/') {
        Some((account, name)) => (identity.find_account(account)?, name),
        None => {
            let directory = admin.0.services.access.directory();
            return directory.plain_user_named(name).ok_or_else(|| wrong(&format!("user:{name}")));
        }
    };
    Ok(identity.find_user(account, name)?)
}

fn subject(admin: &Admin, text: &str) -> Result<Subject, Failure> {
    if let Some(name) = text.strip_prefix("user:") {
        return user(admin, name).map(Subject::User);
    }
    // A /64 of IPv6 is written as such, and one IPv4 address may be.
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().map_err(|_| wrong(text))?;
    let whole = match address {
        IpAddr::V4(_) => "32",
        IpAddr::V6(_) => "64",
    };
    match bits {
        None => Ok(Guard::subject_of(address)),
        Some(bits) if bits == whole => Ok(Guard::subject_of(address)),
        Some(_) => {
            let why = "bans are of one address, or one /64 of IPv6; networks can only be exempt";
            Err(Failure::about(Kind::Invalid, format!("subject {text:?}: {why}")))
        }
    }
}

fn exempted(admin: &Admin, text: &str) -> Result<Exempted, Failure> {
    if let Some(name) = text.strip_prefix("user:") {
        return user(admin, name).map(Exempted::User);
    }
    let network: Cidr = text.parse().map_err(|why| match text.split_once('/') {
        Some(_) => Failure::about(Kind::Invalid, format!("subject {text:?}: {why}")),
        None => wrong(text),
    })?;
    let (start, bits) = network.in_v6();
    Ok(Exempted::Network(Network::new(start, bits)))
}

/// A page of bans, those that ended and are not forgotten included.
pub async fn list(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let query: BansQuery = call.query()?;
    let after = query.after.as_deref().map(|after| subject(admin, after)).transpose()?;
    let (bans, more) = admin.0.services.guard.bans(&call.permit, after, query.limit.0)?;
    let next = bans.last().filter(|_| more).map(|last| match last.key {
        Subject::User(id) => format!("user:{id}"),
        Subject::Address(_) => last.subject.clone(),
    });
    Ok(Reply::ok(&Page { items: bans.into_iter().map(BanView::from).collect(), next }))
}

/// Bans somebody.
pub async fn create(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let NewBanBody { subject: whom, duration_ms, note } = call.body()?;
    let whom = subject(admin, &whom)?;
    let ban = admin.0.services.guard.ban(&call.permit, whom, duration_ms, note).await?;
    Ok(Reply::ok(&BanView::from(ban)))
}

/// Lifts a ban.
pub async fn lift(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let whom = subject(admin, call.param("subject"))?;
    Ok(Reply::ok(&Removed { removed: admin.0.services.guard.lift(&call.permit, whom).await? }))
}

/// Every exemption.
pub async fn exemptions(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let exemptions = admin.0.services.guard.exemptions(&call.permit)?;
    Ok(Reply::ok(&Page::whole(exemptions.into_iter().map(ExemptionView::from))))
}

/// Exempts somebody.
pub async fn exempt(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let NewExemptionBody { subject: whom, note } = call.body()?;
    let whom = exempted(admin, &whom)?;
    let exemption = admin.0.services.guard.exempt(&call.permit, whom, note).await?;
    Ok(Reply::ok(&ExemptionView::from(exemption)))
}

/// Ends an exemption.
pub async fn end_exemption(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let whom = exempted(admin, call.param("subject"))?;
    Ok(Reply::ok(&Removed { removed: admin.0.services.guard.end_exemption(&call.permit, whom).await? }))
}
