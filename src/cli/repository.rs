//! `pierhead repo`.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::admin::{Asked, part, read};
use super::table::{Align, table};
use super::trash::DeleteRepositoryArguments;
use super::{Failure, trash};
use crate::api::admin::RepositoryView;

#[derive(Debug, Subcommand)]
pub enum RepositoryCommand {
    /// Make an empty repository
    #[command(after_help = "Example:\n  pierhead repo add acme/web --category app_server")]
    Add(ChangeArguments),
    /// Show what a repository says of itself
    #[command(after_help = "Example:\n  pierhead repo show acme/web")]
    Show(NamedArguments),
    /// Change what a repository says of itself; what is not named stays
    #[command(after_help = "Examples:\n  pierhead repo set acme/web --public\n  \
                            pierhead repo set acme/web --private --description 'the web server'\n  \
                            pierhead repo set acme/web --immutable-tags yes")]
    Set(ChangeArguments),
    /// Remove a repository with all in it; `pierhead trash restore` brings its manifests back for a while
    #[command(
        after_help = "Examples:\n  pierhead repo delete acme/old --dry-run\n  pierhead repo delete acme/old"
    )]
    Delete(DeleteRepositoryArguments),
}

#[derive(Debug, Args)]
pub struct NamedArguments {
    /// Whole name: ORGANISATION/NAME
    name: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct ChangeArguments {
    /// Whole name: ORGANISATION/NAME
    name: String,
    /// Anybody may pull it
    #[arg(long, conflicts_with = "private")]
    public: bool,
    /// Only who may, may pull it
    #[arg(long)]
    private: bool,
    /// Its kind
    #[arg(
        long,
        value_name = "WORD",
        value_parser = ["app_server", "linux", "windows", "arm", "framework_app", "database", "lang", "other"]
    )]
    category: Option<String>,
    /// At most 30,000 characters
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whether its tags neither move to another manifest nor can be deleted
    #[arg(long, value_name = "YES|NO", value_parser = ["yes", "no"], hide_possible_values = true)]
    immutable_tags: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

impl ChangeArguments {
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        if self.public || self.private {
            body.insert("public".to_owned(), Value::from(self.public));
        }
        for (what, text) in [("category", &self.category), ("description", &self.description)] {
            if let Some(text) = text {
                body.insert(what.to_owned(), Value::from(text.as_str()));
            }
        }
        if let Some(word) = &self.immutable_tags {
            body.insert("immutable_tags".to_owned(), Value::from(word == "yes"));
        }
        body
    }
}

pub fn run(command: RepositoryCommand) -> Result<(), Failure> {
    match command {
        RepositoryCommand::Add(arguments) => {
            let answer = arguments.asked.client()?.put(&path(&arguments.name), &arguments.body().into())?;
            show(&arguments.asked, &answer)
        }
        RepositoryCommand::Show(NamedArguments { name, asked }) => {
            show(&asked, &asked.client()?.get(&path(&name))?)
        }
        RepositoryCommand::Delete(arguments) => trash::repository(&arguments),
        RepositoryCommand::Set(arguments) => {
            let body = arguments.body();
            if body.is_empty() {
                return Err(Failure::Usage("say what to change; --help names it".to_owned()));
            }
            show(&arguments.asked, &arguments.asked.client()?.patch(&path(&arguments.name), &body.into())?)
        }
    }
}

fn path(name: &str) -> String {
    format!("/api/v1/repositories/{}", part(name))
}

fn show(asked: &Asked, answer: &Value) -> Result<(), Failure> {
    asked.show(answer, || {
        let repository: RepositoryView = read(answer)?;
        let head = [
            ("NAME", Align::Left),
            ("ACCESS", Align::Left),
            ("TAGS", Align::Left),
            ("CATEGORY", Align::Left),
            ("MADE BY", Align::Left),
            ("DESCRIPTION", Align::Left),
        ];
        let row = [
            repository.name,
            if repository.public { "public" } else { "private" }.to_owned(),
            if repository.immutable_tags { "immutable" } else { "mutable" }.to_owned(),
            repository.category,
            repository.creator.unwrap_or_else(|| "-".to_owned()),
            repository.description,
        ];
        Ok(table(head, &[row]))
    })
}
