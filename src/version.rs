//! The version of this program: one word for all that says it (`--version`, manual pages, status, metrics, backups,
//! the doctor, who compares it with the running server's).
//!
//! A package is built with `DIST_VERSION`, what `packaging/version` says of its commit, so that two packages of
//! different commits tell each other apart; cargo builds anew when it changes. A plain build has `Cargo.toml`'s.

/// As the package has it, `0.1.0` or `0.1.0~git20261122004012.e17fe9b`.
pub const VERSION: &str = match option_env!("DIST_VERSION") {
    Some(version) if !version.is_empty() => version,
    _ => env!("CARGO_PKG_VERSION"),
};
