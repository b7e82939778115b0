//! `pierhead account`.

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::admin::{Asked, part, read, show_removed};
use super::password::PasswordFrom;
use super::table::{Align, table};
use crate::api::admin::{AccountView, FirstView, Page};

#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account with its administrator
    #[command(after_help = "Example:\n  pierhead account add beta --user betty --generate-password")]
    Add(AddArguments),
    /// List accounts
    #[command(after_help = "Example:\n  pierhead account list --json")]
    List(Asked),
    /// Show an account
    #[command(after_help = "Example:\n  pierhead account show beta")]
    Show(NamedArguments),
    /// Switch an account on or off, with all its users
    #[command(after_help = "Example:\n  pierhead account set beta --disable")]
    Set(SetArguments),
    /// Remove an account that owns no organisation, with all its users
    #[command(after_help = "Example:\n  pierhead account rm beta")]
    Rm(NamedArguments),
}

#[derive(Debug, Args)]
pub struct AddArguments {
    /// Name of the account
    name: String,
    /// Name of its administrator
    #[arg(long, value_name = "NAME", default_value = "admin")]
    user: String,
    #[command(flatten)]
    password: PasswordFrom,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct NamedArguments {
    /// Name or id
    name: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).args(["enable", "disable"]))]
pub struct SetArguments {
    /// Name or id
    name: String,
    /// Let its users in
    #[arg(long)]
    enable: bool,
    /// Let none of its users in
    #[arg(long)]
    disable: bool,
    #[command(flatten)]
    asked: Asked,
}

pub fn run(command: AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::Add(arguments) => add(&arguments),
        AccountCommand::List(asked) => {
            let answer = asked.client()?.get("/api/v1/accounts")?;
            asked.show(&answer, || Ok(listed(&read::<Page<AccountView>>(&answer)?.items)))
        }
        AccountCommand::Show(NamedArguments { name, asked }) => {
            show(&asked, &asked.client()?.get(&path(&name))?)
        }
        AccountCommand::Set(SetArguments { name, enable, asked, .. }) => {
            show(&asked, &asked.client()?.patch(&path(&name), &json!({"enabled": enable}))?)
        }
        AccountCommand::Rm(NamedArguments { name, asked }) => {
            show_removed(&asked, "account", &asked.client()?.delete(&path(&name))?)
        }
    }
}

fn path(name: &str) -> String {
    format!("/api/v1/accounts/{}", part(name))
}

fn add(arguments: &AddArguments) -> Result<(), Failure> {
    let given = arguments.password.read_or_ask(&arguments.user)?;
    let administrator = json!({"name": arguments.user, "password": given.text, "console": true});
    let body = json!({"name": arguments.name, "administrator": administrator});
    let mut answer = arguments.asked.client()?.post("/api/v1/accounts", Some(&body))?;
    if given.made {
        answer["password"] = Value::from(given.text.clone());
    }
    arguments.asked.show(&answer, || {
        let FirstView { account, user, .. } = read(&answer)?;
        let password = if given.made { format!("password: {}\n", given.text) } else { String::new() };
        Ok(format!("made the account {account} and its administrator {user}\n{password}"))
    })
}

fn show(asked: &Asked, answer: &Value) -> Result<(), Failure> {
    asked.show(answer, || Ok(listed(&[read(answer)?])))
}

fn listed(accounts: &[AccountView]) -> String {
    let head = [("NAME", Align::Left), ("ID", Align::Left), ("STATE", Align::Left), ("CREATED", Align::Left)];
    let row = |account: &AccountView| {
        let state = match (account.enabled, account.operator) {
            (true, true) => "operator",
            (true, false) => "enabled",
            (false, _) => "disabled",
        };
        [account.name.clone(), account.id.clone(), state.to_owned(), account.created_at.clone()]
    };
    table(head, &accounts.iter().map(row).collect::<Vec<_>>())
}
