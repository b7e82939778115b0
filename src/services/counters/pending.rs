//! What was counted and is not in the store yet.

use std::collections::HashMap;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::usage::AccountDayRecord;

use super::MAX_PENDING;

/// Pulls of a repository to be added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulls {
    /// How many.
    pub pulls: u64,
    /// The last, UTC milliseconds.
    pub pulled_at: u64,
}

/// What a day is to get: sums, and in the place of what was stored what is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// Images pulled.
    pub pulls: u64,
    /// Bytes sent.
    pub pulled: u64,
    /// Manifests pushed.
    pub pushes: u64,
    /// Bytes held.
    pub stored: Option<u64>,
}

impl More {
    /// A day with this.
    pub fn added_to(self, day: AccountDayRecord) -> AccountDayRecord {
        AccountDayRecord {
            pulls: day.pulls.saturating_add(self.pulls),
            pulled: day.pulled.saturating_add(self.pulled),
            pushes: day.pushes.saturating_add(self.pushes),
            stored: self.stored.or(day.stored),
        }
    }

    fn less(self, done: Self) -> Self {
        Self {
            pulls: self.pulls.saturating_sub(done.pulls),
            pulled: self.pulled.saturating_sub(done.pulled),
            pushes: self.pushes.saturating_sub(done.pushes),
            stored: self.stored.filter(|_| self.stored != done.stored),
        }
    }
}

/// Repositories by number, each with its whole name; days by account and number.
#[derive(Debug, Default)]
pub struct Pending {
    repositories: HashMap<u64, (String, Pulls)>,
    days: HashMap<(Id, u64), More>,
    uncounted: u64,
}

/// What a flush takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Number, whole name and pulls of repositories.
    pub repositories: Vec<(u64, String, Pulls)>,
    /// Days by account and number.
    pub days: Vec<((Id, u64), More)>,
}

impl Pending {
    /// An image was pulled.
    pub fn pulled(&mut self, id: u64, name: &str, now: u64) {
        if let Some((_, pulls)) = self.repositories.get_mut(&id) {
            *pulls = Pulls { pulls: pulls.pulls + 1, pulled_at: now };
        } else if self.repositories.len() < MAX_PENDING {
            self.repositories.insert(id, (name.to_owned(), Pulls { pulls: 1, pulled_at: now }));
        } else {
            self.uncounted += 1;
        }
    }

    /// Something was done on a day of an account; what is nobody's is not counted.
    pub fn day(&mut self, account: Option<Id>, number: u64, change: impl FnOnce(&mut More)) {
        let Some(account) = account else { return };
        if self.days.len() >= MAX_PENDING && !self.days.contains_key(&(account, number)) {
            self.uncounted += 1;
            return;
        }
        change(self.days.entry((account, number)).or_default());
    }

    /// Pulls of a repository.
    pub fn pulls(&self, id: u64) -> u64 {
        self.repositories.get(&id).map_or(0, |(_, pulls)| pulls.pulls)
    }

    /// The days of an account.
    pub fn days_of(&self, account: Id) -> Vec<(u64, More)> {
        let own = self.days.iter().filter(|((of, _), _)| *of == account);
        own.map(|((_, number), more)| (*number, *more)).collect()
    }

    /// Some of it, `most` entries in all; it stays until [`Pending::done`].
    pub fn some(&self, most: usize) -> Batch {
        let repositories = self.repositories.iter().take(most);
        let repositories: Vec<_> =
            repositories.map(|(id, (name, pulls))| (*id, name.clone(), *pulls)).collect();
        let left = most - repositories.len();
        Batch { repositories, days: self.days.iter().take(left).map(|(key, more)| (*key, *more)).collect() }
    }

    /// This much of it is in the store now.
    pub fn done(&mut self, batch: &Batch) {
        for (id, _, done) in &batch.repositories {
            if let Some((_, pulls)) = self.repositories.get_mut(id) {
                pulls.pulls = pulls.pulls.saturating_sub(done.pulls);
            }
        }
        for (key, done) in &batch.days {
            if let Some(more) = self.days.get_mut(key) {
                *more = more.less(*done);
            }
        }
        self.repositories.retain(|_, (_, pulls)| pulls.pulls > 0);
        self.days.retain(|_, more| *more != More::default());
    }

    /// How much was not counted since it was last asked.
    pub fn uncounted(&mut self) -> u64 {
        std::mem::take(&mut self.uncounted)
    }
}
