//! `/v2/manage/utils`: what docker signs in with, for the one who asks. The command is in a header, the same for
//! docker's configuration in the body. An older one goes on when a new one is made.

use base64ct::{Base64, Encoding as _};
use hyper::header::HeaderName;
use serde_json::json;

use super::errors::{Failure, Kind};
use super::reply::{Reply, time};
use super::{Call, Swr};
use crate::services::error::Error;
use crate::services::identity::Proof;
use crate::services::signin::Secret;

const LOGIN: HeaderName = HeaderName::from_static("x-swr-dockerlogin");
const EXPIRES: HeaderName = HeaderName::from_static("x-swr-expireat");
/// Characters of a project's name.
const MAX_PROJECT: usize = 64;
/// The user name of somebody who signs in with a token, before the `@`.
const BEARER: &str = "bearertoken";

/// What was signed in with: nobody gets here without.
fn proof<'a>(call: &'a Call<'_>) -> Result<&'a Proof, Failure> {
    call.proof.as_ref().ok_or_else(|| Failure::about(Kind::Unauthenticated, "Unauthorized"))
}

/// The project in a user name: what was asked for, else the registry's own. It becomes part of a command, so that
/// nothing may be in it that a shell looks at.
fn project<'a>(swr: &'a Swr, call: &'a Call<'_>) -> Result<&'a str, Failure> {
    let Some(asked) = call.query.some("projectname") else { return Ok(&swr.0.settings.region) };
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if asked.len() <= MAX_PROJECT && asked.bytes().all(known) {
        return Ok(asked);
    }
    Err(Failure::about(Kind::QueryInvalid, "projectname is letters, digits, '-', '_' and '.'"))
}

fn given(call: &Call<'_>, user: &str, secret: &Secret, expires_at: u64) -> Result<Reply, Failure> {
    let secret = secret.expose_text().ok_or(Error::Bug("a secret is not text"))?;
    let host = call.host();
    let auth = Base64::encode_string(format!("{user}:{secret}").as_bytes());
    let reply = Reply::ok(&json!({"auths": {host: {"auth": auth}}}));
    let command = format!("docker login -u {user} -p {secret} {host}");
    Ok(reply.with_secret(LOGIN, &command).with(EXPIRES, &time(expires_at)))
}

/// A temporary login.
pub async fn secret(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let made = swr.0.identity.create_own_login(&call.permit, proof(&call)?, None).await?;
    let user = format!("{}@{}", project(swr, &call)?, made.key);
    given(&call, &user, &made.secret, made.expires_at)
}

/// A login with a token.
pub async fn token(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let made = swr.0.identity.login_token(&call.permit, proof(&call)?)?;
    let user = format!("{BEARER}@{}", project(swr, &call)?);
    given(&call, &user, &made.token, (made.issued_at + made.expires_in) * 1000)
}
