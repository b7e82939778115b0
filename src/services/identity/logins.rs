//! Temporary logins: what a login command is made of, for some hours.

use std::time::Duration;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{AccessKeyKey, LoginKey, UserKey};
use pierhead_storage_format::identity::records::LoginRecord;
use pierhead_storage_format::keys::TableKey;

use super::{Identity, account, own};
use crate::services::access::{Action, Permit};
use crate::services::error::{Error, Thing};
use crate::services::signin::Secret;
use crate::services::signin::access_key::TemporaryLogin;

/// The longest a temporary login may last.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Ended logins removed at a time.
const BATCH: usize = 1000;

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
    /// A temporary login for the one who asks. Older ones go on.
    pub async fn create_own_login(
        &self,
        permit: &Permit,
        lasts: Option<Duration>,
    ) -> Result<NewLogin, Error> {
        let user = own(permit, Action::CreateLoginSecret)?;
        self.make_login(None, user, lasts).await
    }

    /// A temporary login for a user of the permit's account.
    pub async fn create_login(
        &self,
        permit: &Permit,
        user: Id,
        lasts: Option<Duration>,
    ) -> Result<NewLogin, Error> {
        let account = account(permit, Action::ManageKeys)?;
        self.make_login(Some(account), user, lasts).await
    }

    async fn make_login(
        &self,
        account: Option<Id>,
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
        let key = id.clone();
        self.parts()
            .meta
            .commit(move |tx| {
                let record = tx.get(&UserKey { id: user })?;
                let record = record.filter(|record| account.is_none_or(|account| record.account == account));
                record.ok_or_else(|| Error::Missing(Thing::User(user.to_string())))?;
                let row = LoginKey { key: id.clone() };
                if tx.get(&row)?.is_some() || tx.get(&AccessKeyKey { key: id })?.is_some() {
                    return Err(Error::Bug("a temporary login was made twice"));
                }
                Ok(tx.put(&row, &LoginRecord { user, verifier, created_at, expires_at })?)
            })
            .await?;
        Ok(NewLogin { key, secret, expires_at })
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
            let ended: Vec<LoginKey> =
                page.into_iter().filter(|(_, login)| login.expires_at <= now).map(|(key, _)| key).collect();
            removed += ended.len();
            if ended.is_empty() {
                continue;
            }
            self.parts()
                .meta
                .commit(move |tx| ended.iter().try_for_each(|key| tx.delete(key)).map_err(Error::from))
                .await?;
        }
    }
}
