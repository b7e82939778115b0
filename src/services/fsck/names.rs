//! Rows that stand by themselves: everything decodes (R12), repositories have organisations (R10)
//! and numbers of their own (R9, R11).

use std::collections::HashSet;

use pierhead_storage_format::keys::{CounterKey, OrganisationKey, RepositoryKey, Table};
use pierhead_storage_format::records::CounterRecord;
use pierhead_storage_format::rows::validate_row;

use super::report::{Invariant, R9, R10, R11, R12};
use super::rows::{each, get};
use super::{Check, Stage, Unreadable};

/// The counter that numbers repositories.
const REPOSITORY_COUNTER: &str = "repository";

/// Tables whose keys start with a repository's number.
const BELOW_A_REPOSITORY: [Table; 7] = [
    Table::RepositoryCounters,
    Table::Tag,
    Table::Manifest,
    Table::ManifestTag,
    Table::Referrer,
    Table::RepositoryBlob,
    Table::ManifestReference,
];

/// Other tables whose keys start with one: rows of a repository that went, which no later one may get.
const OF_A_REPOSITORY: [Table; 5] =
    [Table::RepositoryPulls, Table::Removal, Table::Retention, Table::RetentionLog, Table::RetentionState];

impl Check<'_> {
    pub(super) fn names(&mut self) -> Result<(), Unreadable> {
        let numbers = self.repository_numbers()?;
        self.no_row_is_below_an_unknown_number(&numbers)?;
        self.identity(&numbers)?;
        self.rights()?;
        self.usage(&numbers)?;
        self.holdings()?;
        self.retention(&numbers)?;
        self.damage()
    }

    pub(super) fn every_row_decodes(&mut self) -> Result<bool, Unreadable> {
        let mut good = true;
        for table in Table::ALL {
            self.rows.scan(table, &[], &mut |key, value| {
                self.report.counts.rows += 1;
                (self.progress)(Stage::Rows, self.report.counts.rows);
                if let Err(error) = validate_row(table, key, value) {
                    let what = format!("table {}, key {}: {error}", table.name(), key.escape_ascii());
                    self.report.find(&R12, what);
                    good = false;
                }
                Ok(())
            })?;
        }
        Ok(good)
    }

    /// The numbers in use, in order.
    fn repository_numbers(&mut self) -> Result<Vec<u64>, Unreadable> {
        let mut organisations = HashSet::new();
        each::<OrganisationKey>(self.rows, &[], |key, _| {
            organisations.insert(key.name);
            Ok(())
        })?;
        let counter = CounterKey { name: REPOSITORY_COUNTER.to_owned() };
        let next = get(self.rows, &counter)?.map_or(0, |counter| counter.next);
        let mut numbers = Vec::new();
        each::<RepositoryKey>(self.rows, &[], |key, record| {
            let name = &key.name;
            let organisation = name.split('/').next().unwrap_or_default();
            if !organisations.contains(organisation) {
                self.report.find(&R10, format!("repository {name}: there is no organisation {organisation}"));
            }
            if record.id >= next {
                let what = format!("repository {name} has number {}, the counter is {next}", record.id);
                self.report.find(&R9, what);
            }
            numbers.push(record.id);
            Ok(())
        })?;
        let is_too_low = numbers.iter().any(|number| *number >= next);
        numbers.sort_unstable();
        if is_too_low {
            let highest = self.highest_repository(numbers.last().copied().unwrap_or(0))?;
            self.raise(REPOSITORY_COUNTER, &R9, next, highest);
        }
        for pair in numbers.windows(2) {
            if pair[0] == pair[1] {
                self.report.find(&R11, format!("two repositories have the number {}", pair[0]));
            }
        }
        Ok(numbers)
    }

    /// The highest number any row has in its key, or `at_least`.
    fn highest_repository(&self, at_least: u64) -> Result<u64, Unreadable> {
        let mut highest = at_least;
        for table in BELOW_A_REPOSITORY.into_iter().chain(OF_A_REPOSITORY) {
            self.rows.scan(table, &[], &mut |key, _| {
                let number = key.first_chunk::<8>().map_or(0, |n| u64::from_be_bytes(*n));
                highest = highest.max(number);
                Ok(())
            })?;
        }
        Ok(highest)
    }

    /// Where the counter `name`, which is `next`, is not above the highest number in use: that it is raised. Texts
    /// of a repository come with its other rows.
    pub(super) fn raise(&mut self, name: &str, invariant: &Invariant, next: u64, highest: u64) {
        if next > highest || highest == 0 {
            return;
        }
        let (key, to) = (CounterKey { name: name.to_owned() }, highest.saturating_add(1));
        self.report.fix_by_row(
            invariant,
            format!("raise the counter {name:?} from {next} to {to}"),
            &key,
            &CounterRecord { next: to },
        );
    }

    /// One finding a table and number, however many rows there are.
    fn no_row_is_below_an_unknown_number(&mut self, numbers: &[u64]) -> Result<(), Unreadable> {
        for table in BELOW_A_REPOSITORY {
            let mut last = None;
            self.rows.scan(table, &[], &mut |key, _| {
                let Some(number) = key.first_chunk::<8>().map(|n| u64::from_be_bytes(*n)) else {
                    return Ok(());
                };
                if last != Some(number) && numbers.binary_search(&number).is_err() {
                    let what = format!("table {}: no repository has the number {number}", table.name());
                    self.report.find(&R11, what);
                }
                last = Some(number);
                Ok(())
            })?;
        }
        Ok(())
    }
}
