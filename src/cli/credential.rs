//! `pierhead key`, `pierhead login` and `pierhead secret`.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::admin::{Asked, OfAccount, part, read, show_removed};
use super::draft::Draft;
use super::table::{Align, table};
use crate::api::admin::{KeyView, LoginView, NewKeyView, Page, RotatedView};
use crate::config::Period;
use crate::services::signin::Secret;
use crate::services::signin::access_key::login_key;

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make an access key for a user; the SK is shown once
    #[command(after_help = "Examples:\n  pierhead key add robot\n  \
                            pierhead key add robot --csv credentials.csv\n  \
                            pierhead key add robot --login-key registry.example\n\n\
                            With --csv the SK is in the file only; with --login-key the command to sign in is printed, too.")]
    Add(AddArguments),
    /// List the access keys of a user, without secrets
    #[command(after_help = "Example:\n  pierhead key list robot")]
    List(UserArguments),
    /// Switch an access key on or off
    #[command(after_help = "Example:\n  pierhead key set AK0123456789ABCDEFGH --disable")]
    Set(SetArguments),
    /// Remove an access key
    #[command(after_help = "Example:\n  pierhead key rm AK0123456789ABCDEFGH")]
    Rm(KeyArguments),
}

#[derive(Debug, Subcommand)]
pub enum LoginCommand {
    /// Make a temporary login for a user and print the commands that use it
    #[command(after_help = "Example:\n  pierhead login add ann --lasts 1h --host registry.example")]
    Add(LoginArguments),
}

#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Seal every secret under a new key of the key file and drop the old one; nobody notices
    #[command(
        after_help = "Example:\n  pierhead secret rotate\n\nKeep a copy of the new key file where the backups are not."
    )]
    Rotate(Asked),
}

#[derive(Debug, Args)]
pub struct AddArguments {
    /// Name or id of the user
    user: String,
    /// At most 255 characters
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// Write AK and SK to this file, which must not exist (mode 0600), and print only the AK
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Print the docker login command for this registry, with the login key made of the SK
    #[arg(long, value_name = "HOST")]
    login_key: Option<String>,
    #[command(flatten)]
    of: OfAccount,
}

#[derive(Debug, Args)]
pub struct UserArguments {
    /// Name or id of the user
    user: String,
    #[command(flatten)]
    of: OfAccount,
}

#[derive(Debug, Args)]
pub struct KeyArguments {
    /// The AK
    key: String,
    #[command(flatten)]
    of: OfAccount,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).args(["enable", "disable"]))]
pub struct SetArguments {
    /// The AK
    key: String,
    /// Let it be used
    #[arg(long)]
    enable: bool,
    /// Let it not be used
    #[arg(long)]
    disable: bool,
    #[command(flatten)]
    of: OfAccount,
}

#[derive(Debug, Args)]
pub struct LoginArguments {
    /// Name or id of the user
    user: String,
    /// How long it lasts, at most 24h [default: identity.login_lifetime, 6h]
    #[arg(long, value_name = "TIME")]
    lasts: Option<Period>,
    /// The registry as clients name it [default: this host, as the server listens]
    #[arg(long, value_name = "NAME[:PORT]")]
    host: Option<String>,
    #[command(flatten)]
    of: OfAccount,
}

pub fn keys(command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::Add(arguments) => add(&arguments),
        KeyCommand::List(UserArguments { user, of }) => {
            let (client, account) = of.open()?;
            let answer = client.get(&format!("{account}/users/{}/keys", part(&user)))?;
            of.asked.show(&answer, || Ok(listed(&read::<Page<KeyView>>(&answer)?.items)))
        }
        KeyCommand::Set(SetArguments { key, enable, of, .. }) => {
            let (client, account) = of.open()?;
            let answer =
                client.patch(&format!("{account}/keys/{}", part(&key)), &json!({"enabled": enable}))?;
            of.asked.show(&answer, || Ok(listed(&[read(&answer)?])))
        }
        KeyCommand::Rm(KeyArguments { key, of }) => {
            let (client, account) = of.open()?;
            show_removed(&of.asked, "access key", &client.delete(&format!("{account}/keys/{}", part(&key)))?)
        }
    }
}

