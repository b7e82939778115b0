//! The view against the store it follows.

use std::sync::Arc;
use std::time::Instant;

use pierhead_storage_format::identity::keys::{
    AccessKeyKey, AccountKey, GrantKey, GroupKey, GroupMemberKey, LoginKey, PolicyKey, RepositorySettingsKey,
    ShareKey, TextKey, UserKey,
};
use pierhead_storage_format::identity::records::{
    AccessKeyRecord, AccountRecord, GrantRecord, GroupRecord, LoginRecord, PolicyRecord,
    RepositorySettingsRecord, ShareRecord, TextRecord, UserRecord,
};
use pierhead_storage_format::keys::{OrganisationKey, TableKey};
use pierhead_storage_format::records::Present;
use proptest::prelude::*;

use super::*;
use crate::seams::TestClock;
use crate::services::access::{Access, Options, Rules};
use crate::stores::meta::{Meta, MetaError, Tx};

/// A change of one row, picked from a small world so that rows meet.
#[derive(Clone, Debug)]
struct Step {
    table: usize,
    a: u8,
    b: u8,
    gone: bool,
}

fn step() -> impl Strategy<Value = Step> {
    (0usize..11, 0u8..3, 0u8..3, any::<bool>()).prop_map(|(table, a, b, gone)| Step { table, a, b, gone })
}

fn id(byte: u8) -> Id {
    Id::from_bytes([byte; 16])
}

fn user(account: u8, name: u8) -> UserRecord {
    UserRecord {
        account: id(account),
        name: format!("user{name}"),
        description: String::new(),
        password: None,
        password_at: 0,
        programmatic: true,
        console: false,
        enabled: true,
        roles: Vec::new(),
        policies: Vec::new(),
        created_at: 0,
    }
}

fn set<K: TableKey>(tx: &mut Tx<'_>, gone: bool, key: &K, record: &K::Record) -> Result<(), MetaError> {
    if gone { tx.delete(key) } else { tx.put(key, record) }
}

fn text(prefix: &str, n: u8) -> String {
    format!("{prefix}{n}")
}

fn run(tx: &mut Tx<'_>, step: Step) -> Result<(), MetaError> {
    match step.table {
        0..=2 => change_names(tx, step),
        3..=6 => change_groups_and_policies(tx, step),
        _ => change_keys_and_rights(tx, step),
    }
}

fn change_names(tx: &mut Tx<'_>, Step { table, a, b, gone }: Step) -> Result<(), MetaError> {
    match table {
        0 => {
            let record =
                OrganisationRecord { number: u64::from(b), created_at: 0, owner: Some(id(b)), creator: None };
            set(tx, gone, &OrganisationKey { name: text("org", a) }, &record)
        }
        1 => {
            // Names are unique: who had this one goes, in the same group of changes.
            let name = text("account", b);
            for other in (0..3).filter(|other| *other != a).map(id) {
                if tx.get(&AccountKey { id: other })?.is_some_and(|other| other.name == name) {
                    tx.delete(&AccountKey { id: other })?;
                }
            }
            let record =
                AccountRecord { name, project: id(a), created_at: 0, operator: a == 0, enabled: true };
            set(tx, gone, &AccountKey { id: id(a) }, &record)
        }
        _ => {
            for other in (0..3).filter(|other| *other != a).map(id) {
                if tx.get(&UserKey { id: other })?.is_some_and(|other| other.account == id(b)) {
                    tx.delete(&UserKey { id: other })?;
                }
            }
            set(tx, gone, &UserKey { id: id(a) }, &user(b, 0))
        }
    }
}

