//! The keys, their types and their defaults. What each means is in `sample.toml`, which is what
//! people read; the documentation here says what the code must know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use pierhead_storage_format::paths;
use serde::{Deserialize, Serialize};

use super::host::is_host;
use super::{
    AuditSettings, Cidr, CollectionSettings, IdentitySettings, Period, ProtectionSettings, RetentionSettings,
    ScrubSettings, Size,
};

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Sockets and their limits.
    pub server: ServerSettings,
    /// The certificate.
    pub tls: TlsSettings,
    /// The data directory.
    pub storage: StorageSettings,
    /// The registry protocol.
    pub registry: RegistrySettings,
    /// Who may sign in, and how.
    pub identity: IdentitySettings,
    /// What is recorded of what is done.
    pub audit: AuditSettings,
    /// When versions go by themselves.
    pub retention: RetentionSettings,
    /// How much anybody may ask, and who is banned.
    pub protection: ProtectionSettings,
    /// When what nothing needs any more goes.
    pub collection: CollectionSettings,
    /// Reading every blob again.
    pub scrub: ScrubSettings,
    /// The listener for monitoring.
    pub metrics: MetricsSettings,
    /// The socket for administrators.
    pub admin: AdminSettings,
    /// Logs.
    pub log: LogSettings,
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Addresses to listen on; at least one.
    pub listen: Vec<SocketAddr>,
    /// Whether HTTP/2 is offered beside HTTP/1.1.
    pub http2: bool,
    /// Connections at once, over all listeners; at least 1.
    pub max_connections: u32,
    /// Connections at once from one address (IPv6: one /64) that is no trusted proxy; 0 for no limit.
    pub connections_per_address: u32,
    /// From the first byte of a request's head (or the accept) to its last.
    pub header_timeout: Period,
    /// How long a request body may bring no byte.
    pub body_idle_timeout: Period,
    /// Bytes a second below which an upload is ended while another waits for its slot; 0 for never.
    pub min_body_rate: Size,
    /// How long a client may take no byte of what waits for it.
    pub write_idle_timeout: Period,
    /// How long a connection may wait for its next request.
    pub keep_alive: Period,
    /// How long requests under way may take to finish at a stop.
    pub stop_timeout: Period,
    /// Proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<Cidr>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: vec![
                (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 443).into(),
                (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 443).into(),
            ],
            http2: false,
            max_connections: 12_000,
            connections_per_address: 1024,
            header_timeout: Period::from_secs(10),
            body_idle_timeout: Period::from_secs(60),
            min_body_rate: Size::from_bytes(1024),
            write_idle_timeout: Period::from_secs(60),
            keep_alive: Period::from_secs(75),
            stop_timeout: Period::from_secs(30),
            trusted_proxies: Vec::new(),
        }
    }
}

/// `[tls]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// Whether TLS is spoken, and with whose certificate.
    pub mode: TlsMode,
    /// PEM: the certificate and what is between it and the root.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// Names and addresses that a certificate of the appliance's own is for, beside those of the host.
    pub names: Vec<String>,
    /// PEM: who issues clients' certificates.
    pub client_ca: PathBuf,
    /// Whether clients are asked for a certificate.
    pub client_certificates: ClientCertificates,
    /// Whether plain HTTP may be spoken where others than this host can reach it.
    pub plain_http: bool,
}

/// Whether TLS is spoken, and with whose certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// The configured one; where none is, one of the appliance's own CA.
    #[default]
    Auto,
    /// The configured one, which there must be.
    Files,
    /// The configured one; where none is, plain HTTP. `--lab` begins with this.
    Configured,
    /// Plain HTTP.
    Off,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// No.
    #[default]
    Off,
    /// Yes, and those without one are served, too.
    Optional,
    /// Yes, and those without one are refused.
    Required,
}

/// What a server presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented<'a> {
    /// Nothing: plain HTTP.
    Nothing,
    /// The certificate and the key in these files.
    Files(&'a Path, &'a Path),
    /// A certificate of the appliance's own CA.
    Own,
}

