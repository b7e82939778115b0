//! Organisations on a real store: who gets what, and what is refused.

use pierhead_storage_format::identity::keys::{
    AccountKey, FavouriteKey, GrantKey, RepositorySettingsKey, ShareKey, TextKey, TextOwner, UserKey,
};
use pierhead_storage_format::identity::records::{
    AccountRecord, Category, FavouriteRecord, GrantRecord, Level, RepositorySettingsRecord, Role,
    ShareRecord, UserRecord,
};
use pierhead_storage_format::keys::{CounterKey, RepositoryKey, TableKey};
use pierhead_storage_format::records::CounterRecord;

use super::*;
use crate::seams::TestClock;
use crate::services::access::{Options, Rules};
use crate::services::names::LIBRARY;
use crate::stores::meta::MetaError;

mod attributes;
mod lifecycle;
mod moments;
mod rights;

const NOW: u64 = 1_000_000;
const OWN: Id = Id::from_bytes([1; 16]);
const OTHER: Id = Id::from_bytes([2; 16]);
/// Administers OWN.
const ADMIN: Id = Id::from_bytes([11; 16]);
/// A developer of OWN.
const DEV: Id = Id::from_bytes([12; 16]);
/// Of OWN, without any role.
const ANN: Id = Id::from_bytes([13; 16]);
/// Administers OTHER.
const STRANGER: Id = Id::from_bytes([14; 16]);

struct World {
    meta: Meta,
    access: Access,
    clock: Arc<TestClock>,
    organisations: Organisations,
    _folder: tempfile::TempDir,
}

impl World {
    /// Two accounts with users; no organisation.
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let meta = Meta::for_tests(folder.path());
        let clock = Arc::new(TestClock::default());
        clock.set(NOW);
        let rules = Rules::Closed(Options::default());
        let access = Access::open(rules, clock.clone(), &meta).expect("read");
        let limits = Limits { organisations: 2, shares: 2 };
        let organisations = Organisations::new(meta.clone(), access.clone(), clock.clone(), limits);
        let world = Self { meta, access, clock, organisations, _folder: folder };
        for (id, name) in [(OWN, "own"), (OTHER, "other")] {
            world.account(id, name).await;
        }
        for (id, account, roles) in [
            (ADMIN, OWN, vec![Role::TenantAdministrator]),
            (DEV, OWN, vec![Role::SwrDeveloper]),
            (ANN, OWN, vec![]),
            (STRANGER, OTHER, vec![Role::TenantAdministrator]),
        ] {
            world.put(UserKey { id }, user(account, id, roles)).await;
        }
        world
    }

    async fn account(&self, id: Id, name: &str) {
        let name = name.to_owned();
        let record = AccountRecord { name, project: id, created_at: 0, operator: false, enabled: true };
        self.put(AccountKey { id }, record).await;
    }

    async fn put<K>(&self, key: K, record: K::Record)
    where
        K: TableKey + Send + 'static,
        K::Record: Send + 'static,
    {
        let put: Result<(), MetaError> = self.meta.commit(move |tx| tx.put(&key, &record)).await;
        put.expect("committed");
    }

    fn may(&self, user: Id, action: Action, resource: Resource) -> bool {
        self.access.authorise(&Actor::User(user), action, resource).is_ok()
    }

    fn permit(&self, user: Id, action: Action, resource: Resource) -> Permit {
        self.access.authorise(&Actor::User(user), action, resource).expect("the test's user may")
    }

    /// An organisation made by OWN's administrator.
    async fn organisation(&self, name: &str) {
        let permit = self.permit(ADMIN, Action::CreateOrganisation, org(name));
        self.organisations.create(&permit, None).await.expect("made");
    }

    async fn repository(&self, name: &str) {
        let permit = self.permit(ADMIN, Action::CreateRepository, repo(name));
        self.organisations.create_repository(&permit, Changed::default()).await.expect("made");
    }

    async fn remove(&self, name: &str) {
        let permit = self.permit(ADMIN, Action::DeleteOrganisation, org(name));
        self.organisations.delete(&permit).await.expect("removed");
    }

    async fn grant(&self, name: &str, grants: Vec<(Id, Level)>) -> Result<(), Error> {
        let (on, action, resource) = match name.contains('/') {
            true => (On::Repository, Action::CreateRepositoryGrant, repo(name)),
            false => (On::Organisation, Action::CreateOrganisationGrant, org(name)),
        };
        self.organisations.grant(&self.permit(ADMIN, action, resource), on, grants).await
    }

    async fn share(&self, name: &str, account: Id, terms: ShareTerms) -> Result<(), Error> {
        let permit = self.permit(ADMIN, Action::CreateShare, repo(name));
        self.organisations.share(&permit, account, terms).await
    }

    fn owned(&self, account: Id) -> u64 {
        let key = CounterKey { name: format!("organisations of {account}") };
        self.meta.get(&key).expect("read").map_or(0, |record: CounterRecord| record.next)
    }

    fn rows<K: TableKey>(&self) -> usize {
        self.meta.page::<K>(&[], None, 10_000).expect("read").len()
    }
}

fn user(account: Id, id: Id, roles: Vec<Role>) -> UserRecord {
    UserRecord {
        account,
        name: format!("user-{id}"),
        description: String::new(),
        password: None,
        password_at: 0,
        programmatic: true,
        console: true,
        enabled: true,
        roles,
        policies: Vec::new(),
        created_at: 0,
    }
}

fn org(name: &str) -> Resource {
    Resource::Organisation(name.parse().expect("a name"))
}

fn repo(name: &str) -> Resource {
    Resource::Repository(name.parse().expect("a name"))
}

fn for_ever() -> ShareTerms {
    ShareTerms { until: None, description: String::new() }
}

fn described(description: &str) -> Changed {
    Changed { description: Some(description.to_owned()), ..Changed::default() }
}
