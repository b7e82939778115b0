//! `pierhead trash`, and what deletes: `pierhead repo delete`, `tag delete`, `manifest delete`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::admin::{Asked, part, read, show_removed};
use super::table::{Align, table};
use super::{Failure, human};
use crate::api::admin::{DeletedView, EmptiedView, FreesView, Page, RestoredView};

#[derive(Debug, Subcommand)]
pub enum TrashCommand {
    /// List deleted manifests that can be restored, the oldest first
    #[command(after_help = "Example:\n  pierhead trash list --repository acme/web")]
    List(ListArguments),
    /// Bring a deleted manifest back, with those of its tags that are free
    #[command(after_help = "Example:\n  pierhead trash restore acme/web 42\n\n\
                            The number is as `pierhead trash list` shows it.")]
    Restore(RestoreArguments),
    /// Give up what was deleted, so that its space is free after the next collection
    #[command(after_help = "Examples:\n  pierhead trash empty --dry-run\n  \
                            pierhead trash empty --repository acme/web")]
    Empty(EmptyArguments),
}

#[derive(Debug, Args)]
pub struct ListArguments {
    /// Only those of this repository
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// Whole name: ORGANISATION/NAME
    repository: String,
    /// Its number
    number: u64,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct EmptyArguments {
    /// Only those of this repository
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// Only say how many
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Subcommand)]
pub enum TagCommand {
    /// Remove a tag; its manifest stays
    #[command(after_help = "Example:\n  pierhead tag delete acme/web:v1")]
    Delete(DeleteArguments),
}

#[derive(Debug, Subcommand)]
pub enum ManifestCommand {
    /// Remove a manifest and its tags; `pierhead trash restore` brings it back for a while
    #[command(after_help = "Examples:\n  pierhead manifest delete acme/web@sha256:9f86... --dry-run\n  \
                            pierhead manifest delete acme/web@sha256:9f86...")]
    Delete(DeleteArguments),
}

#[derive(Debug, Args)]
pub struct DeleteArguments {
    /// NAME:TAG, or NAME@DIGEST for a manifest
    what: String,
    /// Only say what it would free
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct DeleteRepositoryArguments {
    /// Whole name: ORGANISATION/NAME
    name: String,
    /// Only say what it would free
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asked: Asked,
}

pub fn run(command: TrashCommand) -> Result<(), Failure> {
    match command {
        TrashCommand::List(arguments) => list(&arguments),
        TrashCommand::Restore(arguments) => restore(&arguments),
        TrashCommand::Empty(arguments) => empty(&arguments),
    }
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let mut target = "/api/v1/trash?limit=1000".to_owned();
    if let Some(name) = &arguments.repository {
        target.push_str(&format!("&repository={}", part(name)));
    }
    let answer = arguments.asked.client()?.all(&target)?;
    arguments.asked.show(&answer, || {
        let page: Page<DeletedView> = read(&answer)?;
        Ok(if page.items.is_empty() { "nothing can be restored\n".to_owned() } else { listed(page.items) })
    })
}

fn listed(items: Vec<DeletedView>) -> String {
    let head = [
        ("NUMBER", Align::Right),
        ("REPOSITORY", Align::Left),
        ("DIGEST", Align::Left),
        ("TAGS", Align::Left),
        ("DELETED", Align::Left),
        ("BY", Align::Left),
    ];
    let row = |item: DeletedView| {
        let more = if item.more_tags > 0 { format!(" and {} more", item.more_tags) } else { String::new() };
        let tags = if item.tags.is_empty() { "-".to_owned() } else { item.tags.join(",") };
        let number = item.number.to_string();
        [number, item.repository, item.digest, format!("{tags}{more}"), item.deleted_at, item.deleted_by]
    };
    table(head, &items.into_iter().map(row).collect::<Vec<_>>())
}

fn restore(arguments: &RestoreArguments) -> Result<(), Failure> {
    let target =
        format!("/api/v1/repositories/{}/trash/{}/restore", part(&arguments.repository), arguments.number);
    let answer = arguments.asked.client()?.post(&target, None)?;
    arguments.asked.show(&answer, || {
        let RestoredView { repository, digest, tags, taken } = read(&answer)?;
        let mut text = format!("restored {repository}@{digest}\n");
        if !tags.is_empty() {
            text.push_str(&format!("tags: {}\n", tags.join(", ")));
        }
        if !taken.is_empty() {
            text.push_str(&format!("tags that name something else by now: {}\n", taken.join(", ")));
        }
        Ok(text)
    })
}

fn empty(arguments: &EmptyArguments) -> Result<(), Failure> {
    let body = json!({"repository": arguments.repository, "dry_run": arguments.dry_run});
    let answer = arguments.asked.client()?.post("/api/v1/trash/empty", Some(&body))?;
    arguments.asked.show(&answer, || {
        let EmptiedView { manifests, dry_run } = read(&answer)?;
        Ok(format!("{} {manifests} deleted manifests\n", if dry_run { "would give up" } else { "gave up" }))
    })
}

/// `pierhead tag`.
pub fn tags(TagCommand::Delete(arguments): TagCommand) -> Result<(), Failure> {
    let wrong = || Failure::Usage(format!("{}: give NAME:TAG", arguments.what));
    let (name, tag) =
        arguments.what.rsplit_once(':').filter(|(name, _)| !name.contains('@')).ok_or_else(wrong)?;
    delete(&arguments, name, "tags", tag)
}

/// `pierhead manifest`.
pub fn manifests(ManifestCommand::Delete(arguments): ManifestCommand) -> Result<(), Failure> {
    let wrong = || Failure::Usage(format!("{}: give NAME@DIGEST", arguments.what));
    let (name, digest) = arguments.what.split_once('@').ok_or_else(wrong)?;
    delete(&arguments, name, "manifests", digest)
}

fn delete(arguments: &DeleteArguments, name: &str, kind: &str, what: &str) -> Result<(), Failure> {
    let path = format!("/api/v1/repositories/{}", part(name));
    if arguments.dry_run {
        return frees(&arguments.asked, &format!("{path}/frees?reference={}", part(what)));
    }
    let answer = arguments.asked.client()?.delete(&format!("{path}/{kind}/{}", part(what)))?;
    show_removed(&arguments.asked, kind.trim_end_matches('s'), &answer)
}

/// `pierhead repo delete`.
pub fn repository(arguments: &DeleteRepositoryArguments) -> Result<(), Failure> {
    let path = format!("/api/v1/repositories/{}", part(&arguments.name));
    if arguments.dry_run {
        return frees(&arguments.asked, &format!("{path}/frees"));
    }
    let answer = arguments.asked.client()?.delete(&path)?;
    show_removed(&arguments.asked, "repository", &answer)
}

fn frees(asked: &Asked, target: &str) -> Result<(), Failure> {
    let answer = asked.client()?.get(target)?;
    asked.show(&answer, || {
        let FreesView { tags, manifests, blobs, bytes, refused } = read(&answer)?;
        if let Some(why) = refused {
            return Ok(format!("would be refused: {why}\n"));
        }
        let size = human::size(bytes);
        Ok(format!("would remove {tags} tags and {manifests} manifests; frees {size} in {blobs} blobs\n"))
    })
}
