//! `pierhead quota`. People are told GB of 10^9 bytes, programs get bytes.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::admin::{Asked, Client, part, read};
use super::table::{Align, table};
use crate::api::admin::{Page, QuotaView, gigabytes};
use crate::config::Size;

#[derive(Debug, Subcommand)]
pub enum QuotaCommand {
    /// List what organisations, or accounts, hold and may hold
    #[command(after_help = "Examples:\n  pierhead quota list\n  pierhead quota list --accounts --json")]
    List(ListArguments),
    /// Show what an organisation, or the organisations of an account, hold and may hold
    #[command(after_help = "Examples:\n  pierhead quota show acme\n  pierhead quota show --account beta")]
    Show(OfArguments),
    /// Set what an organisation, or the organisations of an account together, may hold
    #[command(
        after_help = "Examples:\n  pierhead quota set acme 10GB\n  pierhead quota set --account beta 500GB\n\n\
                      What is held stays, even if it is more: pushes are refused until it is less."
    )]
    Set(SetArguments),
    /// Let an organisation, or the organisations of an account, hold anything
    #[command(after_help = "Examples:\n  pierhead quota clear acme\n  pierhead quota clear --account beta")]
    Clear(OfArguments),
}

#[derive(Debug, Args)]
pub struct ListArguments {
    /// Accounts, not organisations
    #[arg(long)]
    accounts: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct OfArguments {
    /// An organisation
    #[arg(required_unless_present = "account", conflicts_with = "account")]
    organisation: Option<String>,
    /// An account, by name or id
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct SetArguments {
    /// An organisation, then how much it may hold; with --account only how much: 10GB, 500GiB
    #[arg(value_name = "[ORGANISATION] SIZE", num_args = 1..=2, required = true)]
    what: Vec<String>,
    /// An account, by name or id
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

pub fn run(command: QuotaCommand) -> Result<(), Failure> {
    match command {
        QuotaCommand::List(ListArguments { accounts, asked }) => list(accounts, &asked),
        QuotaCommand::Show(OfArguments { organisation, account, asked }) => {
            let path = path(organisation.as_deref(), account.as_deref());
            show(&asked, &asked.client()?.get(&path)?)
        }
        QuotaCommand::Set(SetArguments { what, account, asked }) => {
            let (organisation, size) = match (what.as_slice(), &account) {
                ([organisation, size], None) => (Some(organisation.as_str()), size),
                ([size], Some(_)) => (None, size),
                _ => {
                    return Err(Failure::Usage(
                        "give an organisation and a size, or --account and a size".to_owned(),
                    ));
                }
            };
            let size: Size = size.parse().map_err(|why| Failure::Usage(format!("`{size}`: {why}")))?;
            let path = path(organisation, account.as_deref());
            show(&asked, &asked.client()?.put(&path, &json!({"bytes": size.bytes()}))?)
        }
        QuotaCommand::Clear(OfArguments { organisation, account, asked }) => {
            let path = path(organisation.as_deref(), account.as_deref());
            show(&asked, &asked.client()?.delete(&path)?)
        }
    }
}

fn path(organisation: Option<&str>, account: Option<&str>) -> String {
    match account {
        Some(account) => format!("/api/v1/accounts/{}/quota", part(account)),
        None => of_organisation(organisation.unwrap_or_default()),
    }
}

/// The path of an organisation's quota.
pub fn of_organisation(name: &str) -> String {
    format!("/api/v1/organisations/{}/quota", part(name))
}

fn list(accounts: bool, asked: &Asked) -> Result<(), Failure> {
    let client = asked.client()?;
    let path = if accounts { "/api/v1/quotas/accounts" } else { "/api/v1/quotas/organisations" };
    let items = all(&client, path)?;
    let answer = json!({"items": items, "next": null});
    asked.show(&answer, || Ok(listed(&read::<Page<QuotaView>>(&answer)?.items)))
}

/// The items of every page.
fn all(client: &Client, path: &str) -> Result<Vec<Value>, Failure> {
    let (mut items, mut after) = (Vec::new(), String::new());
    loop {
        let answer = client.get(&format!("{path}?limit=1000{after}"))?;
        let Page::<Value> { items: page, next } = read(&answer)?;
        items.extend(page);
        match next {
            Some(next) => after = format!("&after={}", part(&next)),
            None => return Ok(items),
        }
    }
}

fn show(asked: &Asked, answer: &Value) -> Result<(), Failure> {
    asked.show(answer, || Ok(listed(&[read(answer)?])))
}

/// As a table for people.
pub fn listed(quotas: &[QuotaView]) -> String {
    let head = [
        ("NAME", Align::Left),
        ("USED", Align::Right),
        ("QUOTA", Align::Right),
        ("LEFT", Align::Right),
        ("RESERVED", Align::Right),
        ("BLOBS", Align::Right),
    ];
    let or_none = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), gigabytes);
    let row = |one: &QuotaView| {
        let (quota, left) = (or_none(one.quota), or_none(one.left));
        let (used, reserved) = (gigabytes(one.used), gigabytes(one.reserved));
        [one.name.clone(), used, quota, left, reserved, one.blobs.to_string()]
    };
    table(head, &quotas.iter().map(row).collect::<Vec<_>>())
}
