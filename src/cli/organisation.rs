//! `pierhead org` and `pierhead grant`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::admin::{Asked, OfAccount, part, read, show_removed};
use super::quota;
use super::table::{Align, table};
use crate::api::admin::{GrantView, OrganisationFreesView, OrganisationView, Page};

#[derive(Debug, Subcommand)]
pub enum OrganisationCommand {
    /// Make an organisation for an account
    #[command(after_help = "Example:\n  pierhead org add acme --account beta")]
    Add(AddArguments),
    /// List organisations
    #[command(after_help = "Example:\n  pierhead org list")]
    List(Asked),
    /// Show an organisation
    #[command(after_help = "Example:\n  pierhead org show acme")]
    Show(NamedArguments),
    /// Remove an organisation without repositories, and the rights in it
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  pierhead org delete acme --dry-run\n  pierhead org delete acme"
    )]
    Delete(DeleteArguments),
}

#[derive(Debug, Subcommand)]
pub enum GrantCommand {
    /// List who was granted what on an organisation or repository
    #[command(after_help = "Examples:\n  pierhead grant list acme\n  pierhead grant list acme/web")]
    List(OnArguments),
    /// Let a user read, edit or manage it, whatever he was granted there before
    #[command(
        after_help = "Examples:\n  pierhead grant set acme ann edit\n  pierhead grant set acme/web bob read"
    )]
    Set(SetArguments),
    /// Take what a user was granted there away
    #[command(after_help = "Example:\n  pierhead grant rm acme ann")]
    Rm(RmArguments),
}

#[derive(Debug, Args)]
pub struct AddArguments {
    /// Name: lower-case letters, digits, and `.`, `_`, `-` between them
    name: String,
    #[command(flatten)]
    of: OfAccount,
}

#[derive(Debug, Args)]
pub struct NamedArguments {
    /// Name
    name: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct DeleteArguments {
    /// Name
    name: String,
    /// Only say whether it is empty, and what would go
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct OnArguments {
    /// An organisation, or a repository: ORGANISATION/NAME
    on: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct SetArguments {
    /// An organisation, or a repository: ORGANISATION/NAME
    on: String,
    /// A user of the account that owns it, by name or id
    user: String,
    /// How much
    #[arg(value_parser = ["read", "edit", "manage"])]
    level: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct RmArguments {
    /// An organisation, or a repository: ORGANISATION/NAME
    on: String,
    /// A user of the account that owns it, by name or id
    user: String,
    #[command(flatten)]
    asked: Asked,
}

pub fn run(command: OrganisationCommand) -> Result<(), Failure> {
    match command {
        OrganisationCommand::Add(AddArguments { name, of }) => {
            let client = of.asked.client()?;
            let body = json!({"account": of.name(&client)?});
            show(&of.asked, &client.put(&path(&name), &body)?)
        }
        OrganisationCommand::List(asked) => {
            let answer = asked.client()?.get("/api/v1/organisations")?;
            asked.show(&answer, || Ok(listed(&read::<Page<OrganisationView>>(&answer)?.items)))
        }
        OrganisationCommand::Show(NamedArguments { name, asked }) => {
            let client = asked.client()?;
            let mut answer = client.get(&path(&name))?;
            answer["storage"] = client.get(&quota::of_organisation(&name))?;
            asked.show(&answer, || {
                let storage = quota::listed(&[read(&answer["storage"])?]);
                Ok(format!("{}\n{storage}", listed(&[read(&answer)?])))
            })
        }
        OrganisationCommand::Delete(DeleteArguments { name, dry_run: true, asked }) => {
            foreseen(&name, &asked)
        }
        OrganisationCommand::Delete(DeleteArguments { name, asked, .. }) => {
            show_removed(&asked, "organisation", &asked.client()?.delete(&path(&name))?)
        }
    }
}

fn foreseen(name: &str, asked: &Asked) -> Result<(), Failure> {
    let answer = asked.client()?.get(&format!("{}/frees", path(name)))?;
    asked.show(&answer, || {
        let OrganisationFreesView { repositories, grants, refused } = read(&answer)?;
        Ok(match refused {
            Some(why) => format!("would be refused: {why} ({repositories} left)\n"),
            None => format!("it is empty: would remove the organisation and {grants} grants in it\n"),
        })
    })
}

fn path(name: &str) -> String {
    format!("/api/v1/organisations/{}", part(name))
}

fn show(asked: &Asked, answer: &Value) -> Result<(), Failure> {
    asked.show(answer, || Ok(listed(&[read(answer)?])))
}

fn listed(organisations: &[OrganisationView]) -> String {
    let head =
        [("NAME", Align::Left), ("ACCOUNT", Align::Left), ("MADE BY", Align::Left), ("CREATED", Align::Left)];
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let row = |one: &OrganisationView| {
        [one.name.clone(), or_none(&one.account), or_none(&one.creator), one.created_at.clone()]
    };
    table(head, &organisations.iter().map(row).collect::<Vec<_>>())
}

pub fn grants(command: GrantCommand) -> Result<(), Failure> {
    match command {
        GrantCommand::List(OnArguments { on, asked }) => {
            let answer = asked.client()?.get(&granted(&on))?;
            asked.show(&answer, || Ok(grants_listed(&read::<Page<GrantView>>(&answer)?.items)))
        }
        GrantCommand::Set(SetArguments { on, user, level, asked }) => {
            let target = format!("{}/{}", granted(&on), part(&user));
            let answer = asked.client()?.put(&target, &json!({"level": level}))?;
            asked.show(&answer, || Ok(grants_listed(&[read(&answer)?])))
        }
        GrantCommand::Rm(RmArguments { on, user, asked }) => {
            let target = format!("{}/{}", granted(&on), part(&user));
            show_removed(&asked, &format!("the grant on {on} of"), &asked.client()?.delete(&target)?)
        }
    }
}

/// The path of the grants on an organisation, or on a repository if there is a slash.
fn granted(on: &str) -> String {
    let kind = if on.contains('/') { "repositories" } else { "organisations" };
    format!("/api/v1/{kind}/{}/grants", part(on))
}

fn grants_listed(grants: &[GrantView]) -> String {
    let head = [("USER", Align::Left), ("LEVEL", Align::Left)];
    table(head, &grants.iter().map(|grant| [grant.user.clone(), grant.level.clone()]).collect::<Vec<_>>())
}
