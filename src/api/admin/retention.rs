//! `/api/v1/retention` and `/api/v1/repositories/{repository}/retention`: which versions go by themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::{Failure, Kind};
use super::jobs::{JobView, refused};
use super::query::Limit;
use super::reply::{Page, Removed, Reply, time};
use super::text::Time;
use super::{Admin, Call};
use crate::causes;
use crate::services::error::Error;
use crate::services::retention::{self, Draft, DraftRule, Facts, Keep, Outcome, Policy};

/// A policy, and what its last run did.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RetentionView {
    /// Whole name of the repository.
    pub repository: String,
    /// Its number, as SWR's API has it.
    pub number: u64,
    /// What is kept: versions of the last `days`, or the last `versions`.
    #[schemars(extend("enum" = ["days", "versions"]))]
    pub keep: String,
    /// How many of them.
    pub count: u64,
    /// Versions that never go and do not count.
    pub exempt: Vec<SelectorView>,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub created_at: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub updated_at: String,
    /// The last run that came to its end; `null` before one did.
    pub last_run: Option<RetentionRunView>,
    /// Why the last run could not be done; it is tried again.
    pub problem: Option<String>,
}

/// Versions that are exempt.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectorView {
    /// `label` for a tag, `regexp` for all tags that a regular expression matches as a whole.
    #[schemars(extend("enum" = ["label", "regexp"]))]
    pub kind: String,
    /// The tag, or the regular expression.
    #[schemars(length(max = 1000))]
    pub pattern: String,
}

/// What a run did.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RetentionRunView {
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub began_at: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub ended_at: String,
    /// Versions removed.
    pub removed: u64,
    /// Versions that stayed.
    pub kept: u64,
    /// Those of them that are exempt.
    pub exempt: u64,
}

impl From<Facts> for RetentionView {
    fn from(Facts { held, state }: Facts) -> Self {
        let (keep, count) = match held.policy.keep {
            Keep::Days(days) => ("days", days),
            Keep::Versions(versions) => ("versions", versions),
        };
        let exempt = held.policy.exempt.iter().map(retention::Selector::parts);
        let exempt =
            exempt.map(|(kind, text)| SelectorView { kind: kind.to_owned(), pattern: text.to_owned() });
        let ran = state.retention == held.number && state.started_at > 0;
        let last_run = ran.then(|| RetentionRunView {
            began_at: time(state.started_at),
            ended_at: time(state.ended_at),
            removed: state.removed,
            kept: state.kept,
            exempt: state.exempt,
        });
        Self {
            repository: held.name.to_string(),
            number: held.number,
            keep: keep.to_owned(),
            count,
            exempt: exempt.collect(),
            created_at: time(held.created_at),
            updated_at: time(held.updated_at),
            last_run,
            problem: state.problem,
        }
    }
}

/// A policy to be set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyBody {
    /// What is kept: versions of the last `days`, or the last `versions`.
    keep: KeepWord,
    /// 1 to 365 days, or 1 to 1,000 versions.
    #[schemars(range(min = 1, max = 1000))]
    count: u64,
    /// Versions that never go and do not count; at most 100.
    #[serde(default)]
    #[schemars(length(max = 100))]
    exempt: Vec<SelectorView>,
}

/// What is kept.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum KeepWord {
    Days,
    Versions,
}

impl PolicyBody {
    fn read(self) -> Result<Policy, Error> {
        let count = self.count.to_string();
        let (template, days, num) = match self.keep {
            KeepWord::Days => ("date_rule", Some(count), None),
            KeepWord::Versions => ("tag_rule", None, Some(count)),
        };
        let selectors = self.exempt.into_iter().map(|one| (one.kind, one.pattern)).collect();
        let rule = DraftRule { template: template.to_owned(), days, num, selectors };
        Draft { algorithm: "or".to_owned(), rules: vec![rule] }.read()
    }
}

/// Which policies are listed.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionsQuery {
    /// Items at most, 1 to 1,000.
    limit: Limit,
    /// The `next` of the page before.
    after: Option<u64>,
}

/// Every policy.
pub async fn all(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let RetentionsQuery { limit, after } = call.query()?;
    let facts = admin.0.services.retention.all(&call.permit, after, limit.0)?;
    let next = facts.last().filter(|_| facts.len() == limit.0).map(|last| last.held.repository.to_string());
    Ok(Reply::ok(&Page { items: facts.into_iter().map(RetentionView::from).collect(), next }))
}

/// One.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&RetentionView::from(admin.0.services.retention.facts(&call.permit)?)))
}

