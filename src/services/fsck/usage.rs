//! What was counted belongs to what is there (R30).

use pierhead_storage_format::identity::keys::AccountKey;
use pierhead_storage_format::usage::{AccountDayKey, RepositoryPullsKey};

use super::report::R30;
use super::rows::each;
use super::{Check, Unreadable};

impl Check<'_> {
    /// `repositories` are the numbers in use, in order.
    pub(super) fn usage(&mut self, repositories: &[u64]) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<RepositoryPullsKey>(rows, &[], |RepositoryPullsKey { repository }, _| {
            if repositories.binary_search(&repository).is_err() {
                let what = format!("pulls of repository number {repository}, which is not there");
                self.report.fix_by_removal(
                    &R30,
                    format!("remove {what}"),
                    &RepositoryPullsKey { repository },
                );
                self.report.find(&R30, what);
            }
            Ok(())
        })?;
        let (mut last, mut is_there) = (None, true);
        each::<AccountDayKey>(rows, &[], |own, _| {
            let account = own.account;
            if last.replace(account) != Some(account) {
                let what = || format!("days of account {account}, which is not there");
                is_there = self.needs(&AccountKey { id: account }, &R30, what)?;
            }
            if !is_there {
                let does = format!("remove day {} of account {account}, which is not there", own.day);
                self.report.fix_by_removal(&R30, does, &own);
            }
            Ok(())
        })
    }
}
