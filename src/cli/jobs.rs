//! `pierhead jobs`.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Failure;
use super::admin::{Asked, Client, part, read};
use super::table::{Align, table};
use crate::api::admin::{JobView, Page, RunningView};

/// How often a run is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List the work in the background: what runs, how far, the last result, the next run
    #[command(after_help = "Example:\n  pierhead jobs list")]
    List(Asked),
    /// Show one job
    #[command(after_help = "Example:\n  pierhead jobs show retention")]
    Show(NamedArguments),
    /// Have a job run now, for all there is and not only for what is due, and wait for it
    #[command(after_help = "Example:\n  pierhead jobs run retention")]
    Run(RunArguments),
    /// Pause a job until it is resumed or the server restarts; what runs waits where it can
    #[command(after_help = "Example:\n  pierhead jobs pause retention")]
    Pause(NamedArguments),
    /// Let a paused job go on
    #[command(after_help = "Example:\n  pierhead jobs resume retention")]
    Resume(NamedArguments),
}

#[derive(Debug, Args)]
pub struct NamedArguments {
    /// Name of the job, as `jobs list` shows it
    job: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct RunArguments {
    /// Name of the job, as `jobs list` shows it
    job: String,
    /// Do not wait for its end
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    asked: Asked,
}

pub fn run(command: JobsCommand) -> Result<(), Failure> {
    match command {
        JobsCommand::List(asked) => {
            let answer = asked.client()?.get("/api/v1/jobs")?;
            asked.show(&answer, || Ok(listed(&read::<Page<JobView>>(&answer)?.items)))
        }
        JobsCommand::Show(NamedArguments { job, asked }) => {
            let answer = asked.client()?.get(&path(&job, ""))?;
            asked.show(&answer, || Ok(described(&read(&answer)?)))
        }
        JobsCommand::Run(RunArguments { job, no_wait, asked }) => {
            let client = asked.client()?;
            let begun = client.post(&path(&job, "/run"), None)?;
            if no_wait {
                return asked.show(&begun, || Ok(format!("{job} begins\n")));
            }
            let before = read::<JobView>(&begun)?.runs;
            told(&asked, &finished(&client, &job, before)?)
        }
        JobsCommand::Pause(arguments) => change(&arguments, "/pause"),
        JobsCommand::Resume(arguments) => change(&arguments, "/resume"),
    }
}

fn path(job: &str, what: &str) -> String {
    format!("/api/v1/jobs/{}{what}", part(job))
}

fn change(NamedArguments { job, asked }: &NamedArguments, what: &str) -> Result<(), Failure> {
    let answer = asked.client()?.post(&path(job, what), None)?;
    asked.show(&answer, || Ok(listed(&[read(&answer)?])))
}

/// Waits until a job has ended more runs than `before`, and tells a terminal how far it is.
pub fn finished(client: &Client, job: &str, before: u64) -> Result<Value, Failure> {
    let is_told = io::stderr().is_terminal();
    loop {
        let answer = client.get(&path(job, ""))?;
        let view: JobView = read(&answer)?;
        if view.runs > before {
            if is_told {
                let _ = write!(io::stderr(), "\r\x1b[K");
            }
            return Ok(answer);
        }
        if let Some(running) = view.running.as_ref().filter(|_| is_told) {
            let _ = write!(io::stderr(), "\r\x1b[K{job}: {}", progress(running));
        }
        client.pause(LOOK_EVERY);
    }
}

/// Shows how the last run of a job ended; one that failed is a failure.
pub fn told(asked: &Asked, answer: &Value) -> Result<(), Failure> {
    let view: JobView = read(answer)?;
    let Some(last) = view.last else { return Err(Failure::Server(format!("{} has not run", view.name))) };
    if asked.json {
        asked.show(answer, || Ok(String::new()))?;
        return if last.ok { Ok(()) } else { Err(Failure::Findings) };
    }
    if !last.ok {
        return Err(Failure::Server(format!("{}: {}", view.name, last.result)));
    }
    let words = if last.result.is_empty() { "nothing to do" } else { &last.result };
    asked.show(answer, || Ok(format!("{words}\n")))
}

fn progress(running: &RunningView) -> String {
    match (running.done, running.total) {
        (Some(done), Some(total)) => {
            format!("{done} of {total} {}", running.unit.as_deref().unwrap_or_default())
        }
        (Some(done), None) => format!("{done} {}", running.unit.as_deref().unwrap_or_default()),
        _ => "running".to_owned(),
    }
}

fn result(job: &JobView) -> String {
    match &job.last {
        None => "-".to_owned(),
        Some(last) if !last.ok => format!("failed: {}", last.result),
        Some(last) if last.result.is_empty() => "nothing to do".to_owned(),
        Some(last) => last.result.clone(),
    }
}

fn listed(jobs: &[JobView]) -> String {
    let head = [
        ("JOB", Align::Left),
        ("STATE", Align::Left),
        ("PROGRESS", Align::Left),
        ("LAST RUN", Align::Left),
        ("LAST RESULT", Align::Left),
        ("NEXT RUN", Align::Left),
    ];
    let row = |job: &JobView| {
        let dash = || "-".to_owned();
        [
            job.name.clone(),
            job.state.clone(),
            job.running.as_ref().map_or_else(dash, progress),
            job.last.as_ref().map_or_else(dash, |last| last.ended_at.clone()),
            result(job),
            job.next_at.clone().unwrap_or_else(dash),
        ]
    };
    table(head, &jobs.iter().map(row).collect::<Vec<_>>())
}

fn described(job: &JobView) -> String {
    let pause = if job.pausable { "it may be paused" } else { "it cannot be paused" };
    let succeeded = job.succeeded_at.as_deref().unwrap_or("never since the start");
    format!(
        "{}{}: {}; {}; {pause}\n{} runs since the start, {} failed; the last success: {succeeded}\n",
        listed(std::slice::from_ref(job)),
        job.name,
        job.about,
        job.schedule,
        job.runs,
        job.failures,
    )
}
