//! Tokens the appliance gives out and takes back: JSON Web Tokens (RFC 7519) signed with HS256, for
//! docker's token protocol, for the management API (`X-Auth-Token`) and for enhanced docker logins.
//! Only the appliance checks them, so one algorithm is enough; it is fixed, whatever a token says.
//!
//! T1: a token is good for one audience. T2: one from the future, or that lasts longer than any that
//! is given, is not ours. T3: an expired token still tells whose it was, so that an upload begun with
//! it can be finished. T4: what it lists as allowed is a limit for its bearer, never a permission.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use pierhead_storage_format::identity::Id;
use serde::{Deserialize, Serialize};

use super::Secret;
use crate::seams::Clock;
use crate::stores::secrets::DerivedKeys;

/// What the keys given to [`Tokens`] are derived for.
pub const PURPOSE: &str = "sign tokens";

/// The longest token that is looked at, in bytes.
pub const MAX_LEN: usize = 16 << 10;

const ISSUER: &str = "pierhead";
/// How far the clock may have been set back since a token was made.
const LEEWAY_S: u64 = 60;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// The registry, by docker's token protocol.
    Registry,
    /// The management API.
    Api,
    /// Signing in to the registry as `bearertoken@…`.
    Login,
}

/// Actions on a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// What the name is of: `repository` or `registry`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its whole name.
    pub name: String,
    /// `pull`, `push`, `delete`, `*`.
    pub actions: Vec<String>,
}

/// What a token allows its bearer at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// These actions on the registry.
    Registry(Vec<Access>),
    /// The management API, in this project.
    Api {
        /// The project.
        project: Id,
    },
    /// To sign in to the registry.
    Login,
}

impl Grant {
    /// What a token with it is good for.
    pub const fn audience(&self) -> Audience {
        match self {
            Self::Registry(_) => Audience::Registry,
            Self::Api { .. } => Audience::Api,
            Self::Login => Audience::Login,
        }
    }
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The user; nobody for an anonymous token, which only the registry gives.
    pub user: Option<Id>,
    /// The AK, or id of a temporary login, it was got with. It ends with it.
    pub access_key: Option<String>,
    /// When the user's password had been set: a token from before the last change is void.
    pub password_at: u64,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whose it is.
    pub bearer: Bearer,
    /// What for.
    pub grant: Grant,
    /// When it was made: UTC seconds since 1970.
    pub issued_at: u64,
    /// When it ends: UTC seconds since 1970.
    pub expires_at: u64,
}

/// What a token is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ours, and good.
    Valid(Claims),
    /// Ours, and over.
    Expired(Claims),
    /// Not ours, not for this audience, or not a token.
    Invalid,
}

/// How long tokens last. Whole seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// For the registry.
    pub registry: Duration,
    /// For the management API.
    pub api: Duration,
    /// For enhanced logins.
    pub login: Duration,
}

impl Lifetimes {
    /// The longest that any of them may be.
    pub const MAX: Duration = Duration::from_secs(24 * 3600);
    /// The shortest: clients take less for this (containers/image).
    pub const MIN: Duration = Duration::from_secs(60);

    /// How long a token for `audience` lasts, in seconds, within the bounds.
    pub fn seconds(&self, audience: Audience) -> u64 {
        let wanted = match audience {
            Audience::Registry => self.registry,
            Audience::Api => self.api,
            Audience::Login => self.login,
        };
        wanted.clamp(Self::MIN, Self::MAX).as_secs()
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { registry: Duration::from_secs(900), api: Self::MAX, login: Self::MAX }
    }
}

/// A token just made.
#[derive(Debug)]
pub struct Issued {
    /// Its text.
    pub token: Secret,
    /// When it was made: UTC seconds since 1970.
    pub issued_at: u64,
    /// Seconds it lasts.
    pub expires_in: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// The body of a token, in the names of RFC 7519 and of the Docker token protocol.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    iss: String,
    aud: Audience,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<Id>,
    iat: u64,
    nbf: u64,
    exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access: Option<Vec<Access>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_key: Option<String>,
    password_at: u64,
}

impl Body {
    fn new(bearer: Bearer, grant: Grant, iat: u64, exp: u64) -> Self {
        let aud = grant.audience();
        let (access, project) = match grant {
            Grant::Registry(access) => (Some(access), None),
            Grant::Api { project } => (None, Some(project)),
            Grant::Login => (None, None),
        };
        let Bearer { user: sub, access_key, password_at } = bearer;
        Self {
            iss: ISSUER.to_owned(),
            aud,
            sub,
            iat,
            nbf: iat,
            exp,
            access,
            project,
            access_key,
            password_at,
        }
    }

