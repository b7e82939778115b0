//! `pierhead ban`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Failure;
use super::admin::{Asked, part, read, show_removed};
use super::table::{Align, table};
use crate::api::admin::{BanView, ExemptionView, Page};
use crate::config::Period;

#[derive(Debug, Subcommand)]
pub enum BanCommand {
    /// List who is banned, and who was not long ago
    #[command(after_help = "Example:\n  pierhead ban list")]
    List(Asked),
    /// Ban an address or a user: no sign-in, no push, no pull
    #[command(
        after_help = "Examples:\n  pierhead ban add 192.0.2.7 --for 2h --reason 'until we know why'\n  \
                            pierhead ban add user:acme/robot"
    )]
    Add(AddArguments),
    /// Lift a ban
    #[command(after_help = "Examples:\n  pierhead ban lift 192.0.2.7\n  pierhead ban lift 2001:db8::/64\n  \
                            pierhead ban lift user:acme/robot")]
    Lift(NamedArguments),
    /// Exempt a network or a user from rates, and from bans the appliance makes by itself
    #[command(after_help = "Examples:\n  pierhead ban exempt 10.1.0.0/16 --reason 'the build farm'\n  \
                            pierhead ban exempt user:acme/robot\n  pierhead ban exempt 10.1.0.0/16 --end")]
    Exempt(ExemptArguments),
    /// List who is exempt
    #[command(after_help = "Example:\n  pierhead ban exemptions")]
    Exemptions(Asked),
}

#[derive(Debug, Args)]
pub struct NamedArguments {
    /// An address, or user:NAME, user:ACCOUNT/NAME or user:ID
    subject: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct AddArguments {
    /// An address (of IPv6 its /64), or user:NAME, user:ACCOUNT/NAME or user:ID
    subject: String,
    /// How long: 2h, 30min, 7d [default: as the settings say]
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<Period>,
    /// Shown beside it; at most 255 characters
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct ExemptArguments {
    /// An address or a network, or user:NAME, user:ACCOUNT/NAME or user:ID
    subject: String,
    /// End the exemption
    #[arg(long, conflicts_with = "reason")]
    end: bool,
    /// Shown beside it; at most 255 characters
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    asked: Asked,
}

pub fn run(command: BanCommand) -> Result<(), Failure> {
    match command {
        BanCommand::List(asked) => {
            let answer = asked.client()?.all("/api/v1/bans?limit=1000")?;
            asked.show(&answer, || Ok(bans(&read::<Page<BanView>>(&answer)?.items)))
        }
        BanCommand::Add(AddArguments { subject, lasts, reason, asked }) => {
            let duration = lasts.map(Period::as_ms);
            let body = json!({"subject": subject, "duration_ms": duration, "note": reason});
            let answer = asked.client()?.post("/api/v1/bans", Some(&body))?;
            asked.show(&answer, || Ok(bans(&[read(&answer)?])))
        }
        BanCommand::Lift(NamedArguments { subject, asked }) => {
            let answer = asked.client()?.delete(&format!("/api/v1/bans/{}", part(&subject)))?;
            show_removed(&asked, "the ban of", &answer)
        }
        BanCommand::Exempt(ExemptArguments { subject, end: true, asked, .. }) => {
            let answer = asked.client()?.delete(&format!("/api/v1/ban-exemptions/{}", part(&subject)))?;
            show_removed(&asked, "the exemption of", &answer)
        }
        BanCommand::Exempt(ExemptArguments { subject, reason, asked, .. }) => {
            let body = json!({"subject": subject, "note": reason});
            let answer = asked.client()?.post("/api/v1/ban-exemptions", Some(&body))?;
            asked.show(&answer, || Ok(exemptions(&[read(&answer)?])))
        }
        BanCommand::Exemptions(asked) => {
            let answer = asked.client()?.get("/api/v1/ban-exemptions")?;
            asked.show(&answer, || Ok(exemptions(&read::<Page<ExemptionView>>(&answer)?.items)))
        }
    }
}

fn bans(bans: &[BanView]) -> String {
    let head = [
        ("SUBJECT", Align::Left),
        ("STATE", Align::Left),
        ("UNTIL", Align::Left),
        ("REASON", Align::Left),
        ("TIMES", Align::Right),
        ("BY", Align::Left),
        ("NOTE", Align::Left),
    ];
    let row = |ban: &BanView| {
        [
            ban.subject.clone(),
            if ban.holds { "banned" } else { "ended" }.to_owned(),
            ban.until.clone(),
            ban.reason.clone(),
            ban.times.to_string(),
            ban.by.clone(),
            ban.note.clone(),
        ]
    };
    table(head, &bans.iter().map(row).collect::<Vec<_>>())
}

fn exemptions(exemptions: &[ExemptionView]) -> String {
    let head = [("SUBJECT", Align::Left), ("SINCE", Align::Left), ("BY", Align::Left), ("NOTE", Align::Left)];
    let row = |exemption: &ExemptionView| {
        [exemption.subject.clone(), exemption.since.clone(), exemption.by.clone(), exemption.note.clone()]
    };
    table(head, &exemptions.iter().map(row).collect::<Vec<_>>())
}
