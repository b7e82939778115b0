//! Samples of who there is and what they may do.

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{
    AccessKeyKey, AccessKeyUseKey, AccountKey, AccountNameKey, FavouriteKey, GrantKey, GroupKey,
    GroupMemberKey, LoginKey, PolicyKey, RepositorySettingsKey, ShareKey, TextKey, TextOwner, UserKey,
    UserNameKey,
};
use pierhead_storage_format::identity::records::{
    AccessKeyRecord, AccessKeyUseRecord, AccountRecord, Category, Creator, FavouriteRecord, GrantRecord,
    GroupRecord, Level, LoginRecord, NamedRecord, PolicyRecord, RepositorySettingsRecord, Role, ShareRecord,
    TextRecord, UserRecord,
};
use pierhead_storage_format::keys::CounterKey;
use pierhead_storage_format::protection::{
    BanExemptionKey, BanExemptionRecord, BanKey, BanReason, BanRecord,
};
use pierhead_storage_format::records::{CounterRecord, Present};
use pierhead_storage_format::scrub::{DamageKey, DamageKind, DamageRecord, ScrubStateKey, ScrubStateRecord};
use pierhead_storage_format::usage::{
    AccountDayKey, AccountDayRecord, RepositoryPullsKey, RepositoryPullsRecord,
};

use super::{REPOSITORY, Sample, TIME, sample};

const AK: &str = "HST3GAYCWRFSFWZVYSTS";

/// 16 bytes that count up from `first`.
pub fn id(first: u8) -> Id {
    let mut bytes = [first; 16];
    for (byte, step) in bytes.iter_mut().zip(0..) {
        *byte = first.wrapping_add(step);
    }
    Id::from_bytes(bytes)
}

pub fn creator() -> Creator {
    Creator { id: id(0x30), name: "ann".into() }
}

fn accounts() -> Vec<Sample> {
    let account = AccountRecord {
        name: "own".into(),
        project: id(0x20),
        created_at: TIME,
        operator: true,
        enabled: true,
    };
    vec![
        sample(None, &AccountKey { id: id(0x10) }, &account),
        sample(None, &AccountNameKey { name: "own".into() }, &NamedRecord { id: id(0x10) }),
        sample(Some("organisation"), &CounterKey { name: "organisation".into() }, &CounterRecord { next: 8 }),
        sample(
            Some("organisations-of"),
            &CounterKey { name: format!("organisations of {}", id(0x10)) },
            &CounterRecord { next: 1 },
        ),
    ]
}

fn user(full: bool) -> UserRecord {
    UserRecord {
        account: id(0x10),
        name: if full { "ann" } else { "robot" }.into(),
        description: if full { "builds" } else { "" }.into(),
        password: full.then(|| "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g".into()),
        password_at: if full { TIME } else { 0 },
        programmatic: true,
        console: full,
        enabled: full,
        roles: if full { vec![Role::TenantAdministrator, Role::SwrReadOnlyAccess] } else { vec![] },
        policies: if full { vec![id(0x50), id(0x60)] } else { vec![] },
        created_at: TIME,
    }
}

fn users() -> Vec<Sample> {
    let group = GroupRecord {
        account: id(0x10),
        name: "developers".into(),
        description: "who build".into(),
        roles: vec![Role::SwrDeveloper],
        policies: vec![id(0x50)],
        created_at: TIME,
    };
    vec![
        sample(None, &UserKey { id: id(0x30) }, &user(true)),
        sample(Some("bare"), &UserKey { id: id(0x31) }, &user(false)),
        sample(None, &UserNameKey { account: id(0x10), name: "ann".into() }, &NamedRecord { id: id(0x30) }),
        sample(None, &GroupKey { id: id(0x40) }, &group),
        sample(None, &GroupMemberKey { group: id(0x40), user: id(0x30) }, &Present {}),
    ]
}

fn policies() -> Vec<Sample> {
    let policy = PolicyRecord {
        account: id(0x10),
        name: "only-acme".into(),
        description: "keeps others out".into(),
        created_at: TIME,
        updated_at: TIME + 1,
    };
    let document = r#"{"Version":"1.1","Statement":[{"Effect":"Deny","Action":["swr:repo:deleteRepo"]}]}"#;
    vec![
        sample(None, &PolicyKey { id: id(0x50) }, &policy),
        sample(
            None,
            &TextKey { owner: TextOwner::Policy(id(0x50)), part: 0 },
            &TextRecord { part: document.into() },
        ),
        sample(
            Some("repository"),
            &TextKey { owner: TextOwner::Repository(REPOSITORY), part: 1 },
            &TextRecord { part: "…and more".into() },
        ),
    ]
}

fn credentials() -> Vec<Sample> {
    let key = AccessKeyRecord {
        user: id(0x30),
        sealed: (1..=73).collect(),
        enabled: true,
        description: "of the build machine".into(),
        created_at: TIME,
    };
    let login = |access_key| LoginRecord {
        user: id(0x30),
        verifier: [0xab; 32],
        created_at: TIME,
        expires_at: TIME + 21_600_000,
        access_key,
        password_at: TIME - 1,
    };
    vec![
        sample(None, &AccessKeyKey { key: AK.into() }, &key),
        sample(None, &AccessKeyUseKey { key: AK.into() }, &AccessKeyUseRecord { used_at: TIME }),
        sample(None, &LoginKey { key: "TMP3GAYCWRFSFWZVYSTS".into() }, &login(Some(AK.into()))),
        sample(Some("by-password"), &LoginKey { key: "TMP4GAYCWRFSFWZVYSTS".into() }, &login(None)),
    ]
}

