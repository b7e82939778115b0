//! `pierhead backup` and `pierhead restore`.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin::{Asked, Client, read};
use super::{Failure, human, logs, offline, say};
use crate::api::admin::HoldView;
use crate::config::Period;
use crate::services::backup::{Found, Made, Stage, State, Verified, Watch};
use crate::wiring::{self, BackupOptions, Drilled, From, Outcome};

/// A hold is renewed this often.
const RENEW_EVERY: Duration = Duration::from_secs(60);
/// A server that is being waited for is looked for this often.
const ASKED_EVERY: Duration = Duration::from_millis(200);
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Make a backup, whether the server runs or not
    #[command(after_help = "Examples:\n  pierhead backup create --to /srv/backups --keep 7\n  \
                            pierhead backup create --to - | ssh other pierhead restore - --data /srv/new\n\n\
                            A folder that has backups already gets what is new; blobs are there once. On the \
                            data's own file system they are linked, not copied: then the backup is no help \
                            against that disk.\nRun as root, it goes on as the owner of the data where the folder is \
                            that user's, or is made anew: a timer of that user can go on in it.\nThe backup holds the key file: keep it as safe.\n\
                            Exit codes: 0 all of it, 1 not made, or blobs of the store were lost before.")]
    Create(CreateArguments),
    /// List the backups in a folder
    #[command(after_help = "Example:\n  pierhead backup list /srv/backups")]
    List(ListArguments),
    /// Read a backup and say what is damaged
    #[command(after_help = "Example:\n  pierhead backup verify /srv/backups --all")]
    Verify(VerifyArguments),
    /// Restore a backup to a scratch folder, open it, check every byte, and remove it again
    #[command(after_help = "Examples:\n  pierhead backup drill /srv/backups\n  \
                            pierhead backup drill /mnt/backups --scratch /var/tmp")]
    Drill(DrillArguments),
}

