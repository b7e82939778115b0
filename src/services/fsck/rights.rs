//! Whose organisations are (R24, R27, R28), what was given in them (R19, R25, R26), and credentials
//! (R19, R29).

use std::collections::{HashMap, HashSet};

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{
    AccessKeyKey, AccessKeyUseKey, AccountKey, FavouriteKey, GrantKey, LoginKey, RepositorySettingsKey,
    ShareKey, UserKey,
};
use pierhead_storage_format::keys::{CounterKey, OrganisationKey, RepositoryKey, TableKey};
use pierhead_storage_format::records::CounterRecord;

use super::fix::{How, RowChange};
use super::holdings::RECOUNT;
use super::report::{Invariant, R19, R24, R25, R25_PUBLIC, R26, R27, R28, R29, R42};
use super::rows::{each, get};
use super::{Check, Unreadable};

/// The counter that numbers organisations.
const ORGANISATION_COUNTER: &str = "organisation";
/// What the counters of an account's organisations start with, before its id.
const OWNED_COUNTER: &str = "organisations of ";
/// What the counters of a user's access keys start with, before his id.
const KEYS_COUNTER: &str = "access keys of ";
/// The same of temporary logins.
const LOGINS_COUNTER: &str = "logins of ";
/// How many of something users and accounts have.
type Counted = HashMap<Id, u64>;

