//! A row as bytes, whatever its table: the one place where a [`Table`] met at run time becomes its
//! key and record types. A table added to [`Table`] does not compile until it is listed here.

use crate::audit::EventKey;
use crate::codec::{FormatError, Record};
use crate::housekeeping::{
    CollectedKey, DeletedManifestKey, DeletedReferenceKey, RemovalKey, UnreferencedKey,
};
use crate::identity::keys::{
    AccessKeyKey, AccessKeyUseKey, AccountKey, AccountNameKey, FavouriteKey, GrantKey, GroupKey,
    GroupMemberKey, LoginKey, PolicyKey, RepositorySettingsKey, ShareKey, TextKey, UserKey, UserNameKey,
};
use crate::keys::{
    BlobKey, BlobRepositoryKey, CounterKey, ManifestKey, ManifestReferenceKey, ManifestTagKey,
    OrganisationKey, ReferrerKey, RepositoryBlobKey, RepositoryCountersKey, RepositoryKey, Table, TableKey,
    TagKey,
};
use crate::protection::{BanExemptionKey, BanKey};
use crate::quota::{AccountQuotaKey, OrganisationBlobKey, OrganisationQuotaKey, OrganisationUsageKey};
use crate::retention::{RetentionKey, RetentionLogKey, RetentionStateKey};
use crate::scrub::{DamageKey, ScrubStateKey};
use crate::usage::{AccountDayKey, RepositoryPullsKey};

/// Work that is the same for every table once its types are known.
pub trait ForTable {
    /// What the work gives.
    type Output;
    /// Does it for the table of `K`.
    fn call<K: TableKey>(self) -> Self::Output;
}

/// Calls `work` with the key type of `table`.
pub fn for_table<W: ForTable>(table: Table, work: W) -> W::Output {
    match table {
        Table::Organisation => work.call::<OrganisationKey>(),
        Table::Repository => work.call::<RepositoryKey>(),
        Table::RepositoryCounters => work.call::<RepositoryCountersKey>(),
        Table::Tag => work.call::<TagKey>(),
        Table::Manifest => work.call::<ManifestKey>(),
        Table::ManifestTag => work.call::<ManifestTagKey>(),
        Table::Referrer => work.call::<ReferrerKey>(),
        Table::RepositoryBlob => work.call::<RepositoryBlobKey>(),
        Table::Blob => work.call::<BlobKey>(),
        Table::BlobRepository => work.call::<BlobRepositoryKey>(),
        Table::Counter => work.call::<CounterKey>(),
        Table::ManifestReference => work.call::<ManifestReferenceKey>(),
        Table::Account => work.call::<AccountKey>(),
        Table::AccountName => work.call::<AccountNameKey>(),
        Table::User => work.call::<UserKey>(),
        Table::UserName => work.call::<UserNameKey>(),
        Table::Group => work.call::<GroupKey>(),
        Table::GroupMember => work.call::<GroupMemberKey>(),
        Table::Policy => work.call::<PolicyKey>(),
        Table::Text => work.call::<TextKey>(),
        Table::AccessKey => work.call::<AccessKeyKey>(),
        Table::AccessKeyUse => work.call::<AccessKeyUseKey>(),
        Table::Login => work.call::<LoginKey>(),
        Table::Grant => work.call::<GrantKey>(),
        Table::Share => work.call::<ShareKey>(),
        Table::Favourite => work.call::<FavouriteKey>(),
        Table::RepositorySettings => work.call::<RepositorySettingsKey>(),
        Table::AuditOutbox => work.call::<EventKey>(),
        Table::RepositoryPulls => work.call::<RepositoryPullsKey>(),
        Table::AccountDay => work.call::<AccountDayKey>(),
        Table::Ban => work.call::<BanKey>(),
        Table::BanExemption => work.call::<BanExemptionKey>(),
        Table::OrganisationBlob => work.call::<OrganisationBlobKey>(),
        Table::OrganisationUsage => work.call::<OrganisationUsageKey>(),
        Table::OrganisationQuota => work.call::<OrganisationQuotaKey>(),
        Table::AccountQuota => work.call::<AccountQuotaKey>(),
        Table::Unreferenced => work.call::<UnreferencedKey>(),
        Table::DeletedManifest => work.call::<DeletedManifestKey>(),
        Table::Collected => work.call::<CollectedKey>(),
        Table::DeletedReference => work.call::<DeletedReferenceKey>(),
        Table::Removal => work.call::<RemovalKey>(),
        Table::Retention => work.call::<RetentionKey>(),
        Table::RetentionLog => work.call::<RetentionLogKey>(),
        Table::RetentionState => work.call::<RetentionStateKey>(),
        Table::ScrubState => work.call::<ScrubStateKey>(),
        Table::Damage => work.call::<DamageKey>(),
    }
}

/// Whether `key` and `value` are a row of `table`: the key parses, the record is of a known
/// version and decodes.
pub fn validate_row(table: Table, key: &[u8], value: &[u8]) -> Result<(), FormatError> {
    for_table(table, Validate { key, value })
}

struct Validate<'a> {
    key: &'a [u8],
    value: &'a [u8],
}

impl ForTable for Validate<'_> {
    type Output = Result<(), FormatError>;

    fn call<K: TableKey>(self) -> Self::Output {
        read::<K>(self.key, self.value).map(drop)
    }
}

/// Key and record of a row whose table is known.
pub(crate) fn read<K: TableKey>(key: &[u8], value: &[u8]) -> Result<(K, K::Record), FormatError> {
    if value.len() > crate::codec::MAX_RECORD {
        return Err(FormatError::TooLarge);
    }
    Ok((K::decode(key)?, K::Record::decode(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct OwnTable;

    impl ForTable for OwnTable {
        type Output = Table;

        fn call<K: TableKey>(self) -> Table {
            K::TABLE
        }
    }

    #[test]
    fn every_table_is_given_the_key_type_that_names_it() {
        for table in Table::ALL {
            assert_eq!(for_table(table, OwnTable), table);
        }
    }

    #[test]
    fn a_row_with_a_bad_key_version_body_or_size_is_refused() {
        let tag = b"\0\0\0\0\0\0\0\x01v1";
        type Case<'a> = (&'a str, Table, &'a [u8], Vec<u8>, FormatError);
        let cases: [Case<'_>; 5] = [
            ("empty name", Table::Organisation, b"", vec![1; 9], FormatError::Key),
            ("short number", Table::Tag, b"\0\0", vec![1], FormatError::Key),
            ("a tag where a digest belongs", Table::ManifestTag, tag, vec![1], FormatError::Key),
            ("later version of a record", Table::Counter, b"repository", vec![2; 9], FormatError::Version(2)),
            ("oversized", Table::Counter, b"repository", vec![1; 4097], FormatError::TooLarge),
        ];
        for (name, table, key, value, error) in cases {
            assert_eq!(validate_row(table, key, &value), Err(error), "{name}");
        }
        let mut good = vec![1];
        good.extend_from_slice(&7u64.to_le_bytes());
        assert_eq!(validate_row(Table::Counter, b"repository", &good), Ok(()));
        good.push(0);
        assert_eq!(validate_row(Table::Counter, b"repository", &good), Err(FormatError::Record));
    }
}