fn change_groups_and_policies(tx: &mut Tx<'_>, Step { table, a, b, gone }: Step) -> Result<(), MetaError> {
    match table {
        3 if gone && a == b => {
            let record = LoginRecord {
                user: id(b),
                verifier: [a; 32],
                created_at: 0,
                expires_at: 1,
                access_key: None,
                password_at: 0,
            };
            set(tx, false, &LoginKey { key: text("TMP", 0) }, &record)
        }
        3 => {
            let (name, description) = (text("group", b), String::new());
            let record = GroupRecord {
                account: id(b),
                name,
                description,
                roles: vec![],
                policies: vec![],
                created_at: 0,
            };
            set(tx, gone, &GroupKey { id: id(a) }, &record)
        }
        4 => set(tx, gone, &GroupMemberKey { group: id(a), user: id(b) }, &Present {}),
        5 => {
            let (name, description) = (text("policy", b), String::new());
            let record = PolicyRecord { account: id(b), name, description, created_at: 0, updated_at: 0 };
            set(tx, gone, &PolicyKey { id: id(a) }, &record)
        }
        _ => {
            let parts = [r#"{"Version":"1.1","Statement""#, r#":[{"Effect":"Deny","Action":["*"]}]}"#, "no"];
            let record = TextRecord { part: parts[usize::from(b)].to_owned() };
            set(tx, gone, &TextKey { owner: TextOwner::Policy(id(a)), part: u64::from(b) }, &record)
        }
    }
}

fn change_keys_and_rights(tx: &mut Tx<'_>, Step { table, a, b, gone }: Step) -> Result<(), MetaError> {
    let whole = format!("org{a}/repo{b}");
    match table {
        7 => {
            let (sealed, description) = (vec![a, b], String::new());
            let record = AccessKeyRecord { user: id(b), sealed, enabled: true, description, created_at: 0 };
            set(tx, gone, &AccessKeyKey { key: text("AK", a) }, &record)
        }
        8 => {
            let record = GrantRecord { organisation: u64::from(b), level: Level::Edit, granted_at: 0 };
            set(tx, gone, &GrantKey { user: id(a), name: whole }, &record)
        }
        9 => {
            let (until, description) = (None, String::new());
            let record = ShareRecord {
                organisation: u64::from(b),
                until,
                description,
                creator: id(a),
                created_at: 0,
                updated_at: 0,
            };
            set(tx, gone, &ShareKey { account: id(a), name: whole }, &record)
        }
        _ => {
            let record = RepositorySettingsRecord { public: b == 0, ..RepositorySettingsRecord::default() };
            set(tx, gone, &RepositorySettingsKey { name: whole }, &record)
        }
    }
}

/// Everything in it, in one order, whatever the maps' own.
fn spelled(directory: &Directory) -> String {
    fn sorted<T: std::fmt::Debug>(items: impl Iterator<Item = T>) -> Vec<String> {
        let mut all: Vec<String> = items.map(|item| format!("{item:?}")).collect();
        all.sort_unstable();
        all
    }
    let d = directory;
    format!(
        "{:#?}",
        [
            sorted(d.accounts.iter()),
            sorted(d.account_names.iter()),
            sorted(d.users.iter()),
            sorted(d.user_names.iter()),
            sorted(d.operators.iter()),
            sorted(d.logins.iter()),
            sorted(d.logins_of.iter()),
            sorted(d.groups.iter()),
            sorted(d.members.iter()),
            sorted(d.groups_of.iter()),
            sorted(d.policies.iter()),
            sorted(d.texts.iter()),
            sorted(d.documents.iter()),
            sorted(d.keys.iter()),
            sorted(d.keys_of.iter()),
            sorted(d.grants.iter()),
            sorted(d.granted_on.iter()),
            sorted(d.shares.iter()),
            sorted(d.shared_with.iter()),
            sorted(d.organisations.iter()),
            sorted(d.owned.iter()),
            sorted(d.public.iter()),
        ]
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_directory_that_followed_every_change_equals_one_read_anew(
        groups in prop::collection::vec(prop::collection::vec(step(), 1..6), 1..20),
    ) {
        let folder = tempfile::tempdir().expect("folder");
        let store = Meta::for_tests(folder.path());
        let rules = Rules::Closed(Options::default());
        let access = Access::open(rules, Arc::new(TestClock::default()), &store).expect("read");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        for steps in groups {
            let committed = runtime.block_on(store.commit(move |tx| steps.into_iter().try_for_each(|step| run(tx, step))));
            let committed: Result<(), MetaError> = committed;
            committed.expect("committed");
        }
        let anew = Directory::load(&store).expect("read");
        prop_assert_eq!(spelled(&access.directory()), spelled(&anew));
    }
}

#[tokio::test]
async fn a_change_counts_with_its_answer_and_a_refused_one_never() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Meta::for_tests(folder.path());
    let rules = Rules::Closed(Options::default());
    let access = Access::open(rules, Arc::new(TestClock::default()), &store).expect("read");
    let put: Result<(), MetaError> = store.commit(|tx| tx.put(&UserKey { id: id(1) }, &user(1, 1))).await;
    put.expect("committed");
    assert!(access.directory().user(id(1)).is_some(), "known as soon as the change is answered");
    let refused: Result<(), MetaError> = store
        .commit(|tx| {
            tx.put(&UserKey { id: id(2) }, &user(1, 2))?;
            Err(MetaError::Closed)
        })
        .await;
    assert!(refused.is_err());
    assert!(access.directory().user(id(2)).is_none(), "nothing of a refused change is followed");
}

/// Ten thousand users, a thousand organisations, a hundred thousand grants. The bound is loose: this
/// is a debug build on a machine with other work, where 0.8 s were seen.
#[tokio::test]
async fn a_hundred_thousand_grants_are_read_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Meta::for_tests(folder.path());
    for batch in 0..100u32 {
        let made: Result<(), MetaError> = store
            .commit(move |tx| {
                for n in 0..10u32 {
                    let number = u64::from(batch * 10 + n);
                    let owner = Some(id(1));
                    let record = OrganisationRecord { number, created_at: 0, owner, creator: None };
                    tx.put(&OrganisationKey { name: format!("org{number}") }, &record)?;
                }
                for n in 0..100u32 {
                    let number = batch * 100 + n;
                    let mut bytes = [9; 16];
                    bytes[..4].copy_from_slice(&number.to_be_bytes());
                    let user = Id::from_bytes(bytes);
                    let record = UserRecord { name: format!("user{number}"), ..super::tests::user(1, 1) };
                    tx.put(&UserKey { id: user }, &record)?;
                    for g in 0..10u32 {
                        let organisation = u64::from((number * 7 + g * 13) % 1000);
                        let record = GrantRecord { organisation, level: Level::Read, granted_at: 0 };
                        tx.put(&GrantKey { user, name: format!("org{organisation}") }, &record)?;
                    }
                }
                Ok(())
            })
            .await;
        made.expect("committed");
    }
    let began = Instant::now();
    let directory = Directory::load(&store).expect("read");
    let took = began.elapsed();
    assert_eq!(directory.users.len(), 10_000);
    assert_eq!(directory.grants.values().map(BTreeMap::len).sum::<usize>(), 100_000);
    assert!(took.as_secs() < 20, "10,000 users, 1,000 organisations, 100,000 grants: read in {took:?}");
}
