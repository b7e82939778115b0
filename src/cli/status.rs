//! `pierhead status`.

use std::fmt::Write;

use super::admin::{Asked, read};
use super::{Failure, human};
use crate::api::admin::{
    AuditView, ConnectionsView, GuardView, LimitedView, NearView, QuotasView, SlotsView, SpaceView,
    StatusView, gigabytes,
};

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
    for (number, is) in disk(space).into_iter().enumerate() {
        line(if number == 0 { "space" } else { "" }, is);
    }
    let uploads = &status.uploads;
    line(
        "uploads",
        format!("{} open, {} receiving, {} at most", uploads.open, uploads.receiving, uploads.limit),
    );
    for (number, is) in slots(&status.slots).into_iter().enumerate() {
        line(if number == 0 { "slots" } else { "" }, is);
    }
    line("clients", connections(&status.connections));
    for (number, is) in quotas(&status.quotas).into_iter().enumerate() {
        line(if number == 0 { "storage" } else { "" }, is);
    }
    for (number, is) in guard(&status.guard).into_iter().enumerate() {
        line(if number == 0 { "guard" } else { "" }, is);
    }
    line("scrub", super::scrub::words(&status.scrub));
    line("audit", audit(&status.audit));
    text
}

/// Who was banned last is named; what was refused is told if anything was.
fn guard(guard: &GuardView) -> Vec<String> {
    let GuardView { banned, newest, exemptions, limited, turned_away, lost, unwritten, .. } = guard;
    let mut lines =
        vec![format!("{banned} banned, {exemptions} exempt; {turned_away} turned away as banned")];
    let LimitedView { sign_in, read, write, manage, ceiling } = limited;
    let refused = [(sign_in, "sign-ins"), (read, "reads"), (write, "writes"), (manage, "managing")];
    let refused = refused.into_iter().chain([(ceiling, "of all together")]);
    let refused = refused.filter(|(count, _)| **count > 0).map(|(count, what)| format!("{count} {what}"));
    let refused: Vec<String> = refused.collect();
    if !refused.is_empty() {
        lines.push(format!("over a rate since the start: {}", refused.join(", ")));
    }
    if *lost > 0 {
        lines.push(format!("{lost} BANS NOT MADE: THERE ARE TOO MANY"));
    }
    if *unwritten > 0 {
        lines.push(format!("{unwritten} BANS NOT WRITTEN DOWN YET"));
    }
    lines.extend(
        newest.iter().map(|ban| format!("BANNED {}: {}, until {}", ban.subject, ban.reason, ban.until)),
    );
    let more = banned.saturating_sub(newest.len() as u64);
    if more > 0 {
        lines.push(format!("and {more} more: pierhead ban list"));
    }
    lines
}

fn audit(audit: &AuditView) -> String {
    let trouble = audit.trouble.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
    let dropped = if audit.dropped > 0 { format!("; {} DROPPED", audit.dropped) } else { String::new() };
    let lost = if audit.lost > 0 { format!("; {} CHANGES NOT RECORDED", audit.lost) } else { String::new() };
    let damaged =
        if audit.damaged > 0 { format!("; {} files damaged", audit.damaged) } else { String::new() };
    let kept = format!("{} events, {}", audit.events, human::size(audit.bytes));
    format!("{kept}{dropped}{lost}{damaged}{trouble}")
}

fn disk(space: &SpaceView) -> Vec<String> {
    let free = space.free.map_or_else(|| "unknown".to_owned(), human::size);
    let state = match space.state.as_str() {
        "full" => "; FULL: UPLOADS ARE REFUSED",
        "low" => "; LOW: stale uploads are removed",
        _ => "",
    };
    let (soft, hard) = (human::size(space.soft_mark), human::size(space.reserve));
    let mut lines = vec![
        format!("{free} free of {}{state}", human::size(space.total)),
        format!("low below {soft}, {hard} kept back, {} promised", human::size(space.promised)),
    ];
    if let Some(most) = &space.promised_most {
        lines.push(format!("{}: {} promised", most.who, human::size(most.bytes)));
    }
    if space.reclaimed > 0 {
        let bytes = human::size(space.reclaimed_bytes);
        lines.push(format!("{} stale uploads removed, {bytes}", space.reclaimed));
    }
    lines
}

/// Whoever has requests waiting is named.
fn slots(slots: &SlotsView) -> Vec<String> {
    let SlotsView { limit, held, waiting, refused, cut, busiest } = slots;
    let mut lines = vec![format!("{held} held, {waiting} waiting, {limit} an account")];
    if refused + cut > 0 {
        lines.push(format!("{refused} refused, {cut} slow uploads cut since the start"));
    }
    let waiting = busiest.iter().filter(|one| one.waiting > 0);
    lines.extend(waiting.map(|one| format!("{}: {} held, {} waiting", one.who, one.held, one.waiting)));
    lines
}

fn connections(connections: &ConnectionsView) -> String {
    let ConnectionsView { open, limit, per_address, shed, refused } = connections;
    let each = if *per_address > 0 { format!(", {per_address} an address") } else { String::new() };
    let shed = if *shed > 0 { format!("; {shed} idle ones closed") } else { String::new() };
    let refused = if *refused > 0 { format!("; {refused} refused") } else { String::new() };
    format!("{open} open, {limit} at most{each}{shed}{refused}")
}

fn well(status: &StatusView) -> String {
    match &status.metadata.read_only {
        Some(why) => format!("READ-ONLY: {why}"),
        None if !status.metadata.readable => "NOT READABLE".to_owned(),
        None if status.metadata.in_memory => "INDEX IN MEMORY".to_owned(),
        None => "well".to_owned(),
    }
}

fn quotas(quotas: &QuotasView) -> Vec<String> {
    let refused =
        if quotas.refused > 0 { format!("; {} pushes refused", quotas.refused) } else { String::new() };
    let (used, reserved) = (gigabytes(quotas.used), gigabytes(quotas.reserved));
    let near = |near: &NearView| {
        let (used, quota) = (gigabytes(near.used), gigabytes(near.quota));
        format!("NEARLY FULL: organisation {}, {used} of {quota}", near.organisation)
    };
    let all = format!("{used} used, {reserved} reserved, {} quotas{refused}", quotas.quotas);
    [all].into_iter().chain(quotas.near.iter().map(near)).collect()
}