/// Sets one, in the place of the one there is.
pub async fn put(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let policy = call.body::<PolicyBody>()?.read()?;
    Ok(Reply::ok(&RetentionView::from(admin.0.services.retention.set(&call.permit, policy).await?)))
}

/// Removes one.
pub async fn delete(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    admin.0.services.retention.delete(&call.permit, None).await?;
    Ok(Reply::ok(&Removed { removed: call.param("repository").to_owned() }))
}

/// What is foreseen.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PreviewQuery {
    /// Another policy than the one that is set, as the JSON that sets it.
    policy: Option<String>,
}

/// What a policy would remove now.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PreviewView {
    /// The first 1,000 versions that would go, by tag.
    pub items: Vec<GoingView>,
    /// How many would go.
    pub total: u64,
    /// How many would stay.
    pub kept: u64,
    /// How many of those because they are exempt.
    pub exempt: u64,
    /// Whether none goes because tags of the repository are immutable: all are exempt.
    pub immutable: bool,
}

/// A version that would go.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct GoingView {
    /// The tag.
    pub tag: String,
    /// What it names.
    pub digest: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub pushed_at: String,
    /// Why.
    pub why: String,
}

/// Says what would go.
pub async fn preview(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let policy = match call.query::<PreviewQuery>()?.policy {
        None => None,
        Some(text) => {
            let body = serde_json::from_str::<crate::services::object::Object<PolicyBody>>(&text);
            let body = body.map_err(|why| Failure::about(Kind::QueryInvalid, format!("policy: {why}")))?;
            Some(body.0.read()?)
        }
    };
    let preview = admin.0.services.retention.preview(&call.permit, policy).await?;
    let items = preview.going.into_iter().map(|(version, why)| GoingView {
        tag: version.tag.to_string(),
        digest: version.digest.to_string(),
        pushed_at: time(version.pushed_at),
        why,
    });
    let (total, kept, exempt, immutable) = (preview.total, preview.kept, preview.exempt, preview.immutable);
    Ok(Reply::ok(&PreviewView { items: items.collect(), total, kept, exempt, immutable }))
}

/// A version that went.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RetiredView {
    /// Its place in the repository's log, from 1.
    pub number: u64,
    /// The tag.
    pub tag: String,
    /// What it named.
    pub digest: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub pushed_at: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub removed_at: String,
    /// The number of the policy.
    pub retention: u64,
    /// The rule as SWR spells it, JSON.
    pub rule: String,
}

/// What went, the newest first.
pub async fn log(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let RetentionsQuery { limit, after } = call.query()?;
    let (all, _) = admin.0.services.retention.histories(&call.permit, 0, usize::MAX)?;
    let mut rest = all.into_iter().filter(|one| after.is_none_or(|after| one.number < after)).peekable();
    let items: Vec<RetiredView> = rest
        .by_ref()
        .take(limit.0)
        .map(|one| RetiredView {
            number: one.number,
            tag: one.tag,
            digest: one.digest.to_string(),
            pushed_at: time(one.pushed_at),
            removed_at: time(one.removed_at),
            retention: one.retention,
            rule: one.rule,
        })
        .collect();
    let next = items.last().filter(|_| rest.peek().is_some()).map(|last| last.number.to_string());
    Ok(Reply::ok(&Page { items, next }))
}

/// How a policy is run.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunBody {
    /// The clock is right, though it jumped.
    trust_clock: bool,
}

/// Begins a run of one repository's policy.
pub async fn run(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let RunBody { trust_clock } = call.body()?;
    let retention = admin.0.services.retention.clone();
    retention.policy_to_run(&call.permit)?;
    if trust_clock {
        retention.trust_the_clock(&call.permit).await?;
    }
    let (permit, about) =
        (call.permit, "runs the retention policy of one repository, as an administrator asked");
    let jobs = &admin.0.services.jobs;
    let started = jobs.start("retention-run", about, |handle| async move {
        match retention.run_one(&permit, &handle).await {
            Ok(Outcome::Done(state)) => {
                Ok(format!("{} versions removed, {} stay", state.removed, state.kept))
            }
            Ok(Outcome::Waits(until)) => Err(format!(
                "the clock jumped: nothing is removed before {}, unless --trust-clock says it is right",
                time(until)
            )),
            Ok(Outcome::Nothing) => Err("the policy is gone".to_owned()),
            Ok(Outcome::Left) => {
                Err("the policy was changed, or the server stops: another run does it".to_owned())
            }
            Err(error) => Err(causes::chain(&error)),
        }
    });
    started.map_err(refused)?;
    Ok(Reply::ok(&JobView::from(jobs.show("retention-run").map_err(refused)?)))
}
