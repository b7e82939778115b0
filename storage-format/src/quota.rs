//! What organisations hold, each digest once, and how much they may. What is held is derived from `repository-blob` and
//! `manifest` rows, and changes in the change sets that change those.

use serde::{Deserialize, Serialize};

use crate::codec::{FormatError, Record};
use crate::digest::Digest;
use crate::identity::Id;
use crate::keys::{Table, TableKey, number, numbered_key};

/// Content that an organisation holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OrganisationBlobKey {
    /// [`crate::records::OrganisationRecord::number`].
    pub organisation: u64,
    /// The content.
    pub digest: Digest,
}

impl OrganisationBlobKey {
    /// What every such key of an organisation starts with.
    pub fn prefix(organisation: u64) -> Vec<u8> {
        organisation.to_be_bytes().to_vec()
    }
}

impl TableKey for OrganisationBlobKey {
    const TABLE: Table = Table::OrganisationBlob;
    type Record = OrganisationBlobRecord;

    fn encode(&self) -> Vec<u8> {
        let mut key = Self::prefix(self.organisation);
        self.digest.write_key(&mut key);
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (organisation, rest) = number(key)?;
        match Digest::read_key(rest)? {
            (digest, []) => Ok(Self { organisation, digest }),
            _ => Err(FormatError::Key),
        }
    }
}

/// How often it is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganisationBlobRecord {
    /// Bytes.
    pub size: u64,
    /// `repository-blob` and `manifest` rows of its repositories with this digest; at least 1.
    pub references: u64,
}

impl Record for OrganisationBlobRecord {
    const VERSION: u8 = 1;
}

numbered_key!(
    /// What an organisation holds.
    OrganisationUsageKey, OrganisationUsage, OrganisationUsageRecord, organisation, "[`crate::records::OrganisationRecord::number`]."
);
numbered_key!(
    /// What an organisation may hold.
    OrganisationQuotaKey, OrganisationQuota, QuotaRecord, organisation, "[`crate::records::OrganisationRecord::number`]."
);

/// The sum of an organisation's `organisation-blob` rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganisationUsageRecord {
    /// Bytes, each digest once.
    pub bytes: u64,
    /// Digests.
    pub blobs: u64,
}

impl Record for OrganisationUsageRecord {
    const VERSION: u8 = 1;
}

/// What an account's organisations may hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AccountQuotaKey {
    /// The account.
    pub account: Id,
}

impl TableKey for AccountQuotaKey {
    const TABLE: Table = Table::AccountQuota;
    type Record = QuotaRecord;

    fn encode(&self) -> Vec<u8> {
        self.account.as_bytes().to_vec()
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        match Id::read_key(key)? {
            (account, []) => Ok(Self { account }),
            _ => Err(FormatError::Key),
        }
    }
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaRecord {
    /// Bytes at most.
    pub bytes: u64,
}

impl Record for QuotaRecord {
    const VERSION: u8 = 1;
}
