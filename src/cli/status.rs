//! `pierhead status`.

use std::fmt::Write;

use super::admin::{Asked, read};
use super::{Failure, human};
use crate::api::admin::StatusView;

pub fn status(asked: &Asked) -> Result<(), Failure> {
    let answer = asked.client()?.get("/api/v1/status")?;
    asked.show(&answer, || Ok(words(&read(&answer)?)))
}

fn words(status: &StatusView) -> String {
    let mut text = String::new();
    let mut line = |what: &str, is: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{what:<10} {is}");
    };
    let (listening, metadata, space) = (&status.listening, &status.metadata, &status.space);
    let uptime = human::period(status.uptime_ms);
    line("version", status.version.clone());
    line("running", format!("since {} ({uptime}), process {}", status.started_at, status.process));
    line("data", status.data.clone());
    let scheme = if listening.tls { "https" } else { "http" };
    for address in &listening.addresses {
        line("listening", format!("{scheme}://{address}"));
    }
    for address in &listening.metrics {
        line("monitoring", format!("http://{address}/metrics"));
    }
    line("metadata", format!("{} rows, change set {}, {}", metadata.rows, metadata.sequence, well(status)));
    let free = space.free.map_or_else(|| "unknown".to_owned(), human::size);
    let refused = if space.uploads_refused { "; UPLOADS ARE REFUSED" } else { "" };
    line("space", format!("{free} free, {} kept back{refused}", human::size(space.reserve)));
    let uploads = &status.uploads;
    line(
        "uploads",
        format!("{} open, {} receiving, {} at most", uploads.open, uploads.receiving, uploads.limit),
    );
    let audit = &status.audit;
    let trouble = audit.trouble.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
    let dropped = if audit.dropped > 0 { format!("; {} DROPPED", audit.dropped) } else { String::new() };
    let lost = if audit.lost > 0 { format!("; {} CHANGES NOT RECORDED", audit.lost) } else { String::new() };
    let damaged =
        if audit.damaged > 0 { format!("; {} files damaged", audit.damaged) } else { String::new() };
    let kept = format!("{} events, {}", audit.events, human::size(audit.bytes));
    line("scrub", super::scrub::words(&status.scrub));
    line("audit", format!("{kept}{dropped}{lost}{damaged}{trouble}"));
    text
}

fn well(status: &StatusView) -> String {
    match &status.metadata.read_only {
        Some(why) => format!("READ-ONLY: {why}"),
        None if !status.metadata.readable => "NOT READABLE".to_owned(),
        None if status.metadata.in_memory => "INDEX IN MEMORY".to_owned(),
        None => "well".to_owned(),
    }
}
