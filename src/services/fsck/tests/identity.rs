//! Accounts, users and rights of the healthy store, and one sick store a breach of theirs.

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{
    AccessKeyKey, AccessKeyUseKey, AccountKey, AccountNameKey, FavouriteKey, GrantKey, GroupKey,
    GroupMemberKey, LoginKey, PolicyKey, RepositorySettingsKey, ShareKey, TextKey, TextOwner, UserKey,
    UserNameKey,
};
use pierhead_storage_format::identity::records::{
    AccessKeyRecord, AccessKeyUseRecord, AccountRecord, FavouriteRecord, GrantRecord, GroupRecord, Level,
    LoginRecord, NamedRecord, PolicyRecord, RepositorySettingsRecord, ShareRecord, TextRecord, UserRecord,
};
use pierhead_storage_format::keys::{CounterKey, OrganisationKey};
use pierhead_storage_format::records::{CounterRecord, OrganisationRecord, Present};
use pierhead_storage_format::scrub::{DamageKey, DamageKind, DamageRecord};
use pierhead_storage_format::usage::{
    AccountDayKey, AccountDayRecord, RepositoryPullsKey, RepositoryPullsRecord,
};

use super::fixtures::Fixture;
use super::{LAYER, Store, WEB, digest_of};

const OWN: Id = Id::from_bytes([1; 16]);
const OTHER: Id = Id::from_bytes([2; 16]);
const ANN: Id = Id::from_bytes([3; 16]);
const GROUP: Id = Id::from_bytes([4; 16]);
const POLICY: Id = Id::from_bytes([5; 16]);
const GONE: Id = Id::from_bytes([9; 16]);

fn user() -> UserRecord {
    UserRecord {
        account: OWN,
        name: "ann".into(),
        description: String::new(),
        password: None,
        password_at: 0,
        programmatic: true,
        console: true,
        enabled: true,
        roles: Vec::new(),
        policies: vec![POLICY],
        created_at: 1,
    }
}

fn owned(account: Id) -> CounterKey {
    CounterKey { name: format!("organisations of {account}") }
}

fn keys_of(user: Id) -> CounterKey {
    CounterKey { name: format!("access keys of {user}") }
}

fn logins_of(user: Id) -> CounterKey {
    CounterKey { name: format!("logins of {user}") }
}

fn organisation(number: u64) -> OrganisationRecord {
    OrganisationRecord { number, created_at: 1, owner: Some(OWN), creator: None }
}

fn acme() -> OrganisationKey {
    OrganisationKey { name: "acme".into() }
}

fn on(user: Id, name: &str) -> GrantKey {
    GrantKey { user, name: name.into() }
}

fn grant(organisation: u64) -> GrantRecord {
    GrantRecord { organisation, level: Level::Edit, granted_at: 1 }
}

fn with(account: Id) -> ShareKey {
    ShareKey { account, name: WEB.into() }
}

fn share() -> ShareRecord {
    let (until, description) = (None, String::new());
    ShareRecord { organisation: 1, until, description, creator: GONE, created_at: 1, updated_at: 1 }
}

fn settings(public: bool) -> RepositorySettingsRecord {
    RepositorySettingsRecord { public, ..RepositorySettingsRecord::default() }
}

fn attributes(name: &str) -> RepositorySettingsKey {
    RepositorySettingsKey { name: name.into() }
}

fn part(part: u64) -> TextKey {
    TextKey { owner: TextOwner::Policy(POLICY), part }
}

fn text(part: &str) -> TextRecord {
    TextRecord { part: part.into() }
}

fn policy() -> PolicyRecord {
    let (name, description) = ("p".into(), String::new());
    PolicyRecord { account: OWN, name, description, created_at: 1, updated_at: 1 }
}

fn group() -> GroupRecord {
    let (name, description) = ("g".into(), String::new());
    GroupRecord { account: OWN, name, description, roles: vec![], policies: vec![POLICY], created_at: 1 }
}

fn access_key(user: Id) -> AccessKeyRecord {
    AccessKeyRecord { user, sealed: vec![1], enabled: true, description: String::new(), created_at: 1 }
}

fn account(store: &mut Store, id: Id, name: &str) {
    let record =
        AccountRecord { name: name.into(), project: id, created_at: 1, operator: false, enabled: true };
    store.put(&AccountKey { id }, &record);
    store.put(&AccountNameKey { name: name.into() }, &NamedRecord { id });
}

/// The removal of the account that is not there was begun.
pub(super) fn being_removed(store: &mut Store) {
    store.put(&CounterKey { name: format!("removal of account {GONE}") }, &CounterRecord { next: 1 });
}

/// The row of the user goes, and nothing with it.
pub(super) fn lose_user(store: &mut Store) {
    store.drop(&UserKey { id: ANN });
}

