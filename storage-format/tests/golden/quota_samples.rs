//! Samples of what organisations hold and may hold.

use pierhead_storage_format::Algorithm;
use pierhead_storage_format::quota::{
    AccountQuotaKey, OrganisationBlobKey, OrganisationBlobRecord, OrganisationQuotaKey, OrganisationUsageKey,
    OrganisationUsageRecord, QuotaRecord,
};

use super::{Sample, digest, identity, sample};

pub fn samples() -> Vec<Sample> {
    let layer = digest(Algorithm::Sha256, 0x50);
    vec![
        sample(
            None,
            &OrganisationBlobKey { organisation: 7, digest: layer },
            &OrganisationBlobRecord { size: 10 << 30, references: 3 },
        ),
        sample(
            None,
            &OrganisationUsageKey { organisation: 7 },
            &OrganisationUsageRecord { bytes: 11 << 30, blobs: 12 },
        ),
        sample(None, &OrganisationQuotaKey { organisation: 7 }, &QuotaRecord { bytes: 20_000_000_000 }),
        sample(
            None,
            &AccountQuotaKey { account: identity::id(0x10) },
            &QuotaRecord { bytes: 50_000_000_000 },
        ),
    ]
}
