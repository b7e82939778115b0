//! `…/repos/{repository}/triggers`: what a push sets off.

use serde::Deserialize;
use serde_json::json;

use super::errors::Failure;
use super::reply::Reply;
use super::{Call, Swr};
use crate::services::triggers::Draft;

/// `enable` is text in this API.
#[derive(Deserialize)]
struct TriggerBody {
    name: String,
    action: String,
    trigger_type: String,
    condition: String,
    app_type: String,
    application: String,
    cluster_ns: String,
    enable: String,
    container: Option<String>,
    trigger_mode: Option<String>,
    cluster_id: Option<String>,
    cluster_name: Option<String>,
}

#[derive(Deserialize)]
struct ChangeBody {
    enable: String,
}

impl TriggerBody {
    fn draft(self) -> Draft {
        let mode = self.trigger_mode.filter(|mode| !mode.is_empty());
        Draft {
            name: self.name,
            action: self.action,
            trigger_type: self.trigger_type,
            condition: self.condition,
            app_type: self.app_type,
            application: self.application,
            cluster_ns: self.cluster_ns,
            enable: self.enable,
            container: self.container.unwrap_or_default(),
            trigger_mode: mode.unwrap_or_else(|| "cce".to_owned()),
            cluster_id: self.cluster_id.unwrap_or_default(),
            cluster_name: self.cluster_name.unwrap_or_default(),
        }
    }
}

/// Makes one.
pub async fn create(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let draft = call.body::<TriggerBody>()?.draft();
    swr.0.triggers.create(&call.permit, draft)?;
    Ok(Reply::created())
}

/// Those of an image.
pub async fn list(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    swr.0.triggers.list(&call.permit)?;
    Ok(Reply::ok(&json!([])))
}

/// One of them.
pub async fn show(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    swr.0.triggers.show(&call.permit, call.param("trigger"))?;
    Ok(Reply::done())
}

/// Switches it on or off.
pub async fn update(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let ChangeBody { enable } = call.body()?;
    swr.0.triggers.update(&call.permit, call.param("trigger"), &enable)?;
    Ok(Reply::created())
}

/// Removes it.
pub async fn delete(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    swr.0.triggers.delete(&call.permit, call.param("trigger"))?;
    Ok(Reply::nothing())
}
