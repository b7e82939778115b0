//! `pierhead serve`.

use std::io::{self, Write};

use tokio::runtime::Builder;

use super::arguments::ServeArguments;
use super::{Failure, lab, load, logs, settings};
use crate::config::Settings;
use crate::server::{BindError, descriptors};
use crate::wiring::{self, StartError};

/// Descriptors beside the connections': the index, the journal, blobs being read and written.
const OTHER_FILES: u64 = 512;

pub fn serve(arguments: ServeArguments) -> Result<(), Failure> {
    let lab = arguments.lab;
    if !lab {
        return Err(StartError::NoIdentity.into());
    }
    let settings = with_arguments(&arguments)?;
    if let Some(refusal) = lab::refusal(&settings.server.listen, arguments.lab_open_to_network) {
        return Err(Failure::Usage(refusal));
    }
    logs::start(&settings.log);
    check_descriptors(&settings);
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::Io { what: "cannot start threads".to_owned(), source })?;
    let data = settings.storage.data.clone();
    let show = |listening: &wiring::Listening| {
        // Nobody may be reading stdout; the log says the addresses, too.
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(lab::banner(listening, &data).as_bytes()).and_then(|()| stdout.flush());
    };
    runtime.block_on(wiring::serve(settings, lab, show)).map_err(explain)
}

fn with_arguments(arguments: &ServeArguments) -> Result<Settings, Failure> {
    let file = arguments.config.as_deref();
    let mut settings =
        if arguments.lab { load(Settings::lab(), file)? } else { settings(Settings::default(), file)? };
    if let Some(data) = &arguments.data {
        settings.storage.data.clone_from(data);
    }
    if !arguments.listen.is_empty() {
        settings.server.listen.clone_from(&arguments.listen);
    }
    Ok(settings)
}

/// Adds what to do about it, where there is something.
fn explain(error: StartError) -> Failure {
    match error {
        StartError::Bind(BindError::Taken(address)) => Failure::Io {
            what: format!("cannot listen on {address}, it is taken. {}", lab::taken(address)),
            source: io::ErrorKind::AddrInUse.into(),
        },
        error => error.into(),
    }
}

fn check_descriptors(settings: &Settings) {
    let wanted = u64::from(settings.server.max_connections) * 2 + OTHER_FILES;
    if let Some(limit) = descriptors::raise().filter(|limit| *limit < wanted) {
        tracing::warn!(
            limit,
            wanted,
            "few open files are allowed for server.max_connections: raise LimitNOFILE"
        );
    }
}
