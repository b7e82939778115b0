//! `pierhead retention`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::admin::{Asked, Client, NamedRepository, part, read, show_removed};
use super::jobs::{finished, told};
use super::table::{Align, table};
use crate::api::admin::{JobView, Page, PreviewView, RetentionView, RetiredView};

#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// List the policies of all repositories, with their last run
    #[command(after_help = "Example:\n  pierhead retention list")]
    List(Asked),
    /// Show the policy of a repository, with its last run
    #[command(after_help = "Example:\n  pierhead retention show acme/web")]
    Show(NamedRepository),
    /// Set the policy of a repository, in the place of the one there is; it runs at once, then daily
    #[command(after_help = "Examples:\n  pierhead retention set acme/web --days 30 --exempt latest\n  \
                            pierhead retention set acme/web --versions 10 --exempt-matching '^v2.*$'\n\n\
                            See what it would remove with `pierhead retention preview` first.")]
    Set(SetArguments),
    /// Say what a policy would remove now, and why; nothing is removed
    #[command(after_help = "Examples:\n  pierhead retention preview acme/web\n  \
                            pierhead retention preview acme/web --versions 1 --exempt-matching '^v2.*$'")]
    Preview(SetArguments),
    /// Run the policy of a repository now, and wait for it
    #[command(after_help = "Example:\n  pierhead retention run acme/web\n\n\
                            The policies of all repositories: pierhead jobs run retention")]
    Run(RunArguments),
    /// Remove the policy of a repository; what it removed stays removed
    #[command(after_help = "Example:\n  pierhead retention remove acme/web")]
    Remove(NamedRepository),
    /// Show what was removed from a repository, the newest first
    #[command(after_help = "Example:\n  pierhead retention log acme/web")]
    Log(NamedRepository),
}

