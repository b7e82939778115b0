//! `/api/v1/audit`, and the same of one account: what was done.

use pierhead_storage_format::audit::{EventRecord, Rating};
use pierhead_storage_format::identity::Id;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::errors::{Failure, Kind};
use super::query::{Limit, parsed};
use super::reply::{Page, Reply, time};
use super::text::{IdText, Time};
use super::{Admin, Call};
use crate::services::audit::{Order, Search, Wanted};

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    /// 32 lower-case hex digits, in the order of time.
    #[schemars(with = "IdText")]
    pub trace_id: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub time: String,
    /// What was done.
    pub trace_name: String,
    /// `normal`, `warning` or `incident`.
    #[schemars(extend("enum" = ["normal", "warning", "incident"]))]
    pub trace_rating: String,
    /// To what kind of thing.
    pub resource_type: String,
    /// Its name, or empty.
    pub resource_name: String,
    /// Its id, or empty.
    pub resource_id: String,
    /// Whose trail it is in, or `null`.
    #[schemars(with = "Option<IdText>")]
    pub account_id: Option<Id>,
    /// That account's name then.
    pub account: String,
    /// Who, or `null` for whoever is no user.
    #[schemars(with = "Option<IdText>")]
    pub user_id: Option<Id>,
    /// His name then, or what he is.
    pub user: String,
    /// Where it came from.
    pub source_ip: String,
    /// The answer's HTTP status.
    pub code: u64,
    /// Milliseconds it took.
    pub took_ms: u64,
    /// As in the answer's `X-Request-Id` and in the log, or `null`.
    #[schemars(with = "Option<IdText>")]
    pub request_id: Option<Id>,
    /// What was asked.
    #[schemars(extend("type" = "object"))]
    pub request: Value,
    /// What was answered.
    #[schemars(extend("type" = "object"))]
    pub response: Value,
}

impl From<(Id, EventRecord)> for EventView {
    fn from((id, event): (Id, EventRecord)) -> Self {
        let json = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        Self {
            trace_id: id.to_string(),
            time: time(event.at),
            trace_rating: event.rating.name().to_owned(),
            request: json(&event.request),
            response: json(&event.response),
            trace_name: event.name,
            resource_type: event.resource_type,
            resource_name: event.resource,
            resource_id: event.resource_id,
            account_id: event.account,
            account: event.account_name,
            user_id: event.user,
            user: event.user_name,
            source_ip: event.source,
            code: event.code,
            took_ms: event.took,
            request_id: event.request_id,
        }
    }
}

/// Which end of the trail comes first.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum First {
    #[default]
    Newest,
    Oldest,
}

/// Which events are listed: those that fit all of it.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventsQuery {
    /// Items at most, 1 to 1,000.
    limit: Limit,
    /// The `next` of the page before.
    #[serde(deserialize_with = "parsed")]
    #[schemars(with = "Option<IdText>")]
    after: Option<Id>,
    /// Which end comes first.
    order: First,
    /// By name, or id.
    user: Option<String>,
    /// Such as `imagetag`.
    resource_type: Option<String>,
    /// Its name.
    resource: Option<String>,
    /// What was done, such as `deleteImageTag`.
    trace_name: Option<String>,
    /// How it is rated.
    #[schemars(with = "Option<RatingWord>")]
    rating: Option<Rating>,
    /// Not before.
    #[serde(deserialize_with = "parsed")]
    #[schemars(with = "Option<Time>")]
    from: Option<jiff::Timestamp>,
    /// Before.
    #[serde(deserialize_with = "parsed")]
    #[schemars(with = "Option<Time>")]
    until: Option<jiff::Timestamp>,
}

/// A rating, for the API's document.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "its schema is what is used")]
enum RatingWord {
    Normal,
    Warning,
    Incident,
}

/// A page of events. It may have fewer than asked for though there are more: `next` says so.
pub async fn list(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let query: EventsQuery = call.query()?;
    let filter = Search {
        account: None,
        user: query.user,
        resource_type: query.resource_type,
        resource: query.resource,
        name: query.trace_name,
        rating: query.rating,
        from: query.from.map(ms).transpose()?,
        until: query.until.map(ms).transpose()?,
    };
    let order = match query.order {
        First::Newest => Order::Newest,
        First::Oldest => Order::Oldest,
    };
    let wanted = Wanted { filter, order, after: query.after, limit: query.limit.0 };
    let page = admin.0.services.audit.list(&call.permit, wanted).await?;
    let items: Vec<EventView> = page.events.into_iter().map(EventView::from).collect();
    Ok(Reply::ok(&Page { items, next: page.next.map(|id| id.to_string()) }))
}

fn ms(time: jiff::Timestamp) -> Result<u64, Failure> {
    let ms = u64::try_from(time.as_millisecond());
    ms.map_err(|_| Failure::about(Kind::QueryInvalid, "times are after 1970"))
}
