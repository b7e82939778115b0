//! Where values come from, and what is said about a wrong one. Later sources win: defaults, the
//! file, `PIERHEAD_SECTION_KEY` variables. (The command line is applied by `cli`.)

use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::locate::{key_at, line_of};
use super::settings::{Misfit, Settings};

/// Variables that start like a setting but belong to the tests and benchmarks of this repository;
/// the product does not read them.
const NOT_OURS: [&str; 5] =
    ["PIERHEAD_FULL", "PIERHEAD_CONFORMANCE", "PIERHEAD_TEST_", "PIERHEAD_BENCH_", "PIERHEAD_REQUIRE_"];

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the settings file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file says something that cannot be.
    #[error("{}, line {line}: {key}{}{message}", path.display(), if key.is_empty() { "" } else { ": " })]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// `section.key`; empty outside of one.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// A variable's value cannot be.
    #[error("environment variable {name}: {message}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A variable names no setting.
    #[error("environment variable {0} names no setting: see `pierhead config sample` for those there are")]
    UnknownVariable(String),
    /// A default does not fit with what was set.
    #[error("{key}: {message}")]
    Value {
        /// `section.key`.
        key: String,
        /// What is wrong.
        message: String,
    },
}

/// What settings are made of.
pub struct Sources<'a> {
    /// The defaults: [`Settings::default`] or [`Settings::lab`].
    pub defaults: Settings,
    /// The file's name and text.
    pub file: Option<(&'a Path, &'a str)>,
    /// The environment: every variable, ours or not.
    pub environment: &'a [(String, String)],
}

/// Reads a settings file.
pub fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// Makes the settings.
pub fn load(sources: &Sources<'_>) -> Result<Settings, ConfigError> {
    let mut table = table_of(&sources.defaults)?;
    if let Some((path, text)) = sources.file {
        overlay(&mut table, read_table(path, text)?);
    }
    for (name, value) in sources.environment {
        if let Some(setting) = ours(name, value) {
            set_variable(&mut table, name, setting, value)?;
        }
    }
    let settings: Settings = table.try_into().map_err(|error| value_error(String::new(), message(&error)))?;
    match settings.misfit() {
        None => Ok(settings),
        Some(misfit) => Err(explain(&misfit, sources)),
    }
}

fn table_of(settings: &Settings) -> Result<Table, ConfigError> {
    Table::try_from(settings).map_err(|error| value_error(String::new(), error.to_string()))
}

fn value_error(key: String, message: String) -> ConfigError {
    ConfigError::Value { key, message }
}

/// The file on its own, checked while its lines are still known.
fn read_table(path: &Path, text: &str) -> Result<Table, ConfigError> {
    let wrong = |error: toml::de::Error| {
        let (line, key) = error.span().map_or((1, String::new()), |span| key_at(text, span.start));
        ConfigError::File { path: path.to_owned(), line, key, message: message(&error) }
    };
    toml::from_str::<Settings>(text).map_err(wrong)?;
    toml::from_str(text).map_err(wrong)
}

/// The parser's words in one line, without the picture of the source.
fn message(error: &toml::de::Error) -> String {
    error.message().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Puts each key of `file` over the same key of `table`; sections are one level deep.
fn overlay(table: &mut Table, file: Table) {
    for (section, keys) in file {
        match (table.get_mut(&section), keys) {
            (Some(Value::Table(present)), Value::Table(keys)) => present.extend(keys),
            (_, keys) => drop(table.insert(section, keys)),
        }
    }
}

/// What follows `PIERHEAD_`, if the variable is meant for the product.
fn ours<'a>(name: &'a str, value: &str) -> Option<&'a str> {
    let foreign = |known: &str| if known.ends_with('_') { name.starts_with(known) } else { name == known };
    let setting = name.strip_prefix("PIERHEAD_")?;
    let ours = !NOT_OURS.iter().any(|known| foreign(known)) && !is_of_a_service(name, value);
    ours.then_some(setting)
}

/// Whether Kubernetes sets this in every container for a Service named `pierhead` (or
/// `pierhead-web`, ...): `PIERHEAD_SERVICE_HOST`, `PIERHEAD_SERVICE_PORT_HTTPS`,
/// `PIERHEAD_PORT=tcp://10.0.0.1:443`, `PIERHEAD_PORT_443_TCP_ADDR`. No setting has such a name.
fn is_of_a_service(name: &str, value: &str) -> bool {
    let link = name.split("_PORT_").skip(1).any(|rest| {
        let (port, protocol) = rest.split_once('_').unwrap_or_default();
        port.parse::<u16>().is_ok() && ["TCP", "UDP", "SCTP"].iter().any(|known| protocol.starts_with(known))
    });
    let service =
        name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_");
    link || service || (name.ends_with("_PORT") && value.contains("://"))
}

