//! Asking a running server through its admin socket. A command's family has a file beside this
//! folder (`upload` is an example): its arguments, the calls it makes, how it shows what comes back.
//! The types of answers are `api::admin`'s.
//!
//! Secrets never come as arguments, where `ps` shows them. Look next: `client`.

mod client;

use std::path::PathBuf;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{Failure, say, settings};
use crate::api::admin::{AccountView, Page, Removed};
use crate::config::Settings;

pub use client::{Client, read};

/// Which server is asked, and how it is shown what it says.
#[derive(Debug, Args)]
pub struct Asked {
    /// Admin socket of the server [default: as set, admin.sock in the data directory]
    #[arg(long, value_name = "PATH", conflicts_with_all = ["data", "config"])]
    socket: Option<PathBuf>,
    /// Data directory of the server [default: storage.data of the settings]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Settings file of the server [default: /etc/pierhead/pierhead.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the server's answer, JSON
    #[arg(long)]
    pub json: bool,
}

impl Asked {
    /// The server meant; nothing is sent yet.
    pub fn client(&self) -> Result<Client, Failure> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => self.as_set()?,
        };
        Client::new(socket)
    }

    /// The settings of the server meant, as its command line would have them.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = settings(Settings::default(), self.config.as_deref())?;
        if let Some(data) = &self.data {
            settings.storage.data.clone_from(data);
        }
        Ok(settings)
    }

    /// Whether one running server is meant, wherever its data is.
    pub const fn is_by_socket(&self) -> bool {
        self.socket.is_some()
    }

    fn as_set(&self) -> Result<PathBuf, Failure> {
        let settings = self.settings()?;
        let off = || Failure::Usage("admin.socket is empty: that server has none to be asked on".to_owned());
        settings.admin_socket().ok_or_else(off)
    }

    /// Shows an answer: as it came for a program, as `words` say for people.
    pub fn show(
        &self,
        answer: &Value,
        words: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        if self.json { say(&format!("{answer}\n")) } else { say(&words()?) }
    }
}

/// As [`Asked`], for what is in an account.
#[derive(Debug, Args)]
pub struct OfAccount {
    /// The account, by name or id [default: the only one, or the operator's]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    #[command(flatten)]
    pub asked: Asked,
}

impl OfAccount {
    /// The server meant, and the path of the account in its API.
    pub fn open(&self) -> Result<(Client, String), Failure> {
        let client = self.asked.client()?;
        let name = match &self.account {
            Some(name) => name.clone(),
            None => usual(&client)?,
        };
        let path = format!("/api/v1/accounts/{}", part(&name));
        Ok((client, path))
    }

    /// The name of the account meant.
    pub fn name(&self, client: &Client) -> Result<String, Failure> {
        self.account.clone().map_or_else(|| usual(client), Ok)
    }
}

/// Something in an account.
#[derive(Debug, Args)]
pub struct NamedInAccount {
    /// Name or id
    pub name: String,
    #[command(flatten)]
    pub of: OfAccount,
}

/// A repository of a running server.
#[derive(Debug, Args)]
pub struct NamedRepository {
    /// Whole name of the repository: ORGANISATION/NAME
    pub repository: String,
    #[command(flatten)]
    pub asked: Asked,
}

fn usual(client: &Client) -> Result<String, Failure> {
    let page: Page<AccountView> = read(&client.get("/api/v1/accounts")?)?;
    let only = page.items.len() == 1;
    let found = page.items.into_iter().find(|account| only || account.operator);
    let none = || Failure::Server("there is no account yet: run `pierhead init`".to_owned());
    found.map(|account| account.name).ok_or_else(none)
}

/// Shows what was removed.
pub fn show_removed(asked: &Asked, what: &str, answer: &Value) -> Result<(), Failure> {
    asked.show(answer, || {
        let Removed { removed } = read(answer)?;
        Ok(format!("removed {what} {removed}\n"))
    })
}

/// One part of a path, or a value of a query, that a user gave.
pub fn part(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_path_cannot_leave_its_place() {
        for text in ["../status", "a/b", "a?limit=1", "a&b=c", "%2e%2e"] {
            assert!(!part(text).contains(['/', '?', '&', '=', '.']), "{text}");
        }
    }
}
