//! `pierhead group`.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Failure;
use super::admin::{NamedInAccount, OfAccount, part, read, show_removed};
use super::table::{Align, table};
use super::user::all;
use crate::api::admin::{GroupView, Page};

#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Make a group
    #[command(after_help = "Example:\n  pierhead group add builders --role developer")]
    Add(AddArguments),
    /// List the groups of an account
    #[command(after_help = "Example:\n  pierhead group list")]
    List(OfAccount),
    /// Show a group
    #[command(after_help = "Example:\n  pierhead group show builders")]
    Show(NamedInAccount),
    /// Change a group; what is not named stays
    #[command(after_help = "Example:\n  pierhead group set builders --policy no-deletes")]
    Set(SetArguments),
    /// Put users into a group, all or none
    #[command(after_help = "Example:\n  pierhead group join builders ann bob")]
    Join(MembersArguments),
    /// Take users out of a group
    #[command(after_help = "Example:\n  pierhead group leave builders bob")]
    Leave(MembersArguments),
    /// Remove a group; its members stay users
    #[command(after_help = "Example:\n  pierhead group rm builders")]
    Rm(NamedInAccount),
}

#[derive(Debug, Args)]
pub struct AddArguments {
    /// Name, unique in the account
    name: String,
    /// At most 255 characters
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// A system role of its members; may be given several times
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    #[command(flatten)]
    of: OfAccount,
}

#[derive(Debug, Args)]
pub struct MembersArguments {
    /// Name or id of the group
    name: String,
    /// Names or ids
    #[arg(value_name = "USER", required = true)]
    users: Vec<String>,
    #[command(flatten)]
    of: OfAccount,
}

#[derive(Debug, Args)]
pub struct SetArguments {
    /// Name or id
    name: String,
    /// At most 255 characters
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// All system roles from now on; may be given several times
    #[arg(long, value_name = "ROLE", conflicts_with = "no_roles")]
    role: Vec<String>,
    /// No system role any more
    #[arg(long)]
    no_roles: bool,
    /// All policies from now on; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with = "no_policies")]
    policy: Vec<String>,
    /// No policy any more
    #[arg(long)]
    no_policies: bool,
    #[command(flatten)]
    of: OfAccount,
}

pub fn run(command: GroupCommand) -> Result<(), Failure> {
    match command {
        GroupCommand::Add(AddArguments { name, description, role, of }) => {
            let (client, account) = of.open()?;
            let body = json!({"name": name, "description": description, "roles": role});
            show(&of, &client.post(&format!("{account}/groups"), Some(&body))?)
        }
        GroupCommand::List(of) => {
            let (client, account) = of.open()?;
            let answer = client.get(&format!("{account}/groups"))?;
            of.asked.show(&answer, || Ok(listed(&read::<Page<GroupView>>(&answer)?.items)))
        }
        GroupCommand::Show(NamedInAccount { name, of }) => {
            let (client, account) = of.open()?;
            show(&of, &client.get(&path(&account, &name))?)
        }
        GroupCommand::Set(arguments) => set(&arguments),
        GroupCommand::Join(MembersArguments { name, users, of }) => {
            let (client, account) = of.open()?;
            let body = json!({"users": users});
            show(&of, &client.post(&format!("{}/members", path(&account, &name)), Some(&body))?)
        }
        GroupCommand::Leave(arguments) => leave(&arguments),
        GroupCommand::Rm(NamedInAccount { name, of }) => {
            let (client, account) = of.open()?;
            show_removed(&of.asked, "group", &client.delete(&path(&account, &name))?)
        }
    }
}

fn path(account: &str, name: &str) -> String {
    format!("{account}/groups/{}", part(name))
}

fn set(arguments: &SetArguments) -> Result<(), Failure> {
    let mut change = Map::new();
    if let Some(description) = &arguments.description {
        change.insert("description".to_owned(), Value::from(description.as_str()));
    }
    if let Some(roles) = all(&arguments.role, arguments.no_roles) {
        change.insert("roles".to_owned(), roles);
    }
    if let Some(policies) = all(&arguments.policy, arguments.no_policies) {
        change.insert("policies".to_owned(), policies);
    }
    if change.is_empty() {
        return Err(Failure::Usage("say what to change; --help names it".to_owned()));
    }
    let (client, account) = arguments.of.open()?;
    show(&arguments.of, &client.patch(&path(&account, &arguments.name), &change.into())?)
}

fn leave(arguments: &MembersArguments) -> Result<(), Failure> {
    let (client, account) = arguments.of.open()?;
    let mut answer = Value::Null;
    for user in &arguments.users {
        answer = client.delete(&format!("{}/members/{}", path(&account, &arguments.name), part(user)))?;
    }
    show(&arguments.of, &answer)
}

fn show(of: &OfAccount, answer: &Value) -> Result<(), Failure> {
    of.asked.show(answer, || Ok(listed(&[read(answer)?])))
}

fn listed(groups: &[GroupView]) -> String {
    let head = [
        ("NAME", Align::Left),
        ("ROLES", Align::Left),
        ("POLICIES", Align::Left),
        ("MEMBERS", Align::Left),
        ("DESCRIPTION", Align::Left),
    ];
    let row = |group: &GroupView| {
        [
            group.name.clone(),
            group.roles.join(","),
            group.policies.join(","),
            group.members.join(","),
            group.description.clone(),
        ]
    };
    table(head, &groups.iter().map(row).collect::<Vec<_>>())
}
