//! The command line: the second edge. Reads arguments and settings, calls one function of
//! `wiring`, renders what comes back. The only room that writes to stdout, and to stderr beside
//! the log.
//!
//! L1: exit code 0 means that what was asked for was done; 1 that it was not, or that there are
//! findings; 2 that the question was wrong; 3, of `fsck --repair` alone, that all of what was wrong is repaired. L2: what a program may read has `--json`.
//! Must not hold a rule or open a store. Look next: `arguments`, `admin` (how a running server is
//! asked; `status`, `upload`, `user` and others are its commands), `password` (how secrets come in), `lab` (what `--lab` prints), `draft` (files that
//! are written whole or not at all).

mod account;
mod admin;
mod arguments;
mod audit;
mod backup;
mod ban;
mod check;
mod credential;
mod doctor;
mod draft;
mod gc;
mod generate;
mod group;
mod human;
mod init;
mod jobs;
mod lab;
mod logs;
mod offline;
mod organisation;
mod password;
mod policy;
mod quota;
mod reload;
mod repository;
mod retention;
mod scrub;
mod serve;
mod share;
mod status;
mod table;
mod trash;
mod trust;
mod upload;
mod user;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use crate::api;
use crate::config::{self, ConfigError, Settings, Sources};
use crate::wiring::{self, StartError};
use arguments::{Arguments, Command, ConfigCommand};

/// Why a command ends with another code than 0.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The question was wrong.
    #[error("{0}")]
    Usage(String),
    /// The settings are.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It could not be done.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The output could not be written, or the input not read.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The server refused, or there is none.
    #[error("{0}")]
    Server(String),
    /// It was done, and found what must not be; said already.
    #[error("there are findings")]
    Findings,
    /// It was done: what was found is repaired; said already.
    #[error("it was repaired")]
    Repaired,
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Repaired => 3,
            Self::Config(_) | Self::Start(_) | Self::Io { .. } | Self::Server(_) | Self::Findings => 1,
        }
    }
}

/// Runs the command that `arguments` (the program's name first) ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are errors of this kind too, with code 0 and to stdout.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::Findings | Failure::Repaired) {
                // Nothing can be done about a stderr that is gone.
                let _ = writeln!(io::stderr(), "pierhead: {}", chain(&failure));
            }
            ExitCode::from(failure.code())
        }
    }
}

/// An error with its causes; a cause that only repeats what contains it is left out.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(arguments) => serve::serve(arguments),
        Command::Config { command: ConfigCommand::Sample } => say(config::SAMPLE),
        Command::Config { command: ConfigCommand::Check { config, json } } => {
            check_settings(config.as_deref(), json)
        }
        Command::Openapi => say(&format!("{:#}\n", api::admin::document())),
        Command::Status(asked) => status::status(&asked),
        Command::Upload { command } => upload::run(command),
        Command::Reload(asked) => reload::reload(&asked),
        Command::Init(arguments) => init::init(&arguments),
        Command::Account { command } => account::run(command),
        Command::User { command } => user::run(command),
        Command::Group { command } => group::run(command),
        Command::Policy { command } => policy::run(command),
        Command::Key { command } => credential::keys(command),
        Command::Login { command } => credential::logins(command),
        Command::Secret { command } => credential::secrets(command),
        Command::Org { command } => organisation::run(command),
        Command::Quota { command } => quota::run(command),
        Command::Grant { command } => organisation::grants(command),
        Command::Repo { command } => repository::run(command),
        Command::Audit { command } => audit::run(command),
        Command::Gc { command } => gc::run(command),
        Command::Trash { command } => trash::run(command),
        Command::Tag { command } => trash::tags(command),
        Command::Manifest { command } => trash::manifests(command),
        Command::Share { command } => share::run(command),
        Command::Retention { command } => retention::run(command),
        Command::Jobs { command } => jobs::run(command),
        Command::Ban { command } => ban::run(command),
        Command::Generate { command } => generate::run(command),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Trust(arguments) => trust::trust(&arguments),
        Command::Backup { command } => backup::run(command),
        Command::Scrub { command } => scrub::run(command),
        Command::Restore(arguments) => backup::restore(&arguments),
        Command::Fsck(arguments) => offline::fsck(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::ExportMetadata(arguments) => offline::export(&arguments),
        Command::ImportMetadata(arguments) => offline::import(&arguments),
    }
}

fn check_settings(file: Option<&Path>, json: bool) -> Result<(), Failure> {
    let result = settings(Settings::default(), file).and_then(|settings| usable(&settings));
    if json {
        let problem = result.as_ref().err().map(ToString::to_string);
        say(&format!("{}\n", serde_json::json!({"ok": problem.is_none(), "problem": problem})))?;
        return result.map_err(|_| Failure::Findings);
    }
    result?;
    say("the settings are right\n")
}

/// Whether what the settings name can be used as `serve` would.
fn usable(settings: &Settings) -> Result<(), Failure> {
    Ok(wiring::check_tls(settings)?)
}

/// The settings from `file` (or the default one, if it is there) and the environment.
fn settings(defaults: Settings, file: Option<&Path>) -> Result<Settings, Failure> {
    let default = Path::new(config::DEFAULT_FILE);
    let path: Option<PathBuf> = file.or(default.exists().then_some(default)).map(Path::to_owned);
    load(defaults, path.as_deref())
}

/// The settings from `path`, if given, and the environment.
fn load(defaults: Settings, path: Option<&Path>) -> Result<Settings, Failure> {
    let text = path.map(config::read).transpose()?;
    let file = path.zip(text.as_deref());
    Ok(config::load(&Sources { defaults, file, environment: &environment() })?)
}

fn environment() -> Vec<(String, String)> {
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
}

/// Writes to stdout. A reader that has gone (`| head`) is no failure.
fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Io { what: "cannot write to stdout".to_owned(), source: error })
        }
        _ => Ok(()),
    }
}