#[derive(Debug, Args)]
pub struct CreateArguments {
    #[command(flatten)]
    asked: Asked,
    /// Folder of backups, made if there is none; "-" writes a tar to stdout
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Keep so many backups, this one included; older ones go
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Hash what is linked, and what the folder has already, too
    #[arg(long)]
    verify: bool,
    /// Copy where links could be made
    #[arg(long)]
    copy: bool,
    /// Leave the key file and the CA's key out: keep copies of them elsewhere
    #[arg(long)]
    without_key: bool,
    /// Leave the audit trail out
    #[arg(long)]
    without_audit: bool,
    /// Only while a server serves the store: end with code 1 if none answers within this time (such as 2min)
    #[arg(long, value_name = "TIME")]
    served_within: Option<Period>,
    /// With --to -: folder for what has to be written first (metadata, audit trail)
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ListArguments {
    /// Folder of backups
    folder: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// Folder of backups
    folder: PathBuf,
    /// This backup [default: the newest]
    #[arg(long, value_name = "NAME")]
    point: Option<String>,
    /// All of them
    #[arg(long, conflicts_with = "point")]
    all: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct DrillArguments {
    /// Folder of backups
    folder: PathBuf,
    /// This backup [default: the newest]
    #[arg(long, value_name = "NAME")]
    point: Option<String>,
    /// Where to restore to [default: in the folder itself, with links, which needs no space]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  pierhead restore /srv/backups --data /srv/new\n  \
                        ssh other pierhead backup create --to - | pierhead restore - --data /srv/new\n\n\
                        Run it as the user that will serve the store. Every blob is hashed on its way, and fsck \
                        has the last word. One that was interrupted is no store yet: run it again.\n\
                        Exit codes: 0 nothing is wrong, 1 not restored, or something is missing, 2 wrong usage.")]
pub struct RestoreArguments {
    /// Folder of backups; "-" for a stream on stdin
    from: PathBuf,
    /// Data directory to make; new or empty
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// This backup [default: the newest]
    #[arg(long, value_name = "NAME")]
    point: Option<String>,
    /// Print what was restored, and fsck's report, as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(command: BackupCommand) -> Result<(), Failure> {
    match command {
        BackupCommand::Create(arguments) => create(&arguments),
        BackupCommand::List(arguments) => list(&arguments),
        BackupCommand::Verify(arguments) => verify(&arguments),
        BackupCommand::Drill(arguments) => drill(&arguments),
    }
}

fn create(arguments: &CreateArguments) -> Result<(), Failure> {
    if arguments.asked.is_by_socket() {
        return Err(Failure::Usage(
            "the data directory is copied: give --data or --config, not --socket".to_owned(),
        ));
    }
    let settings = arguments.asked.settings()?;
    let is_stream = arguments.to == Path::new("-");
    if !is_stream {
        wiring::go_on_as_owner(&settings.storage.data, &arguments.to)?;
    }
    logs::start(&settings.log);
    let client = arguments.asked.client()?;
    if let Some(patience) = arguments.served_within {
        wait_for_server(&client, patience)?;
    }
    let hold = Hold::begin(client)?;
    if hold.is_none() && arguments.served_within.is_some() {
        return Err(nobody_serves());
    }
    let options = BackupOptions {
        served: hold.is_some(),
        key: !arguments.without_key,
        audit: !arguments.without_audit,
        verify: arguments.verify,
        copy: arguments.copy,
        keep: arguments.keep.map(|keep| keep as usize),
    };
    let mut watch = progress();
    let made = if is_stream {
        to_stdout(arguments, &settings, options, &mut *watch)
    } else {
        wiring::back_up(&settings, &arguments.to, options, &mut *watch).map_err(Failure::from)
    };
    let lapsed = hold.is_some_and(Hold::end);
    let made = made?;
    let text =
        if arguments.asked.json { format!("{}\n", made_json(&made)) } else { made_words(&made, lapsed) };
    // stdout may be the backup itself.
    if is_stream {
        drop(io::stderr().write_all(text.as_bytes()))
    } else {
        say(&text)?
    }
    if made.point.missing == 0 { Ok(()) } else { Err(Failure::Findings) }
}

/// Who copies a store that nobody serves keeps a server from starting meanwhile: nothing for a timer.
fn wait_for_server(client: &Client, patience: Period) -> Result<(), Failure> {
    let begun = Instant::now();
    while !client.is_answered() {
        if begun.elapsed() >= patience.duration() {
            return Err(nobody_serves());
        }
        client.pause(ASKED_EVERY);
    }
    Ok(())
}

fn nobody_serves() -> Failure {
    let why = "no server serves the store, and no backup was made of it: start the server, or give the command without \
               --served-within (no server can start then until the backup is made)";
    Failure::Server(why.to_owned())
}

fn to_stdout(
    arguments: &CreateArguments,
    settings: &crate::config::Settings,
    options: BackupOptions,
    watch: &mut Watch<'_>,
) -> Result<Made, Failure> {
    if io::stdout().is_terminal() {
        return Err(Failure::Usage("a backup is not text: give --to DIR, or a pipe".to_owned()));
    }
    if arguments.keep.is_some() {
        return Err(Failure::Usage("--keep is for folders of backups".to_owned()));
    }
    let scratch = arguments.scratch.clone().unwrap_or_else(std::env::temp_dir);
    Ok(wiring::back_up_to_stream(settings, &scratch, options, &mut io::stdout().lock(), watch)?)
}

/// Removals held back by the server, if one runs. A thread of its own renews it, whatever the backup is busy with.
struct Hold {
    path: String,
    /// Dropped at the end.
    going_on: Sender<()>,
    renewer: JoinHandle<(Client, bool)>,
}

impl Hold {
    fn begin(client: Client) -> Result<Option<Self>, Failure> {
        if !client.is_answered() {
            return Ok(None);
        }
        let held: HoldView = read(&client.post("/api/v1/removal-holds", None)?)?;
        let path = format!("/api/v1/removal-holds/{}", held.id);
        let (going_on, ended) = mpsc::channel();
        let renewed = path.clone();
        let renewer = thread::spawn(move || {
            let lapsed = renew(RENEW_EVERY, &ended, || client.post(&renewed, None).is_ok());
            (client, lapsed)
        });
        Ok(Some(Self { path, going_on, renewer }))
    }

    /// Whether it had lapsed.
    fn end(self) -> bool {
        drop(self.going_on);
        let Ok((client, lapsed)) = self.renewer.join() else { return true };
        client.delete(&self.path).is_err() || lapsed
    }
}

/// Until the backup ends; whether the hold lapsed. A server that was restarted has no hold any more: what is copied is
/// right all the same, and what was removed meanwhile shows as missing.
fn renew(every: Duration, ended: &Receiver<()>, mut renewed: impl FnMut() -> bool) -> bool {
    while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        if !renewed() {
            return true;
        }
    }
    false
}

fn made_json(made: &Made) -> Value {
    let point = &made.point;
    json!({
        "name": point.name, "sequence": point.sequence, "rows": point.rows, "blobs": point.blobs,
        "bytes": point.bytes, "missing": point.missing, "files": point.files, "secrets": point.secrets,
        "copied": made.copied.0, "copied_bytes": made.copied.1, "linked": made.linked, "kept": made.kept,
        "pruned": made.pruned, "freed_bytes": made.freed,
    })
}

fn made_words(made: &Made, lapsed: bool) -> String {
    let point = &made.point;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "backup {}: change set {}, {} rows, {} blobs, {}",
        point.name,
        point.sequence,
        point.rows,
        point.blobs,
        human::size(point.bytes)
    );
    let copied = human::size(made.copied.1);
    let _ = writeln!(
        text,
        "{} copied ({copied}), {} linked, {} there already",
        made.copied.0, made.linked, made.kept
    );
    if point.secrets {
        text.push_str("the key file is in it: keep the backup as safe as the data\n");
    }
    for name in &made.pruned {
        let _ = writeln!(text, "removed backup {name}");
    }
    if !made.pruned.is_empty() {
        let _ = writeln!(text, "{} freed", human::size(made.freed));
    }
    if point.missing > 0 {
        let _ = writeln!(
            text,
            "{} BLOBS ARE NOT IN IT: the store has lost or damaged them (missing.list of the backup names them){}",
            point.missing,
            if lapsed {
                ", or removed them, since the server was restarted meanwhile: run it again"
            } else {
                ""
            }
        );
    }
    text
}

fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let found = wiring::backups(&arguments.folder)?;
    if arguments.json {
        let items: Vec<Value> = found.iter().map(found_json).collect();
        return say(&format!("{}\n", json!({"items": items})));
    }
    let mut text = String::new();
    for Found { name, state } in &found {
        let _ = match state {
            State::Whole(point) => {
                let (blobs, size) = (point.blobs, human::size(point.bytes));
                let lacks =
                    if point.missing > 0 { format!(", {} MISSING", point.missing) } else { String::new() };
                writeln!(text, "{name}  change set {}, {blobs} blobs, {size}{lacks}", point.sequence)
            }
            State::Unfinished => writeln!(text, "{name}  INTERRUPTED: the next backup removes it"),
            State::Damaged(why) => writeln!(text, "{name}  DAMAGED: {why}"),
        };
    }
    say(if found.is_empty() { "no backup yet\n" } else { &text })
}

