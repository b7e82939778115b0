//! `pierhead share`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::admin::{Asked, Client, NamedRepository, part, read, show_removed};
use super::table::{Align, table};
use crate::api::admin::{Page, ShareView};

#[derive(Debug, Subcommand)]
pub enum ShareCommand {
    /// Let the users of another account pull a private repository
    #[command(after_help = "Examples:\n  pierhead share add acme/web beta\n  \
                            pierhead share add acme/web beta --until 2030-12-31 --description 'for the pilot'")]
    Add(TermsArguments),
    /// List the accounts a repository is shared with
    #[command(after_help = "Example:\n  pierhead share list acme/web")]
    List(NamedRepository),
    /// Change the terms of a share; what is not named stays
    #[command(after_help = "Example:\n  pierhead share set acme/web beta --for-ever")]
    Set(TermsArguments),
    /// End a share
    #[command(after_help = "Example:\n  pierhead share rm acme/web beta")]
    Rm(RmArguments),
}

#[derive(Debug, Args)]
pub struct RmArguments {
    /// Whole name of the repository: ORGANISATION/NAME
    repository: String,
    /// Name or id of the account
    account: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct TermsArguments {
    /// Whole name of the repository: ORGANISATION/NAME
    repository: String,
    /// Name or id of the account
    account: String,
    /// When it ends: a day, to its end in UTC, or a time such as 2030-12-31T18:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "for_ever")]
    until: Option<String>,
    /// It does not end [default of a new share]
    #[arg(long)]
    for_ever: bool,
    /// At most 1,000 characters
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

/// A day or a time, as RFC 3339.
fn moment(text: &str) -> Result<String, String> {
    let day = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == 10);
    let text = day.map_or_else(|| text.to_owned(), |day| format!("{day}T23:59:59.999Z"));
    let moment: Result<jiff::Timestamp, _> = text.parse();
    moment.map(|moment| moment.to_string()).map_err(|_| "neither a day nor a time of RFC 3339".to_owned())
}

pub fn run(command: ShareCommand) -> Result<(), Failure> {
    match command {
        ShareCommand::Add(arguments) => {
            let body = json!({"until": arguments.until, "description": arguments.description.as_deref().unwrap_or("")});
            let answer = arguments.asked.client()?.post(&one(&arguments), Some(&body))?;
            arguments.asked.show(&answer, || Ok(listed(&[read(&answer)?])))
        }
        ShareCommand::List(NamedRepository { repository, asked }) => {
            let answer = asked.client()?.get(&all(&repository))?;
            asked.show(&answer, || Ok(listed(&read::<Page<ShareView>>(&answer)?.items)))
        }
        ShareCommand::Set(arguments) => set(&arguments),
        ShareCommand::Rm(RmArguments { repository, account, asked }) => {
            let answer = asked.client()?.delete(&format!("{}/{}", all(&repository), part(&account)))?;
            show_removed(&asked, &format!("the share of {repository} with"), &answer)
        }
    }
}

fn all(repository: &str) -> String {
    format!("/api/v1/repositories/{}/shares", part(repository))
}

fn one(arguments: &TermsArguments) -> String {
    format!("{}/{}", all(&arguments.repository), part(&arguments.account))
}

fn set(arguments: &TermsArguments) -> Result<(), Failure> {
    let TermsArguments { until, for_ever, description, asked, .. } = arguments;
    if until.is_none() && !for_ever && description.is_none() {
        return Err(Failure::Usage("say what to change; --help names it".to_owned()));
    }
    let client = asked.client()?;
    let now = present(&client, arguments)?;
    let until = if *for_ever { None } else { until.clone().or(now.until) };
    let body = json!({"until": until, "description": description.clone().unwrap_or(now.description)});
    let answer: Value = client.put(&one(arguments), &body)?;
    asked.show(&answer, || Ok(listed(&[read(&answer)?])))
}

/// The share as it is.
fn present(client: &Client, arguments: &TermsArguments) -> Result<ShareView, Failure> {
    let account = client.get(&format!("/api/v1/accounts/{}", part(&arguments.account)))?;
    let name = account.get("name").and_then(Value::as_str).unwrap_or_default();
    let page: Page<ShareView> = read(&client.get(&all(&arguments.repository))?)?;
    page.items.into_iter().find(|share| share.account == name).ok_or_else(|| {
        Failure::Server(format!("{} is not shared with {}", arguments.repository, arguments.account))
    })
}

fn listed(shares: &[ShareView]) -> String {
    let head = [
        ("REPOSITORY", Align::Left),
        ("ACCOUNT", Align::Left),
        ("UNTIL", Align::Left),
        ("STATE", Align::Left),
        ("BY", Align::Left),
        ("DESCRIPTION", Align::Left),
    ];
    let row = |share: &ShareView| {
        [
            share.repository.clone(),
            share.account.clone(),
            share.until.clone().unwrap_or_else(|| "for ever".to_owned()),
            if share.valid { "valid" } else { "ended" }.to_owned(),
            share.creator.clone().unwrap_or_else(|| "-".to_owned()),
            share.description.clone(),
        ]
    };
    table(head, &shares.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_lasts_to_its_end_and_nonsense_is_refused() {
        assert_eq!(moment("2030-12-31").as_deref(), Ok("2030-12-31T23:59:59.999Z"));
        assert_eq!(moment("2030-12-31T18:00:00+02:00").as_deref(), Ok("2030-12-31T16:00:00Z"));
        for text in ["", "soon", "2030-13-01", "2030-12-31T18:00"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
