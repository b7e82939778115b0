//! Access keys: two a user, the SK shown once and kept sealed.

use std::collections::HashMap;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{AccessKeyKey, AccessKeyUseKey, LoginKey, UserKey};
use pierhead_storage_format::identity::records::{AccessKeyRecord, AccessKeyUseRecord};
use pierhead_storage_format::keys::CounterKey;
use pierhead_storage_format::records::CounterRecord;

use super::{Identity, account, rules};
use crate::services::access::{Action, Permit};
use crate::services::error::{Error, Thing};
use crate::services::signin::Secret;
use crate::services::signin::access_key::AccessKey;
use crate::stores::meta::Tx;

/// Rows sealed again, or written, at a time.
const BATCH: usize = 500;

/// An access key just made.
#[derive(Debug)]
pub struct NewKey {
    /// The AK.
    pub key: String,
    /// The SK: shown now and never again.
    pub secret: Secret,
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The AK.
    pub key: String,
    /// Whose.
    pub user: Id,
    /// Whether it may be used.
    pub enabled: bool,
    /// At most 255 characters.
    pub description: String,
    /// UTC milliseconds.
    pub created_at: u64,
    /// UTC milliseconds; may lag by a minute.
    pub used_at: Option<u64>,
}

impl Identity {
    /// Makes an access key for a user of the permit's account.
    pub async fn create_key(&self, permit: &Permit, user: Id, description: String) -> Result<NewKey, Error> {
        let account = account(permit, Action::ManageKeys)?;
        rules::description(&description)?;
        let made = AccessKey::make(self.parts().random.as_ref());
        let AccessKey { id: key, secret } = made.map_err(|_| Error::Bug("the host gives no random bytes"))?;
        let (this, kept, name) = (self.clone(), secret.clone(), key.clone());
        let (now, limit) = (self.parts().clock.now_ms(), self.parts().options.keys);
        self.commit(permit, move |tx| {
            let record = tx.get(&UserKey { id: user })?;
            let record = record.filter(|record| record.account == account);
            record.ok_or_else(|| Error::Missing(Thing::User(user.to_string())))?;
            let row = AccessKeyKey { key: name.clone() };
            if tx.get(&row)?.is_some() || tx.get(&LoginKey { key: name.clone() })?.is_some() {
                return Err(Error::Bug("an access key was made twice"));
            }
            count(tx, counter(user), |keys| match keys < limit {
                true => Ok(keys + 1),
                false => Err(Error::Limit { what: "access keys of one user", limit }),
            })?;
            // Sealed here, and not before, so that a rotation meanwhile leaves none under an old key.
            let sealed = this.parts().secrets.seal(&kept, name.as_bytes()).map_err(Error::Secrets)?;
            let record = AccessKeyRecord { user, sealed, enabled: true, description, created_at: now };
            Ok(tx.put(&row, &record)?)
        })
        .await?;
        Ok(NewKey { key, secret })
    }

    /// Switches an access key of the permit's account on or off.
    pub async fn enable_key(&self, permit: &Permit, key: String, enabled: bool) -> Result<(), Error> {
        let account = account(permit, Action::ManageKeys)?;
        let user = self.owner_of(account, &key)?;
        self.commit(permit, move |tx| {
            let row = AccessKeyKey { key };
            let record = tx.get(&row)?.filter(|record| record.user == user);
            let record = record.ok_or_else(|| Error::Missing(Thing::AccessKey(row.key.clone())))?;
            Ok(tx.put(&row, &AccessKeyRecord { enabled, ..record })?)
        })
        .await
    }

    /// Removes an access key of the permit's account.
    pub async fn delete_key(&self, permit: &Permit, key: String) -> Result<(), Error> {
        let account = account(permit, Action::ManageKeys)?;
        let user = self.owner_of(account, &key)?;
        self.commit(permit, move |tx| {
            let row = AccessKeyKey { key: key.clone() };
            if tx.get(&row)?.is_none_or(|record| record.user != user) {
                return Err(Error::Missing(Thing::AccessKey(key)));
            }
            remove(tx, user, key)
        })
        .await
    }

    fn owner_of(&self, account: Id, key: &str) -> Result<Id, Error> {
        let directory = self.parts().access.directory();
        let owner = directory.access_key(key).map(|record| record.user);
        let owner = owner.filter(|id| directory.user(*id).is_some_and(|user| user.account == account));
        owner.ok_or_else(|| Error::Missing(Thing::AccessKey(key.to_owned())))
    }

