//! `/api/v1/check` and below: whether metadata and blobs agree, looked at while they are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::Failure;
use super::jobs::{JobView, refused};
use super::query::Limit;
use super::reply::{Page, Reply, time};
use super::text::Time;
use super::{Admin, Call};
use crate::causes;
use crate::jobs::{Handle, Refused};
use crate::services::fsck::{Counts, Finding, Severity, Stage};
use crate::services::maintenance::{Checked, GoesOn, Progress};

/// The job's name.
const JOB: &str = "check";
/// How long a check waits while it is paused, before it ends.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The last check that came to its end since the server started.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CheckView {
    /// What it came to; `null` if there was none.
    pub last: Option<CheckedView>,
}

/// A check that came to its end.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CheckedView {
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub began_at: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub ended_at: String,
    /// Whether every blob was hashed.
    pub deep: bool,
    /// Whether nothing is wrong: no finding is worse than a note.
    pub ok: bool,
    /// How many findings there were of each id.
    pub found: Vec<FoundView>,
    /// How much was looked at.
    pub counts: CountsView,
}

/// How many findings there were of an id.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FoundView {
    /// As `FORMAT.md` numbers what does not hold.
    pub id: String,
    /// So many, though only the first thousand of each are listed.
    pub count: u64,
}

/// How much was looked at.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CountsView {
    /// Rows of all tables.
    pub rows: u64,
    /// Repositories.
    pub repositories: u64,
    /// Manifests whose bytes were read; one that is in two repositories counts twice.
    pub manifests: u64,
    /// Blob rows.
    pub blobs: u64,
    /// Bytes of those blobs.
    pub bytes: u64,
    /// Files of blobs and outboards.
    pub files: u64,
    /// Blobs that were hashed.
    pub hashed: u64,
}

impl From<&Counts> for CountsView {
    fn from(counts: &Counts) -> Self {
        let Counts { rows, repositories, manifests, blobs, bytes, files, hashed } = counts.clone();
        Self { rows, repositories, manifests, blobs, bytes, files, hashed }
    }
}

impl From<&Checked> for CheckedView {
    fn from(checked: &Checked) -> Self {
        let Checked { began_at, ended_at, deep, report } = checked;
        Self {
            began_at: time(*began_at),
            ended_at: time(*ended_at),
            deep: *deep,
            ok: report.is_clean(),
            found: report
                .by_id
                .iter()
                .map(|(id, count)| FoundView { id: (*id).to_owned(), count: *count })
                .collect(),
            counts: CountsView::from(&report.counts),
        }
    }
}

/// A finding.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CheckFindingView {
    /// Its place in the report, from 1.
    pub number: u64,
    /// The invariant that does not hold, as `FORMAT.md` numbers it.
    pub id: String,
    /// `error`: a client may get less or other than what was stored, or somebody do more or less than he may;
    /// `warning`: only space is wasted; `note`: it goes by itself, or says nothing any more.
    #[schemars(extend("enum" = ["note", "warning", "error"]))]
    pub severity: String,
    /// What is wrong with which repository, tag or digest.
    pub what: String,
    /// The first images that need the blob it is about, as `repository:tag` or `repository@digest`.
    pub images: Vec<String>,
    /// What to do.
    pub advice: String,
}

fn finding((number, finding): (usize, &Finding)) -> CheckFindingView {
    let severity = match finding.severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    CheckFindingView {
        number: number as u64 + 1,
        id: finding.id.to_owned(),
        severity: severity.to_owned(),
        what: finding.what.clone(),
        images: finding.images.clone(),
        advice: finding.advice.to_owned(),
    }
}

/// What the last one came to.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let last = admin.0.services.checks.last(&call.permit)?;
    Ok(Reply::ok(&CheckView { last: last.as_deref().map(CheckedView::from) }))
}

/// How it is checked.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunBody {
    /// Hash every blob, too, as fast as the disk gives.
    deep: bool,
}