impl TlsSettings {
    /// What the settings come to.
    pub fn presented(&self) -> Presented<'_> {
        let configured = !self.certificate.as_os_str().is_empty();
        match self.mode {
            TlsMode::Off => Presented::Nothing,
            TlsMode::Configured if !configured => Presented::Nothing,
            TlsMode::Auto if !configured => Presented::Own,
            _ => Presented::Files(&self.certificate, &self.key),
        }
    }

    /// The first key that does not fit with the others, and why.
    fn misfit(&self) -> Option<(&'static str, &'static str)> {
        let (certificate, key) = (!self.certificate.as_os_str().is_empty(), !self.key.as_os_str().is_empty());
        let client_ca = !self.client_ca.as_os_str().is_empty();
        let asked = self.client_certificates != ClientCertificates::Off;
        let rows = [
            (certificate && !key, "key", "must be set with tls.certificate"),
            (key && !certificate, "certificate", "must be set with tls.key"),
            (
                self.mode == TlsMode::Files && !certificate,
                "mode",
                "\"files\" needs tls.certificate and tls.key",
            ),
            (asked && !client_ca, "client_certificates", "needs tls.client_ca"),
            (
                asked && self.presented() == Presented::Nothing,
                "client_certificates",
                "needs TLS, and plain HTTP is set",
            ),
            (
                !self.names.iter().all(|name| is_host(name)),
                "names",
                "must be host names or addresses, without a port",
            ),
        ];
        rows.into_iter().find(|(wrong, ..)| *wrong).map(|(_, key, message)| (key, message))
    }
}

/// `[storage]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageSettings {
    /// The data directory.
    pub data: PathBuf,
    /// Bytes of the file that is given up when the disk is full.
    pub ballast: Size,
    /// Free bytes below which uploads are refused: the hard mark.
    pub reserve: Size,
    /// Free bytes below which stale uploads are removed; by the size of the disk if unset.
    #[serde(with = "unset_when_empty")]
    pub soft_mark: Option<Size>,
    /// How long nobody went on with an upload that counts as stale where space is low.
    pub stale_upload: Period,
    /// Percent of what is free above the reserve that one account's announced uploads may take; 1 to 100.
    pub upload_share: u32,
    /// Memory for the metadata index: a hint, the engine takes up to 2.5 times as much.
    pub index_cache: Size,
    /// Journal bytes between snapshots of the metadata.
    pub snapshot_after: Size,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self {
            data: PathBuf::from("/var/lib/pierhead"),
            ballast: Size::from_mib(64),
            reserve: Size::from_mib(1024),
            soft_mark: None,
            stale_upload: Period::from_secs(600),
            upload_share: 50,
            index_cache: Size::from_mib(64),
            snapshot_after: Size::from_mib(256),
        }
    }
}

impl StorageSettings {
    fn is_soft_below_hard(&self) -> bool {
        self.soft_mark.is_some_and(|soft| soft < self.reserve)
    }
}

/// `[registry]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySettings {
    /// The largest manifest taken, in memory while it is.
    pub max_manifest: Size,
    /// Memory for the large manifests of all requests together.
    pub manifest_memory: Size,
    /// The largest blob taken.
    pub max_layer: Size,
    /// Upload sessions open at once; at least 1.
    pub max_sessions: u32,
    /// Of them, those of one account; at least 1.
    pub sessions_per_account: u32,
    /// How long an upload nobody goes on with is kept.
    pub session_idle: Period,
    /// Uploads of one account that are received at once; at least 1.
    pub upload_slots: u32,
    /// How long the next one waits for a slot.
    pub slot_wait: Period,
    /// Whether a push makes the organisation it names.
    pub create_organisations: bool,
    /// Whether a manifest is taken though its config or layers are absent.
    pub sparse_manifests: bool,
    /// Whether the registry protocol's deletes are allowed.
    pub delete: bool,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            max_manifest: Size::from_mib(4),
            manifest_memory: Size::from_mib(256),
            max_layer: Size::from_mib(10 * 1024),
            max_sessions: 10_000,
            sessions_per_account: 1_000,
            session_idle: Period::from_secs(86_400),
            upload_slots: 20,
            slot_wait: Period::from_secs(60),
            create_organisations: false,
            sparse_manifests: false,
            delete: true,
        }
    }
}

/// `[metrics]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSettings {
    /// Where `/metrics` is served; nowhere if unset.
    #[serde(with = "unset_when_empty")]
    pub listen: Option<SocketAddr>,
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSettings {
    /// The path of the socket, below the data directory unless it is absolute; none if empty.
    pub socket: PathBuf,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self { socket: PathBuf::from(paths::ADMIN_SOCKET) }
    }
}

/// `[log]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Lines for people or for machines.
    pub format: LogFormat,
    /// The least that is logged.
    pub level: Level,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What needs an operator.
    Error,
    /// What may need one.
    Warn,
    /// What happens rarely.
    #[default]
    Info,
    /// Every request.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// As it is spelt in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// A value that does not fit with the others, or with sense.
