//! Manifests that no tag names, of a certain age: removed where the settings say so. One stays while an index of its
//! repository names it, while it is about another manifest that is there, and while somebody counts on it.
//!
//! One repository at a time: first what its indexes name is gathered, then its manifests are looked at. Memory is that of
//! [`CHILDREN`] numbers; a repository whose indexes name more is left alone, and the log says so. Whoever runs it is
//! asked after every page whether it goes on.

use std::collections::HashSet;

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::{
    ManifestKey, ManifestReferenceKey, ManifestTagKey, RepositoryKey, TableKey,
};
use pierhead_storage_format::records::{ManifestRecord, ReferenceRole};

use super::rows::Rows;
use super::{Course, Shelves};
use crate::services::access::Permit;
use crate::services::error::Error;
use crate::services::names::RepositoryName;
use crate::stores::meta::Meta;

/// Rows looked at together.
const BATCH: usize = 1000;
/// Manifests removed in one change set.
const REMOVED: usize = 50;
/// What indexes of one repository may name.
const CHILDREN: usize = 1 << 20;

impl Shelves {
    /// Removes untagged manifests last pushed at `cutoff` or before, as far as `course` lets it; how many.
    pub async fn remove_untagged(
        &self,
        permit: &Permit,
        cutoff: u64,
        course: &impl Course,
    ) -> Result<u64, Error> {
        let (mut removed, mut after) = (0, None::<Vec<u8>>);
        loop {
            let page = self.meta.page::<RepositoryKey>(&[], after.as_deref(), BATCH)?;
            let Some((last, _)) = page.last() else { return Ok(removed) };
            after = Some(last.encode());
            for (key, record) in page {
                if course.is_halted() {
                    return Ok(removed);
                }
                let Ok(name) = key.name.parse::<RepositoryName>() else { continue };
                removed += self.remove_untagged_of(permit, (&name, record.id), cutoff, course).await?;
            }
        }
    }

    async fn remove_untagged_of(
        &self,
        permit: &Permit,
        (name, id): (&RepositoryName, u64),
        cutoff: u64,
        course: &impl Course,
    ) -> Result<u64, Error> {
        let children = match children(&self.meta, id, course, CHILDREN).await? {
            Children::All(children) => children,
            Children::Halted => return Ok(0),
            Children::TooMuch => {
                tracing::warn!(repository = %name, "its indexes name too much: untagged manifests of it stay");
                return Ok(0);
            }
        };
        let (mut removed, mut after) = (0, None::<Vec<u8>>);
        while !course.is_halted() {
            let since = self.clock.monotonic_ms();
            let page = self.meta.page::<ManifestKey>(&ManifestKey::prefix(id), after.as_deref(), REMOVED)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.encode());
            let mut old = Vec::new();
            for (key, record) in page {
                let may_go = record.pushed_at <= cutoff && !children.contains(&short(&key.digest));
                if may_go && self.stands_alone(id, &key.digest, &record)? {
                    old.push((key.digest, record.pushed_at));
                }
            }
            let gone = match self.remove_batch(permit, name, id, old.clone()).await {
                Err(Error::TooMuch) => self.remove_each(permit, (name, id), old, course).await?,
                done => done?,
            };
            removed += gone;
            course.rest(since, gone).await;
        }
        Ok(removed)
    }

    /// Neither tagged nor about something that is there.
    fn stands_alone(&self, repository: u64, digest: &Digest, record: &ManifestRecord) -> Result<bool, Error> {
        let tagged =
            self.meta.page::<ManifestTagKey>(&ManifestTagKey::prefix(repository, digest), None, 1)?;
        let about = match record.subject {
            Some(subject) => self.meta.get(&ManifestKey { repository, digest: subject })?.is_some(),
            None => false,
        };
        Ok(tagged.is_empty() && !about)
    }

    /// One by one; one that is too much for a change set alone stays.
    async fn remove_each(
        &self,
        permit: &Permit,
        (name, id): (&RepositoryName, u64),
        old: Vec<(Digest, u64)>,
        course: &impl Course,
    ) -> Result<u64, Error> {
        let mut removed = 0;
        for one in old {
            if course.is_halted() {
                break;
            }
            match self.remove_batch(permit, name, id, vec![one]).await {
                Err(Error::TooMuch) => {
                    tracing::warn!(repository = %name, digest = %one.0, "an untagged manifest is too much for a change set: it stays");
                }
                done => removed += done?,
            }
        }
        Ok(removed)
    }

    /// Looks again in the change set. An index that names one meanwhile has seen it, or comes after.
    async fn remove_batch(
        &self,
        permit: &Permit,
        name: &RepositoryName,
        id: u64,
        mut old: Vec<(Digest, u64)>,
    ) -> Result<u64, Error> {
        let going = self.leases.take(old.iter().map(|(digest, _)| *digest));
        old.retain(|(digest, _)| going.has(digest));
        if old.is_empty() {
            return Ok(0);
        }
        let (name, now) = (name.clone(), self.clock.now_ms());
        let undo = self.undo_by(permit);
        let remove = self.access.commit(&self.meta, permit, move |tx| {
            let mut rows = match Rows::existing(tx, name, now) {
                Ok(rows) if rows.is(id) => rows.with_undo(undo),
                Ok(_) | Err(Error::RepositoryUnknown(_)) => return Ok(0),
                Err(error) => return Err(error),
            };
            let mut removed = 0;
            for (digest, pushed_at) in old {
                let same = rows.manifest(&digest)?.is_some_and(|record| record.pushed_at == pushed_at);
                removed += u64::from(same && !rows.is_tagged(&digest)? && rows.delete_manifest(&digest)?);
            }
            rows.finish()?;
            Ok(removed)
        });
        remove.await
    }
}

