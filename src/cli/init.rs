//! `pierhead init`.

use clap::Args;
use serde_json::{Value, json};

use super::admin::{Asked, Client, read};
use super::password::{Given, PasswordFrom};
use super::trust::own_host;
use super::{Failure, logs};
use crate::api::admin::{AccountView, FirstView, Page};
use crate::services::error::{Error, Thing};
use crate::services::identity::{NewAccount, NewUser};
use crate::services::signin::Secret;
use crate::wiring::{self, StartError};

#[derive(Debug, Args)]
pub struct InitArguments {
    /// Name of the account that runs the appliance
    #[arg(long, value_name = "NAME", default_value = "main")]
    account: String,
    /// Name of its administrator
    #[arg(long, value_name = "NAME", default_value = "admin")]
    user: String,
    /// Where there is an account already, change nothing and be done with code 0 (for scripts)
    #[arg(long)]
    if_needed: bool,
    #[command(flatten)]
    password: PasswordFrom,
    #[command(flatten)]
    asked: Asked,
}

pub fn init(arguments: &InitArguments) -> Result<(), Failure> {
    // Before a password is typed: whether the settings can be read, and who is asked.
    let client = if arguments.asked.is_by_socket() || arguments.asked.settings()?.admin_socket().is_some() {
        Some(arguments.asked.client()?)
    } else {
        None
    };
    let client = client.filter(|client| arguments.asked.is_by_socket() || client.is_answered());
    if arguments.if_needed
        && let Some(there) = client.as_ref().map(first_account).transpose()?.flatten()
    {
        return done_before(arguments, &there);
    }
    let given = arguments.password.read_or_ask(&arguments.user)?;
    let mut answer = match client {
        Some(client) => client.post("/api/v1/init", Some(&body(arguments, &given)))?,
        None => match offline(arguments, &given) {
            Err(Failure::Start(StartError::Service(Error::Exists(Thing::Account(there)))))
                if arguments.if_needed =>
            {
                return done_before(arguments, &there);
            }
            made => made?,
        },
    };
    if given.made {
        answer["password"] = Value::from(given.text.clone());
    }
    arguments.asked.show(&answer, || {
        let host = match arguments.asked.is_by_socket() {
            true => "HOST".to_owned(),
            false => own_host(&arguments.asked.settings()?),
        };
        Ok(words(&read(&answer)?, &given, &host))
    })
}

/// The account of the operator, if a running server has one.
fn first_account(client: &Client) -> Result<Option<String>, Failure> {
    let page: Page<AccountView> = read(&client.get("/api/v1/accounts")?)?;
    Ok(page.items.into_iter().find(|account| account.operator).map(|account| account.name))
}

fn done_before(arguments: &InitArguments, account: &str) -> Result<(), Failure> {
    let answer = json!({"account": account, "made": false});
    arguments
        .asked
        .show(&answer, || Ok(format!("there is the account {account} already: nothing was done\n")))
}

fn body(arguments: &InitArguments, given: &Given) -> Value {
    json!({
        "name": arguments.account,
        "administrator": {"name": arguments.user, "password": given.text, "console": true},
    })
}

/// On the data directory itself, which nobody serves.
fn offline(arguments: &InitArguments, given: &Given) -> Result<Value, Failure> {
    let settings = arguments.asked.settings()?;
    logs::start(&settings.log);
    let administrator = NewUser {
        name: arguments.user.clone(),
        description: String::new(),
        password: Some(Secret::from(given.text.clone())),
        programmatic: true,
        console: true,
        roles: Vec::new(),
    };
    let new = NewAccount { name: arguments.account.clone(), administrator };
    let first = wiring::initialise(&settings, new)?;
    Ok(json!({
        "account": arguments.account,
        "account_id": first.account.to_string(),
        "user": arguments.user,
        "user_id": first.administrator.to_string(),
    }))
}

fn words(first: &FirstView, given: &Given, host: &str) -> String {
    let FirstView { account, user, .. } = first;
    let password = if given.made {
        format!("password: {}\n(shown now and never again)\n", given.text)
    } else {
        String::new()
    };
    format!(
        "made the account {account}, which runs the appliance, and its administrator {user}\n{password}\n\
         Next, on this host:\n  \
         pierhead serve                                  if the server does not run yet\n  \
         pierhead org add ORGANISATION                   where images go\n  \
         pierhead user add NAME --role developer --generate-password\n  \
         pierhead grant set ORGANISATION NAME edit       read, edit or manage\n  \
         pierhead key add NAME                           AK and SK, for robots and SDKs\n  \
         pierhead doctor                                 is everything well?\n\
         On each client, once it trusts the CA ({host} stands for the name that clients use):\n  \
         pierhead trust --host {host}        says, or writes, what each needs for that\n  \
         docker login -u {user} {host} && docker push {host}/ORGANISATION/NAME:TAG\n  \
         podman login -u {user} {host} && podman push {host}/ORGANISATION/NAME:TAG\n  \
         ctr image push --user {user} --hosts-dir /etc/containerd/certs.d {host}/ORGANISATION/NAME:TAG\n  \
         kubectl create secret docker-registry pierhead --docker-server={host} --docker-username={user} --docker-password=...\n"
    )
}