impl Check<'_> {
    pub(super) fn rights(&mut self) -> Result<(), Unreadable> {
        let owned = self.organisations()?;
        self.counters_of(OWNED_COUNTER, owned, &R27)?;
        let (keys, logins) = self.credentials()?;
        self.counters_of(KEYS_COUNTER, keys, &R29)?;
        self.counters_of(LOGINS_COUNTER, logins, &R29)?;
        self.grants_and_shares()?;
        self.marks_and_settings()
    }

    /// How many organisations each account owns.
    fn organisations(&mut self) -> Result<HashMap<Id, u64>, Unreadable> {
        let counter = CounterKey { name: ORGANISATION_COUNTER.to_owned() };
        let next = get(self.rows, &counter)?.map_or(0, |counter| counter.next);
        let (mut owned, mut numbers) = (HashMap::new(), HashSet::new());
        each::<OrganisationKey>(self.rows, &[], |OrganisationKey { name }, record| {
            let number = record.number;
            if number != 0 && number >= next {
                let what = format!("organisation {name} has number {number}, the counter is {next}");
                self.report.find(&R28, what);
            }
            if number != 0 && !numbers.insert(number) {
                self.report.find(&R28, format!("organisation {name} has number {number}, as another has"));
            }
            if let Some(owner) = record.owner {
                let what = || format!("organisation {name} is of account {owner}, which is not there");
                self.needs(&AccountKey { id: owner }, &R24, what)?;
                *owned.entry(owner).or_default() += 1;
            }
            Ok(())
        })?;
        Ok(owned)
    }

    /// Whether the counters called `prefix` and an id say what was counted; no counter means 0.
    pub(super) fn counters_of(
        &mut self,
        prefix: &str,
        mut counted: HashMap<Id, u64>,
        invariant: &Invariant,
    ) -> Result<(), Unreadable> {
        let rows = self.rows;
        let mut compare = |id: &str, recorded: u64, counted: u64| {
            if recorded != counted {
                let what = format!("{prefix}{id}: the counter says {recorded}, a recount says {counted}");
                self.report.find(invariant, what);
                self.fix_counter(&format!("{prefix}{id}"), counted, invariant);
            }
        };
        each::<CounterKey>(rows, prefix.as_bytes(), |CounterKey { name }, record| {
            let id = name.strip_prefix(prefix).unwrap_or_default();
            let counted = id.parse().ok().and_then(|id: Id| counted.remove(&id)).unwrap_or(0);
            compare(id, record.next, counted);
            Ok(())
        })?;
        for (id, counted) in counted {
            compare(&id.to_string(), 0, counted);
        }
        Ok(())
    }

    /// What organisations hold is counted anew as a whole, whichever count of it is wrong.
    fn fix_counter(&mut self, name: &str, counted: u64, invariant: &Invariant) {
        if *invariant == R42 {
            self.report.fix_that_loses(&R42, RECOUNT.to_owned(), How::Recount);
            return;
        }
        let (key, does) =
            (CounterKey { name: name.to_owned() }, format!("set the counter {name:?} to {counted}"));
        match counted {
            0 => self.report.fix(invariant, does, How::Rows(vec![RowChange::remove(&key)])),
            next => self.report.fix_by_row(invariant, does, &key, &CounterRecord { next }),
        }
    }

    /// As `needs`, of a row that says nothing without the other: it can go.
    pub(super) fn needs_or_goes<K: TableKey, O: TableKey>(
        &mut self,
        key: &K,
        (invariant, own): (&Invariant, &O),
        what: impl Fn() -> String,
    ) -> Result<bool, Unreadable> {
        let is_there = self.needs(key, invariant, &what)?;
        if !is_there {
            self.report.fix_by_removal(invariant, format!("remove what is left: {}", what()), own);
        }
        Ok(is_there)
    }

    /// How many access keys each user has, and how many temporary logins.
    fn credentials(&mut self) -> Result<(Counted, Counted), Unreadable> {
        let (rows, mut keys, mut logins) = (self.rows, Counted::new(), Counted::new());
        each::<AccessKeyKey>(rows, &[], |own, record| {
            *keys.entry(record.user).or_default() += 1;
            let what = || format!("access key {} is of user {}, who is not there", own.key, record.user);
            self.needs_or_goes(&UserKey { id: record.user }, (&R19, &own), what).map(drop)
        })?;
        each::<AccessKeyUseKey>(rows, &[], |own, _| {
            let what = || format!("access key {} was used, and is not there", own.key);
            self.needs_or_goes(&AccessKeyKey { key: own.key.clone() }, (&R19, &own), what).map(drop)
        })?;
        each::<LoginKey>(rows, &[], |own, record| {
            *logins.entry(record.user).or_default() += 1;
            let what = || format!("temporary login {} is of user {}, who is not there", own.key, record.user);
            self.needs_or_goes(&UserKey { id: record.user }, (&R19, &own), what).map(drop)
        })?;
        Ok((keys, logins))
    }

    fn grants_and_shares(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<GrantKey>(rows, &[], |own, grant| {
            let GrantKey { user, name } = &own;
            let what = || format!("a grant on {name} to user {user}, who is not there");
            if self.needs_or_goes(&UserKey { id: *user }, (&R19, &own), what)? {
                let shown = format!("the grant on {name} to user {user}");
                self.is_of_now(&shown, name, grant.organisation, &own)?;
            }
            Ok(())
        })?;
        each::<ShareKey>(rows, &[], |own, share| {
            let ShareKey { account, name } = &own;
            let what = || format!("a share of {name} with account {account}, which is not there");
            if self.needs_or_goes(&AccountKey { id: *account }, (&R19, &own), what)? {
                let shown = format!("the share of {name} with account {account}");
                self.is_of_now(&shown, name, share.organisation, &own)?;
            }
            Ok(())
        })
    }

    /// R26.
    fn is_of_now<K: TableKey>(
        &mut self,
        shown: &str,
        name: &str,
        given_in: u64,
        own: &K,
    ) -> Result<(), Unreadable> {
        let organisation = name.split('/').next().unwrap_or_default().to_owned();
        let now = get(self.rows, &OrganisationKey { name: organisation })?.map(|record| record.number);
        if now != Some(given_in) {
            let what =
                format!("{shown} was given in organisation number {given_in} and says nothing any more");
            self.report.find(&R26, what);
            self.report.fix_by_removal(&R26, format!("remove {shown}"), own);
        }
        Ok(())
    }

    fn marks_and_settings(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<FavouriteKey>(rows, &[], |own, _| {
            let what = || format!("{} is marked by user {}, who is not there", own.name, own.user);
            self.needs_or_goes(&UserKey { id: own.user }, (&R19, &own), what).map(drop)
        })?;
        each::<RepositorySettingsKey>(rows, &[], |own, settings| {
            let what = || format!("attributes of repository {}, which is not there", own.name);
            let repository = RepositoryKey { name: own.name.clone() };
            match settings.public {
                true => self.needs(&repository, &R25_PUBLIC, what).map(drop),
                false => self.needs_or_goes(&repository, (&R25, &own), what).map(drop),
            }
        })
    }
}