    /// The claims, if they are a whole set for this audience.
    fn claims(self, audience: Audience) -> Option<Claims> {
        let grant = match (self.aud, self.access, self.project, self.sub) {
            (Audience::Registry, Some(access), None, _) => Grant::Registry(access),
            (Audience::Api, None, Some(project), Some(_)) => Grant::Api { project },
            (Audience::Login, None, None, Some(_)) => Grant::Login,
            _ => return None,
        };
        let lasts = self.exp.checked_sub(self.iat)?;
        let sound = self.iss == ISSUER && self.aud == audience && lasts <= Lifetimes::MAX.as_secs();
        let bearer = Bearer { user: self.sub, access_key: self.access_key, password_at: self.password_at };
        sound.then_some(Claims { bearer, grant, issued_at: self.iat, expires_at: self.exp })
    }
}

struct Keys {
    current: u32,
    of: BTreeMap<u32, hmac::Key>,
}

impl Keys {
    fn new(derived: &DerivedKeys) -> Self {
        let keys = || derived.iter();
        let current = keys().next().map_or(0, |(number, _)| number);
        let of = keys().map(|(number, key)| (number, hmac::Key::new(hmac::HMAC_SHA256, key))).collect();
        Self { current, of }
    }
}

/// Makes and checks tokens.
pub struct Tokens {
    keys: ArcSwap<Keys>,
    lifetimes: Lifetimes,
    clock: Arc<dyn Clock>,
}

impl Tokens {
    /// Signs with the first of `keys` (derived for [`PURPOSE`]), and takes what any of them signed.
    pub fn new(keys: &DerivedKeys, lifetimes: Lifetimes, clock: Arc<dyn Clock>) -> Self {
        Self { keys: ArcSwap::from_pointee(Keys::new(keys)), lifetimes, clock }
    }

    /// Takes other keys: after each step of a rotation.
    pub fn rekey(&self, keys: &DerivedKeys) {
        self.keys.store(Arc::new(Keys::new(keys)));
    }

    /// Makes a token for `bearer`; `None` only by a fault of ours. An anonymous token for anything
    /// but the registry will not be taken back.
    pub fn issue(&self, bearer: Bearer, grant: Grant) -> Option<Issued> {
        let keys = self.keys.load();
        let issued_at = self.now_s();
        let expires_in = self.lifetimes.seconds(grant.audience());
        let body = Body::new(bearer, grant, issued_at, issued_at.saturating_add(expires_in));
        let header = Header { alg: "HS256".into(), typ: "JWT".into(), kid: keys.current.to_string() };
        let mut token = part(&header)?;
        token.push('.');
        token.push_str(&part(&body)?);
        let tag = hmac::sign(keys.of.get(&keys.current)?, token.as_bytes());
        token.push('.');
        token.push_str(&Base64UrlUnpadded::encode_string(tag.as_ref()));
        Some(Issued { token: Secret::from(token), issued_at, expires_in })
    }

    /// What `token` is worth for `audience` now.
    pub fn verify(&self, token: &Secret, audience: Audience) -> Verdict {
        let now = self.now_s();
        match self.read(token, audience).filter(|claims| claims.issued_at <= now.saturating_add(LEEWAY_S)) {
            None => Verdict::Invalid,
            Some(claims) if claims.expires_at <= now => Verdict::Expired(claims),
            Some(claims) => Verdict::Valid(claims),
        }
    }

    /// The claims of a token with a right signature. Nothing of its body is read before that.
    fn read(&self, token: &Secret, audience: Audience) -> Option<Claims> {
        let text = token.expose_text().filter(|text| text.len() <= MAX_LEN)?;
        let (signed, tag) = text.rsplit_once('.')?;
        let (header, body) = signed.split_once('.')?;
        let header: Header = read_part(header)?;
        if header.alg != "HS256" {
            return None;
        }
        let keys = self.keys.load();
        let key = keys.of.get(&header.kid.parse().ok()?)?;
        let tag = Base64UrlUnpadded::decode_vec(tag).ok()?;
        hmac::verify(key, signed.as_bytes(), &tag).ok()?;
        read_part::<Body>(body)?.claims(audience)
    }

    fn now_s(&self) -> u64 {
        self.clock.now_ms() / 1000
    }
}

fn part(value: &impl Serialize) -> Option<String> {
    serde_json::to_vec(value).ok().map(|json| Base64UrlUnpadded::encode_string(&json))
}

fn read_part<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(text).ok()?).ok()
}
