//! `pierhead audit`: what was done, looked through or written out, by the running server.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::admin::{Asked, Client, part, read};
use super::table::{Align, table};
use super::{Failure, say};
use crate::api::admin::{EventView, Page};
use crate::config::Period;

/// Events asked for at a time.
const PAGE: usize = 1000;
/// How hard an export is compressed.
const LEVEL: i32 = 3;

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Look through what was done, newest first
    #[command(
        after_help = "Examples:\n  pierhead audit list\n  pierhead audit list --rating warning --since 2h\n  \
                            pierhead audit list --name deleteImageTag --user ann --limit 500 --json"
    )]
    List {
        #[command(flatten)]
        wanted: Wanted,
        /// Events at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// The oldest first
        #[arg(long)]
        oldest: bool,
        #[command(flatten)]
        asked: Asked,
    },
    /// Write events as JSON lines, oldest first
    #[command(after_help = "Examples:\n  pierhead audit export > events.jsonl\n  \
                            pierhead audit export --since 1d --zstd --output events.jsonl.zst\n  \
                            pierhead audit export --account acme | jq .trace_name")]
    Export {
        #[command(flatten)]
        wanted: Wanted,
        /// Write to this file, which must not be there yet [default: stdout]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Compress with zstd
        #[arg(long)]
        zstd: bool,
        #[command(flatten)]
        asked: Asked,
    },
}

/// Which events.
#[derive(Debug, Args)]
pub struct Wanted {
    /// Only of this account, by name or id [default: all]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only by this user, by name or id
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only of this type of resource (imagetag, usernamespace, ...)
    #[arg(long = "type", value_name = "TYPE")]
    resource_type: Option<String>,
    /// Only of this resource, by name or id
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// Only of this trace name (deleteImageTag, ...)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only of this rating
    #[arg(long)]
    rating: Option<Rating>,
    /// Not before this time (2026-11-20T08:00:00Z), or so long ago (2h, 3d)
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Before this time, or so long ago
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rating {
    /// It was done
    Normal,
    /// It was refused
    Warning,
    /// The appliance failed
    Incident,
}

/// A time as RFC 3339.
#[derive(Clone, Debug)]
struct Moment(String);

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = match (text.parse::<jiff::Timestamp>(), text.parse::<Period>()) {
            (Ok(time), _) => time,
            (_, Ok(ago)) => {
                now().checked_sub(ago.duration()).map_err(|_| "so long ago is no time".to_owned())?
            }
            _ => return Err("neither a time such as 2026-11-20T08:00:00Z nor one such as 2h".to_owned()),
        };
        Ok(Self(time.to_string()))
    }
}

#[expect(clippy::disallowed_methods, reason = "a command asks when it is run")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

impl Wanted {
    /// The list and its query, but for the page.
    fn target(&self) -> String {
        let path = match &self.account {
            Some(account) => format!("/api/v1/accounts/{}/audit", part(account)),
            None => "/api/v1/audit".to_owned(),
        };
        let rating = self.rating.map(|rating| match rating {
            Rating::Normal => "normal",
            Rating::Warning => "warning",
            Rating::Incident => "incident",
        });
        let parameters = [
            ("user", self.user.as_deref()),
            ("resource_type", self.resource_type.as_deref()),
            ("resource", self.resource.as_deref()),
            ("trace_name", self.name.as_deref()),
            ("rating", rating),
            ("from", self.since.as_ref().map(|moment| moment.0.as_str())),
            ("until", self.until.as_ref().map(|moment| moment.0.as_str())),
        ];
        let given =
            parameters.iter().filter_map(|(name, value)| Some(format!("&{name}={}", part((*value)?))));
        format!("{path}?{}", given.collect::<String>().trim_start_matches('&'))
    }
}

pub fn run(command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::List { wanted, limit, oldest, asked } => list(&wanted, limit, oldest, &asked),
        AuditCommand::Export { wanted, output, zstd, asked } => export(&wanted, output, zstd, &asked),
    }
}

