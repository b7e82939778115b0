//! Retention's rows belong together (R60 to R63).

use std::collections::HashSet;

use pierhead_storage_format::identity::keys::{TextKey, TextOwner};
use pierhead_storage_format::keys::{CounterKey, RepositoryKey, TableKey};
use pierhead_storage_format::retention::{LOG_ROWS, RetentionKey, RetentionLogKey, RetentionStateKey};

use super::report::{R60, R61, R62, R63};
use super::rows::{each, get};
use super::{Check, Unreadable};
use crate::services::retention::read_selectors;

/// The counter that numbers policies.
const COUNTER: &str = "retention";
/// Bytes of selectors that are read.
const MAX_TEXT: usize = 1 << 20;

impl Check<'_> {
    /// `repositories` are the numbers in use, in order.
    pub(super) fn retention(&mut self, repositories: &[u64]) -> Result<(), Unreadable> {
        self.retention_policies(repositories)?;
        self.retention_states(repositories)?;
        self.retention_logs(repositories)
    }

    fn is_of_none<K: TableKey>(
        &mut self,
        what: &str,
        repository: u64,
        repositories: &[u64],
        own: &K,
    ) -> bool {
        let is_of_none = repositories.binary_search(&repository).is_err();
        if is_of_none {
            let what = format!("{what} of repository number {repository}, which is not there");
            self.report.fix_by_removal(&R60, format!("remove {what}"), own);
            self.report.find(&R60, what);
        }
        is_of_none
    }

    fn retention_policies(&mut self, repositories: &[u64]) -> Result<(), Unreadable> {
        let rows = self.rows;
        let counter = CounterKey { name: COUNTER.to_owned() };
        let next = get(rows, &counter)?.map_or(0, |counter| counter.next);
        let (mut numbers, mut highest) = (HashSet::new(), 0);
        each::<RetentionKey>(rows, &[], |own, record| {
            let repository = own.repository;
            highest = highest.max(record.number);
            if self.is_of_none("a retention policy", repository, repositories, &own) {
                return Ok(());
            }
            let (number, name) = (record.number, record.name);
            if number >= next || !numbers.insert(number) {
                let what =
                    format!("the retention policy of {name} has number {number}, the counter is {next}");
                self.report.find(&R61, what);
            }
            let named = get(rows, &RepositoryKey { name: name.clone() })?;
            if named.is_none_or(|named| named.id != repository) {
                let what =
                    format!("the retention policy of repository number {repository} is called {name:?}'s");
                self.report.find(&R62, what);
            }
            let mut text = String::new();
            each::<TextKey>(rows, &TextKey::prefix(TextOwner::Retention(repository)), |_, record| {
                if text.len() <= MAX_TEXT {
                    text.push_str(&record.part);
                }
                Ok(())
            })?;
            if read_selectors(&text).is_none() {
                self.report
                    .find(&R62, format!("the selectors of the retention policy of {name} do not parse"));
            }
            Ok(())
        })?;
        self.raise(COUNTER, &R61, next, highest);
        Ok(())
    }

    fn retention_states(&mut self, repositories: &[u64]) -> Result<(), Unreadable> {
        each::<RetentionStateKey>(self.rows, &[], |own, _| {
            self.is_of_none("the state of retention", own.repository, repositories, &own);
            Ok(())
        })
    }

    /// One finding a repository.
    fn retention_logs(&mut self, repositories: &[u64]) -> Result<(), Unreadable> {
        let rows = self.rows;
        let mut at: Option<Log> = None;
        each::<RetentionLogKey>(rows, &[], |own, _| {
            let RetentionLogKey { repository, number } = own;
            if repositories.binary_search(&repository).is_err() {
                let does =
                    format!("remove row {number} of the retention log of repository number {repository}");
                self.report.fix_by_removal(&R60, does, &own);
            }
            match &mut at {
                Some(log) if log.repository == repository => {
                    log.is_whole &= number == log.last + 1;
                    (log.last, log.rows) = (number, log.rows + 1);
                }
                _ => {
                    self.retention_log(at.take(), repositories)?;
                    at = Some(Log { repository, last: number, rows: 1, is_whole: true });
                }
            }
            Ok(())
        })?;
        self.retention_log(at, repositories)
    }

    fn retention_log(&mut self, log: Option<Log>, repositories: &[u64]) -> Result<(), Unreadable> {
        let Some(Log { repository, last, rows, is_whole }) = log else { return Ok(()) };
        if repositories.binary_search(&repository).is_err() {
            let what = format!("a retention log of repository number {repository}, which is not there");
            self.report.find(&R60, what);
            return Ok(());
        }
        let next = get(self.rows, &RetentionStateKey { repository })?.map_or(0, |state| state.next);
        if !is_whole || rows > LOG_ROWS || next != last.saturating_add(1) {
            let what = format!(
                "the retention log of repository number {repository} has {rows} rows up to {last}, and the next is {next}"
            );
            self.report.find(&R63, what);
        }
        Ok(())
    }
}

/// The log of the repository that is being looked at.
struct Log {
    repository: u64,
    last: u64,
    rows: u64,
    is_whole: bool,
}
