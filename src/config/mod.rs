//! The settings: one TOML file, overridden by the environment, overridden by the command line.
//!
//! Words: a *section* is a TOML table, a *key* a value in it; `server.http2` names both.
//! C1: every key has a default, is in `sample.toml` with that default, and can be set by
//! `PIERHEAD_SECTION_KEY`. C2: nothing unknown is ignored: a key or variable that names no setting
//! is refused by name, and a wrong value by key and line. C3: sizes and times carry their unit.
//!
//! Must not open anything but the settings file, nor know what a setting is used for.
//! Look next: `settings` (the keys), `load` (where values come from), `units`, `rate`, `cidr`, `host`.

mod audit;
mod cidr;
mod collection;
mod host;
mod identity;
mod load;
mod locate;
mod protection;
mod rate;
mod retention;
mod scrub;
mod settings;
mod units;

pub use audit::AuditSettings;
pub use cidr::{Cidr, counted_as};
pub use collection::CollectionSettings;
pub use host::is_host;
pub use identity::IdentitySettings;
pub use load::{ConfigError, Sources, load, read};
pub use protection::ProtectionSettings;
pub use rate::Rate;
pub use retention::{RetentionSettings, TimeOfDay};
pub use scrub::ScrubSettings;
pub use settings::{
    ClientCertificates, LogFormat, LogSettings, Presented, ServerSettings, Settings, StorageSettings,
    TlsSettings,
};
pub use units::{Period, Size};

/// The sample file: every key with what it means and its default.
pub const SAMPLE: &str = include_str!("sample.toml");

/// Where the settings are read from when `--config` is not given; it need not exist.
pub const DEFAULT_FILE: &str = "/etc/pierhead/pierhead.toml";
