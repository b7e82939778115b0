//! `pierhead gc`.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin::{Asked, Client, read};
use super::{Failure, human};
use crate::api::admin::{CollectedView, CollectorView, OutlookView};

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub enum GcCommand {
    /// Say how the collector is and what it did
    #[command(after_help = "Example:\n  pierhead gc status")]
    Status(Asked),
    /// Remove now what nothing needs any more, and wait until that is done
    #[command(after_help = "Examples:\n  pierhead gc run\n  pierhead gc run --dry-run\n\n\
                            What is younger than collection.grace, or a client was told of that lately, stays.")]
    Run(RunArguments),
    /// Remove nothing until `gc resume`, also after a restart
    #[command(after_help = "Example:\n  pierhead gc pause")]
    Pause(Asked),
    /// Go on
    #[command(after_help = "Example:\n  pierhead gc resume")]
    Resume(Asked),
}

#[derive(Debug, Args)]
pub struct RunArguments {
    /// Only say what would go
    #[arg(long, conflicts_with = "accept_clock")]
    dry_run: bool,
    /// Believe the clock though it jumped, or is far from what it was at the last stop
    #[arg(long)]
    accept_clock: bool,
    #[command(flatten)]
    asked: Asked,
}

pub fn run(command: GcCommand) -> Result<(), Failure> {
    match command {
        GcCommand::Status(asked) => show(&asked, &asked.client()?.get("/api/v1/gc")?),
        GcCommand::Run(arguments) if arguments.dry_run => outlook(&arguments.asked),
        GcCommand::Run(arguments) => collect(&arguments),
        GcCommand::Pause(asked) => show(&asked, &asked.client()?.post("/api/v1/gc/pause", None)?),
        GcCommand::Resume(asked) => show(&asked, &asked.client()?.post("/api/v1/gc/resume", None)?),
    }
}

fn outlook(asked: &Asked) -> Result<(), Failure> {
    let answer = asked.client()?.get("/api/v1/gc/outlook")?;
    asked.show(&answer, || {
        let found: OutlookView = read(&answer)?;
        let mut text = format!("would remove {} blobs, {}\n", found.blobs, human::size(found.bytes));
        if found.unlinked > 0 {
            let later = human::size(found.later_bytes);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "would take {} blobs off repositories; {later} go later", found.unlinked);
        }
        if found.left > 0 {
            let _ = writeln!(text, "would leave {} blobs that clients were told of lately", found.left);
        }
        Ok(text)
    })
}

fn collect(arguments: &RunArguments) -> Result<(), Failure> {
    let client = arguments.asked.client()?;
    let asked = client.post("/api/v1/gc/run", Some(&json!({"accept_clock": arguments.accept_clock})))?;
    let status: CollectorView = read(&asked)?;
    if status.paused {
        return Err(Failure::Server("the collector is paused: run `pierhead gc resume` first".to_owned()));
    }
    let answer = wait(&client)?;
    show(&arguments.asked, &answer)?;
    let status: CollectorView = read(&answer)?;
    match status.trouble.or(status.waits) {
        Some(why) => Err(Failure::Server(why)),
        None => Ok(()),
    }
}

/// Looks at the run until it has ended; tells people what it did until then.
fn wait(client: &Client) -> Result<Value, Failure> {
    let tells = io::stderr().is_terminal();
    loop {
        std::thread::park_timeout(LOOK); // nobody unparks it
        let answer = client.get("/api/v1/gc")?;
        let status: CollectorView = read(&answer)?;
        if tells {
            // Nothing can be done about a stderr that is gone.
            let _ = write!(io::stderr(), "\r{}\x1b[K", done(&status.last));
        }
        if !status.running {
            if tells {
                let _ = writeln!(io::stderr());
            }
            return Ok(answer);
        }
    }
}

fn done(done: &CollectedView) -> String {
    let CollectedView { unlinked, removed, bytes, files, left, .. } = done;
    let size = human::size(*bytes);
    format!(
        "{removed} blobs removed ({size}), {unlinked} off repositories, {files} files unlinked, {left} left"
    )
}

fn show(asked: &Asked, answer: &Value) -> Result<(), Failure> {
    asked.show(answer, || {
        let status: CollectorView = read(answer)?;
        let state = match (status.paused, status.running, &status.waits) {
            (true, ..) => "paused".to_owned(),
            (_, true, _) => "running".to_owned(),
            (.., Some(why)) => format!("waiting: {why}"),
            _ => "ready".to_owned(),
        };
        let last = status.ended_at.as_deref().unwrap_or("none since the start");
        let mut text = format!("{:<10} {state}\n{:<10} {last}\n", "collector", "last run");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<10} {}", "it did", done(&status.last));
        let _ = writeln!(text, "{:<10} {}", "in all", done(&status.total));
        if let Some(trouble) = &status.trouble {
            let _ = writeln!(text, "{:<10} {trouble}", "trouble");
        }
        Ok(text)
    })
}
