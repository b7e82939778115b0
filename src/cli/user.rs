//! `pierhead user`.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Failure;
use super::admin::{NamedInAccount, OfAccount, part, read, show_removed};
use super::password::PasswordFrom;
use super::table::{Align, table};
use crate::api::admin::{Page, UserView};

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user; without a password he signs in by access keys only
    #[command(after_help = "Examples:\n  pierhead user add ann --role developer --generate-password\n  \
                            pierhead user add robot --description 'build server'\n  \
                            pierhead user add bob --console --password-file bob.txt\n\n\
                            Roles: administrator, developer, read-only, or SWR's names such as 'SWR FullAccess'.")]
    Add(AddArguments),
    /// List the users of an account
    #[command(after_help = "Example:\n  pierhead user list --account beta")]
    List(OfAccount),
    /// Show a user
    #[command(after_help = "Example:\n  pierhead user show ann")]
    Show(NamedInAccount),
    /// Change a user; what is not named stays
    #[command(after_help = "Examples:\n  pierhead user set ann --disable\n  \
                            pierhead user set ann --generate-password\n  \
                            pierhead user set ann --role developer --policy no-deletes\n  \
                            pierhead user set ann --no-roles --no-policies")]
    Set(SetArguments),
    /// Remove a user with keys, logins and grants
    #[command(after_help = "Example:\n  pierhead user rm ann")]
    Rm(NamedInAccount),
}

#[derive(Debug, Args)]
pub struct AddArguments {
    /// Name, unique in the account
    name: String,
    /// At most 255 characters
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// A system role; may be given several times
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// No access for docker, SDKs and other programs
    #[arg(long)]
    no_programmatic: bool,
    /// Access to the page
    #[arg(long)]
    console: bool,
    #[command(flatten)]
    password: PasswordFrom,
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
    /// Let him do what he may
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Let him do nothing
    #[arg(long)]
    disable: bool,
    /// Access for docker, SDKs and other programs
    #[arg(long, conflicts_with = "no_programmatic")]
    programmatic: bool,
    /// No such access
    #[arg(long)]
    no_programmatic: bool,
    /// Access to the page
    #[arg(long, conflicts_with = "no_console")]
    console: bool,
    /// No such access
    #[arg(long)]
    no_console: bool,
    #[command(flatten)]
    password: PasswordFrom,
    #[command(flatten)]
    of: OfAccount,
}

pub fn run(command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Add(arguments) => add(&arguments),
        UserCommand::List(of) => {
            let (client, account) = of.open()?;
            let answer = client.get(&format!("{account}/users"))?;
            of.asked.show(&answer, || Ok(listed(&read::<Page<UserView>>(&answer)?.items)))
        }
        UserCommand::Show(NamedInAccount { name, of }) => {
            let (client, account) = of.open()?;
            show(&of, &client.get(&format!("{account}/users/{}", part(&name)))?, None)
        }
        UserCommand::Set(arguments) => set(&arguments),
        UserCommand::Rm(NamedInAccount { name, of }) => {
            let (client, account) = of.open()?;
            let answer = client.delete(&format!("{account}/users/{}", part(&name)))?;
            show_removed(&of.asked, "user", &answer)
        }
    }
}

fn add(arguments: &AddArguments) -> Result<(), Failure> {
    let given = arguments.password.read()?;
    let body = json!({
        "name": arguments.name,
        "description": arguments.description,
        "password": given.as_ref().map(|given| &given.text),
        "programmatic": !arguments.no_programmatic,
        "console": arguments.console,
        "roles": arguments.role,
    });
    let (client, account) = arguments.of.open()?;
    let answer = client.post(&format!("{account}/users"), Some(&body))?;
    show(&arguments.of, &answer, given.filter(|given| given.made).map(|given| given.text))
}

fn set(arguments: &SetArguments) -> Result<(), Failure> {
    let given = arguments.password.read()?;
    let mut change = Map::new();
    let mut put = |what: &str, to: Option<Value>| {
        if let Some(to) = to {
            change.insert(what.to_owned(), to);
        }
    };
    let switch = |on: bool, off: bool| (on || off).then(|| Value::from(on));
    put("description", arguments.description.clone().map(Value::from));
    put("roles", all(&arguments.role, arguments.no_roles));
    put("policies", all(&arguments.policy, arguments.no_policies));
    put("enabled", switch(arguments.enable, arguments.disable));
    put("programmatic", switch(arguments.programmatic, arguments.no_programmatic));
    put("console", switch(arguments.console, arguments.no_console));
    put("password", given.as_ref().map(|given| Value::from(given.text.clone())));
    if change.is_empty() {
        return Err(Failure::Usage("say what to change; --help names it".to_owned()));
    }
    let (client, account) = arguments.of.open()?;
    let answer = client.patch(&format!("{account}/users/{}", part(&arguments.name)), &change.into())?;
    show(&arguments.of, &answer, given.filter(|given| given.made).map(|given| given.text))
}

/// A list that replaces another, if one was given or none is wanted.
pub fn all(given: &[String], none: bool) -> Option<Value> {
    (none || !given.is_empty()).then(|| Value::from(given))
}

fn show(of: &OfAccount, answer: &Value, made: Option<String>) -> Result<(), Failure> {
    let mut answer = answer.clone();
    if let Some(made) = &made {
        answer["password"] = Value::from(made.clone());
    }
    of.asked.show(&answer, || {
        let mut text = listed(&[read(&answer)?]);
        if let Some(made) = made {
            text.push_str(&format!("\npassword: {made}\n(shown now and never again)\n"));
        }
        Ok(text)
    })
}

fn listed(users: &[UserView]) -> String {
    let head = [
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("ACCESS", Align::Left),
        ("ROLES", Align::Left),
        ("POLICIES", Align::Left),
        ("GROUPS", Align::Left),
        ("DESCRIPTION", Align::Left),
    ];
    let row = |user: &UserView| {
        let access =
            [("programs", user.programmatic), ("page", user.console), ("password", user.has_password)];
        let access: Vec<&str> = access.iter().filter(|(_, has)| *has).map(|(what, _)| *what).collect();
        [
            user.name.clone(),
            if user.enabled { "enabled" } else { "disabled" }.to_owned(),
            access.join(","),
            user.roles.join(","),
            user.policies.join(","),
            user.groups.join(","),
            user.description.clone(),
        ]
    };
    table(head, &users.iter().map(row).collect::<Vec<_>>())
}
