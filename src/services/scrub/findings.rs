//! What was found, and whom it concerns. All of it bounded: a blob that thousands of images
//! have is not looked up in all of them.

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::{
    BlobKey, BlobRepositoryKey, ManifestKey, ManifestReferenceKey, ManifestTagKey, RepositoryKey, TableKey,
};
use pierhead_storage_format::scrub::{DamageKey, DamageKind, DamageRecord};

use super::{Scrub, permitted};
use crate::causes;
use crate::seams::tasks;
use crate::services::access::{Action, Permit};
use crate::services::error::Error;
use crate::stores::blobs::Looked;
use crate::stores::meta::Meta;

/// Images that are named of a blob.
const IMAGES: usize = 20;
/// Rows looked through for them.
const ROWS: usize = 20_000;
/// Rows of a page.
const PAGE: usize = 1000;

/// A blob that is missing or damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub digest: Digest,
    /// When and what.
    pub record: DamageRecord,
    /// Whom it concerns.
    pub affected: Affected,
}

/// Images that need a blob, as `repository:tag` or `repository@digest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// The first of them.
    pub images: Vec<String>,
    /// Whether there may be more.
    pub more: bool,
}

/// A blob that is a finding, to be written down.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    digest: Digest,
    kind: DamageKind,
    size: u64,
    parts: Vec<(u64, u64)>,
}

impl Judged {
    /// One that cannot be read, however often it is tried.
    pub(super) const fn unreadable(digest: Digest, size: u64) -> Self {
        Self { digest, kind: DamageKind::Damaged, size, parts: Vec::new() }
    }
}

/// A blob of which nothing could be told this time; its file stays where it is, since the disk may fail for a while only.
pub(super) struct Unread {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// The disk cannot read it: a finding, when trying again does not help.
    pub(super) condemned: bool,
}

/// What writing it down did.
struct Recorded {
    /// Nobody knew of it.
    is_new: bool,
    /// There is a cycle under way, which has not counted it.
    counts: bool,
}

/// What became of all that looked wrong in a slice.
#[derive(Default)]
pub(super) struct Settled {
    /// Set aside, or not there: to be written down.
    pub(super) judged: Vec<Judged>,
    /// What could not be read, though others may be.
    pub(super) unread: Vec<Unread>,
    /// What nothing could be told of for want of what all need: it is to be read again, until that is there.
    pub(super) untold: Vec<(Digest, u64)>,
    /// Why; the first of the reasons.
    pub(super) error: Option<Error>,
}

