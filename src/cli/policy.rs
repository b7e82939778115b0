//! `pierhead policy`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::admin::{NamedInAccount, OfAccount, part, read, show_removed};
use super::table::{Align, table};
use super::{Failure, say};
use crate::api::admin::{Page, PolicyView};
use crate::services::access::Policy;

/// Bytes read of a document; none that is taken has as many.
const MOST: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Make a policy; it says nothing until users or groups have it
    #[command(after_help = "Example:\n  pierhead policy add no-deletes --file no-deletes.json\n\n\
                            A document:\n  \
                            {\"Version\": \"1.1\", \"Statement\": [{\"Effect\": \"Deny\",\n    \
                            \"Action\": [\"swr:repo:deleteRepo*\"], \"Resource\": [\"SWR:*:repo:acme/*\"]}]}")]
    Add(AddArguments),
    /// List the policies of an account
    #[command(after_help = "Example:\n  pierhead policy list")]
    List(OfAccount),
    /// Show a policy with its document
    #[command(after_help = "Example:\n  pierhead policy show no-deletes")]
    Show(NamedInAccount),
    /// Change a policy, for everybody who has it
    #[command(after_help = "Example:\n  pierhead policy set no-deletes --file no-deletes.json")]
    Set(SetArguments),
    /// Remove a policy that nobody has
    #[command(after_help = "Example:\n  pierhead policy rm no-deletes")]
    Rm(NamedInAccount),
    /// Say whether a document is a policy; no server is asked
    #[command(after_help = "Example:\n  pierhead policy check no-deletes.json")]
    Check(CheckArguments),
}

#[derive(Debug, Args)]
pub struct AddArguments {
    /// Name, unique in the account
    name: String,
    /// The document, JSON; "-" for stdin
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// At most 255 characters
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    #[command(flatten)]
    of: OfAccount,
}

#[derive(Debug, Args)]
pub struct SetArguments {
    /// Name or id
    name: String,
    /// The new document, JSON; "-" for stdin
    #[arg(long, value_name = "FILE", required_unless_present = "description")]
    file: Option<PathBuf>,
    /// At most 255 characters
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    of: OfAccount,
}

#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The document, JSON; "-" for stdin
    file: PathBuf,
    /// Answer {"ok": ..., "problem": ...}
    #[arg(long)]
    json: bool,
}

pub fn run(command: PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Add(AddArguments { name, file, description, of }) => {
            let body = json!({"name": name, "description": description, "document": checked(&file)?});
            let (client, account) = of.open()?;
            show(&of, &client.post(&format!("{account}/policies"), Some(&body))?)
        }
        PolicyCommand::List(of) => {
            let (client, account) = of.open()?;
            let answer = client.get(&format!("{account}/policies"))?;
            of.asked.show(&answer, || Ok(listed(&read::<Page<PolicyView>>(&answer)?.items)))
        }
        PolicyCommand::Show(NamedInAccount { name, of }) => {
            let (client, account) = of.open()?;
            let answer = client.get(&path(&account, &name))?;
            of.asked.show(&answer, || {
                let policy: PolicyView = read(&answer)?;
                Ok(format!("{}\n{:#}\n", listed(std::slice::from_ref(&policy)), policy.document))
            })
        }
        PolicyCommand::Set(SetArguments { name, file, description, of }) => {
            let mut change = Map::new();
            if let Some(file) = file {
                change.insert("document".to_owned(), checked(&file)?);
            }
            if let Some(description) = description {
                change.insert("description".to_owned(), Value::from(description));
            }
            let (client, account) = of.open()?;
            show(&of, &client.patch(&path(&account, &name), &change.into())?)
        }
        PolicyCommand::Rm(NamedInAccount { name, of }) => {
            let (client, account) = of.open()?;
            show_removed(&of.asked, "policy", &client.delete(&path(&account, &name))?)
        }
        PolicyCommand::Check(arguments) => check(&arguments),
    }
}

fn path(account: &str, name: &str) -> String {
    format!("{account}/policies/{}", part(name))
}

fn document(path: &Path) -> Result<String, Failure> {
    let unread = |source| Failure::Io { what: path.display().to_string(), source };
    let mut bytes = Vec::new();
    let read = match path.as_os_str() == "-" {
        true => io::stdin().take(MOST).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes)),
    };
    read.map_err(unread)?;
    String::from_utf8(bytes).map_err(|_| unread(io::ErrorKind::InvalidData.into()))
}

fn problem(text: &str) -> Option<String> {
    Policy::parse(text).err().map(|error| error.to_string())
}

/// A document that is a policy, to be sent.
fn checked(path: &Path) -> Result<Value, Failure> {
    let text = document(path)?;
    let wrong = |why: String| Failure::Server(format!("{}: {why}", path.display()));
    if let Some(why) = problem(&text) {
        return Err(wrong(why));
    }
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

fn check(arguments: &CheckArguments) -> Result<(), Failure> {
    let problem = problem(&document(&arguments.file)?);
    if arguments.json {
        say(&format!("{}\n", json!({"ok": problem.is_none(), "problem": problem})))?;
        return problem.map_or(Ok(()), |_| Err(Failure::Findings));
    }
    match problem {
        None => say("the document is a policy\n"),
        Some(why) => Err(Failure::Server(format!("{}: {why}", arguments.file.display()))),
    }
}

fn show(of: &OfAccount, answer: &Value) -> Result<(), Failure> {
    of.asked.show(answer, || Ok(listed(&[read(answer)?])))
}

fn listed(policies: &[PolicyView]) -> String {
    let head = [
        ("NAME", Align::Left),
        ("STATEMENTS", Align::Right),
        ("CHANGED", Align::Left),
        ("DESCRIPTION", Align::Left),
    ];
    let row = |policy: &PolicyView| {
        let statements = policy.document.get("Statement").and_then(Value::as_array).map_or(0, Vec::len);
        [policy.name.clone(), statements.to_string(), policy.updated_at.clone(), policy.description.clone()]
    };
    table(head, &policies.iter().map(row).collect::<Vec<_>>())
}