fn grant(level: Level) -> GrantRecord {
    GrantRecord { organisation: 7, level, granted_at: TIME }
}

fn share(until: Option<u64>) -> ShareRecord {
    ShareRecord {
        organisation: 7,
        until,
        description: "for the test site".into(),
        creator: id(0x30),
        created_at: TIME,
        updated_at: TIME + 1,
    }
}

fn rights() -> Vec<Sample> {
    let on = |name: &str| GrantKey { user: id(0x31), name: name.into() };
    let shared = |name: &str| ShareKey { account: id(0x11), name: name.into() };
    vec![
        sample(None, &on("acme"), &grant(Level::Read)),
        sample(Some("edit"), &on("acme/web"), &grant(Level::Edit)),
        sample(Some("manage"), &on("acme/web/front"), &grant(Level::Manage)),
        sample(None, &shared("acme/web/front"), &share(Some(TIME + 2))),
        sample(Some("for-ever"), &shared("acme/web/back"), &share(None)),
    ]
}

fn attributes() -> Vec<Sample> {
    let name = || "acme/web/front".to_owned();
    let settings = RepositorySettingsRecord {
        public: true,
        category: Category::Database,
        creator: Some(creator()),
        updated_at: TIME,
        immutable_tags: false,
    };
    let immutable = RepositorySettingsRecord { immutable_tags: true, ..settings.clone() };
    let bare = RepositorySettingsRecord { updated_at: TIME, ..RepositorySettingsRecord::default() };
    vec![
        sample(None, &FavouriteKey { user: id(0x30), name: name() }, &FavouriteRecord { marked_at: TIME }),
        sample(None, &RepositorySettingsKey { name: name() }, &settings),
        sample(Some("bare"), &RepositorySettingsKey { name: "acme/web/back".into() }, &bare),
        sample(Some("immutable"), &RepositorySettingsKey { name: "acme/released".into() }, &immutable),
    ]
}

fn usage() -> Vec<Sample> {
    let day = AccountDayRecord { pulls: 12, pulled: 34_567_890, pushes: 3, stored: Some(123_456_789) };
    let pulls = RepositoryPullsRecord { pulls: 12, pulled_at: TIME };
    let today = TIME / 86_400_000;
    vec![
        sample(None, &RepositoryPullsKey { repository: REPOSITORY }, &pulls),
        sample(None, &AccountDayKey { account: id(0x10), day: today }, &day),
        sample(
            Some("unlooked"),
            &AccountDayKey { account: id(0x10), day: today + 1 },
            &AccountDayRecord { stored: None, ..day },
        ),
    ]
}

fn protection() -> Vec<Sample> {
    let ban = BanRecord {
        since: TIME,
        until: TIME + 1_800_000,
        times: 1,
        reason: BanReason::Flood,
        by: "system: guard".into(),
        note: String::new(),
    };
    let by = "local administrator".to_owned();
    let (reason, note) = (BanReason::Administrator, "until he calls".to_owned());
    let said = BanRecord { times: 2, reason, by: by.clone(), note, ..ban.clone() };
    let exemption = BanExemptionRecord { since: TIME, by, note: "the build farm".into() };
    let address = |text: &str| text.parse().expect("an address");
    vec![
        sample(None, &BanKey::Address(address("::ffff:192.0.2.7")), &ban),
        sample(Some("user"), &BanKey::User(id(0x30)), &said),
        sample(None, &BanExemptionKey::Network(address("2001:db8::"), 32), &exemption),
        sample(Some("user"), &BanExemptionKey::User(id(0x30)), &exemption),
    ]
}

fn scrub() -> Vec<Sample> {
    use pierhead_storage_format::{Algorithm, Digest};
    let digest = Digest::new(Algorithm::Sha256, &[7; 32]).expect("length matches");
    let state = ScrubStateRecord {
        running: true,
        after: Some(digest),
        began_at: TIME,
        ended_at: TIME - 86_400_000,
        blobs: 12,
        bytes: 34_567_890,
        damaged: 1,
        served: true,
        ..ScrubStateRecord::default()
    };
    let damaged = DamageRecord {
        found_at: TIME,
        kind: DamageKind::Damaged,
        size: 4_194_304,
        parts: vec![(1_048_576, 2_097_152)],
    };
    let missing = DamageRecord { kind: DamageKind::Missing, parts: Vec::new(), ..damaged.clone() };
    let other = Digest::new(Algorithm::Sha512, &[8; 64]).expect("length matches");
    vec![
        sample(None, &ScrubStateKey {}, &state),
        sample(None, &DamageKey { digest }, &damaged),
        sample(Some("missing"), &DamageKey { digest: other }, &missing),
    ]
}

pub fn samples() -> Vec<Sample> {
    [accounts(), users(), policies(), credentials(), rights(), attributes(), usage(), protection(), scrub()]
        .into_iter()
        .flatten()
        .collect()
}
