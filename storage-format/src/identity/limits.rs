//! How long the parts of identity records may be, so that the longest record fits
//! [`MAX_RECORD`](crate::codec::MAX_RECORD) (a test adds them up).
//!
//! Names and keys are parts of keys, which [`MAX_TEXT`](crate::keys::MAX_TEXT) bounds. The service
//! that writes a record refuses what is longer, in words for people; what slips past it is refused
//! by [`Record::encode`](crate::codec::Record::encode), so that it never reaches the disk.

/// Characters of a description of a user, group, policy or access key: at most 1,020 bytes.
pub const DESCRIPTION: usize = 255;

/// Characters of a share's description: at most 4,000 bytes.
pub const SHARE_DESCRIPTION: usize = 1000;

/// Custom policies attached to one user, or to one group.
pub const POLICIES: usize = 64;

/// System roles of one user, or of one group.
pub const ROLES: usize = 32;

/// Bytes of a password's hash in PHC form.
pub const PASSWORD: usize = 255;

/// Bytes of a sealed secret key.
pub const SEALED: usize = 255;

/// Bytes of one part of a long text.
pub const TEXT_PART: usize = 3072;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{MAX_RECORD, Record};
    use crate::identity::Id;
    use crate::identity::records::{
        AccessKeyRecord, AccountRecord, Category, Creator, GroupRecord, PolicyRecord,
        RepositorySettingsRecord, Role, ShareRecord, TextRecord, UserRecord,
    };
    use crate::keys::MAX_TEXT;
    use crate::records::OrganisationRecord;

    const ID: Id = Id::from_bytes([0xff; 16]);
    const LAST: u64 = u64::MAX;

    /// Four bytes a character, the most there are.
    fn characters(count: usize) -> String {
        "\u{10ffff}".repeat(count)
    }

    fn user() -> UserRecord {
        UserRecord {
            account: ID,
            name: "n".repeat(MAX_TEXT),
            description: characters(DESCRIPTION),
            password: Some("p".repeat(PASSWORD)),
            password_at: LAST,
            programmatic: true,
            console: true,
            enabled: true,
            roles: vec![Role::TenantGuest; ROLES],
            policies: vec![ID; POLICIES],
            created_at: LAST,
        }
    }

    fn group() -> GroupRecord {
        let UserRecord { account, name, description, roles, policies, created_at, .. } = user();
        GroupRecord { account, name, description, roles, policies, created_at }
    }

    #[test]
    fn the_longest_record_of_every_kind_fits() {
        let name = || "n".repeat(MAX_TEXT);
        let creator = || Some(Creator { id: ID, name: name() });
        let policy = PolicyRecord {
            account: ID,
            name: name(),
            description: characters(DESCRIPTION),
            created_at: LAST,
            updated_at: LAST,
        };
        let key = AccessKeyRecord {
            user: ID,
            sealed: vec![0xff; SEALED],
            enabled: true,
            description: characters(DESCRIPTION),
            created_at: LAST,
        };
        let share = ShareRecord {
            organisation: LAST,
            until: Some(LAST),
            description: characters(SHARE_DESCRIPTION),
            creator: ID,
            created_at: LAST,
            updated_at: LAST,
        };
        let settings = RepositorySettingsRecord {
            public: true,
            category: Category::Arm,
            creator: creator(),
            updated_at: LAST,
            immutable_tags: true,
        };
        let account =
            AccountRecord { name: name(), project: ID, created_at: LAST, operator: true, enabled: true };
        let organisation =
            OrganisationRecord { number: LAST, created_at: LAST, owner: Some(ID), creator: creator() };
        let longest = [
            ("account", account.encode(), 290),
            ("user", user().encode(), 2759),
            ("group", group().encode(), 2484),
            ("policy", policy.encode(), 1324),
            ("access-key", key.encode(), 1317),
            ("share", share.encode(), 4058),
            ("repository-settings", settings.encode(), 295),
            ("organisation", organisation.encode(), 314),
            ("text", TextRecord { part: "t".repeat(TEXT_PART) }.encode(), 3081),
        ];
        for (name, encoded, bytes) in longest {
            let encoded = encoded.expect(name).len();
            assert_eq!(encoded, bytes, "{name}");
            assert!(encoded <= MAX_RECORD, "{name}");
        }
    }

    #[test]
    fn a_record_that_does_not_fit_is_not_written() {
        let share = ShareRecord {
            organisation: 1,
            until: None,
            description: characters(SHARE_DESCRIPTION + 12),
            creator: ID,
            created_at: 1,
            updated_at: 1,
        };
        assert!(share.encode().is_err());
    }

    #[test]
    fn an_id_in_a_record_is_its_16_bytes() {
        let id = Id::from_bytes(*b"0123456789abcdef");
        let encoded = crate::identity::records::NamedRecord { id }.encode().expect("small");
        assert_eq!(encoded, b"\x010123456789abcdef");
    }
}
