//! `…/repositories/{repository}/access-domains`: other accounts that may pull an image.
//!
//! A share lasts to the end of the day it names, UTC: that day is what is shown of it. What is not shared
//! with an account that is not known is not told apart from what is not shared with one that is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::errors::{Failure, Kind};
use super::reply::{Reply, time};
use super::{Call, Swr, rest};
use crate::services::error::{Error, Thing};
use crate::services::names::RepositoryName;
use crate::services::organisations::{Share, ShareTerms};

/// The only thing others may be let do.
const PERMIT: &str = "read";
const FOREVER: &str = "forever";
const DAY: u64 = 86_400_000;

#[derive(Serialize)]
struct ShareView {
    namespace: String,
    repository: String,
    access_domain: String,
    permit: &'static str,
    deadline: String,
    description: String,
    creator_id: String,
    creator_name: String,
    created: String,
    updated: String,
    /// It has not ended.
    status: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exist: Option<bool>,
}

impl ShareView {
    fn new(name: &RepositoryName, share: Share) -> Self {
        let (creator, creator_name) = share.creator;
        Self {
            namespace: name.organisation().to_owned(),
            repository: rest(name).to_owned(),
            access_domain: share.account_name,
            permit: PERMIT,
            deadline: share.terms.until.map_or_else(|| FOREVER.to_owned(), shown),
            description: share.terms.description,
            creator_id: creator.to_string(),
            creator_name: creator_name.unwrap_or_default(),
            created: time(share.created_at),
            updated: time(share.updated_at),
            status: share.valid,
            exist: None,
        }
    }
}

#[derive(Deserialize)]
struct NewBody {
    access_domain: String,
    #[serde(flatten)]
    terms: TermsBody,
}

#[derive(Deserialize)]
struct TermsBody {
    permit: String,
    deadline: String,
    #[serde(default)]
    description: Option<String>,
}

impl TermsBody {
    fn terms(self) -> Result<ShareTerms, Failure> {
        if self.permit != PERMIT {
            return Err(Failure::new(Kind::PermissionInvalid));
        }
        let until = match self.deadline.as_str() {
            FOREVER => None,
            text => Some(end_of_day(text).ok_or_else(|| {
                Failure::about(Kind::Invalid, format!("deadline: {text:?} is neither a UTC time nor forever"))
            })?),
        };
        Ok(ShareTerms { until, description: self.description.unwrap_or_default() })
    }
}

/// The end of the day that a time, or a date alone, is in.
fn end_of_day(text: &str) -> Option<u64> {
    let at: Timestamp = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse()).ok()?;
    let ms = u64::try_from(at.as_millisecond()).ok()?;
    (ms / DAY).checked_add(1)?.checked_mul(DAY)
}

/// The day at whose end a share ends, as it was sent; one that ends within a day ends then.
fn shown(until: u64) -> String {
    let at = if until.is_multiple_of(DAY) { until.saturating_sub(DAY) } else { until };
    let at = i64::try_from(at).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    format!("{:.0}", at.unwrap_or(Timestamp::MAX))
}

/// The accounts an image is shared with.
pub async fn list(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let name = call.repository()?;
    swr.facts(&call, name)?;
    let shares = swr.0.organisations.shares(&call.permit)?;
    let views: Vec<ShareView> = shares.into_iter().map(|share| ShareView::new(name, share)).collect();
    Ok(Reply::ok(&views))
}

/// Shares an image.
pub async fn create(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let NewBody { access_domain, terms } = call.body()?;
    let terms = terms.terms()?;
    let account = swr.0.identity.find_account(&access_domain)?;
    swr.0.organisations.share(&call.permit, account, terms).await?;
    Ok(Reply::created())
}

/// What is so with one account; `exist` tells whether there is a share.
pub async fn show(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let (name, domain) = (call.repository()?, call.param("access_domain"));
    swr.facts(&call, name)?;
    let share = match swr.0.identity.find_account(domain) {
        Ok(account) => swr.0.organisations.show_share(&call.permit, account)?,
        Err(_) => None,
    };
    let Some(share) = share else {
        return Ok(Reply::ok(&json!({
            "namespace": name.organisation(), "repository": rest(name), "access_domain": domain,
            "permit": "", "deadline": "", "description": "", "creator_id": "", "creator_name": "",
            "status": false, "exist": false,
        })));
    };
    Ok(Reply::ok(&ShareView { exist: Some(true), ..ShareView::new(name, share) }))
}

/// Changes the terms, all of them.
pub async fn update(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let terms = call.body::<TermsBody>()?.terms()?;
    let account = swr.sharer(&call)?;
    swr.0.organisations.reshare(&call.permit, account, terms).await?;
    Ok(Reply::created())
}

/// Ends a share.
pub async fn delete(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let account = swr.sharer(&call)?;
    swr.0.organisations.unshare(&call.permit, account).await?;
    Ok(Reply::nothing())
}

impl Swr {
    /// The account of the path. One that is not known has nothing shared with it.
    fn sharer(&self, call: &Call<'_>) -> Result<pierhead_storage_format::identity::Id, Failure> {
        let domain = call.param("access_domain");
        let found = self.0.identity.find_account(domain);
        Ok(found.map_err(|_| Error::Missing(Thing::Share(domain.to_owned())))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_lasts_to_the_end_of_its_day_and_shows_that_day() {
        let cases = [
            ("2021-10-01T00:00:00Z", Some("2021-10-01T00:00:00Z")),
            ("2018-10-01T16:00:00.000Z", Some("2018-10-01T00:00:00Z")),
            ("2018-10-01T23:59:59.999+00:00", Some("2018-10-01T00:00:00Z")),
            ("2021-10-01", Some("2021-10-01T00:00:00Z")),
            ("tomorrow", None),
            ("", None),
            ("1969-12-31T00:00:00Z", None),
        ];
        for (text, expected) in cases {
            assert_eq!(end_of_day(text).map(shown).as_deref(), expected, "{text}");
        }
        assert_eq!(end_of_day("1970-01-01T12:00:00Z"), Some(DAY), "to the last moment of it");
        assert_eq!(shown(DAY + 1500), "1970-01-02T00:00:01Z", "set to a moment by somebody else");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_of_days_panic(text in "[0-9TZ:+. -]{0,30}") {
            if let Some(until) = end_of_day(&text) {
                proptest::prop_assert_eq!(end_of_day(&shown(until)), Some(until));
            }
        }
    }
}