fn add(arguments: &AddArguments) -> Result<(), Failure> {
    let AddArguments { user, description, csv, login_key: host, of } = arguments;
    // First the file: a key whose SK cannot be kept is of no use.
    let draft = csv.as_deref().map(begin).transpose()?;
    let (client, account) = of.open()?;
    let body = json!({"description": description});
    let mut answer = client.post(&format!("{account}/users/{}/keys", part(user)), Some(&body))?;
    let made: NewKeyView = read(&answer)?;
    let command = host.as_deref().map(|host| command(&made, host));
    let kept = draft.zip(csv.as_deref()).map(|(draft, path)| keep(draft, path, &made)).transpose();
    if let Err(failure) = kept {
        // Nothing has the SK: the key must not stay.
        client.delete(&format!("{account}/keys/{}", part(&made.key)))?;
        return Err(failure);
    }
    if let (Some(path), Some(object)) = (csv, answer.as_object_mut()) {
        object.remove("secret");
        object.insert("csv".to_owned(), Value::from(path.display().to_string()));
    }
    if let Some(command) = &command {
        answer["login_command"] = Value::from(command.clone());
    }
    of.asked.show(&answer, || Ok(words(&made, csv.as_deref(), command.as_deref())))
}

fn begin(path: &Path) -> Result<Draft, Failure> {
    Draft::begin_private(path).map_err(|source| Failure::Io { what: path.display().to_string(), source })
}

fn keep(mut draft: Draft, path: &Path, made: &NewKeyView) -> Result<(), Failure> {
    let NewKeyView { user, key, secret, .. } = made;
    let text = format!("User Name,Access Key Id,Secret Access Key\n{user},{key},{secret}\n");
    let written = draft.write_all(text.as_bytes()).and_then(|()| draft.keep());
    written.map_err(|source: io::Error| Failure::Io { what: path.display().to_string(), source })
}

fn command(made: &NewKeyView, host: &str) -> String {
    let key = login_key(&made.key, &Secret::from(made.secret.clone()));
    let key = key.expose_text().unwrap_or_default();
    format!("docker login -u {}@{} -p {key} {host}", made.project, made.key)
}

fn words(made: &NewKeyView, csv: Option<&Path>, command: Option<&str>) -> String {
    let NewKeyView { user, key, secret, .. } = made;
    let mut text = format!("user: {user}\nAK:   {key}\n");
    text.push_str(&match csv {
        Some(path) => format!("SK:   in {}\n", path.display()),
        None => format!("SK:   {secret}\n(the SK is shown now and never again)\n"),
    });
    if let Some(command) = command {
        text.push_str(&format!("\n{command}\n"));
    }
    text
}

fn listed(keys: &[KeyView]) -> String {
    let head = [
        ("AK", Align::Left),
        ("STATE", Align::Left),
        ("CREATED", Align::Left),
        ("USED", Align::Left),
        ("DESCRIPTION", Align::Left),
    ];
    let row = |key: &KeyView| {
        [
            key.key.clone(),
            if key.enabled { "enabled" } else { "disabled" }.to_owned(),
            key.created_at.clone(),
            key.used_at.clone().unwrap_or_else(|| "never".to_owned()),
            key.description.clone(),
        ]
    };
    table(head, &keys.iter().map(row).collect::<Vec<_>>())
}

pub fn logins(command: LoginCommand) -> Result<(), Failure> {
    let LoginCommand::Add(LoginArguments { user, lasts, host, of }) = command;
    let (client, account) = of.open()?;
    let body = json!({"lasts_ms": lasts.map(|lasts| lasts.as_ms()), "host": host});
    let answer = client.post(&format!("{account}/users/{}/logins", part(&user)), Some(&body))?;
    of.asked.show(&answer, || {
        let LoginView { expires_at, commands, .. } = read(&answer)?;
        let (docker, containerd, podman) = (commands.docker, commands.containerd, commands.podman);
        Ok(format!("until {expires_at}, shown now and never again:\n\n{docker}\n{containerd}\n{podman}\n"))
    })
}

pub fn secrets(command: SecretCommand) -> Result<(), Failure> {
    let SecretCommand::Rotate(asked) = command;
    let answer = asked.client()?.post("/api/v1/secrets/rotate", None)?;
    asked.show(&answer, || {
        let RotatedView { resealed } = read(&answer)?;
        Ok(format!("sealed {resealed} secrets under a new key; keep a copy of the key file\n"))
    })
}
