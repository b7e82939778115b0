//! The service on a real store in a scratch folder, with a clock of the tests' own.

mod credentials;
mod people;

use std::sync::Arc;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{
    AccessKeyKey, AccessKeyUseKey, AccountKey, AccountNameKey, FavouriteKey, GrantKey, GroupKey,
    GroupMemberKey, LoginKey, PolicyKey, RepositorySettingsKey, ShareKey, TextKey, UserKey, UserNameKey,
};
use pierhead_storage_format::keys::{CounterKey, OrganisationKey, RepositoryKey, TableKey};
use pierhead_storage_format::usage::AccountDayKey;

use super::{Identity, NewAccount, NewGroup, NewPolicy, NewUser, Options, Parts, SignInError};
use crate::seams::{OsRandom, TestClock};
use crate::services::access::{self, Access, Action, Actor, Permit, Resource, Rules};
use crate::services::error::Error;
use crate::services::organisations::{Limits, Organisations};
use crate::services::signin::Secret;
use crate::services::signin::password::{self, Passwords};
use crate::services::signin::token::{Lifetimes, PURPOSE, Tokens};
use crate::stores::meta::Meta;
use crate::stores::secrets::{KeyStore, Place, WhenMissing};

/// When every test begins.
const BEGIN: u64 = 1_800_000_000_000;
const PASSWORD: &str = "correct horse";
const DENY: &str = r#"{"Version":"1.1","Statement":[{"Effect":"Deny","Action":["swr:repo:deleteRepo*"]}]}"#;

struct World {
    identity: Identity,
    organisations: Organisations,
    access: Access,
    meta: Meta,
    clock: Arc<TestClock>,
    folder: tempfile::TempDir,
}

/// Passwords that cost next to nothing.
fn cheap() -> password::Settings {
    password::Settings { memory_kib: 8, passes: 1, ..password::Settings::default() }
}

impl World {
    /// With the operator's account `main` and its administrator `admin`.
    async fn new() -> Self {
        let world = Self::empty(cheap());
        world.initialise("main").await.expect("the first account");
        world
    }

    fn empty(passwords: password::Settings) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let meta = Meta::for_tests(folder.path());
        let clock = Arc::new(TestClock::default());
        clock.set(BEGIN);
        let random = Arc::new(OsRandom);
        let rules = Rules::Closed(access::Options::default());
        let access = Access::open(rules, clock.clone(), &meta).expect("read");
        let place = Place::at(&folder.path().join("keys"));
        let secrets = KeyStore::open(place, random.clone(), WhenMissing::Make).expect("a key file");
        let passwords = Passwords::new(passwords, random.clone(), clock.clone()).expect("passwords");
        let tokens = Tokens::new(&secrets.derive(PURPOSE), Lifetimes::default(), clock.clone());
        let identity = Identity::new(Parts {
            meta: meta.clone(),
            access: access.clone(),
            clock: clock.clone(),
            random,
            secrets,
            passwords,
            tokens,
            options: Options::default(),
        });
        let limits = Limits { organisations: 5, shares: 5 };
        let organisations = Organisations::new(meta.clone(), access.clone(), clock.clone(), limits);
        Self { identity, organisations, access, meta, clock, folder }
    }

    fn permit(&self, action: Action, resource: Resource) -> Permit {
        self.access.authorise(&Actor::LocalAdministrator, action, resource).expect("the host's may all")
    }

    fn registry(&self, action: Action) -> Permit {
        self.permit(action, Resource::Registry)
    }

    fn of(&self, account: Id, action: Action) -> Permit {
        self.permit(action, Resource::Account(account))
    }

    fn main(&self) -> Id {
        self.identity.find_account("main").expect("there")
    }

    async fn initialise(&self, name: &str) -> Result<(), Error> {
        let new = NewAccount { name: name.to_owned(), administrator: user("admin") };
        self.identity.initialise(&self.registry(Action::MaintainStore), new).await.map(drop)
    }

    async fn account(&self, name: &str) -> Result<Id, Error> {
        let new = NewAccount { name: name.to_owned(), administrator: user("admin") };
        let permit = self.registry(Action::ManageAccounts);
        self.identity.create_account(&permit, new).await.map(|first| first.account)
    }

    async fn user(&self, account: Id, name: &str) -> Result<Id, Error> {
        self.identity.create_user(&self.of(account, Action::ManageUsers), user(name)).await
    }

    async fn group(&self, account: Id, name: &str) -> Result<Id, Error> {
        let new = NewGroup { name: name.to_owned(), description: String::new(), roles: vec![] };
        self.identity.create_group(&self.of(account, Action::ManageGroups), new).await
    }

    async fn policy(&self, account: Id, name: &str) -> Result<Id, Error> {
        let (name, document) = (name.to_owned(), DENY.to_owned());
        let new = NewPolicy { name, description: String::new(), document };
        self.identity.create_policy(&self.of(account, Action::ManagePolicies), new).await
    }

    /// Signs in as docker does.
    async fn sign_in(&self, name: &str, password: &str) -> Result<Id, SignInError> {
        self.identity.sign_in(name, &Secret::from(password.to_owned())).await.map(|proof| proof.user)
    }

    async fn is_let_in(&self, name: &str, password: &str) -> bool {
        match self.sign_in(name, password).await {
            Ok(_) => true,
            Err(SignInError::Wrong) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// The key of every row of every table that identity has part in; counters without what ids were used.
    fn rows(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut all = Vec::new();
        macro_rules! tables {
            ($($key:ident)*) => {
                $(for (key, _) in self.meta.page::<$key>(&[], None, 10_000).expect("read") {
                    all.push((stringify!($key), key.encode()));
                })*
            };
        }
        tables! {
            AccountKey AccountNameKey UserKey UserNameKey GroupKey GroupMemberKey PolicyKey TextKey AccessKeyKey
            AccessKeyUseKey LoginKey GrantKey ShareKey FavouriteKey RepositorySettingsKey OrganisationKey
            RepositoryKey CounterKey AccountDayKey
        }
        all
    }
}

fn user(name: &str) -> NewUser {
    NewUser {
        name: name.to_owned(),
        description: String::new(),
        password: Some(Secret::from(PASSWORD.to_owned())),
        programmatic: true,
        console: false,
        roles: vec![],
    }
}