impl Scrub {
    /// Blobs that are missing or damaged now, by digest, from after `after`; at most `limit`, and whether there
    /// are more.
    pub async fn findings(
        &self,
        permit: &Permit,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<(Vec<Finding>, bool), Error> {
        permitted(permit, Action::ReadStatus)?;
        let meta = self.0.parts.meta.clone();
        tasks::blocking(move || {
            let after = after.map(|digest| DamageKey { digest }.encode());
            let mut rows = meta.page::<DamageKey>(&[], after.as_deref(), limit + 1)?;
            let more = rows.len() > limit;
            rows.truncate(limit);
            let finding = |(key, record): (DamageKey, DamageRecord)| {
                Ok(Finding { digest: key.digest, record, affected: affected(&meta, &key.digest)? })
            };
            Ok((rows.into_iter().map(finding).collect::<Result<Vec<_>, Error>>()?, more))
        })
        .await?
    }

    /// Has what looked wrong set aside, if it is. Goes through all of it, whatever fails.
    pub(super) async fn settle_findings(&self, found: Vec<(Digest, u64, Looked)>) -> Settled {
        let mut settled = Settled::default();
        for (digest, size, looked) in found {
            let parts = match &looked {
                Looked::Suspect(parts) => parts.iter().map(|part| (part.start, part.end)).collect(),
                _ => Vec::new(),
            };
            match self.judge(&digest, &looked).await {
                Ok(Some(kind)) => settled.judged.push(Judged { digest, kind, size, parts }),
                Ok(None) => {}
                Err(Error::Store(error)) if !error.is_everyones() => {
                    let (condemned, error) = (error.condemns(), causes::chain(&error));
                    tracing::warn!(%digest, error, "a blob cannot be read; its file stays where it is");
                    settled.unread.push(Unread { digest, size, condemned });
                }
                Err(error) => {
                    settled.untold.push((digest, size));
                    settled.error.get_or_insert(error);
                }
            }
        }
        settled
    }

    /// Writes findings down, the last first; what could not be written stays in `judged`.
    pub(super) async fn record_all(&self, judged: &mut Vec<Judged>) -> Result<(), Error> {
        while let Some(one) = judged.last() {
            self.record(one.clone()).await?;
            judged.pop();
        }
        Ok(())
    }

    /// What is wrong with a blob that looked so. One that its outboard alone speaks against loses that.
    async fn judge(&self, digest: &Digest, looked: &Looked) -> Result<Option<DamageKind>, Error> {
        let blobs = &self.0.parts.blobs;
        if *looked == Looked::Missing {
            let there = blobs.size_on_disk(digest).await.map_err(Error::Store)?;
            return Ok(there.is_none().then_some(DamageKind::Missing));
        }
        if blobs.quarantine_wrong(digest).await.map_err(Error::Store)? {
            return Ok(Some(DamageKind::Damaged));
        }
        if matches!(looked, Looked::Suspect(parts) if !parts.is_empty()) {
            tracing::warn!(%digest, "a blob is whole, and its outboard says that it is not: that is removed");
            blobs.drop_outboard(digest).await.map_err(Error::Store)?;
        }
        Ok(None)
    }

    /// One that is known stays as it was found first. The cycle counts it once, though a stop, or the look at what came
    /// last before one, has it read twice.
    async fn record(&self, Judged { digest, kind, size, parts }: Judged) -> Result<(), Error> {
        let found_at = self.0.parts.clock.now_ms();
        let record = DamageRecord { found_at, kind, size, parts };
        let own = &self.0.parts;
        let permit = self.system()?;
        let (is_running, began_at) = {
            let known = self.known();
            (known.state.running, known.state.began_at)
        };
        let recorded = own.access.commit(&own.meta, &permit, move |tx| {
            if tx.get(&BlobKey { digest })?.is_none() {
                return Ok(None); // removed since: nobody misses it
            }
            if let Some(known) = tx.get(&DamageKey { digest })? {
                return Ok(Some(Recorded { is_new: false, counts: is_running && known.found_at < began_at }));
            }
            tx.put(&DamageKey { digest }, &record)?;
            Ok(Some(Recorded { is_new: true, counts: is_running }))
        });
        let Some(Recorded { is_new, counts }) = recorded.await? else { return Ok(()) };
        {
            let mut known = self.known();
            known.state.damaged += u64::from(counts);
            known.findings += u64::from(is_new);
        }
        if is_new {
            let meta = own.meta.clone();
            let affected = tasks::blocking(move || affected(&meta, &digest)).await?.unwrap_or_default();
            tracing::error!(%digest, ?kind, images = ?affected.images, more = affected.more, "a blob is damaged or missing; pushing one of its images again heals it");
        }
        Ok(())
    }
}

/// The images that need a blob. Blocks.
fn affected(meta: &Meta, digest: &Digest) -> Result<Affected, Error> {
    let mut affected = Affected::default();
    let mut rows = ROWS;
    let held = meta.page::<BlobRepositoryKey>(&BlobRepositoryKey::prefix(digest), None, IMAGES + 1)?;
    affected.more = held.len() > IMAGES;
    for (key, _) in held {
        manifests_with(meta, &key.name, digest, &mut affected, &mut rows)?;
    }
    manifest_itself(meta, digest, &mut affected, &mut rows)?;
    affected.more |= rows == 0 || affected.images.len() > IMAGES;
    affected.images.truncate(IMAGES);
    Ok(affected)
}

fn manifests_with(
    meta: &Meta,
    name: &str,
    digest: &Digest,
    affected: &mut Affected,
    rows: &mut usize,
) -> Result<(), Error> {
    let Some(repository) = meta.get(&RepositoryKey { name: name.to_owned() })?.map(|row| row.id) else {
        return Ok(());
    };
    let mut after = None::<Vec<u8>>;
    while *rows > 0 && affected.images.len() <= IMAGES {
        let prefix = repository.to_be_bytes();
        let page = meta.page::<ManifestReferenceKey>(&prefix, after.as_deref(), PAGE.min(*rows))?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.encode());
        *rows -= page.len();
        for (key, _) in page.iter().filter(|(key, _)| key.digest == *digest) {
            name_image(meta, name, repository, &key.manifest, affected)?;
        }
    }
    Ok(())
}

/// Where the blob is a manifest: no row finds repositories by manifest, so the first are asked.
fn manifest_itself(
    meta: &Meta,
    digest: &Digest,
    affected: &mut Affected,
    rows: &mut usize,
) -> Result<(), Error> {
    let mut after = None::<Vec<u8>>;
    while *rows > 0 && affected.images.len() <= IMAGES {
        let page = meta.page::<RepositoryKey>(&[], after.as_deref(), PAGE.min(*rows))?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.encode());
        *rows -= page.len();
        for (key, row) in page {
            if meta.get(&ManifestKey { repository: row.id, digest: *digest })?.is_some() {
                name_image(meta, &key.name, row.id, digest, affected)?;
            }
        }
    }
    Ok(())
}

/// By its tags, or by its digest if it has none.
fn name_image(
    meta: &Meta,
    name: &str,
    repository: u64,
    manifest: &Digest,
    affected: &mut Affected,
) -> Result<(), Error> {
    let mut prefix = repository.to_be_bytes().to_vec();
    manifest.write_key(&mut prefix);
    let tags = meta.page::<ManifestTagKey>(&prefix, None, IMAGES + 1)?;
    affected.images.extend(tags.iter().map(|(key, _)| format!("{name}:{}", key.tag)));
    if tags.is_empty() {
        affected.images.push(format!("{name}@{manifest}"));
    }
    Ok(())
}