/// Begins a check.
pub async fn run(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let RunBody { deep } = call.body()?;
    let (checks, permit) = (admin.0.services.checks.clone(), call.permit);
    let about = "checks that metadata and blobs agree, as an administrator asked";
    let jobs = &admin.0.services.jobs;
    if jobs.show(JOB).is_ok_and(|job| job.is_paused && job.running.is_none()) {
        return Err(refused(Refused::Paused(JOB)));
    }
    let started = jobs.start(JOB, about, |handle| async move {
        match checks.run(&permit, deep, (goes_on(&handle, LONGEST_PAUSE), progress(handle))).await {
            Ok(checked) => Ok(words(&checked)),
            Err(error) => Err(causes::chain(&error)),
        }
    });
    started.map_err(refused)?;
    Ok(Reply::ok(&JobView::from(jobs.show(JOB).map_err(refused)?)))
}

/// Asked on the thread that checks, which waits while the job is paused; not for longer than `longest`, since a check
/// holds removals back, and memory.
fn goes_on(handle: &Handle, longest: Duration) -> GoesOn {
    let (handle, runtime) = (handle.clone(), tokio::runtime::Handle::current());
    let has_ended = AtomicBool::new(false);
    Arc::new(move || {
        let wait = || runtime.block_on(async { tokio::time::timeout(longest, handle.goes_on()).await });
        let goes_on = !has_ended.load(Ordering::Relaxed) && wait().unwrap_or(false);
        has_ended.store(!goes_on, Ordering::Relaxed);
        goes_on
    })
}

fn progress(handle: Handle) -> Progress {
    Box::new(move |stage, done| {
        let unit = match stage {
            Stage::Rows => "rows",
            Stage::Repositories => "repositories",
            Stage::Blobs => "blobs",
            Stage::Files => "files",
        };
        handle.progress(done, None, unit);
    })
}

fn words(checked: &Checked) -> String {
    let report = &checked.report;
    let looked = format!(
        "{} rows, {} blobs, {} hashed",
        report.counts.rows, report.counts.blobs, report.counts.hashed
    );
    if report.is_clean() {
        return format!("nothing is wrong: {looked}");
    }
    let found: Vec<String> = report.by_id.iter().map(|(id, count)| format!("{id} ({count})")).collect();
    format!("SOMETHING IS WRONG: {}: {looked}", found.join(", "))
}

/// Which findings are listed.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FindingsQuery {
    /// Items at most, 1 to 1,000.
    limit: Limit,
    /// The `next` of the page before.
    after: Option<u64>,
}

/// A page of findings of the last check; none if there was none.
pub async fn findings(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let query: FindingsQuery = call.query()?;
    let after = usize::try_from(query.after.unwrap_or(0)).unwrap_or(usize::MAX);
    let last = admin.0.services.checks.last(&call.permit)?;
    let all = last.as_ref().map_or(&[][..], |checked| checked.report.findings.as_slice());
    let page = all.iter().enumerate().skip(after).take(query.limit.0);
    let items: Vec<CheckFindingView> = page.map(finding).collect();
    let next =
        items.last().filter(|item| (item.number as usize) < all.len()).map(|item| item.number.to_string());
    Ok(Reply::ok(&Page { items, next }))
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::jobs::Jobs;
    use crate::seams::{SystemClock, tasks};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_check_that_is_paused_for_long_ends_and_does_not_go_on_later() {
        let jobs = Jobs::new(Arc::new(SystemClock));
        let (go, is_paused) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let own = jobs.clone();
        let started = jobs.start(JOB, "", |handle| async move {
            let asks = goes_on(&handle, Duration::from_millis(20));
            is_paused.await.expect("told");
            let answers = tasks::blocking(move || {
                let paused = asks();
                own.pause(JOB, false).expect("known");
                [paused, asks()]
            });
            tell.send(answers.await.expect("no panic")).expect("waits");
            Ok::<_, String>(String::new())
        });
        started.expect("started");
        jobs.pause(JOB, true).expect("known");
        go.send(()).expect("waits");
        assert_eq!(told.await.expect("it ends"), [false, false]);
    }
}
