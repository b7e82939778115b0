//! Random rows of who there is.

use proptest::prelude::*;

use super::{row, text};
use crate::audit::{EventKey, EventRecord, Rating};
use crate::dump::Row;
use crate::identity::Id;
use crate::identity::keys::{
    AccessKeyKey, AccessKeyUseKey, AccountKey, AccountNameKey, FavouriteKey, GrantKey, GroupKey,
    GroupMemberKey, LoginKey, PolicyKey, RepositorySettingsKey, ShareKey, TextKey, TextOwner, UserKey,
    UserNameKey,
};
use crate::identity::records::{
    AccessKeyRecord, AccessKeyUseRecord, AccountRecord, Category, Creator, FavouriteRecord, GrantRecord,
    GroupRecord, Level, LoginRecord, NamedRecord, PolicyRecord, RepositorySettingsRecord, Role, ShareRecord,
    TextRecord, UserRecord,
};
use crate::keys::{OrganisationKey, Table};
use crate::protection::{BanExemptionKey, BanExemptionRecord, BanKey, BanReason, BanRecord};
use crate::records::{OrganisationRecord, Present};
use crate::retention::{
    RetentionKey, RetentionKind, RetentionLogKey, RetentionLogRecord, RetentionRecord, RetentionStateKey,
    RetentionStateRecord,
};
use crate::scrub::{DamageKey, DamageKind, DamageRecord, ScrubStateKey, ScrubStateRecord};
use crate::usage::{AccountDayKey, AccountDayRecord, RepositoryPullsKey, RepositoryPullsRecord};

fn id() -> impl Strategy<Value = Id> {
    any::<[u8; 16]>().prop_map(Id::from_bytes)
}

/// What rows are put together from.
#[derive(Clone, Debug)]
struct Parts {
    ids: [Id; 2],
    name: String,
    other: String,
    a: u64,
    b: u64,
    until: Option<u64>,
    yes: bool,
    bytes: Vec<u8>,
    many: Vec<Id>,
    roles: Vec<Role>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let roles =
        prop_oneof![Just(Role::TenantAdministrator), Just(Role::SwrDeveloper), Just(Role::TenantGuest)];
    let values = (any::<u64>(), any::<u64>(), any::<Option<u64>>(), any::<bool>());
    let lists = (
        prop::collection::vec(any::<u8>(), 0..80),
        prop::collection::vec(id(), 0..4),
        prop::collection::vec(roles, 0..3),
    );
    ((id(), id()), text(), text(), values, lists).prop_map(
        |(ids, name, other, (a, b, until, yes), (bytes, many, roles))| Parts {
            ids: ids.into(),
            name,
            other,
            a,
            b,
            until,
            yes,
            bytes,
            many,
            roles,
        },
    )
}

/// Tables whose rows are drawn in files of their own.
const ELSEWHERE: &[Table] = &[
    Table::OrganisationBlob,
    Table::OrganisationUsage,
    Table::OrganisationQuota,
    Table::AccountQuota,
    Table::Unreferenced,
    Table::DeletedManifest,
    Table::Collected,
    Table::DeletedReference,
    Table::Removal,
];

/// A valid row of any table of this kind, and organisations with all they have.
pub(super) fn any_row() -> impl Strategy<Value = Row> {
    let here = Table::ALL[12..].iter().filter(|table| !ELSEWHERE.contains(table));
    let tables: Vec<Option<Table>> = here.copied().map(Some).chain([None]).collect();
    (prop::sample::select(tables), parts()).prop_map(|(table, parts)| match table {
        None => organisation(parts),
        Some(table @ (Table::RepositoryPulls | Table::AccountDay)) => usage(table, parts),
        Some(table @ (Table::Ban | Table::BanExemption)) => protection(table, parts),
        Some(table @ (Table::Retention | Table::RetentionLog | Table::RetentionState)) => {
            retention(table, parts)
        }
        Some(table @ (Table::ScrubState | Table::Damage)) => upkeep(table, parts),
        Some(table) => people(table, parts),
    })
}

