//! `pierhead init`.

use clap::Args;
use serde_json::{Value, json};

use super::admin::{Asked, read};
use super::password::{Given, PasswordFrom};
use super::{Failure, logs};
use crate::api::admin::FirstView;
use crate::services::identity::{NewAccount, NewUser};
use crate::services::signin::Secret;
use crate::wiring;

#[derive(Debug, Args)]
pub struct InitArguments {
    /// Name of the account that runs the appliance
    #[arg(long, value_name = "NAME", default_value = "main")]
    account: String,
    /// Name of its administrator
    #[arg(long, value_name = "NAME", default_value = "admin")]
    user: String,
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
    let given = arguments.password.read_or_ask(&arguments.user)?;
    let mut answer = match client {
        Some(client) => client.post("/api/v1/init", Some(&body(arguments, &given)))?,
        None => offline(arguments, &given)?,
    };
    if given.made {
        answer["password"] = Value::from(given.text.clone());
    }
    arguments.asked.show(&answer, || Ok(words(&read(&answer)?, &given)))
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

fn words(first: &FirstView, given: &Given) -> String {
    let FirstView { account, user, .. } = first;
    let password = if given.made {
        format!("password: {}\n(shown now and never again)\n", given.text)
    } else {
        String::new()
    };
    format!(
        "made the account {account}, which runs the appliance, and its administrator {user}\n{password}\n\
         Next:\n  \
         pierhead serve                                  if the server does not run yet\n  \
         pierhead trust --host HOST                      what clients need to trust its certificate\n  \
         docker login -u {user} HOST                     podman and skopeo likewise\n  \
         pierhead org add ORGANISATION                   where images go\n  \
         pierhead user add NAME --role developer --generate-password\n  \
         pierhead grant set ORGANISATION NAME edit       read, edit or manage\n  \
         pierhead key add NAME                           AK and SK, for robots and SDKs\n"
    )
}