fn set_variable(table: &mut Table, name: &str, setting: &str, text: &str) -> Result<(), ConfigError> {
    let unknown = || ConfigError::UnknownVariable(name.to_owned());
    let setting = setting.to_lowercase();
    let (section, key) = setting.split_once('_').ok_or_else(unknown)?;
    let keys = table.get_mut(section).and_then(Value::as_table_mut).ok_or_else(unknown)?;
    let present = keys.get_mut(key).ok_or_else(unknown)?;
    let wrong = |message: String| ConfigError::Variable { name: name.to_owned(), message };
    *present = typed(present, text).map_err(|message| wrong(message.to_owned()))?;
    // Everything before this variable was accepted, so what is wrong now is this one.
    table.clone().try_into::<Settings>().map_err(|error| wrong(message(&error)))?;
    Ok(())
}

/// `text` as a value of the same kind as the one it replaces.
fn typed(like: &Value, text: &str) -> Result<Value, &'static str> {
    match like {
        Value::Boolean(_) => text.parse().map(Value::Boolean).map_err(|_| "expected true or false"),
        Value::Integer(_) => text.parse().map(Value::Integer).map_err(|_| "expected a whole number"),
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// Says who set the value that does not fit: a variable, a line, or nobody.
fn explain(misfit: &Misfit, sources: &Sources<'_>) -> ConfigError {
    let key = format!("{}.{}", misfit.section, misfit.key);
    let message = misfit.message.to_owned();
    let name = format!("PIERHEAD_{}_{}", misfit.section, misfit.key).to_uppercase();
    if sources.environment.iter().any(|(set, _)| *set == name) {
        return ConfigError::Variable { name, message };
    }
    let line =
        |(path, text): (&Path, &str)| Some((path.to_owned(), line_of(text, misfit.section, misfit.key)?));
    match sources.file.and_then(line) {
        Some((path, line)) => ConfigError::File { path, line, key, message },
        None => value_error(key, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SAMPLE;
    use crate::config::settings::Level;
    use proptest::prelude::proptest;

    fn load_file(text: &str, environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let environment: Vec<_> = environment.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let file = Some((Path::new("p.toml"), text));
        load(&Sources { defaults: Settings::default(), file, environment: &environment })
    }

    #[test]
    fn the_sample_lists_every_key_and_reads_as_the_defaults() {
        assert_eq!(load_file(SAMPLE, &[]).unwrap(), Settings::default());
        let keys = |table: Table| -> Vec<String> {
            let of = |(section, keys): (String, Value)| {
                keys.as_table().unwrap().keys().map(|key| format!("{section}.{key}")).collect::<Vec<_>>()
            };
            table.into_iter().flat_map(of).collect()
        };
        let sample = keys(toml::from_str(SAMPLE).unwrap());
        assert_eq!(sample, keys(table_of(&Settings::default()).unwrap()));
    }

    #[test]
    fn every_key_of_the_sample_is_explained_above_it() {
        let mut before = "";
        for line in SAMPLE.lines() {
            let starts_key = line.contains(" = ") && !line.starts_with('#');
            assert!(!starts_key || before.starts_with('#'), "no comment above: {line}");
            before = line;
        }
    }

    #[test]
    fn wrong_files_are_refused_by_key_and_line() {
        let rows = [
            ("[server]\nhttp3 = true\n", "p.toml, line 2: server.http3: unknown field `http3`"),
            ("[sever]\nhttp2 = true\n", "p.toml, line 1: sever: unknown field `sever`"),
            ("[server]\n\nhttp2 = \"yes\"\n", "p.toml, line 3: server.http2: invalid type"),
            ("[storage]\nreserve = \"10\"\n", "p.toml, line 2: storage.reserve: expected one of the units"),
            ("[server]\nkeep_alive = 30\n", "p.toml, line 2: server.keep_alive: invalid type"),
            (
                "[server]\nkeep_alive = \"0s\"\n",
                "p.toml, line 2: server.keep_alive: must be more than nothing",
            ),
            ("[server]\nlisten = [\n \"x\",\n]\n", "p.toml, line 3: server.listen: invalid socket address"),
            (
                "[server]\ntrusted_proxies = [\"10.0.0.1/8\"]\n",
                "line 2: server.trusted_proxies: 10.0.0.1 is not",
            ),
            ("[tls]\nkey = \"k.pem\"\n", "tls.certificate: must be set with tls.key"),
            ("[log]\nlevel = \"loud\"\n", "p.toml, line 2: log.level: unknown variant `loud`"),
            ("[registry]\nmax_sessions = 0\n", "line 2: registry.max_sessions: must be more than nothing"),
            (
                "[registry]\nsessions_per_account = 0\n",
                "line 2: registry.sessions_per_account: must be more than nothing",
            ),
            ("[registry]\nmax_layer = \"0B\"\n", "line 2: registry.max_layer: must be more than nothing"),
            (
                "[storage]\nsnapshot_after = \"0B\"\n",
                "line 2: storage.snapshot_after: must be more than nothing",
            ),
            ("[server\n", "p.toml, line 1: "),
        ];
        for (text, expected) in rows {
            let Err(error) = load_file(text, &[]) else { panic!("{text:?} was accepted") };
            assert!(error.to_string().contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_variable_overrides_the_file_and_the_file_the_defaults() {
        let file = "[server]\nhttp2 = true\nmax_connections = 7\n[log]\nlevel = \"warn\"\n";
        let environment = [
            ("PIERHEAD_LOG_LEVEL", "debug"),
            ("PIERHEAD_SERVER_LISTEN", "127.0.0.1:1, [::1]:2"),
            ("PIERHEAD_SERVER_MAX_CONNECTIONS", "8"),
            ("PIERHEAD_METRICS_LISTEN", "127.0.0.1:3"),
            ("PIERHEAD_STORAGE_RESERVE", "1MB"),
            ("PIERHEAD_FULL", "1"),
            ("PIERHEAD_TEST_SEED", "1"),
            ("PATH", "/bin"),
        ];
        let settings = load_file(file, &environment).unwrap();
        assert!(settings.server.http2);
        assert_eq!(settings.server.max_connections, 8);
        assert_eq!(settings.server.listen.len(), 2);
        assert_eq!(settings.log.level, Level::Debug);
        assert_eq!(settings.metrics.listen, Some("127.0.0.1:3".parse().unwrap()));
        assert_eq!(settings.storage.reserve.bytes(), 1_000_000);
    }

    #[test]
    fn wrong_variables_are_refused_by_name() {
        let rows = [
            ("PIERHEAD_SERVER_HTTP3", "true", "PIERHEAD_SERVER_HTTP3 names no setting"),
            ("PIERHEAD_NONSENSE", "1", "PIERHEAD_NONSENSE names no setting"),
            ("PIERHEAD_SERVER_HTTP2", "yes", "PIERHEAD_SERVER_HTTP2: expected true or false"),
            ("PIERHEAD_SERVER_KEEP_ALIVE", "1 year", "PIERHEAD_SERVER_KEEP_ALIVE: expected one of the units"),
            ("PIERHEAD_SERVER_MAX_CONNECTIONS", "0", "PIERHEAD_SERVER_MAX_CONNECTIONS: must be more"),
        ];
        for (name, value, expected) in rows {
            let Err(error) = load_file("", &[(name, value)]) else { panic!("{name}={value} was accepted") };
            assert!(error.to_string().contains(expected), "{name}={value}: {error}");
        }
    }

    #[test]
    fn variables_of_a_kubernetes_service_are_no_settings() {
        let rows = [
            ("PIERHEAD_SERVICE_HOST", "10.0.0.1"),
            ("PIERHEAD_SERVICE_PORT", "443"),
            ("PIERHEAD_SERVICE_PORT_HTTPS", "443"),
            ("PIERHEAD_PORT", "tcp://10.0.0.1:443"),
            ("PIERHEAD_PORT_443_TCP", "tcp://10.0.0.1:443"),
            ("PIERHEAD_PORT_443_TCP_PROTO", "tcp"),
            ("PIERHEAD_PORT_443_TCP_PORT", "443"),
            ("PIERHEAD_PORT_443_TCP_ADDR", "10.0.0.1"),
            ("PIERHEAD_METRICS_SERVICE_HOST", "10.0.0.2"),
            ("PIERHEAD_METRICS_SERVICE_PORT_HTTP", "9090"),
            ("PIERHEAD_METRICS_PORT", "tcp://10.0.0.2:9090"),
            ("PIERHEAD_METRICS_PORT_9090_UDP_ADDR", "10.0.0.2"),
        ];
        for row in rows {
            let settings = load_file("", &[row]);
            assert!(matches!(&settings, Ok(read) if *read == Settings::default()), "{row:?}: {settings:?}");
        }
        for row in [
            ("PIERHEAD_SERVER_PORT", "443"),
            ("PIERHEAD_PORT", "443"),
            ("PIERHEAD_SERVICE", "1"),
            ("PIERHEAD_SERVER_PORT_X_TCP", "1"),
        ] {
            assert!(load_file("", &[row]).is_err(), "{row:?} is a mistake worth hearing of");
        }
    }

    #[test]
    fn lab_defaults_stay_where_the_file_says_nothing() {
        let file = Some((Path::new("p.toml"), "[server]\nhttp2 = true\n"));
        let settings = load(&Sources { defaults: Settings::lab(), file, environment: &[] }).unwrap();
        assert!(settings.server.http2 && settings.registry.create_organisations);
        assert!(settings.server.listen.iter().all(|address| address.ip().is_loopback()));
    }

    proptest! {
        #[test]
        fn no_file_makes_the_loader_panic(text in "(\\[(server|log|tls)\\]\n|[a-z0-9]* ?= ?|\"|[0-9]+|\n|.)*") {
            let _ = load_file(&text, &[]);
        }
    }
}