fn found_json(found: &Found) -> Value {
    match &found.state {
        State::Whole(point) => json!({"name": found.name, "state": "whole", "record": point}),
        State::Unfinished => json!({"name": found.name, "state": "interrupted"}),
        State::Damaged(why) => json!({"name": found.name, "state": "damaged", "why": why.to_string()}),
    }
}

fn verify(arguments: &VerifyArguments) -> Result<(), Failure> {
    logs::start(&crate::config::LogSettings::default());
    let point = arguments.point.as_deref();
    let Verified { points, blobs, bytes, damaged, named, missing } =
        wiring::verify_backups(&arguments.folder, point, arguments.all, &mut *progress())?;
    let text = if arguments.json {
        json!({"ok": damaged == 0, "points": points, "blobs": blobs, "bytes": bytes, "damaged": damaged,
               "named": named, "missing": missing})
        .to_string()
    } else {
        let lines: String = named.iter().map(|what| format!("damaged or missing: {what}\n")).collect();
        let verdict =
            if damaged == 0 { "nothing is damaged".to_owned() } else { format!("{damaged} DAMAGED") };
        let size = human::size(bytes);
        format!("{lines}{} backups, {blobs} blobs, {size} read: {verdict}", points.len())
    };
    say(&format!("{text}\n"))?;
    if damaged == 0 { Ok(()) } else { Err(Failure::Findings) }
}

