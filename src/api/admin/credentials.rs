//! `/api/v1/accounts/{account}/users/{user}/keys` and `logins`, `/api/v1/accounts/{account}/keys`:
//! access keys and temporary logins. A secret is in the answer that made it, and nowhere else.
//! `/api/v1/secrets/rotate`: what they are sealed under.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::errors::{Failure, Kind};
use super::reply::{Page, Removed, Reply, time};
use super::text::{Description, Time};
use super::{Admin, Call};
use crate::services::identity::Key;
use crate::services::signin::Secret;

/// An access key.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct KeyView {
    /// The AK.
    pub key: String,
    /// It may be used.
    pub enabled: bool,
    /// At most 255 characters.
    pub description: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub created_at: String,
    /// RFC 3339; may lag by a minute. `null` for never.
    #[schemars(with = "Option<Time>")]
    pub used_at: Option<String>,
}

/// An access key just made.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct NewKeyView {
    /// Whose.
    pub user: String,
    /// The AK.
    pub key: String,
    /// The SK: now and never again.
    pub secret: String,
    /// What login commands name: `project@AK`.
    pub project: String,
    /// The registry as clients name it.
    pub host: String,
}

/// A temporary login just made.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct LoginView {
    /// The user name for clients.
    pub login: String,
    /// The password for clients: now and never again.
    pub password: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub expires_at: String,
    /// What to type.
    pub commands: CommandsView,
}

/// Commands that sign in.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct CommandsView {
    /// docker's.
    pub docker: String,
    /// containerd's, for one pull.
    pub containerd: String,
    /// podman's.
    pub podman: String,
}

/// What a rotation did.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RotatedView {
    /// Secrets sealed anew.
    pub resealed: u64,
}

impl From<Key> for KeyView {
    fn from(key: Key) -> Self {
        Self {
            key: key.key,
            enabled: key.enabled,
            description: key.description,
            created_at: time(key.created_at),
            used_at: key.used_at.map(time),
        }
    }
}

fn shown(secret: &Secret) -> String {
    secret.expose_text().unwrap_or_default().to_owned()
}

/// The keys of a user.
pub async fn keys(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let keys = admin.0.services.identity.keys(&call.permit, admin.user(&call)?)?;
    Ok(Reply::ok(&Page::whole(keys.into_iter().map(KeyView::from))))
}

/// An access key to be made.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewKeyBody {
    /// What it is for; at most 255 characters.
    #[schemars(with = "Description")]
    description: String,
}

/// Makes one.
pub async fn create_key(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let NewKeyBody { description } = call.body()?;
    let id = admin.user(&call)?;
    let user = admin.0.services.identity.show_user(&admin.looking(&call)?, id)?.name;
    let made = admin.0.services.identity.create_key(&call.permit, id, description).await?;
    let about = &admin.0.about;
    let (project, host) = (about.project.clone(), about.host.clone());
    Ok(Reply::ok(&NewKeyView { user, secret: shown(&made.secret), key: made.key, project, host }))
}

/// A change of an access key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyChangeBody {
    /// Whether it may be used.
    enabled: bool,
}

/// Switches one on or off.
pub async fn enable_key(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let KeyChangeBody { enabled } = call.body()?;
    let key = call.param("key").to_owned();
    admin.0.services.identity.enable_key(&call.permit, key.clone(), enabled).await?;
    let owner = admin.0.services.access.directory().access_key(&key).map(|record| record.user);
    let owner = owner.ok_or_else(|| Failure::about(Kind::Missing, format!("access key {key:?}")))?;
    let keys = admin.0.services.identity.keys(&admin.looking(&call)?, owner)?;
    let seen = keys.into_iter().find(|seen| seen.key == key).map(KeyView::from);
    // It may be gone again by now.
    let seen = seen.ok_or_else(|| Failure::about(Kind::Missing, format!("access key {key:?}")))?;
    Ok(Reply::ok(&seen))
}

/// Removes one.
pub async fn delete_key(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let key = call.param("key").to_owned();
    admin.0.services.identity.delete_key(&call.permit, key.clone()).await?;
    Ok(Reply::ok(&Removed { removed: key }))
}

/// A temporary login to be made.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewLoginBody {
    /// Milliseconds, at most 24 hours; as set if not given.
    #[schemars(range(min = 1, max = 86_400_000))]
    lasts_ms: Option<u64>,
    /// The registry as the commands name it; as set if not given.
    host: Option<String>,
}

/// Makes a temporary login.
pub async fn create_login(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let NewLoginBody { lasts_ms, host } = call.body()?;
    let lasts = lasts_ms.map(Duration::from_millis);
    let made = admin.0.services.identity.create_login(&call.permit, admin.user(&call)?, lasts).await?;
    let about = &admin.0.about;
    let host = host.unwrap_or_else(|| about.host.clone());
    let (login, password) = (format!("{}@{}", about.project, made.key), shown(&made.secret));
    let commands = CommandsView {
        docker: format!("docker login -u {login} -p {password} {host}"),
        containerd: format!("ctr image pull --user {login}:{password} {host}/ORGANISATION/NAME:TAG"),
        podman: format!("podman login -u {login} -p {password} {host}"),
    };
    Ok(Reply::ok(&LoginView { login, password, expires_at: time(made.expires_at), commands }))
}

/// Seals every secret under a new key of the host.
pub async fn rotate(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let resealed = admin.0.services.identity.rotate_secrets(&call.permit).await?;
    tracing::info!(resealed, "sealed every secret under a new key of the key file");
    Ok(Reply::ok(&RotatedView { resealed }))
}