/// What the indexes of a repository name.
#[derive(Debug, PartialEq, Eq)]
enum Children {
    /// All of it, each shortened.
    All(HashSet<u64>),
    /// More than is kept in memory.
    TooMuch,
    /// Nobody knows: it was halted before the end. That is not to be asked again: a pause may be over by then.
    Halted,
}

/// Gathers it, if it is not more than `most`.
async fn children(
    meta: &Meta,
    repository: u64,
    course: &impl Course,
    most: usize,
) -> Result<Children, Error> {
    let prefix = repository.to_be_bytes();
    let (mut children, mut after) = (HashSet::new(), None::<Vec<u8>>);
    loop {
        if course.is_halted() {
            return Ok(Children::Halted);
        }
        let page = meta.page::<ManifestReferenceKey>(&prefix, after.as_deref(), BATCH)?;
        let Some((last, _)) = page.last() else { return Ok(Children::All(children)) };
        after = Some(last.encode());
        let named = page.iter().filter(|(_, record)| record.role == ReferenceRole::Child);
        children.extend(named.map(|(key, _)| short(&key.digest)));
        if children.len() > most {
            return Ok(Children::TooMuch);
        }
        tokio::task::yield_now().await;
    }
}

fn short(digest: &Digest) -> u64 {
    digest.raw().first_chunk::<8>().map_or(0, |head| u64::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use pierhead_storage_format::Algorithm;
    use pierhead_storage_format::records::ReferenceRecord;

    use super::*;
    use crate::services::access::{self, Access, Action, Actor, Resource, Rules};
    use crate::stores::meta;

    /// Paused once, for as long as it takes to ask.
    struct Pause(AtomicBool);

    impl Course for Pause {
        fn is_halted(&self) -> bool {
            self.0.swap(false, Ordering::Relaxed)
        }

        async fn rest(&self, _: u64, _: u64) {}
    }

    fn digest(byte: u8) -> Digest {
        Digest::new(Algorithm::Sha256, &[byte; 32]).expect("fits")
    }

    /// Of an index of repository 1 that names two.
    async fn rows(root: &std::path::Path) -> Meta {
        let meta = Meta::for_tests(root);
        let access = Access::without_accounts(Rules::Closed(access::Options::default()));
        let permit = access.authorise(&Actor::LocalAdministrator, Action::MaintainStore, Resource::Registry);
        let put = |tx: &mut meta::Tx<'_>| {
            for named in [1, 2] {
                let key = ManifestReferenceKey { repository: 1, manifest: digest(9), digest: digest(named) };
                tx.put(&key, &ReferenceRecord { role: ReferenceRole::Child })?;
            }
            Ok::<_, Error>(())
        };
        access.commit(&meta, &permit.expect("allowed"), put).await.expect("stored");
        meta
    }

    #[tokio::test]
    async fn a_pause_that_is_over_by_now_is_not_too_many_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let meta = rows(folder.path()).await;
        let all = || Children::All([1, 2].map(|byte| short(&digest(byte))).into());
        for (paused, most, expected) in
            [(false, 2, all()), (false, 1, Children::TooMuch), (true, 2, Children::Halted)]
        {
            let course = Pause(AtomicBool::new(paused));
            let found = children(&meta, 1, &course, most).await.expect("readable");
            assert_eq!(found, expected, "paused {paused}, {most} at most");
        }
    }
}
