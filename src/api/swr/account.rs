//! What an account has and may have: quotas, overview, reports, what this edition can do.
//!
//! Nothing is kept of earlier days in this version, so that a report of storage has today's value and one of
//! traffic has none. Storage is told in bytes: no document of SWR says what it tells it in.

use serde::Serialize;
use serde_json::{Value, json};

use super::errors::{Failure, Kind};
use super::reply::{Reply, time};
use super::{Call, Swr};

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
    Ok(Reply::ok(&OverviewView {
        domain_id: account.id.to_string(),
        domain_name: account.name,
        namspace_num: totals.organisations,
        repo_num: totals.repositories,
        image_num: totals.versions,
        store_space: totals.bytes as f64,
        downflow_size: 0.0,
    }))
}

/// The account's sums over time.
pub async fn reports(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    if call.param("frequency") != "daily" {
        return Err(Failure::about(Kind::Invalid, "frequency is daily"));
    }
    let rows: Vec<Value> = match call.param("resource_type") {
        "downflow" => Vec::new(),
        "store" => {
            let totals = swr.0.images.totals(&call.permit).await?;
            let today = time(swr.0.images.now_ms()).chars().take(10).collect::<String>();
            vec![json!({"date": today, "value": totals.bytes as f64})]
        }
        _ => return Err(Failure::about(Kind::Invalid, "the resource is downflow or store")),
    };
    Ok(Reply::ok(&rows))
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
