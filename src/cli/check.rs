//! `pierhead check`: what `fsck` checks, asked of a running server.

use clap::Args;
use serde_json::json;

use super::admin::{Asked, read};
use super::jobs::finished;
use super::{Failure, offline, say};
use crate::api::admin::{CheckFindingView, CheckView, CheckedView, JobView, Page};

#[derive(Debug, Args)]
pub struct CheckArguments {
    #[command(flatten)]
    asked: Asked,
    /// Read and hash every blob, too
    #[arg(long)]
    deep: bool,
    /// Do not wait for its end: `pierhead jobs show check` tells how far it is
    #[arg(long, conflicts_with = "last")]
    no_wait: bool,
    /// Begin none: show what the last one since the start of the server found
    #[arg(long, conflicts_with = "deep")]
    last: bool,
}

pub fn check(arguments: &CheckArguments) -> Result<(), Failure> {
    let (asked, client) = (&arguments.asked, arguments.asked.client()?);
    if !arguments.last {
        let begun = client.post("/api/v1/check/run", Some(&json!({"deep": arguments.deep})))?;
        if arguments.no_wait {
            return asked.show(&begun, || Ok("the check begins\n".to_owned()));
        }
        let before = read::<JobView>(&begun)?.runs;
        let ended: JobView = read(&finished(&client, "check", before)?)?;
        if let Some(last) = ended.last.filter(|last| !last.ok) {
            return Err(Failure::Server(format!("it was not checked: {}", last.result)));
        }
    }
    let answer = client.get("/api/v1/check")?;
    let Some(checked) = read::<CheckView>(&answer)?.last else {
        return Err(Failure::Server("nothing was checked since the server started".to_owned()));
    };
    let found = client.all("/api/v1/check/findings?limit=1000")?;
    match asked.json {
        true => {
            let told = json!({"ok": checked.ok, "last": answer["last"], "findings": found["items"]});
            say(&format!("{told}\n"))?
        }
        false => say(&words(&checked, &read::<Page<CheckFindingView>>(&found)?.items))?,
    }
    if checked.ok { Ok(()) } else { Err(Failure::Findings) }
}

/// As `fsck` shows a report.
fn words(checked: &CheckedView, findings: &[CheckFindingView]) -> String {
    let mut text: String = findings
        .iter()
        .map(|one| offline::told(&one.id, &one.severity, &one.what, (&one.images, &one.advice)))
        .collect();
    let found = checked.found.iter().map(|found| (found.id.as_str(), found.count));
    text.push_str(&offline::ending(found, &checked.counts, Some(&checked.ended_at), checked.ok));
    text
}