fn drill(arguments: &DrillArguments) -> Result<(), Failure> {
    logs::start(&crate::config::LogSettings::default());
    let (point, scratch) = (arguments.point.as_deref(), arguments.scratch.as_deref());
    let drilled = wiring::drill(&arguments.folder, point, scratch, &mut *progress())?;
    let Drilled { restored, report, secrets } = &drilled;
    let ok = report.is_clean() && restored.lost == 0 && secrets.is_none();
    let why = secrets.as_ref().map(ToString::to_string);
    if arguments.json {
        say(&format!(
            "{}\n",
            json!({"ok": ok, "name": restored.point.name, "lost": restored.lost,
                                   "secrets": why, "report": report})
        ))?;
    } else {
        let counts = &report.counts;
        let mut text = offline::render(report);
        let secrets = why
            .map_or_else(|| "its secrets open".to_owned(), |why| format!("ITS SECRETS DO NOT OPEN: {why}"));
        let _ = writeln!(
            text,
            "drill of backup {}: it restores and opens, {secrets}; {} repositories, {} manifests with all they \
             refer to, {} blobs of {} read and hashed: {}",
            restored.point.name,
            counts.repositories,
            counts.manifests,
            counts.hashed,
            human::size(counts.bytes),
            if ok { "it is good" } else { "IT IS NOT GOOD, see above" }
        );
        say(&text)?;
    }
    if ok { Ok(()) } else { Err(Failure::Findings) }
}

pub fn restore(arguments: &RestoreArguments) -> Result<(), Failure> {
    logs::start(&crate::config::LogSettings::default());
    let mut stdin = io::stdin().lock();
    let from = match arguments.from == Path::new("-") {
        true if arguments.point.is_some() => {
            return Err(Failure::Usage("a stream has one backup: leave --point out".to_owned()));
        }
        true => From::Stream(&mut stdin),
        false => From::Folder(&arguments.from, arguments.point.as_deref()),
    };
    let Outcome { restored, report } = wiring::restore(from, &arguments.data, &mut *progress())?;
    let ok = report.is_clean() && restored.lost == 0;
    let point = &restored.point;
    if arguments.json {
        let named: Vec<String> = restored.named.iter().map(ToString::to_string).collect();
        say(&format!(
            "{}\n",
            json!({"ok": ok, "name": point.name, "sequence": point.sequence, "rows": point.rows,
                                   "blobs": point.blobs, "bytes": point.bytes, "lost": restored.lost,
                                   "lost_blobs": named, "report": report})
        ))?;
    } else {
        let mut text = offline::render(&report);
        for digest in &restored.named {
            let _ = writeln!(text, "missing or damaged in the backup: {digest}");
        }
        let (blobs, size) = (point.blobs - restored.lost, human::size(point.bytes));
        let _ = writeln!(
            text,
            "restored backup {} to {}: {blobs} blobs, {size}",
            point.name,
            arguments.data.display()
        );
        if !point.secrets {
            text.push_str("the key file is not in the backup: put your copy of it in its place before you start the server\n");
        }
        say(&text)?;
    }
    if ok { Ok(()) } else { Err(Failure::Findings) }
}

/// Tells a person at a terminal how far it is, now and then.
fn progress() -> Box<Watch<'static>> {
    let watched = io::stderr().is_terminal();
    let mut last = Instant::now();
    Box::new(move |stage: Stage, done, of| {
        if watched && last.elapsed() >= PROGRESS_EVERY {
            last = Instant::now();
            let of = if of > 0 { format!(" of {of}") } else { String::new() };
            let stage = format!("{stage:?}").to_lowercase();
            // Nobody may be reading any more; the work goes on.
            let _ = write!(io::stderr(), "\r{stage:<10}{done:>12}{of}   \r");
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_renewed_again_and_again_until_the_backup_ends_or_it_lapsed() {
        let (going_on, ended) = mpsc::channel::<()>();
        let (tell, renewals) = mpsc::channel();
        let renewer =
            thread::spawn(move || renew(Duration::from_millis(1), &ended, || tell.send(()).is_ok()));
        for _ in 0..3 {
            renewals.recv_timeout(Duration::from_secs(20)).expect("whatever the backup does");
        }
        drop(going_on);
        assert!(!renewer.join().expect("no panic"), "it held to the end");

        let (_going_on, ended) = mpsc::channel::<()>();
        let mut left = 2;
        let lapsed = renew(Duration::from_millis(1), &ended, || {
            left -= 1;
            left > 0
        });
        assert!(lapsed && left == 0, "the server has it no more");
    }
}