fn organisation(Parts { ids: [owner, id], name, other, a, b, .. }: Parts) -> Row {
    let creator = Some(Creator { id, name: other });
    let record = OrganisationRecord { number: a, created_at: b, owner: Some(owner), creator };
    row(&OrganisationKey { name }, &record)
}

fn people(table: Table, parts: Parts) -> Row {
    let Parts { ids: [id, other_id], name, other, a, b, yes, roles, many, .. } = parts.clone();
    match table {
        Table::Account => {
            let record =
                AccountRecord { name, project: other_id, created_at: a, operator: yes, enabled: !yes };
            row(&AccountKey { id }, &record)
        }
        Table::AccountName => row(&AccountNameKey { name }, &NamedRecord { id }),
        Table::User => user(parts),
        Table::UserName => row(&UserNameKey { account: id, name }, &NamedRecord { id: other_id }),
        Table::Group => {
            let description = other;
            let record =
                GroupRecord { account: other_id, name, description, roles, policies: many, created_at: a };
            row(&GroupKey { id }, &record)
        }
        Table::GroupMember => row(&GroupMemberKey { group: id, user: other_id }, &Present {}),
        Table::Policy => {
            let description = other;
            let record = PolicyRecord { account: other_id, name, description, created_at: a, updated_at: b };
            row(&PolicyKey { id }, &record)
        }
        Table::Text => {
            let owner = if yes { TextOwner::Policy(id) } else { TextOwner::Repository(a) };
            row(&TextKey { owner, part: b }, &TextRecord { part: other })
        }
        _ => rights(table, parts),
    }
}

fn user(parts: Parts) -> Row {
    let Parts { ids: [id, account], name, other, a, b, yes, roles, many, .. } = parts;
    let record = UserRecord {
        account,
        name,
        description: other.clone(),
        password: yes.then_some(other),
        password_at: a,
        programmatic: yes,
        console: !yes,
        enabled: yes,
        roles,
        policies: many,
        created_at: b,
    };
    row(&UserKey { id }, &record)
}

fn rights(table: Table, parts: Parts) -> Row {
    let Parts { ids: [id, other_id], name, other, a, b, until, yes, bytes, .. } = parts.clone();
    match table {
        Table::AccessKey => {
            let description = other;
            let record =
                AccessKeyRecord { user: id, sealed: bytes, enabled: yes, description, created_at: a };
            row(&AccessKeyKey { key: name }, &record)
        }
        Table::AccessKeyUse => row(&AccessKeyUseKey { key: name }, &AccessKeyUseRecord { used_at: a }),
        Table::Login => {
            let verifier = [bytes.first().copied().unwrap_or(7); 32];
            let access_key = yes.then_some(other);
            let record =
                LoginRecord { user: id, verifier, created_at: a, expires_at: b, access_key, password_at: b };
            row(&LoginKey { key: name }, &record)
        }
        Table::Grant => {
            let level = if yes { Level::Edit } else { Level::Manage };
            row(&GrantKey { user: id, name }, &GrantRecord { organisation: a, level, granted_at: b })
        }
        Table::Share => {
            let record = ShareRecord {
                organisation: a,
                until,
                description: other,
                creator: other_id,
                created_at: a,
                updated_at: b,
            };
            row(&ShareKey { account: id, name }, &record)
        }
        Table::Favourite => row(&FavouriteKey { user: id, name }, &FavouriteRecord { marked_at: a }),
        Table::RepositorySettings => {
            let category = if yes { Category::Linux } else { Category::Other };
            let creator = until.map(|_| Creator { id, name: other });
            let immutable_tags = a % 2 == 0;
            let record =
                RepositorySettingsRecord { public: yes, category, creator, updated_at: b, immutable_tags };
            row(&RepositorySettingsKey { name }, &record)
        }
        Table::AuditOutbox => {
            let record = EventRecord {
                at: a,
                took: b,
                name: name.clone(),
                resource_type: other.clone(),
                resource: other,
                resource_id: String::new(),
                account: Some(id),
                account_name: name.clone(),
                user: until.map(|_| other_id),
                user_name: name,
                source: "192.0.2.1".to_owned(),
                code: b,
                rating: if yes { Rating::Normal } else { Rating::Warning },
                request_id: None,
                request: "{}".to_owned(),
                response: "{}".to_owned(),
            };
            row(&EventKey { id }, &record)
        }
        other => unreachable!("table {} is not of this kind", other.name()),
    }
}

