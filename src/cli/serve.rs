//! `pierhead serve`.

use std::io::{self, Write};
use std::path::Path;

use tokio::runtime::Builder;

use super::arguments::ServeArguments;
use super::{Failure, lab, load, logs, settings};
use crate::config::Settings;
use crate::needs;
use crate::server::{BindError, Inherited, Manager, descriptors};
use crate::wiring::{self, StartError};

/// Connections that there may be, however few files may be open.
const FEWEST_CONNECTIONS: u64 = 64;
/// Upload sessions that there may be, however few files may be open.
const FEWEST_SESSIONS: u64 = 16;

pub fn serve(arguments: ServeArguments) -> Result<(), Failure> {
    let lab = arguments.lab;
    let mut settings = with_arguments(&arguments)?;
    logs::start(&settings.log);
    let manager = Manager::take();
    listen_where_told(&mut settings, &manager.inherited);
    if lab && let Some(refusal) = lab::refusal(&settings, arguments.lab_open_to_network) {
        return Err(Failure::Usage(refusal));
    }
    fit_descriptors(&mut settings, descriptors::raise());
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::Io { what: "cannot start threads".to_owned(), source })?;
    let data = settings.storage.data.clone();
    let reread: wiring::Reread =
        Box::new(move || with_arguments(&arguments).map_err(|failure| super::chain(&failure)));
    let show = |listening: &wiring::Listening| {
        // Nobody may be reading stdout; the log says the addresses, too.
        let mut stdout = io::stdout().lock();
        let text = if lab { lab::banner(listening, &data) } else { banner(listening, &data) };
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    };
    let closed = runtime.block_on(wiring::serve(settings, lab, (manager, reread), show)).map_err(explain)?;
    drop(runtime);
    drop(closed);
    Ok(())
}

/// Where it listens, and how it is administered.
fn banner(listening: &wiring::Listening, data: &Path) -> String {
    let scheme = if listening.tls { "https" } else { "http" };
    let mut lines = vec!["Pierhead: closed, everybody signs in.".to_owned()];
    lines.extend(listening.addresses.iter().map(|address| format!("  listening on {scheme}://{address}")));
    lines.extend(listening.metrics.iter().map(|address| format!("  monitoring on http://{address}/metrics")));
    lines.push(format!("  data in {}", data.display()));
    if let Some(socket) = &listening.admin {
        lines.push(format!("  administered by: pierhead status --socket {}", socket.display()));
    }
    lines.join("\n") + "\n"
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

/// Where the service manager listens for us, that is where we listen, whatever the settings say.
fn listen_where_told(settings: &mut Settings, inherited: &Inherited) {
    let serving = inherited.serving();
    if !serving.is_empty() {
        settings.server.listen = serving;
    }
    if let Some(monitoring) = inherited.monitoring() {
        settings.metrics.listen = Some(monitoring);
    }
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

/// Makes the settings fit the `limit` on open files, and says what an operator can do about it.
fn fit_descriptors(settings: &mut Settings, limit: Option<u64>) {
    let (others, wanted) = (needs::files_beside_sessions(settings), needs::files(settings));
    let asked = settings.registry.max_sessions;
    let Some(limit) = limit.filter(|limit| *limit < wanted) else { return };
    fit_connections(&mut settings.server.max_connections, limit);
    let max_sessions = sessions_within(limit, others).min(asked);
    settings.registry.max_sessions = max_sessions;
    if max_sessions < asked {
        tracing::warn!(
            limit,
            wanted,
            asked,
            max_sessions,
            "few open files are allowed: registry.max_sessions is lowered; raise LimitNOFILE"
        );
    } else {
        tracing::warn!(
            limit,
            wanted,
            "few open files are allowed for server.max_connections: raise LimitNOFILE"
        );
    }
}

/// Idle connections take one descriptor each, so that more are allowed than could all be at work; but never more
/// than there are, less what the rest needs: one that cannot be accepted would wait for others to end.
fn fit_connections(connections: &mut u32, limit: u64) {
    let fitting = needs::connections_within(limit - limit / 4).max(FEWEST_CONNECTIONS);
    let fitting = u32::try_from(fitting).unwrap_or(u32::MAX);
    if fitting < *connections {
        let (asked, max_connections) = (*connections, fitting);
        tracing::warn!(
            limit,
            asked,
            max_connections,
            "few open files are allowed: server.max_connections is lowered; raise LimitNOFILE"
        );
        *connections = fitting;
    }
}

/// How many upload sessions may keep a file open, beside `others`. Where those alone would take
/// everything, which they rarely do, a quarter: sessions last for hours, and a few that their
/// clients left must not keep the rest from pushing.
fn sessions_within(limit: u64, others: u64) -> u32 {
    let fitting = limit.saturating_sub(others).max(limit / 4).max(FEWEST_SESSIONS);
    u32::try_from(fitting).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_sessions_leave_descriptors_for_the_rest() {
        let rows = [
            ("no limit", None, 10_000),
            ("room for all", Some(34_512), 10_000),
            ("room for most", Some(34_511), 9_999),
            ("a quarter", Some(4096), 1024),
            ("next to nothing", Some(48), 16),
        ];
        for (name, limit, expected) in rows {
            let mut settings = Settings::default();
            fit_descriptors(&mut settings, limit);
            assert_eq!(settings.registry.max_sessions, expected, "{name}");
        }
        for (name, limit, expected) in [
            ("no limit", None, 12_000),
            ("room for all idle ones", Some(20_000), 12_000),
            ("for some", Some(4096), 2560),
            ("next to none", Some(48), 64),
        ] {
            let mut settings = Settings::default();
            fit_descriptors(&mut settings, limit);
            assert_eq!(settings.server.max_connections, expected, "{name}");
        }
        let mut few = Settings::default();
        few.registry.max_sessions = 3;
        fit_descriptors(&mut few, Some(48));
        assert_eq!(few.registry.max_sessions, 3, "never more than asked");
    }
}