#[derive(Debug, Args)]
pub struct RunArguments {
    /// Whole name of the repository: ORGANISATION/NAME
    repository: String,
    /// The clock is right, though it jumped: do not wait for a day
    #[arg(long)]
    trust_clock: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub struct SetArguments {
    /// Whole name of the repository: ORGANISATION/NAME
    repository: String,
    /// Keep versions pushed within so many days, 1 to 365
    #[arg(long, value_name = "DAYS", conflicts_with = "versions")]
    days: Option<u64>,
    /// Keep the newest so many versions, 1 to 1,000
    #[arg(long, value_name = "COUNT")]
    versions: Option<u64>,
    /// A tag that never goes and does not count; may be repeated
    #[arg(long, value_name = "TAG")]
    exempt: Vec<String>,
    /// A regular expression for such tags, matched against the whole tag; may be repeated
    #[arg(long, value_name = "REGEXP")]
    exempt_matching: Vec<String>,
    #[command(flatten)]
    asked: Asked,
}

impl SetArguments {
    /// The policy, if one is given.
    fn policy(&self) -> Result<Option<Value>, Failure> {
        let (keep, count) = match (self.days, self.versions) {
            (Some(days), _) => ("days", days),
            (None, Some(versions)) => ("versions", versions),
            (None, None) if self.exempt.is_empty() && self.exempt_matching.is_empty() => return Ok(None),
            (None, None) => {
                return Err(Failure::Usage("say --days or --versions with what is exempt".to_owned()));
            }
        };
        let of = |kind: &'static str| move |pattern: &String| json!({"kind": kind, "pattern": pattern});
        let exempt = self.exempt.iter().map(of("label")).chain(self.exempt_matching.iter().map(of("regexp")));
        Ok(Some(json!({"keep": keep, "count": count, "exempt": exempt.collect::<Vec<_>>()})))
    }
}

pub fn run(command: RetentionCommand) -> Result<(), Failure> {
    match command {
        RetentionCommand::List(asked) => {
            let answer = asked.client()?.all("/api/v1/retention?limit=1000")?;
            asked.show(&answer, || Ok(listed(&read::<Page<RetentionView>>(&answer)?.items)))
        }
        RetentionCommand::Show(NamedRepository { repository, asked }) => {
            let answer = asked.client()?.get(&path(&repository))?;
            asked.show(&answer, || Ok(listed(&[read(&answer)?])))
        }
        RetentionCommand::Set(arguments) => set(&arguments),
        RetentionCommand::Preview(arguments) => preview(&arguments),
        RetentionCommand::Run(arguments) => run_now(&arguments),
        RetentionCommand::Remove(NamedRepository { repository, asked }) => {
            let answer = asked.client()?.delete(&path(&repository))?;
            show_removed(&asked, "the retention policy of", &answer)
        }
        RetentionCommand::Log(NamedRepository { repository, asked }) => {
            let answer = asked.client()?.all(&format!("{}/log?limit=1000", path(&repository)))?;
            asked.show(&answer, || Ok(removed(&read::<Page<RetiredView>>(&answer)?.items)))
        }
    }
}

fn path(repository: &str) -> String {
    format!("/api/v1/repositories/{}/retention", part(repository))
}

fn set(arguments: &SetArguments) -> Result<(), Failure> {
    let none = || Failure::Usage("say --days or --versions; --help explains".to_owned());
    let policy = arguments.policy()?.ok_or_else(none)?;
    let answer = arguments.asked.client()?.put(&path(&arguments.repository), &policy)?;
    arguments.asked.show(&answer, || Ok(listed(&[read(&answer)?])))
}

fn preview(arguments: &SetArguments) -> Result<(), Failure> {
    let query = arguments
        .policy()?
        .map_or_else(String::new, |policy| format!("?policy={}", part(&policy.to_string())));
    let answer = arguments.asked.client()?.get(&format!("{}/preview{query}", path(&arguments.repository)))?;
    arguments.asked.show(&answer, || {
        let view: PreviewView = read(&answer)?;
        if view.immutable {
            return Ok(format!(
                "0 would go, {} would stay: tags of the repository are immutable\n",
                view.kept
            ));
        }
        let head =
            [("TAG", Align::Left), ("PUSHED", Align::Left), ("DIGEST", Align::Left), ("WHY", Align::Left)];
        let row = |one: &crate::api::admin::GoingView| {
            [one.tag.clone(), one.pushed_at.clone(), one.digest.clone(), one.why.clone()]
        };
        let rows: Vec<_> = view.items.iter().map(row).collect();
        let counts =
            format!("{} would go, {} would stay, {} of them exempt\n", view.total, view.kept, view.exempt);
        Ok(if rows.is_empty() { counts } else { table(head, &rows) + &counts })
    })
}

fn run_now(arguments: &RunArguments) -> Result<(), Failure> {
    let client: Client = arguments.asked.client()?;
    let body = json!({"trust_clock": arguments.trust_clock});
    let begun = client.post(&format!("{}/run", path(&arguments.repository)), Some(&body))?;
    let before = read::<JobView>(&begun)?.runs;
    let answer = finished(&client, "retention-run", before)?;
    told(&arguments.asked, &answer)
}

fn listed(policies: &[RetentionView]) -> String {
    if policies.is_empty() {
        return "no repository has a retention policy\n".to_owned();
    }
    let head = [
        ("REPOSITORY", Align::Left),
        ("KEEPS", Align::Left),
        ("EXEMPT", Align::Left),
        ("LAST RUN", Align::Left),
        ("REMOVED", Align::Right),
        ("STAYED", Align::Right),
        ("PROBLEM", Align::Left),
    ];
    let row = |policy: &RetentionView| {
        let last = policy.last_run.as_ref();
        let exempt: Vec<&str> = policy.exempt.iter().map(|selector| selector.pattern.as_str()).collect();
        [
            policy.repository.clone(),
            format!("{} {}", policy.count, policy.keep),
            if exempt.is_empty() { "-".to_owned() } else { exempt.join(" ") },
            last.map_or_else(|| "not yet".to_owned(), |run| run.began_at.clone()),
            last.map_or_else(|| "-".to_owned(), |run| run.removed.to_string()),
            last.map_or_else(|| "-".to_owned(), |run| run.kept.to_string()),
            policy.problem.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    table(head, &policies.iter().map(row).collect::<Vec<_>>())
}

fn removed(versions: &[RetiredView]) -> String {
    if versions.is_empty() {
        return "nothing was removed\n".to_owned();
    }
    let head = [
        ("REMOVED", Align::Left),
        ("TAG", Align::Left),
        ("PUSHED", Align::Left),
        ("DIGEST", Align::Left),
        ("RULE", Align::Left),
    ];
    let row = |one: &RetiredView| {
        [one.removed_at.clone(), one.tag.clone(), one.pushed_at.clone(), one.digest.clone(), one.rule.clone()]
    };
    table(head, &versions.iter().map(row).collect::<Vec<_>>())
}
