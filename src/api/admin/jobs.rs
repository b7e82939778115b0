//! `/api/v1/jobs`: the work in the background.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::{Failure, Kind};
use super::reply::{Page, Reply, time};
use super::text::Time;
use super::{Admin, Call};
use crate::jobs::{self, LastRun, Refused, Running};

/// A job.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// Unique.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// When it runs, in words: `every 30s`, `daily at 03:00 UTC`, `when asked`.
    pub schedule: String,
    /// `running`, `paused` or `waiting`; paused work that is running waits where it can.
    #[schemars(extend("enum" = ["running", "paused", "waiting"]))]
    pub state: String,
    /// It may be paused.
    pub pausable: bool,
    /// The run under way.
    pub running: Option<RunningView>,
    /// The last run that ended, since the server started.
    pub last: Option<LastRunView>,
    /// When the next run begins, RFC 3339; `null` if that is open.
    #[schemars(with = "Option<Time>")]
    pub next_at: Option<String>,
    /// Runs that ended since the server started.
    pub runs: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// When the last one that did not fail ended, RFC 3339.
    #[schemars(with = "Option<Time>")]
    pub succeeded_at: Option<String>,
}

/// A run under way.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunningView {
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub began_at: String,
    /// Things done, if it says so.
    pub done: Option<u64>,
    /// Things there are, if that is known.
    pub total: Option<u64>,
    /// What things.
    pub unit: Option<String>,
}

/// A run that ended.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LastRunView {
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub began_at: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub ended_at: String,
    /// Whether it did what it is for.
    pub ok: bool,
    /// What it did, or why it did not; empty if there was nothing to do.
    pub result: String,
}

impl From<jobs::JobView> for JobView {
    fn from(job: jobs::JobView) -> Self {
        let state = match (job.is_paused, &job.running) {
            (true, _) => "paused",
            (false, Some(_)) => "running",
            (false, None) => "waiting",
        };
        Self {
            name: job.name.to_owned(),
            about: job.about.to_owned(),
            schedule: job.schedule,
            state: state.to_owned(),
            pausable: job.can_pause,
            running: job.running.map(RunningView::from),
            last: job.last.map(LastRunView::from),
            next_at: job.next_at.map(time),
            runs: job.runs,
            failures: job.failures,
            succeeded_at: job.succeeded_at.map(time),
        }
    }
}

impl From<Running> for RunningView {
    fn from(running: Running) -> Self {
        let progress = running.progress;
        Self {
            began_at: time(running.began_at),
            done: progress.map(|progress| progress.done),
            total: progress.and_then(|progress| progress.total),
            unit: progress.map(|progress| progress.unit.to_owned()),
        }
    }
}

impl From<LastRun> for LastRunView {
    fn from(last: LastRun) -> Self {
        let LastRun { began_at, ended_at, is_ok, text } = last;
        Self { began_at: time(began_at), ended_at: time(ended_at), ok: is_ok, result: text }
    }
}

/// Why a job does not do what was asked.
pub fn refused(refused: Refused) -> Failure {
    match &refused {
        Refused::Unknown(name) => Failure::about(Kind::Missing, format!("job {name:?}")),
        Refused::Stopping => Failure::new(Kind::Unavailable),
        Refused::Running(_)
        | Refused::Paused(_)
        | Refused::Needed(_)
        | Refused::Asked(_)
        | Refused::Own(_) => Failure::about(Kind::InUse, &refused),
    }
}

fn answer(job: Result<jobs::JobView, Refused>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&JobView::from(job.map_err(refused)?)))
}

/// Every job.
pub async fn list(admin: &Admin, _: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&Page::whole(admin.0.services.jobs.list().into_iter().map(JobView::from))))
}

/// One.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    answer(admin.0.services.jobs.show(call.param("job")))
}

/// Has it run now.
pub async fn run(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    answer(admin.0.services.jobs.run(call.param("job")))
}

/// Pauses it.
pub async fn pause(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    answer(admin.0.services.jobs.pause(call.param("job"), true))
}

/// Lets it go on.
pub async fn resume(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    answer(admin.0.services.jobs.pause(call.param("job"), false))
}
