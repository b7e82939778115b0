//! `/api/v1/removal-holds`: that nothing is removed while a backup copies it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::Failure;
use super::reply::Reply;
use super::text::IdText;
use super::{Admin, Call};
use crate::services::backup::Held;

/// A hold of removals.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HoldView {
    /// 32 lower-case hex digits.
    #[schemars(with = "IdText")]
    pub id: String,
    /// Milliseconds it lasts from now on, unless it is renewed.
    pub lasts_ms: u64,
}

impl From<Held> for HoldView {
    fn from(held: Held) -> Self {
        Self { id: held.id, lasts_ms: held.lasts_ms }
    }
}

/// Begins one.
pub async fn begin(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let held = admin.0.services.holds.begin(&call.permit).await?;
    Ok(Reply::ok(&HoldView::from(held)))
}

/// Lets one last on.
pub async fn renew(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let held = admin.0.services.holds.renew(&call.permit, call.param("hold"))?;
    Ok(Reply::ok(&HoldView::from(held)))
}

/// Ends one.
pub async fn end(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let held = admin.0.services.holds.finish(&call.permit, call.param("hold"))?;
    Ok(Reply::ok(&HoldView::from(held)))
}
