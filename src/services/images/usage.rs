//! What was pulled and pushed, for the account of the one who asks.

use super::Images;
use crate::services::access::{Action, Actor, Permit};
use crate::services::counters::Day;
use crate::services::error::Error;

impl Images {
    /// The days of the account of the one who asks, the oldest first: at most
    /// [`DAYS`](crate::services::counters::DAYS), without those on which nothing was counted.
    pub fn days(&self, permit: &Permit) -> Result<Vec<Day>, Error> {
        if !permit.covers_registry(Action::ShowReports) && !permit.covers_registry(Action::ShowOverview) {
            return Err(Error::Bug("a permit for something else"));
        }
        let Actor::User(user) = permit.actor() else { return Ok(Vec::new()) };
        let account = self.shelves.access.directory().user(*user).map(|user| user.account);
        account.map_or_else(|| Ok(Vec::new()), |account| self.shelves.counters.days(account))
    }
}
