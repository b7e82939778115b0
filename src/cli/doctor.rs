//! `pierhead doctor`.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::admin::Client;
use super::arguments::Place;
use super::{Failure, say, settings};
use crate::config::Settings;
use crate::doctor::{self, Finding, Level, Patient, Told};
use crate::seams::SystemClock;
use crate::wiring;

/// A server that hangs is a reason to call the doctor.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct DoctorArguments {
    #[command(flatten)]
    place: Place,
    /// How clients name the registry [default: this host's name]
    #[arg(long, value_name = "NAME[:PORT]")]
    host: Option<String>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub fn doctor(arguments: &DoctorArguments) -> Result<(), Failure> {
    let mut settings = settings(Settings::default(), arguments.place.config.as_deref())?;
    if let Some(data) = &arguments.place.data {
        settings.storage.data.clone_from(data);
    }
    let tls = wiring::check_tls(&settings).err().map(|error| super::chain(&error));
    let (host, told) = (arguments.host.as_deref(), told(&settings));
    let patient = Patient { settings: &settings, tls, host, told, clock: &SystemClock };
    let findings = doctor::examine(&patient);
    say(&if arguments.json { as_json(&findings) } else { as_text(&findings) })?;
    if doctor::worst(&findings) == Level::Fail { Err(Failure::Findings) } else { Ok(()) }
}

/// What the server of these settings says of itself, if it runs and this user may ask. By single values: one of
/// another version, which is to be told, may answer in another shape.
fn told(settings: &Settings) -> Option<Told> {
    let client = Client::new(settings.admin_socket()?).ok()?.hasty(PATIENCE);
    let status = client.get("/api/v1/status").ok()?;
    let accounts = client.get("/api/v1/accounts").ok()?;
    let text = |pointer| status.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Some(Told {
        version: text("/version")?,
        begun: accounts["items"].as_array().is_none_or(|items| !items.is_empty()),
        read_only: text("/metadata/read_only"),
        in_memory: status.pointer("/metadata/in_memory").and_then(Value::as_bool).unwrap_or(false),
        audit: text("/audit/trouble"),
        findings: status.pointer("/scrub/findings").and_then(Value::as_u64).unwrap_or(0),
        rows: status.pointer("/metadata/rows").and_then(Value::as_u64),
    })
}

fn as_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        text.push_str(&format!("{:<4}  {:<12} {}\n", finding.level.name(), finding.check, finding.what));
        if let Some(advice) = &finding.advice {
            text.push_str(&format!("      {:<12} -> {advice}\n", ""));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (failed, warned) = (count(Level::Fail), count(Level::Warn));
    text.push_str(&match (failed, warned) {
        (0, 0) => "everything is well\n".to_owned(),
        (0, warned) => format!("it works; {warned} to look at\n"),
        (failed, warned) => format!("{failed} do not work, {warned} to look at\n"),
    });
    text
}

fn as_json(findings: &[Finding]) -> String {
    let items: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "check": finding.check,
                "level": finding.level.name(),
                "what": finding.what,
                "advice": finding.advice,
            })
        })
        .collect();
    format!("{}\n", json!({"level": doctor::worst(findings).name(), "findings": items}))
}
