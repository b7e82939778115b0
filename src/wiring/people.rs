//! Who there is: the directory every question of rights is answered from, and the services that
//! change it. Opened after the store, before anything listens.

use std::sync::Arc;
use std::time::Duration;

use pierhead_storage_format::identity::keys::AccessKeyKey;

use super::StartError;
use super::store::Store;
use crate::causes;
use crate::config::{IdentitySettings, Settings};
use crate::jobs::{Job, Jobs};
use crate::seams::{Clock, OsRandom, SystemClock, tasks};
use crate::services::access::{self, Access, Rules};
use crate::services::identity::{self, Identity};
use crate::services::organisations::{Limits, Organisations};
use crate::services::quota::Quotas;
use crate::services::signin::password::{self, Passwords};
use crate::services::signin::token::{Lifetimes, PURPOSE, Tokens};
use crate::stores::secrets::{KeyStore, Place, WhenMissing};

/// How often uses of access keys are written down.
const USES_EVERY: Duration = Duration::from_secs(60);
/// How often temporary logins that ended are removed.
const LOGINS_EVERY: Duration = Duration::from_secs(600);

/// Who there is and who may do what.
#[derive(Clone)]
pub struct People {
    /// Decides.
    pub access: Access,
    /// Accounts, users, credentials.
    pub identity: Identity,
    /// Organisations and the rights in them.
    pub organisations: Organisations,
    /// How much they may hold.
    pub quotas: Quotas,
}

impl People {
    /// Reads who there is; makes the key file if nothing was sealed yet. Blocks.
    pub fn open(settings: &Settings, lab: bool, store: &Store) -> Result<Self, StartError> {
        Self::open_at(settings, lab, store, Arc::new(SystemClock))
    }

    /// The same by another clock.
    pub(super) fn open_at(
        settings: &Settings,
        lab: bool,
        store: &Store,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let IdentitySettings { key_file, developers_create_organisations, .. } = &settings.identity;
        let random = Arc::new(OsRandom);
        let options = access::Options {
            developers_create_organisations: *developers_create_organisations,
            pushes_create_organisations: settings.registry.create_organisations,
        };
        let rules = if lab { Rules::Lab } else { Rules::Closed(options) };
        let access = Access::open(rules, clock.clone(), &store.meta)?;

        let sealed =
            !store.meta.page::<AccessKeyKey>(&[], None, 1).map_err(access::LoadError::from)?.is_empty();
        let missing = if sealed { WhenMissing::Refuse } else { WhenMissing::Make };
        let place = Place::at(&settings.storage.data.join(key_file));
        let secrets = KeyStore::open(place, random.clone(), missing)?;
        let checks = settings.identity.password_checks as usize;
        let passwords = password::Settings { at_once: checks, ..password::Settings::default() };
        let passwords = Passwords::new(passwords, random.clone(), clock.clone())?;
        let tokens = Tokens::new(&secrets.derive(PURPOSE), lifetimes(&settings.identity), clock.clone());
        let identity = Identity::new(identity::Parts {
            meta: store.meta.clone(),
            access: access.clone(),
            clock: clock.clone(),
            random,
            secrets,
            passwords,
            tokens,
            options: options_of(&settings.identity),
        });
        let limits = Limits {
            organisations: settings.identity.organisations_per_account.into(),
            shares: settings.identity.shares_per_repository as usize,
        };
        let organisations = Organisations::new(store.meta.clone(), access.clone(), clock, limits);
        if !lab && access.directory().is_empty() {
            tracing::warn!("there is no account yet and nobody can sign in: run `pierhead init`");
        }
        let quotas = Quotas::new(store.meta.clone(), access.clone())?;
        Ok(Self { access, identity, organisations, quotas })
    }

    /// Does what another version, or a stop, left to this start; before anybody is served.
    pub async fn put_in_order(&self) -> Result<(), StartError> {
        let numbered = self.organisations.number_old_ones().await?;
        if numbered > 0 {
            tracing::info!(numbered, "gave organisations of an older version their numbers");
        }
        if let Some(rows) = self.quotas.count_once().await?
            && rows > 0
        {
            tracing::info!(rows, "counted what organisations hold, which an older version did not");
        }
        let absent = self.identity.finish_removals().await?;
        let outdated = self.organisations.forget_old_rights().await?;
        if absent + outdated > 0 {
            tracing::info!(absent, outdated, "finished removals that were cut short");
        }
        Ok(())
    }

    /// Lets `jobs` look after what is written down late and what ends.
    pub fn watch(&self, jobs: &Jobs) {
        let identity = self.identity.clone();
        let job = Job::every("key-uses", "writes down when access keys were used", USES_EVERY);
        jobs.every(job, move |_| {
            let identity = identity.clone();
            async move {
                identity.write_uses().await.map(|_| String::new()).map_err(|error| causes::chain(&error))
            }
        });
        let identity = self.identity.clone();
        let job = Job::every("login-expiry", "removes temporary logins that ended", LOGINS_EVERY);
        jobs.every(job.pausable(), move |_| {
            let identity = identity.clone();
            async move {
                match identity.remove_ended_logins().await {
                    Ok(0) => Ok(String::new()),
                    Ok(removed) => {
                        tracing::info!(removed, "removed temporary logins that ended");
                        Ok(format!("removed {removed}"))
                    }
                    Err(error) => Err(causes::chain(&error)),
                }
            }
        });
    }

    /// Writes down what would otherwise wait for the next turn; at the stop.
    pub async fn settle(&self) {
        let identity = self.identity.clone();
        if tasks::to_the_end(async move { identity.write_uses().await }).await.is_err() {
            tracing::warn!("when access keys were used could not be written down");
        }
    }
}

fn lifetimes(settings: &IdentitySettings) -> Lifetimes {
    Lifetimes {
        registry: settings.token_lifetime.duration(),
        api: settings.api_token_lifetime.duration(),
        login: settings.api_token_lifetime.duration(),
    }
}

fn options_of(settings: &IdentitySettings) -> identity::Options {
    identity::Options {
        keys: settings.keys_per_user.into(),
        skew: settings.clock_skew.duration(),
        passwords: settings.passwords,
        login: settings.login_lifetime.duration(),
    }
}
