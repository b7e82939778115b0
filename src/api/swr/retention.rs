//! `…/repos/{repository}/retentions`: which versions go by themselves.

use serde::Deserialize;
use serde_json::{Value, json};

use super::errors::{Failure, Kind};
use super::query::Paging;
use super::reply::{Reply, time};
use super::{Call, Swr, rest};
use crate::services::error::{Error, Thing};
use crate::services::retention::{Draft, DraftRule, Held, Removed};

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

fn view(held: &Held) -> Value {
    json!({"algorithm": "or", "id": held.number, "rules": [held.policy.rule()], "scope": ""})
}

/// An entry of the log: the rule is JSON within JSON there.
fn removed(removed: &Removed) -> Value {
    json!({
        "created_at": time(removed.removed_at),
        "id": removed.number,
        "namespace": removed.name.organisation(),
        "repo": rest(&removed.name),
        "retention_id": removed.retention,
        "rule_type": removed.rule,
        "tag": removed.tag,
    })
}

/// Sets a policy.
pub async fn create(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let draft = call.body::<PolicyBody>()?.draft();
    let id = swr.0.retention.create(&call.permit, draft).await?;
    Ok(Reply::json(hyper::StatusCode::CREATED, &json!({"id": id})))
}

/// The policies of an image.
pub async fn list(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let held: Vec<Value> = swr.0.retention.list(&call.permit)?.iter().map(view).collect();
    Ok(Reply::ok(&held))
}

/// What was removed.
pub async fn histories(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let Paging { offset, limit } = call.asked(&["limit", "offset"])?.paging()?;
    let (page, total) = swr.0.retention.histories(&call.permit, offset, limit)?;
    let log: Vec<Value> = page.iter().map(removed).collect();
    let range = format!("{offset}-{}/{total}", log.len());
    Ok(Reply::ok(&json!({"retention_log": log, "total": total})).with(hyper::header::CONTENT_RANGE, &range))
}

/// One policy.
pub async fn show(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let held = swr.0.retention.show(&call.permit, call.param("retention_id")).map_err(not_found)?;
    Ok(Reply::ok(&view(&held)))
}

/// Changes one.
pub async fn update(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let draft = call.body::<PolicyBody>()?.draft();
    swr.0.retention.update(&call.permit, call.param("retention_id"), draft).await.map_err(not_found)?;
    Ok(Reply::created())
}

/// Removes one. Terraform knows by the code that there is none (swr-api §12.2).
pub async fn delete(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    swr.0.retention.delete(&call.permit, Some(call.param("retention_id"))).await?;
    Ok(Reply::done())
}

/// 404 where it is looked for, and not a code inside of 400.
fn not_found(error: Error) -> Failure {
    match &error {
        Error::Missing(thing @ Thing::Retention(_)) => Failure::about(Kind::Missing, thing),
        _ => error.into(),
    }
}
