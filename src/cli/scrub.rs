//! `pierhead scrub`.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin::{Asked, read};
use super::{Failure, human};
use crate::api::admin::{FindingView, Page, ScrubView};

#[derive(Debug, Subcommand)]
pub enum ScrubCommand {
    /// Read every blob now, from the first on
    #[command(
        after_help = "Examples:\n  pierhead scrub run\n  pierhead scrub run --full   as fast as the disk gives"
    )]
    Run(RunArguments),
    /// Say how far it is
    #[command(after_help = "Example:\n  pierhead scrub status")]
    Status(Asked),
    /// Stop reading until `scrub resume`, over restarts too
    #[command(after_help = "Example:\n  pierhead scrub pause")]
    Pause(Asked),
    /// Go on reading
    #[command(after_help = "Example:\n  pierhead scrub resume")]
    Resume(Asked),
    /// List blobs that are damaged or missing, and the images that need them
    #[command(after_help = "Example:\n  pierhead scrub findings\n\n\
                            Exit codes: 0 none, 1 there are some. Pushing an image again heals it.")]
    Findings(Asked),
}

#[derive(Debug, Args)]
pub struct RunArguments {
    #[command(flatten)]
    asked: Asked,
    /// Do not heed scrub.rate; pulls may be slower meanwhile
    #[arg(long)]
    full: bool,
}

pub fn run(command: ScrubCommand) -> Result<(), Failure> {
    match command {
        ScrubCommand::Run(arguments) => {
            let body = json!({"full": arguments.full});
            show(&arguments.asked, &arguments.asked.client()?.post("/api/v1/scrub/run", Some(&body))?)
        }
        ScrubCommand::Status(asked) => show(&asked, &asked.client()?.get("/api/v1/scrub")?),
        ScrubCommand::Pause(asked) => show(&asked, &asked.client()?.post("/api/v1/scrub/pause", None)?),
        ScrubCommand::Resume(asked) => show(&asked, &asked.client()?.post("/api/v1/scrub/resume", None)?),
        ScrubCommand::Findings(asked) => findings(&asked),
    }
}

fn show(asked: &Asked, answer: &Value) -> Result<(), Failure> {
    asked.show(answer, || {
        let scrub: ScrubView = read(answer)?;
        let next = scrub.next_at.as_ref().filter(|_| scrub.ended_at.is_some());
        let next = next.map_or_else(String::new, |next| format!("next {next}\n"));
        Ok(format!("{}\n{next}", words(&scrub)))
    })
}

/// How far it is, in a line.
pub fn words(scrub: &ScrubView) -> String {
    let rate = if scrub.full { "full rate".to_owned() } else { format!("{}/s", human::size(scrub.rate)) };
    let read = format!("{} blobs, {} read", scrub.blobs, human::size(scrub.bytes));
    let mut text = match scrub.state.as_str() {
        "running" => format!("running at {rate}: {read}"),
        "paused" => format!("PAUSED: {read}"),
        _ => match (&scrub.ended_at, &scrub.next_at) {
            (Some(ended), Some(_)) => format!("last ended {ended}: {read}"),
            (Some(ended), None) => format!("last ended {ended}: {read}; off"),
            (None, Some(next)) => format!("next {next}"),
            (None, None) => "off".to_owned(),
        },
    };
    if scrub.findings > 0 {
        // Writing to a string cannot fail.
        let _ = write!(text, "; {} BLOBS DAMAGED OR MISSING: `pierhead scrub findings`", scrub.findings);
    }
    text
}

fn findings(asked: &Asked) -> Result<(), Failure> {
    let answer = asked.client()?.all("/api/v1/scrub/findings?limit=1000")?;
    let page: Page<FindingView> = read(&answer)?;
    asked.show(&answer, || {
        Ok(if page.items.is_empty() { "nothing is damaged\n".to_owned() } else { listed(&page.items) })
    })?;
    if page.items.is_empty() { Ok(()) } else { Err(Failure::Findings) }
}

fn listed(items: &[FindingView]) -> String {
    let mut text = String::new();
    for item in items {
        let parts: Vec<String> =
            item.parts.iter().map(|part| format!("{}-{}", part.start, part.end.saturating_sub(1))).collect();
        let parts = if parts.is_empty() { String::new() } else { format!(", bytes {}", parts.join(", ")) };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} {}, {}{parts}, found {}",
            item.digest,
            item.kind,
            human::size(item.size),
            item.found_at
        );
        for image in &item.images {
            let _ = writeln!(text, "    needed by {image}");
        }
        if item.more_images {
            text.push_str("    and perhaps more\n");
        }
    }
    text.push_str(
        "push one of the images again from where it can be had: that heals the blob for all of them\n",
    );
    text
}