    /// The access keys of a user of the permit's account.
    pub fn keys(&self, permit: &Permit, user: Id) -> Result<Vec<Key>, Error> {
        let account = account(permit, Action::ListUsers)?;
        let known = self.parts().access.directory().user(user).is_some_and(|user| user.account == account);
        if !known {
            return Err(Error::Missing(Thing::User(user.to_string())));
        }
        let keys: Vec<String> =
            self.parts().access.directory().access_keys_of(user).map(str::to_owned).collect();
        let mut seen = Vec::new();
        for key in keys {
            let Some(record) = self.parts().access.directory().access_key(&key).cloned() else { continue };
            let used = self.parts().meta.get(&AccessKeyUseKey { key: key.clone() })?;
            let pending = super::lock(&self.0.used).get(&key).copied();
            seen.push(Key {
                user,
                enabled: record.enabled,
                description: record.description.clone(),
                created_at: record.created_at,
                used_at: used.map(|used| used.used_at).max(pending),
                key,
            });
        }
        Ok(seen)
    }

    /// Remembers that a key was used, without waiting for anything.
    pub(super) fn was_used(&self, key: &str) {
        let now = self.parts().clock.now_ms();
        let mut used = super::lock(&self.0.used);
        match used.get_mut(key) {
            Some(at) => *at = now,
            None => drop(used.insert(key.to_owned(), now)),
        }
    }

    /// Writes down which keys were used since the last time; how many. For a job.
    pub async fn write_uses(&self) -> Result<usize, Error> {
        let used: HashMap<String, u64> = std::mem::take(&mut *super::lock(&self.0.used));
        let used: Vec<(String, u64)> = used.into_iter().collect();
        for batch in used.chunks(BATCH) {
            let batch = batch.to_vec();
            self.parts()
                .meta
                .commit(move |tx| {
                    for (key, used_at) in batch {
                        if tx.get(&AccessKeyKey { key: key.clone() })?.is_some() {
                            tx.put(&AccessKeyUseKey { key }, &AccessKeyUseRecord { used_at })?;
                        }
                    }
                    Ok::<_, Error>(())
                })
                .await?;
        }
        Ok(used.len())
    }

    /// Seals every secret again that is not under the newest key of the host; how many.
    pub(super) async fn reseal(&self) -> Result<u64, Error> {
        let mut resealed = 0;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.parts().meta.page::<AccessKeyKey>(&[], after.as_deref(), BATCH)?;
            let Some((last, _)) = page.last() else { return Ok(resealed) };
            after = Some(pierhead_storage_format::keys::TableKey::encode(last));
            let this = self.clone();
            resealed += self
                .parts()
                .meta
                .commit(move |tx| {
                    let mut done = 0;
                    for (row, _) in page {
                        let secrets = &this.parts().secrets;
                        let Some(record) = tx.get(&row)? else { continue };
                        if secrets.needs_resealing(&record.sealed) {
                            let secret =
                                secrets.unseal(&record.sealed, row.key.as_bytes()).map_err(Error::Secrets)?;
                            let sealed = secrets.seal(&secret, row.key.as_bytes()).map_err(Error::Secrets)?;
                            tx.put(&row, &AccessKeyRecord { sealed, ..record })?;
                            done += 1;
                        }
                    }
                    Ok::<u64, Error>(done)
                })
                .await?;
        }
    }
}

/// Takes a user's access key out, if it is there.
pub(super) fn remove(tx: &mut Tx<'_>, user: Id, key: String) -> Result<(), Error> {
    let row = AccessKeyKey { key };
    if tx.get(&row)?.is_some() {
        tx.delete(&row)?;
        count(tx, counter(user), |keys| Ok(keys.saturating_sub(1)))?;
    }
    Ok(tx.delete(&AccessKeyUseKey { key: row.key })?)
}

/// The counter of a user's access keys.
pub(super) fn counter(user: Id) -> String {
    format!("access keys of {user}")
}

/// Changes what a counter says. No row is 0, so 0 is none: nothing is left of a user who went.
pub(super) fn count(
    tx: &mut Tx<'_>,
    name: String,
    change: impl FnOnce(u64) -> Result<u64, Error>,
) -> Result<(), Error> {
    let key = CounterKey { name };
    let next = change(tx.get(&key)?.map_or(0, |record| record.next))?;
    match next {
        0 => tx.delete(&key)?,
        next => tx.put(&key, &CounterRecord { next })?,
    }
    Ok(())
}
