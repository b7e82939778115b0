//! `/api/v1/reload`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::{Failure, Kind};
use super::reply::Reply;
use super::{Admin, Call};
use crate::services::appliance::Reloaded;

/// What was done.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReloadView {
    /// In words.
    pub message: String,
}

/// Reads again what can be read again.
pub async fn reload(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    match admin.0.services.appliance.reload(&call.permit).await? {
        Reloaded::Done(message) => Ok(Reply::ok(&ReloadView { message })),
        Reloaded::Kept(why) => Err(Failure::about(Kind::ReloadFailed, why)),
    }
}