#[derive(Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Its section.
    pub section: &'static str,
    /// Its key.
    pub key: &'static str,
    /// What is wrong.
    pub message: &'static str,
}

impl Settings {
    /// Defaults of `--lab`: loopback, plain, data in the working directory, open.
    pub fn lab() -> Self {
        let mut lab = Self::default();
        lab.server.listen = vec![
            (IpAddr::V4(Ipv4Addr::LOCALHOST), 5000).into(),
            (IpAddr::V6(Ipv6Addr::LOCALHOST), 5000).into(),
        ];
        lab.tls.mode = TlsMode::Configured;
        lab.storage.data = PathBuf::from("pierhead-data");
        lab.registry.create_organisations = true;
        let loopback = ["127.0.0.0/8", "::1"].into_iter().filter_map(|text| text.parse().ok());
        lab.protection = ProtectionSettings::lab(loopback.collect());
        lab
    }

    /// Where the appliance is administered, if anywhere.
    pub fn admin_socket(&self) -> Option<PathBuf> {
        let socket = &self.admin.socket;
        (!socket.as_os_str().is_empty()).then(|| self.storage.data.join(socket))
    }

    /// The first value that cannot work; types are checked by then.
    pub fn misfit(&self) -> Option<Misfit> {
        let server = &self.server;
        let never = "must be more than nothing";
        let (tls_key, tls_message) = self.tls.misfit().unwrap_or_default();
        let (identity_key, identity_message) = self.identity.misfit().unwrap_or_default();
        let (audit_key, audit_message) = self.audit.misfit().unwrap_or_default();
        let (protection_key, protection_message) = self.protection.misfit().unwrap_or_default();
        let (collection_key, collection_message) = self.collection.misfit().unwrap_or_default();
        let (scrub_key, scrub_message) = self.scrub.misfit().unwrap_or_default();
        let rows = [
            (server.listen.is_empty(), "server", "listen", "must name an address"),
            (server.max_connections == 0, "server", "max_connections", never),
            (server.header_timeout.as_ms() == 0, "server", "header_timeout", never),
            (server.body_idle_timeout.as_ms() == 0, "server", "body_idle_timeout", never),
            (server.write_idle_timeout.as_ms() == 0, "server", "write_idle_timeout", never),
            (server.keep_alive.as_ms() == 0, "server", "keep_alive", never),
            (!tls_key.is_empty(), "tls", tls_key, tls_message),
            (!identity_key.is_empty(), "identity", identity_key, identity_message),
            (!audit_key.is_empty(), "audit", audit_key, audit_message),
            (!protection_key.is_empty(), "protection", protection_key, protection_message),
            (!collection_key.is_empty(), "collection", collection_key, collection_message),
            (!scrub_key.is_empty(), "scrub", scrub_key, scrub_message),
            (self.storage.data.as_os_str().is_empty(), "storage", "data", "must name a directory"),
            (self.registry.max_manifest.bytes() == 0, "registry", "max_manifest", never),
            (self.registry.max_manifest > MAX_MANIFEST, "registry", "max_manifest", "must be 64MiB at most"),
            (self.storage.snapshot_after.bytes() == 0, "storage", "snapshot_after", never),
            (self.registry.max_layer.bytes() == 0, "registry", "max_layer", never),
            (self.registry.max_sessions == 0, "registry", "max_sessions", never),
            (self.registry.sessions_per_account == 0, "registry", "sessions_per_account", never),
            (self.registry.session_idle.as_ms() == 0, "registry", "session_idle", never),
            (self.registry.upload_slots == 0, "registry", "upload_slots", never),
            (self.registry.slot_wait.as_ms() == 0, "registry", "slot_wait", never),
            (self.storage.is_soft_below_hard(), "storage", "soft_mark", "must not be below storage.reserve"),
            (self.storage.stale_upload.as_ms() == 0, "storage", "stale_upload", never),
            (!(1..=100).contains(&self.storage.upload_share), "storage", "upload_share", "must be 1 to 100"),
        ];
        let wrong = rows.into_iter().find(|(wrong, ..)| *wrong);
        wrong.map(|(_, section, key, message)| Misfit { section, key, message })
    }
}

/// Manifests are held in memory whole.
const MAX_MANIFEST: Size = Size::from_mib(64);

/// `""` in the file is `None` here, so that every key can stand in the sample.
mod unset_when_empty {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_str(""),
        }
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
    }
}
