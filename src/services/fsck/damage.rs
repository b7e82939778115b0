//! What the scrub noted as damaged is a blob (R70), and is damaged still (R71).

use pierhead_storage_format::keys::BlobKey;
use pierhead_storage_format::scrub::DamageKey;

use super::fix::How;
use super::report::{R70, R71};
use super::rows::{each, get};
use super::{Check, Unreadable};

impl Check<'_> {
    /// Whether the bytes are right is B3's: a file of the right size was pushed since, or it would be in quarantine.
    pub(super) fn damage(&mut self) -> Result<(), Unreadable> {
        let (rows, blobs) = (self.rows, self.blobs);
        each::<DamageKey>(rows, &[], |DamageKey { digest }, record| {
            match get(rows, &BlobKey { digest })? {
                Some(row) if row.size == record.size => {
                    if blobs.size(&digest)? == Some(row.size) {
                        self.report
                            .find(&R71, format!("blob {digest} was noted as damaged, and has its file"));
                        let does = format!("read blob {digest}, and remove the note if its bytes are right");
                        self.report.fix(&R71, does, How::Blob { digest, size: row.size });
                    }
                }
                _ => {
                    self.report.find(&R70, format!("blob {digest} is noted as damaged, and is not there"));
                    let does = format!("remove the note that blob {digest} is damaged");
                    self.report.fix_by_removal(&R70, does, &DamageKey { digest });
                }
            }
            Ok(())
        })
    }
}
