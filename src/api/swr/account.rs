//! What an account has and may have: quotas, overview, reports, what this edition can do.
//!
//! Reports are by day, the oldest first, of the days that are kept: what was pulled of the account's images on it, and
//! what they held when that was last looked at; of today, what they hold now. A day without is left out. Both are told in
//! bytes: no document of SWR says what it tells them in.

use serde::Serialize;
use serde_json::{Value, json};

use super::errors::{Failure, Kind};
use super::reply::{Reply, time};
use super::{Call, Swr};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

#[derive(Serialize)]
struct OverviewView {
    domain_id: String,
    domain_name: String,
    /// SWR's spelling.
    namspace_num: u64,
    repo_num: u64,
    image_num: u64,
    store_space: f64,
    downflow_size: f64,
}

/// How many organisations there may be and are.
pub async fn quotas(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let quota = swr.0.organisations.quota(&call.permit)?;
    let (limit, used) = (quota.limit, quota.used);
    let row = json!({"quota_key": "namespace", "quota_limit": limit, "used": used, "unit": ""});
    Ok(Reply::ok(&json!({"quotas": [row]})))
}

/// The account's sums.
pub async fn overview(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let account = swr.own_account(&call)?;
    let totals = swr.0.images.totals(&call.permit).await?;
    let days = swr.0.images.days(&call.permit)?;
    Ok(Reply::ok(&OverviewView {
        domain_id: account.id.to_string(),
        domain_name: account.name,
        namspace_num: totals.organisations,
        repo_num: totals.repositories,
        image_num: totals.versions,
        store_space: totals.bytes as f64,
        downflow_size: days.iter().map(|day| day.pulled).sum::<u64>() as f64,
    }))
}

/// The account's sums over time.
pub async fn reports(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    if call.param("frequency") != "daily" {
        return Err(Failure::about(Kind::Invalid, "frequency is daily"));
    }
    let today = swr.0.images.now_ms() / DAY_MS;
    let days = swr.0.images.days(&call.permit)?.into_iter();
    let rows: Vec<Value> = match call.param("resource_type") {
        "downflow" => days.filter(|day| day.pulled > 0).map(|day| row(day.day, day.pulled)).collect(),
        "store" => {
            let held = swr.0.images.totals(&call.permit).await?.bytes;
            let before = days.filter(|day| day.day < today);
            let before = before.filter_map(|day| Some(row(day.day, day.stored?)));
            before.chain([row(today, held)]).collect()
        }
        _ => return Err(Failure::about(Kind::Invalid, "the resource is downflow or store")),
    };
    Ok(Reply::ok(&rows))
}

/// A day, since 1970, and its bytes.
fn row(day: u64, bytes: u64) -> Value {
    let date = time(day.saturating_mul(DAY_MS)).chars().take(10).collect::<String>();
    json!({"date": date, "value": bytes as f64})
}

/// What this edition can do.
pub async fn features(_: &Swr, _: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&json!({
        "enable_experience": false,
        "enable_hss_service": false,
        "enable_image_scan": false,
        "enable_sm3": false,
        "enable_image_sync": false,
        "enable_cci_service": false,
        "enable_image_label": false,
        "enable_pipeline": false,
        "enable_authorization_token": true,
        "enable_resource": false,
        "enable_list_v3": true,
        "enable_image_quota": false,
    })))
}

/// Whether the registry may act for the account: it acts on nothing but itself, so that it always may.
pub async fn agency(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let account = swr.own_account(&call)?;
    Ok(Reply::ok(&json!({"domain_id": account.id.to_string(), "is_agency": true})))
}

/// Lets it: nothing needs to be made for that.
pub async fn let_act(_: &Swr, _: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::nothing())
}