fn list(wanted: &Wanted, limit: usize, oldest: bool, asked: &Asked) -> Result<(), Failure> {
    let order = if oldest { "oldest" } else { "newest" };
    let mut found = Vec::new();
    each_page(&asked.client()?, wanted, order, limit.min(PAGE), &mut |page| {
        found.extend(page);
        Ok(found.len() < limit)
    })?;
    found.truncate(limit);
    let answer = serde_json::json!({ "items": found, "next": null });
    asked.show(&answer, || words(&read(&answer)?))
}

/// Page after page, until `take` wants no more or there is none.
fn each_page(
    client: &Client,
    wanted: &Wanted,
    order: &str,
    limit: usize,
    take: &mut dyn FnMut(Vec<Value>) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let target = format!("{}&order={order}&limit={}", wanted.target(), limit.max(1));
    let mut after = String::new();
    loop {
        let page: Page<Value> = read(&client.get(&format!("{target}{after}"))?)?;
        let goes_on = take(page.items)?;
        match page.next {
            Some(next) if goes_on => after = format!("&after={}", part(&next)),
            _ => return Ok(()),
        }
    }
}

fn words(page: &Page<EventView>) -> Result<String, Failure> {
    let head = [
        ("TIME", Align::Left),
        ("TRACE", Align::Left),
        ("RESOURCE", Align::Left),
        ("USER", Align::Left),
        ("FROM", Align::Left),
        ("CODE", Align::Right),
        ("RATING", Align::Left),
    ];
    let rows = page.items.iter().map(|event| {
        let user = match event.account.as_str() {
            "" => event.user.clone(),
            account => format!("{account}/{}", event.user),
        };
        let EventView { time, trace_name, resource_name, source_ip, code, trace_rating, .. } = event.clone();
        [time, trace_name, resource_name, user, source_ip, code.to_string(), trace_rating]
    });
    Ok(table(head, &rows.collect::<Vec<_>>()))
}

fn export(wanted: &Wanted, output: Option<PathBuf>, zstd: bool, asked: &Asked) -> Result<(), Failure> {
    let client = asked.client()?;
    let failed = |what: String| move |source| Failure::Io { what, source };
    let (mut to, what): (Box<dyn Write>, String) = match &output {
        Some(path) => {
            let what = format!("cannot write {}", path.display());
            (Box::new(File::create_new(path).map_err(failed(what.clone()))?), what)
        }
        None => (Box::new(io::stdout().lock()), "cannot write to stdout".to_owned()),
    };
    let mut count = 0u64;
    if zstd {
        let mut packed = zstd::Encoder::new(&mut to, LEVEL).map_err(failed(what.clone()))?;
        count += lines(&client, wanted, &mut packed, &what)?;
        packed.finish().map_err(failed(what.clone()))?;
    } else {
        count += lines(&client, wanted, &mut to, &what)?;
    }
    to.flush().map_err(failed(what))?;
    drop(to);
    match output {
        Some(path) if asked.json => {
            say(&format!("{}\n", serde_json::json!({ "events": count, "file": path })))
        }
        Some(path) => say(&format!("wrote {count} events to {}\n", path.display())),
        None => Ok(()),
    }
}

fn lines(client: &Client, wanted: &Wanted, to: &mut dyn Write, what: &str) -> Result<u64, Failure> {
    let mut count = 0;
    each_page(client, wanted, "oldest", PAGE, &mut |page| {
        for event in page {
            count += 1;
            writeln!(to, "{event}").map_err(|source| Failure::Io { what: what.to_owned(), source })?;
        }
        Ok(true)
    })?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        assert_eq!(
            "2026-11-20T08:00:00Z".parse::<Moment>().map(|m| m.0).as_deref(),
            Ok("2026-11-20T08:00:00Z")
        );
        let ago: jiff::Timestamp = "2h".parse::<Moment>().expect("a moment").0.parse().expect("a time");
        assert!((now().as_second() - ago.as_second() - 7200).abs() < 60);
        for wrong in ["", "yesterday", "2", "-2h"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }
}
