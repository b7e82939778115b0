//! `/v2/manage/namespaces/{namespace}/storage-quota`: SWR's documents name the actions and no call for them, so that these
//! two are ours. Told in GB of 10^9 bytes, as SWR's page does.

use serde::Deserialize;
use serde_json::{Value, json};

use super::errors::{Failure, Kind};
use super::reply::Reply;
use super::{Call, Swr};
use crate::services::access::Action;
use crate::services::error::Error;
use crate::services::quota::Storage;

const GB: u64 = 1_000_000_000;

#[derive(Deserialize)]
struct QuotaBody {
    /// `null` for no limit.
    storage_quota: Option<u64>,
    unit: Option<String>,
}

fn view(storage: &Storage) -> Value {
    let gb = |bytes: u64| bytes as f64 / GB as f64;
    json!({
        "namespace": storage.name,
        "storage_quota": storage.quota.map(gb),
        "used": gb(storage.used),
        "left": storage.left().map(gb),
        "unit": "GB",
    })
}

/// What an organisation holds and may hold.
pub async fn show(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&view(&swr.0.quotas.show(&call.permit)?)))
}

/// Sets what it may hold.
pub async fn update(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let QuotaBody { storage_quota, unit } = call.body()?;
    if unit.is_some_and(|unit| unit != "GB") {
        return Err(Failure::about(Kind::Invalid, "the unit is GB"));
    }
    let bytes = storage_quota.map(|quota| quota.saturating_mul(GB));
    swr.0.quotas.set(&call.permit, bytes).await?;
    let Some(resource) = call.permit.resource(Action::UpdateStorageQuota).cloned() else {
        return Err(Error::Bug("a permit for something else").into());
    };
    let permit = swr.permit(&call, Action::ShowStorageQuota, resource)?;
    Ok(Reply::ok(&view(&swr.0.quotas.show(&permit)?)))
}
