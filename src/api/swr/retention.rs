//! `…/repos/{repository}/retentions`: which versions go by themselves.

use serde::Deserialize;
use serde_json::json;

use super::errors::{Failure, Kind};
use super::query::Paging;
use super::reply::Reply;
use super::{Call, Swr};
use crate::services::error::{Error, Thing};
use crate::services::retention::{Draft, DraftRule};

#[derive(Deserialize)]
struct PolicyBody {
    algorithm: String,
    rules: Vec<RuleBody>,
}

#[derive(Deserialize)]
struct RuleBody {
    template: String,
    params: ParamsBody,
    tag_selectors: Vec<SelectorBody>,
}

#[derive(Deserialize)]
struct ParamsBody {
    days: Option<Number>,
    num: Option<Number>,
}

/// Documented as text; some clients send numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(serde_json::Number),
    Text(String),
}

#[derive(Deserialize)]
struct SelectorBody {
    kind: String,
    pattern: String,
}

impl PolicyBody {
    fn draft(self) -> Draft {
        let text = |number| match number {
            Number::Number(number) => number.to_string(),
            Number::Text(text) => text,
        };
        let rule = |rule: RuleBody| DraftRule {
            template: rule.template,
            days: rule.params.days.map(text),
            num: rule.params.num.map(text),
            selectors: rule.tag_selectors.into_iter().map(|s| (s.kind, s.pattern)).collect(),
        };
        Draft { algorithm: self.algorithm, rules: self.rules.into_iter().map(rule).collect() }
    }
}

/// Sets a policy.
pub async fn create(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let draft = call.body::<PolicyBody>()?.draft();
    let id = swr.0.retention.create(&call.permit, draft)?;
    Ok(Reply::json(hyper::StatusCode::CREATED, &json!({"id": id})))
}

/// The policies of an image.
pub async fn list(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    swr.0.retention.list(&call.permit)?;
    Ok(Reply::ok(&json!([])))
}

/// What was removed.
pub async fn histories(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let Paging { offset, .. } = call.asked(&["limit", "offset"])?.paging()?;
    swr.0.retention.histories(&call.permit)?;
    let reply = Reply::ok(&json!({"retention_log": [], "total": 0}));
    Ok(reply.with(hyper::header::CONTENT_RANGE, &format!("{offset}-0/0")))
}

/// One policy.
pub async fn show(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    swr.0.retention.show(&call.permit, call.param("retention_id")).map_err(not_found)?;
    Ok(Reply::done())
}

/// Changes one.
pub async fn update(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let draft = call.body::<PolicyBody>()?.draft();
    swr.0.retention.update(&call.permit, call.param("retention_id"), draft).map_err(not_found)?;
    Ok(Reply::created())
}

/// Removes one. Terraform knows by the code that there is none (swr-api §12.2).
pub async fn delete(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    swr.0.retention.delete(&call.permit, call.param("retention_id"))?;
    Ok(Reply::done())
}

/// 404 where it is looked for, and not a code inside of 400.
fn not_found(error: Error) -> Failure {
    match &error {
        Error::Missing(thing @ Thing::Retention(_)) => Failure::about(Kind::Missing, thing),
        _ => error.into(),
    }
}
