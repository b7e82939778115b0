//! `pierhead doctor`.

use clap::Args;
use serde_json::json;

use super::arguments::Place;
use super::{Failure, say, settings};
use crate::config::Settings;
use crate::doctor::{self, Finding, Level, Patient};
use crate::seams::SystemClock;
use crate::wiring;

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
    let patient = Patient { settings: &settings, tls, host: arguments.host.as_deref(), clock: &SystemClock };
    let findings = doctor::examine(&patient);
    say(&if arguments.json { as_json(&findings) } else { as_text(&findings) })?;
    if doctor::worst(&findings) == Level::Fail { Err(Failure::Findings) } else { Ok(()) }
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
