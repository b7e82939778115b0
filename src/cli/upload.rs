//! `pierhead upload`.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin::{Asked, Client, part, read};
use super::table::{Align, table};
use super::{Failure, human};
use crate::api::admin::{Aborted, Page, UploadView};
use crate::config::Period;

#[derive(Debug, Subcommand)]
pub enum UploadCommand {
    /// List upload sessions
    #[command(after_help = "Example:\n  pierhead upload list --repository acme/web")]
    List(ListArguments),
    /// End upload sessions and free their space; a request that writes one fails
    #[command(after_help = "Examples:\n  pierhead upload abort 5f0c0d4c9f1e4b7a8d2e3f4a5b6c7d8e\n  \
                            pierhead upload abort --idle-for 2h --dry-run\n  \
                            pierhead upload abort --all\n\n\
                            Conditions are combined: what fits all of them is ended.")]
    Abort(AbortArguments),
}

#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    asked: Asked,
    /// Only those of this repository
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
}

#[derive(Debug, Args)]
pub struct AbortArguments {
    #[command(flatten)]
    asked: Asked,
    /// Ids, as `upload list` shows them
    #[arg(
        value_name = "ID",
        value_parser = id,
        required_unless_present_any = ["all", "older_than", "idle_for", "repository"],
        conflicts_with_all = ["all", "older_than", "idle_for", "repository"]
    )]
    ids: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Those opened at least this long ago (30min, 2h, 7d)
    #[arg(long, value_name = "TIME")]
    older_than: Option<Period>,
    /// Those that nobody used for at least this long
    #[arg(long, value_name = "TIME")]
    idle_for: Option<Period>,
    /// Those of this repository
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// Only say which
    #[arg(long)]
    dry_run: bool,
}

fn id(text: &str) -> Result<String, String> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let is_id = text.len() == 32 && text.bytes().all(hex);
    if is_id { Ok(text.to_owned()) } else { Err("an id has 32 digits, 0-9 and a-f".to_owned()) }
}

pub fn run(command: UploadCommand) -> Result<(), Failure> {
    match command {
        UploadCommand::List(arguments) => list(&arguments),
        UploadCommand::Abort(arguments) if arguments.ids.is_empty() => abort_fitting(&arguments),
        UploadCommand::Abort(arguments) => abort_named(&arguments),
    }
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let mut target = "/api/v1/uploads?limit=1000".to_owned();
    if let Some(name) = &arguments.repository {
        target.push_str(&format!("&repository={}", part(name)));
    }
    let answer = arguments.asked.client()?.all(&target)?;
    arguments.asked.show(&answer, || {
        let page: Page<UploadView> = read(&answer)?;
        Ok(if page.items.is_empty() { "no upload is open\n".to_owned() } else { listed(&page.items) })
    })
}

fn listed(uploads: &[UploadView]) -> String {
    let head = [
        ("ID", Align::Left),
        ("REPOSITORY", Align::Left),
        ("OFFSET", Align::Right),
        ("SIZE", Align::Right),
        ("AGE", Align::Right),
        ("IDLE", Align::Right),
        ("STATE", Align::Left),
        ("BY", Align::Left),
    ];
    let row = |upload: &UploadView| {
        [
            upload.id.clone(),
            upload.repository.clone(),
            upload.offset.to_string(),
            human::size(upload.offset),
            human::period(upload.age_ms),
            human::period(upload.idle_ms),
            upload.state.clone(),
            upload.actor.clone(),
        ]
    };
    table(head, &uploads.iter().map(row).collect::<Vec<_>>())
}

fn abort_fitting(arguments: &AbortArguments) -> Result<(), Failure> {
    let ms = |period: &Option<Period>| period.map_or(0, |period| period.as_ms());
    let wanted = json!({
        "repository": arguments.repository,
        "older_than_ms": ms(&arguments.older_than),
        "idle_for_ms": ms(&arguments.idle_for),
        "dry_run": arguments.dry_run,
    });
    let answer = arguments.asked.client()?.post("/api/v1/uploads/abort", Some(&wanted))?;
    show(&arguments.asked, &answer)
}

/// One after the other; what fails does not keep the rest from being ended.
fn abort_named(arguments: &AbortArguments) -> Result<(), Failure> {
    let client = arguments.asked.client()?;
    let mut ended = Vec::new();
    let mut failed = false;
    for id in &arguments.ids {
        match abort_one(&client, id, arguments.dry_run) {
            Ok(upload) => ended.push(upload),
            Err(failure) => {
                failed = true;
                // Nothing can be done about a stderr that is gone.
                let _ = writeln!(io::stderr(), "pierhead: {id}: {failure}");
            }
        }
    }
    show(&arguments.asked, &json!({"items": ended, "dry_run": arguments.dry_run}))?;
    if failed { Err(Failure::Findings) } else { Ok(()) }
}

fn abort_one(client: &Client, id: &str, dry_run: bool) -> Result<Value, Failure> {
    let target = format!("/api/v1/uploads/{}", part(id));
    if dry_run { client.get(&target) } else { client.delete(&target) }
}

fn show(asked: &Asked, answer: &Value) -> Result<(), Failure> {
    asked.show(answer, || {
        let Aborted { items, dry_run } = read(answer)?;
        let verb = if dry_run { "would abort" } else { "aborted" };
        let mut text = String::new();
        for upload in &items {
            let size = human::size(upload.offset);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{verb} {} of {}, {size}", upload.id, upload.repository);
        }
        let size = human::size(items.iter().map(|upload| upload.offset).sum());
        let _ = writeln!(text, "{verb} {} in all, {size}", items.len());
        Ok(text)
    })
}
