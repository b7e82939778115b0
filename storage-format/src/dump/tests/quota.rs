//! Random rows of what organisations hold and may hold.

use proptest::prelude::*;

use super::{digest, row};
use crate::dump::Row;
use crate::identity::Id;
use crate::quota::{
    AccountQuotaKey, OrganisationBlobKey, OrganisationBlobRecord, OrganisationQuotaKey, OrganisationUsageKey,
    OrganisationUsageRecord, QuotaRecord,
};

/// A valid row of any table of this kind.
pub(super) fn any_row() -> impl Strategy<Value = Row> {
    (0..4usize, any::<[u8; 16]>(), digest(), any::<(u64, u64, u64)>()).prop_map(
        |(table, account, digest, (organisation, a, b))| match table {
            0 => row(
                &OrganisationBlobKey { organisation, digest },
                &OrganisationBlobRecord { size: a, references: b },
            ),
            1 => row(&OrganisationUsageKey { organisation }, &OrganisationUsageRecord { bytes: a, blobs: b }),
            2 => row(&OrganisationQuotaKey { organisation }, &QuotaRecord { bytes: a }),
            _ => row(&AccountQuotaKey { account: Id::from_bytes(account) }, &QuotaRecord { bytes: b }),
        },
    )
}