fn usage(table: Table, parts: Parts) -> Row {
    let Parts { ids: [id, _], a, b, until, .. } = parts;
    match table {
        Table::RepositoryPulls => {
            row(&RepositoryPullsKey { repository: a }, &RepositoryPullsRecord { pulls: b, pulled_at: a })
        }
        Table::AccountDay => {
            let record = AccountDayRecord { pulls: a, pulled: b, pushes: a, stored: until };
            row(&AccountDayKey { account: id, day: b }, &record)
        }
        other => unreachable!("table {} is not of this kind", other.name()),
    }
}

fn protection(table: Table, parts: Parts) -> Row {
    let Parts { ids: [id, _], name, other, a, b, yes, .. } = parts;
    if table == Table::Ban {
        let key = if yes { BanKey::User(id) } else { BanKey::Address((u128::from(a) << 64).into()) };
        let reason = if yes { BanReason::Flood } else { BanReason::Administrator };
        return row(&key, &BanRecord { since: a, until: b, times: a, reason, by: name, note: other });
    }
    let network = BanExemptionKey::Network((u128::from(a) << 64).into(), 64);
    let key = if yes { BanExemptionKey::User(id) } else { network };
    row(&key, &BanExemptionRecord { since: a, by: name, note: other })
}

fn retention(table: Table, parts: Parts) -> Row {
    let Parts { name, other, a, b, yes, .. } = parts;
    match table {
        Table::Retention => {
            let kind = if yes { RetentionKind::Days } else { RetentionKind::Versions };
            let record = RetentionRecord { number: b, name, kind, amount: a, created_at: a, updated_at: b };
            row(&RetentionKey { repository: a }, &record)
        }
        Table::RetentionLog => {
            let digest = crate::Digest::new(crate::Algorithm::Sha256, &[7; 32]).expect("length matches");
            let record = RetentionLogRecord {
                retention: b,
                tag: name,
                digest,
                pushed_at: a,
                removed_at: b,
                rule: other,
            };
            row(&RetentionLogKey { repository: a, number: b }, &record)
        }
        Table::RetentionState => {
            let problem = yes.then_some(other);
            let record = RetentionStateRecord {
                retention: b,
                started_at: a,
                removed: b,
                problem,
                next: a,
                ..Default::default()
            };
            row(&RetentionStateKey { repository: a }, &record)
        }
        other => unreachable!("table {} is not of this kind", other.name()),
    }
}

fn upkeep(table: Table, parts: Parts) -> Row {
    let Parts { a, b, yes, .. } = parts;
    match table {
        Table::ScrubState => {
            let record =
                ScrubStateRecord { running: yes, began_at: a, blobs: b, ..ScrubStateRecord::default() };
            row(&ScrubStateKey {}, &record)
        }
        Table::Damage => {
            let record =
                DamageRecord { found_at: a, kind: DamageKind::Damaged, size: b, parts: vec![(a, b)] };
            let digest = crate::Digest::new(crate::Algorithm::Sha256, &[7; 32]).expect("length matches");
            row(&DamageKey { digest }, &record)
        }
        other => unreachable!("table {} is not of this kind", other.name()),
    }
}