/// Two accounts, a user in a group, a policy in two parts, credentials, and rights in what is there.
/// `acme` and `tools` are owned; `acme-two` is from before organisations were.
pub(super) fn people(store: &mut Store) {
    account(store, OWN, "own");
    account(store, OTHER, "other");
    store.put(&acme(), &organisation(1));
    store.put(&OrganisationKey { name: "tools".into() }, &organisation(2));
    store.put(&OrganisationKey { name: "library".into() }, &organisation(3));
    store.put(&CounterKey { name: "organisation".into() }, &CounterRecord { next: 4 });
    store.put(&owned(OWN), &CounterRecord { next: 3 });
    store.put(&owned(GONE), &CounterRecord { next: 0 });
    store.put(&UserKey { id: ANN }, &user());
    store.put(&UserNameKey { account: OWN, name: "ann".into() }, &NamedRecord { id: ANN });
    store.put(&GroupKey { id: GROUP }, &group());
    store.put(&GroupMemberKey { group: GROUP, user: ANN }, &Present {});
    store.put(&PolicyKey { id: POLICY }, &policy());
    store.put(&part(0), &text(r#"{"Version":"1.1","Statement":[{"Effect":"#));
    store.put(&part(1), &text(r#""Deny","Action":["swr:repo:deleteRepo"]}]}"#));
    store.put(&TextKey { owner: TextOwner::Repository(1), part: 0 }, &text("a description"));
    credentials(store);
    store.put(&on(ANN, "acme"), &grant(1));
    store.put(&on(ANN, WEB), &grant(1));
    store.put(&with(OTHER), &share());
    store.put(&FavouriteKey { user: ANN, name: "acme/gone".into() }, &FavouriteRecord { marked_at: 1 });
    store.put(&attributes(WEB), &settings(true));
}

fn credentials(store: &mut Store) {
    store.put(&AccessKeyKey { key: "AK".into() }, &access_key(ANN));
    store.put(&keys_of(ANN), &CounterRecord { next: 1 });
    store.put(&AccessKeyUseKey { key: "AK".into() }, &AccessKeyUseRecord { used_at: 1 });
    let (access_key, password_at) = (Some("AK".into()), 0);
    let login =
        LoginRecord { user: ANN, verifier: [1; 32], created_at: 1, expires_at: 2, access_key, password_at };
    store.put(&logins_of(ANN), &CounterRecord { next: 1 });
    store.put(&LoginKey { key: "TMP".into() }, &login);
}

/// What gives or takes rights wrongly.
pub(super) const RIGHTS: &[Fixture] = &[
    ("an account that is not found by its name", "R16", |store| {
        store.drop(&AccountNameKey { name: "own".into() });
    }),
    ("a name that finds another account", "R16", |store| {
        store.put(&AccountNameKey { name: "own".into() }, &NamedRecord { id: OTHER });
    }),
    ("a name that finds no account", "R16", |store| {
        store.put(&AccountNameKey { name: "old".into() }, &NamedRecord { id: GONE });
    }),
    ("a user who is not found by his name", "R17", |store| {
        store.drop(&UserNameKey { account: OWN, name: "ann".into() });
    }),
    ("a name that finds a user of another account", "R17", |store| {
        store.put(&UserNameKey { account: OTHER, name: "ann".into() }, &NamedRecord { id: ANN });
    }),
    ("a name that finds nobody", "R17", |store| {
        store.put(&UserNameKey { account: OWN, name: "bob".into() }, &NamedRecord { id: GONE });
    }),
    ("a user of no account", "R18", |store| {
        store.change(&UserKey { id: ANN }, |user| user.account = GONE);
        store.drop(&UserNameKey { account: OWN, name: "ann".into() });
        store.put(&UserNameKey { account: GONE, name: "ann".into() }, &NamedRecord { id: ANN });
    }),
    ("a group of no account", "R18", |store| {
        store.change(&GroupKey { id: GROUP }, |group| group.account = GONE);
    }),
    ("a policy of no account", "R18", |store| {
        store.change(&PolicyKey { id: POLICY }, |policy| policy.account = GONE);
    }),
    ("a user with a policy that is not there", "R21", |store| {
        store.change(&UserKey { id: ANN }, |user| user.policies.push(GONE));
    }),
    ("a group with a policy that is not there", "R21", |store| {
        store.change(&GroupKey { id: GROUP }, |group| group.policies.push(GONE));
    }),
    ("a policy without a document", "R23", |store| {
        store.drop(&part(0));
        store.drop(&part(1));
    }),
    ("a policy whose document does not parse", "R23", |store| store.put(&part(1), &text("no"))),
    ("a text with a gap", "R23", |store| {
        store.put(&TextKey { owner: TextOwner::Repository(1), part: 2 }, &text("the end"));
    }),
    ("an organisation of no account", "R24", |store| {
        store.change(&acme(), |acme| acme.owner = Some(GONE));
        store.put(&owned(OWN), &CounterRecord { next: 2 });
        store.put(&owned(GONE), &CounterRecord { next: 1 });
    }),
    ("public attributes of no repository", "R25", |store| {
        store.put(&attributes("acme/gone"), &settings(true));
    }),
    ("a wrong number of organisations", "R27", |store| store.put(&owned(OWN), &CounterRecord { next: 2 })),
    ("organisations that are not counted", "R27", |store| store.drop(&owned(OWN))),
    ("organisations counted for nobody", "R27", |store| {
        let key = CounterKey { name: "organisations of somebody".into() };
        store.put(&key, &CounterRecord { next: 1 });
    }),
    ("a counter that would number an organisation again", "R28", |store| {
        store.put(&CounterKey { name: "organisation".into() }, &CounterRecord { next: 3 });
    }),
    ("no counter of organisations", "R28", |store| {
        store.drop(&CounterKey { name: "organisation".into() });
    }),
    ("two organisations of one number", "R28", |store| {
        store.change(&OrganisationKey { name: "tools".into() }, |tools| tools.number = 1);
    }),
    ("a wrong number of access keys", "R29", |store| store.put(&keys_of(ANN), &CounterRecord { next: 2 })),
    ("access keys that are not counted", "R29", |store| store.drop(&keys_of(ANN))),
    ("temporary logins that are not counted", "R29", |store| store.drop(&logins_of(ANN))),
];

fn damage(size: u64) -> DamageRecord {
    DamageRecord { found_at: 1, kind: DamageKind::Damaged, size, parts: Vec::new() }
}

/// What is left of something that went.
pub(super) const LEFTOVERS: &[Fixture] = &[
    ("damage of a blob that went", "R70", |store| {
        store.put(&DamageKey { digest: digest_of(b"gone") }, &damage(4));
    }),
    ("damage of a blob that was pushed again", "R71", |store| {
        store.put(&DamageKey { digest: digest_of(LAYER) }, &damage(LAYER.len() as u64));
    }),
    ("pulls of a repository that went", "R30", |store| {
        store.put(&RepositoryPullsKey { repository: 77 }, &RepositoryPullsRecord::default());
    }),
    ("days of an account that went", "R30", |store| {
        for day in 1..4 {
            store.put(&AccountDayKey { account: GONE, day }, &AccountDayRecord::default());
        }
    }),
    ("an access key of nobody", "R19", |store| {
        store.put(&AccessKeyKey { key: "OLD".into() }, &access_key(GONE));
        store.put(&keys_of(GONE), &CounterRecord { next: 1 });
    }),
    ("the use of an access key that is gone", "R19", |store| {
        store.put(&AccessKeyUseKey { key: "OLD".into() }, &AccessKeyUseRecord { used_at: 1 });
    }),
    ("a login of nobody", "R19", |store| {
        store.change(&LoginKey { key: "TMP".into() }, |login| login.user = GONE);
        store.drop(&logins_of(ANN));
        store.put(&logins_of(GONE), &CounterRecord { next: 1 });
    }),
    ("a grant to nobody, though of another organisation too", "R19", |store| {
        store.put(&on(GONE, "acme"), &grant(9));
    }),
    ("a share with no account", "R19", |store| store.put(&with(GONE), &share())),
    ("a mark of nobody", "R19", |store| {
        store.put(&FavouriteKey { user: GONE, name: WEB.into() }, &FavouriteRecord { marked_at: 1 });
    }),
    ("a member of no group", "R20", |store| {
        store.put(&GroupMemberKey { group: GONE, user: ANN }, &Present {});
    }),
    ("nobody in a group", "R20", |store| {
        store.put(&GroupMemberKey { group: GROUP, user: GONE }, &Present {});
    }),
    ("a text of no policy", "R22", |store| {
        store.put(&TextKey { owner: TextOwner::Policy(GONE), part: 1 }, &text("x"));
    }),
    ("a text of no repository", "R22", |store| {
        store.put(&TextKey { owner: TextOwner::Repository(7), part: 0 }, &text("x"));
    }),
    ("private attributes of no repository", "R25", |store| {
        store.put(&attributes("acme/gone"), &settings(false));
    }),
    ("a grant of an organisation before", "R26", |store| store.put(&on(ANN, "tools/web"), &grant(1))),
    ("a grant of an organisation that is gone", "R26", |store| store.put(&on(ANN, "old"), &grant(1))),
    ("a share of an organisation before", "R26", |store| {
        store.change(&with(OTHER), |share| share.organisation = 7);
    }),
];
