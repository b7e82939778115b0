//! `GET /api/v1`: what can be asked here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::Failure;
use super::reply::{Page, Reply};
use super::route::{ROUTES, Takes};
use super::{Admin, Call};

/// An operation as it is listed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Operation {
    /// HTTP's.
    pub method: String,
    /// With `{parameters}`.
    pub path: String,
    /// Whether it takes a JSON body.
    pub body: bool,
    /// The action it needs the right to.
    pub action: String,
    /// What it does.
    pub summary: String,
}

/// Every operation.
pub async fn list(_: &Admin, _: Call<'_>) -> Result<Reply, Failure> {
    let items = ROUTES.iter().map(|row| Operation {
        method: row.method.to_string(),
        path: row.path.to_owned(),
        body: row.takes == Takes::Json,
        action: row.action.name().to_owned(),
        summary: row.summary.to_owned(),
    });
    Ok(Reply::ok(&Page { items: items.collect(), next: None }))
}

/// Every row's operation in the audit trail.
#[cfg(test)]
pub fn operations() -> Vec<&'static crate::services::audit::Operation> {
    ROUTES.iter().map(|row| &row.audit).collect()
}

/// Method and path of every operation, for the walk over all surfaces.
#[cfg(test)]
pub fn routes() -> Vec<(hyper::Method, String)> {
    ROUTES.iter().map(|row| (row.method.clone(), row.path.to_owned())).collect()
}
