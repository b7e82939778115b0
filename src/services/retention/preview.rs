//! What a policy would remove, and why, without removing it.

use std::sync::Arc;

use super::plan::{Cut, Plan};
use super::rules::{Keep, Policy};
use super::{Retention, missing_on, stored};
use crate::seams::tasks;
use crate::services::access::{Action, Permit};
use crate::services::error::Error;
use crate::services::images::{Tagged, permitted};

/// Versions that are told at most.
const TOLD: usize = 1000;

/// What would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The first of those that would, in the order of their tags, each with the reason.
    pub going: Vec<(Tagged, String)>,
    /// How many would.
    pub total: u64,
    /// How many are exempt.
    pub exempt: u64,
    /// How many would stay, with those.
    pub kept: u64,
    /// Whether none goes because tags of the repository are immutable: all are exempt.
    pub immutable: bool,
}

impl Retention {
    /// What the policy of a repository would remove now, or another one in its place.
    pub async fn preview(&self, permit: &Permit, policy: Option<Policy>) -> Result<Preview, Error> {
        let name = permitted(permit, Action::ShowRetention)?;
        let id = self.there(name)?;
        let policy = match policy {
            Some(policy) => policy,
            None => stored::held(&self.0.parts.meta, id)?.ok_or_else(|| missing_on(name))?.policy,
        };
        let (retention, now, name) = (self.clone(), self.0.parts.clock.now_ms(), name.clone());
        tasks::blocking(move || match retention.0.parts.images.has_immutable_tags(&name)? {
            true => retention.foreseen_of_immutable(id),
            false => retention.foreseen(id, &Arc::new(policy), now),
        })
        .await?
    }

    fn foreseen(&self, repository: u64, policy: &Policy, now: u64) -> Result<Preview, Error> {
        let mut plan = Plan::new(policy, now);
        self.each_page(repository, |page| {
            page.iter().for_each(|version| plan.see(version.tag.as_str(), version.pushed_at));
        })?;
        let (seen, exempt) = (plan.seen, plan.exempt);
        let (cut, _) = plan.finish();
        let (mut going, mut total) = (Vec::new(), 0);
        self.each_page(repository, |page| {
            for version in page.iter().filter(|version| goes(policy, &cut, version)) {
                total += 1;
                if going.len() < TOLD {
                    going.push((version.clone(), why(policy.keep, version, now)));
                }
            }
        })?;
        Ok(Preview { going, total, exempt, kept: seen.saturating_sub(total), immutable: false })
    }

    fn foreseen_of_immutable(&self, repository: u64) -> Result<Preview, Error> {
        let mut kept = 0;
        self.each_page(repository, |page| kept += page.len() as u64)?;
        Ok(Preview { going: Vec::new(), total: 0, exempt: kept, kept, immutable: true })
    }
}

fn goes(policy: &Policy, cut: &Cut, version: &Tagged) -> bool {
    let tag = version.tag.as_str();
    cut.takes(tag, version.pushed_at) && !policy.is_exempt(tag)
}

fn why(keep: Keep, version: &Tagged, now: u64) -> String {
    match keep {
        Keep::Days(days) => {
            let age = now.saturating_sub(version.pushed_at) / 86_400_000;
            format!("pushed {age} days ago, and versions are kept for {days}")
        }
        Keep::Versions(1) => "older than the newest version that is not exempt".to_owned(),
        Keep::Versions(versions) => format!("older than the newest {versions} that are not exempt"),
    }
}
