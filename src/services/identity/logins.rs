//! Temporary logins: what a login command is made of, for some hours.
//!
//! One ends with the access key it was got with, and with the password its user had then.

use std::time::Duration;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{AccessKeyKey, LoginKey, UserKey};
use pierhead_storage_format::identity::records::{LoginRecord, UserRecord};
use pierhead_storage_format::keys::TableKey;

use super::keys::count;
use super::sign_in::Proof;
use super::{Identity, account, own};
use crate::services::access::{Action, Permit};
use crate::services::error::{Error, Thing};
use crate::services::signin::Secret;
use crate::services::signin::access_key::TemporaryLogin;
use crate::stores::meta::Tx;

/// The longest a temporary login may last.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Temporary logins a user may have at a time.
const LIMIT: u64 = 100;
/// Logins removed at a time.
const BATCH: usize = 500;

/// A temporary login just made.
#[derive(Debug)]
pub struct NewLogin {
    /// Stands where an AK does.
    pub key: String,
    /// Shown now and never again.
    pub secret: Secret,
    /// UTC milliseconds.
    pub expires_at: u64,
}

impl Identity {
    /// A temporary login for the one who asks, with what `proof` says: it ends with that. Older ones go on.
    pub async fn create_own_login(
        &self,
        permit: &Permit,
        proof: &Proof,
        lasts: Option<Duration>,
    ) -> Result<NewLogin, Error> {
        if own(permit, Action::CreateLoginSecret)? != proof.user {
            return Err(Error::Bug("a permit of somebody else"));
        }
        self.make_login(permit, For::Oneself(proof.clone()), proof.user, lasts).await
    }

    /// A temporary login for a user of the permit's account.
    pub async fn create_login(
        &self,
        permit: &Permit,
        user: Id,
        lasts: Option<Duration>,
    ) -> Result<NewLogin, Error> {
        let account = account(permit, Action::ManageKeys)?;
        self.make_login(permit, For::UserOf(account), user, lasts).await
    }

    async fn make_login(
        &self,
        permit: &Permit,
        by: For,
        user: Id,
        lasts: Option<Duration>,
    ) -> Result<NewLogin, Error> {
        let lasts = lasts.unwrap_or(self.parts().options.login);
        if lasts.is_zero() || lasts > LONGEST {
            let why = "more than nothing and at most 24 hours".to_owned();
            return Err(Error::Invalid { field: "duration", why });
        }
        let made = TemporaryLogin::make(self.parts().random.as_ref());
        let TemporaryLogin { id, key: secret, verifier } =
            made.map_err(|_| Error::Bug("the host gives no random bytes"))?;
        let created_at = self.parts().clock.now_ms();
        let expires_at = created_at + u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX / 2);
        let (key, older) = (id.clone(), self.parts().access.directory().logins_of(user));
        self.commit(permit, move |tx| {
            let record = tx.get(&UserKey { id: user })?;
            let record = record.ok_or_else(|| Error::Missing(Thing::User(user.to_string())))?;
            let (access_key, password_at) = by.got_with(tx, user, &record)?;
            let row = LoginKey { key: id.clone() };
            if tx.get(&row)?.is_some() || tx.get(&AccessKeyKey { key: id })?.is_some() {
                return Err(Error::Bug("a temporary login was made twice"));
            }
            remove(tx, older, |login| login.expires_at <= created_at)?;
            count(tx, counter(user), |logins| match logins < LIMIT {
                true => Ok(logins + 1),
                false => Err(Error::Limit { what: "temporary logins of one user", limit: LIMIT }),
            })?;
            let record = LoginRecord { user, verifier, created_at, expires_at, access_key, password_at };
            Ok(tx.put(&row, &record)?)
        })
        .await?;
        Ok(NewLogin { key, secret, expires_at })
    }

    /// Ends all temporary logins of a user of the permit's account; how many there were.
    #[cfg_attr(not(test), expect(dead_code, reason = "the page's, which is not there yet"))]
    pub async fn end_logins(&self, permit: &Permit, user: Id) -> Result<usize, Error> {
        let account = account(permit, Action::ManageKeys)?;
        let logins = {
            let directory = self.parts().access.directory();
            let known = directory.user(user).filter(|user| user.account == account);
            known.ok_or_else(|| Error::Missing(Thing::User(user.to_string())))?;
            directory.logins_of(user)
        };
        // At most as many as one user may have.
        self.commit(permit, move |tx| remove(tx, logins, |_| true)).await
    }

    /// Removes logins that ended; how many. For a job.
    pub async fn remove_ended_logins(&self) -> Result<usize, Error> {
        let now = self.parts().clock.now_ms();
        let mut removed = 0;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.parts().meta.page::<LoginKey>(&[], after.as_deref(), BATCH)?;
            let Some((last, _)) = page.last() else { return Ok(removed) };
            after = Some(last.encode());
            let ended = page.into_iter().filter(|(_, login)| login.expires_at <= now);
            let ended = ended.map(|(row, _)| row.key).collect();
            removed += self.remove_logins(ended, move |login| login.expires_at <= now).await?;
        }
    }

    async fn remove_logins(
        &self,
        keys: Vec<String>,
        which: impl Fn(&LoginRecord) -> bool + Copy + Send + 'static,
    ) -> Result<usize, Error> {
        let mut removed = 0;
        for batch in keys.chunks(BATCH) {
            let batch = batch.to_vec();
            removed += self.parts().meta.commit(move |tx| remove(tx, batch, which)).await?;
        }
        Ok(removed)
    }
}

/// Who makes a temporary login.
enum For {
    /// Its user, who showed this.
    Oneself(Proof),
    /// An administrator of this account.
    UserOf(Id),
}

impl For {
    /// The access key and the time of the password that the login ends with. A login is got with an
    /// access key or a password, never with another login.
    fn got_with(
        self,
        tx: &mut Tx<'_>,
        user: Id,
        record: &UserRecord,
    ) -> Result<(Option<String>, u64), Error> {
        match self {
            Self::UserOf(account) if record.account == account => Ok((None, record.password_at)),
            Self::UserOf(_) => Err(Error::Missing(Thing::User(user.to_string()))),
            Self::Oneself(Proof { access_key: Some(key), password_at, .. }) => {
                let row = AccessKeyKey { key };
                let good = tx.get(&row)?.is_some_and(|record| record.enabled && record.user == user);
                if !good {
                    return Err(Error::Missing(Thing::AccessKey(row.key)));
                }
                Ok((Some(row.key), password_at))
            }
            Self::Oneself(Proof { password_at, .. }) => Ok((None, password_at)),
        }
    }
}

/// Removes those of these logins that are there and are meant; how many.
pub(super) fn remove(
    tx: &mut Tx<'_>,
    keys: Vec<String>,
    which: impl Fn(&LoginRecord) -> bool,
) -> Result<usize, Error> {
    let mut removed = 0;
    for key in keys {
        let row = LoginKey { key };
        let Some(login) = tx.get(&row)?.filter(|login| which(login)) else { continue };
        tx.delete(&row)?;
        count(tx, counter(login.user), |logins| Ok(logins.saturating_sub(1)))?;
        removed += 1;
    }
    Ok(removed)
}

/// The counter of a user's temporary logins.
pub(super) fn counter(user: Id) -> String {
    format!("logins of {user}")
}
