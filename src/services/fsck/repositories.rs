//! One repository after another: tags (R1, R2), manifests (R3, R4, R7, R14, R15), blobs (R6, R13) and
//! counters (R8).

use std::collections::{BTreeMap, BTreeSet};

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::{
    BlobKey, BlobRepositoryKey, ManifestKey, ManifestReferenceKey, ManifestTagKey, ReferrerKey,
    RepositoryBlobKey, RepositoryCountersKey, RepositoryKey, TagKey,
};
use pierhead_storage_format::records::{
    ManifestRecord, Present, ReferenceRecord, ReferenceRole, ReferrerRecord, RepositoryCounters,
};

use super::fix::{How, RowChange};
use super::references::{References, references};
use super::report::{ORPHAN, R1, R2, R3, R4, R6, R7, R8, R13, R14, R15};
use super::rows::{each, get};
use super::tally::{Count, Tally};
use super::{Check, Content, MAX_MANIFEST, Stage, TALLY, Unreadable};

/// Manifests whose notes of one absent blob are taken back in one pass.
const NOTED: usize = 1000;

/// The repository under check, and what was counted in it so far.
struct Repository<'a> {
    name: &'a str,
    id: u64,
    counted: RepositoryCounters,
    /// Whether every manifest's references are known, so that a recount of them means something.
    readable: bool,
}

impl Check<'_> {
    pub(super) fn repositories(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<RepositoryKey>(rows, &[], |key, record| {
            self.report.counts.repositories += 1;
            (self.progress)(Stage::Repositories, self.report.counts.repositories);
            let counted = RepositoryCounters::default();
            self.repository(&mut Repository { name: &key.name, id: record.id, counted, readable: true })
        })
    }

    fn repository(&mut self, at: &mut Repository<'_>) -> Result<(), Unreadable> {
        self.tags(at)?;
        self.manifest_tags(at)?;
        self.repository_blobs(at)?;
        let mut tally = self.tally_of_repository(at.id, None)?;
        self.manifests(at, &mut tally)?;
        self.references_have_manifests(at)?;
        self.referrers(at)?;
        self.repository_references(at, tally)?;
        self.counters(at)
    }

    fn tags(&mut self, at: &mut Repository<'_>) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<TagKey>(rows, &TagKey::prefix(at.id), |key, record| {
            at.counted.tags += 1;
            let (name, tag, digest) = (at.name, key.tag, record.digest);
            if get(rows, &ManifestKey { repository: at.id, digest })?.is_none() {
                self.report.find(&R1, format!("tag {name}:{tag} names {digest}, which has no manifest row"));
            }
            let mirror = ManifestTagKey { repository: at.id, digest, tag };
            if get(rows, &mirror)?.is_none() {
                self.report.find(&R2, format!("tag {name}:{} has no row under {digest}", mirror.tag));
                let does = format!("list tag {name}:{} under {digest}", mirror.tag);
                self.report.fix_by_row(&R2, does, &mirror, &Present {});
            }
            Ok(())
        })
    }

    fn manifest_tags(&mut self, at: &Repository<'_>) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<ManifestTagKey>(rows, &at.id.to_be_bytes(), |key, _| {
            let tag = get(rows, &TagKey { repository: at.id, tag: key.tag.clone() })?;
            let what = || {
                format!("{}: a row under {} for tag {}, which does not name it", at.name, key.digest, key.tag)
            };
            let Some(tag) = tag else {
                self.report.find_orphan(&R2, ORPHAN, what());
                return Ok(());
            };
            if tag.digest != key.digest {
                self.report.find(&R2, what());
                let does = format!("remove {}:{} from the tags of {}", at.name, key.tag, key.digest);
                self.report.fix_by_removal(&R2, does, &key);
            }
            Ok(())
        })
    }

    fn repository_blobs(&mut self, at: &mut Repository<'_>) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<RepositoryBlobKey>(rows, &RepositoryBlobKey::prefix(at.id), |key, record| {
            at.counted.blobs += 1;
            at.counted.bytes = at.counted.bytes.saturating_add(record.size);
            let mirror = BlobRepositoryKey { digest: key.digest, name: at.name.to_owned() };
            if get(rows, &mirror)?.is_none() {
                self.report.find(&R6, format!("blob {} of {} has no row by digest", key.digest, at.name));
                let does = format!("list {} among the repositories of blob {}", at.name, key.digest);
                self.report.fix_by_row(&R6, does, &mirror, &Present {});
            }
            self.stored_with_size("blob", at.name, &key.digest, record.size)
        })
    }

    fn stored_with_size(
        &mut self,
        kind: &str,
        name: &str,
        digest: &Digest,
        size: u64,
    ) -> Result<(), Unreadable> {
        let stored = get(self.rows, &BlobKey { digest: *digest })?.map(|blob| blob.size);
        if stored.is_none() && self.without_rows.len() < TALLY {
            self.without_rows.insert(*digest);
        }
        if stored != Some(size) {
            let stored =
                stored.map_or("has no blob row".to_owned(), |s| format!("has a blob row of {s} bytes"));
            self.report.find(&R13, format!("{kind} {digest} of {name}, {size} bytes, {stored}"));
        }
        Ok(())
    }

    fn manifests(&mut self, at: &mut Repository<'_>, tally: &mut Tally) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<ManifestKey>(rows, &ManifestKey::prefix(at.id), |key, record| {
            at.counted.manifests += 1;
            let digest = key.digest;
            if get(rows, &RepositoryBlobKey { repository: at.id, digest })?.is_none() {
                at.counted.bytes = at.counted.bytes.saturating_add(record.size);
            }
            self.stored_with_size("manifest", at.name, &digest, record.size)?;
            self.referrer_row(at, &digest, &record)?;
            match self.manifest_references(at.name, &digest, &record)? {
                Some(mut references) => {
                    self.reference_rows(at, &digest, &mut references)?;
                    references.blobs().for_each(|blob| tally.bump(blob));
                    self.references_are_linked(at, &digest, &references)
                }
                None => {
                    at.readable = false;
                    Ok(())
                }
            }
        })
    }

    fn referrer_row(
        &mut self,
        at: &Repository<'_>,
        digest: &Digest,
        record: &ManifestRecord,
    ) -> Result<(), Unreadable> {
        let Some(subject) = record.subject else { return Ok(()) };
        let key = ReferrerKey { repository: at.id, subject, digest: *digest };
        let row = get(self.rows, &key)?;
        if row.is_none_or(|row| row.artifact_type != record.artifact_type) {
            let what = format!(
                "manifest {digest} of {} has no matching row among the referrers of {subject}",
                at.name
            );
            self.report.find(&R7, what);
            let does = format!("list manifest {digest} of {} among the referrers of {subject}", at.name);
            let record = ReferrerRecord { artifact_type: record.artifact_type.clone() };
            self.report.fix_by_row(&R7, does, &key, &record);
        }
        Ok(())
    }

    /// `None` if the bytes cannot be had or are no such manifest, which is reported here unless
    /// another check does.
    fn manifest_references(
        &mut self,
        name: &str,
        digest: &Digest,
        record: &ManifestRecord,
    ) -> Result<Option<References>, Unreadable> {
        let Some(bytes) = self.manifest_bytes(digest, record.size)? else { return Ok(None) };
        self.report.counts.manifests += 1;
        let found = references(record.kind, &record.media_type, &bytes);
        let agrees = found.as_ref().is_some_and(|found| found.subject == record.subject);
        if !agrees {
            self.report.find(&R14, format!("manifest {digest} of {name} is not what its row says"));
        }
        Ok(found)
    }

    /// A file that is missing is B1's; in a deep check a damaged one is found with the blobs.
    fn manifest_bytes(&mut self, digest: &Digest, size: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        if size > MAX_MANIFEST {
            self.report.find(&R14, format!("manifest {digest} of {size} bytes is too large to be one"));
            return Ok(None);
        }
        match self.blobs.read(digest)? {
            Content::Good(bytes) => Ok(Some(bytes)),
            Content::Missing => Ok(None),
            Content::Damaged => {
                if !self.options.deep && self.file_has_its_size(digest)? {
                    self.damaged(digest, size, format!("manifest {digest} is damaged"))?;
                }
                Ok(None)
            }
        }
    }

    /// Otherwise B1 says so.
    fn file_has_its_size(&self, digest: &Digest) -> Result<bool, Unreadable> {
        let row = get(self.rows, &BlobKey { digest: *digest })?;
        Ok(row.is_some() && self.blobs.size(digest)? == row.map(|row| row.size))
    }

    fn references_are_linked(
        &mut self,
        at: &Repository<'_>,
        digest: &Digest,
        references: &References,
    ) -> Result<(), Unreadable> {
        for blob in references.blobs() {
            if get(self.rows, &RepositoryBlobKey { repository: at.id, digest: *blob })?.is_none() {
                let what =
                    format!("manifest {digest} of {} names {blob}, which the repository lacks", at.name);
                self.report.find(&R3, what);
            }
        }
        Ok(())
    }

    /// The roles on record for a manifest; memory is that of one manifest.
    fn recorded_roles(
        &self,
        id: u64,
        manifest: &Digest,
    ) -> Result<BTreeMap<Digest, ReferenceRole>, Unreadable> {
        let mut recorded = BTreeMap::new();
        each::<ManifestReferenceKey>(
            self.rows,
            &ManifestReferenceKey::prefix(id, manifest),
            |key, record| {
                recorded.insert(key.digest, record.role);
                Ok(())
            },
        )?;
        Ok(recorded)
    }

    /// R15 from the side of the manifest.
    fn reference_rows(
        &mut self,
        at: &Repository<'_>,
        digest: &Digest,
        references: &mut References,
    ) -> Result<(), Unreadable> {
        let recorded = self.recorded_roles(at.id, digest)?;
        references.note_absent(&recorded);
        if recorded != references.named {
            let what =
                format!("the reference rows of manifest {digest} of {} are not what it names", at.name);
            self.report.find(&R15, what);
            let does = format!("write the reference rows of manifest {digest} of {} from its bytes", at.name);
            let rows = reference_changes(at.id, digest, &references.named, &recorded);
            self.report.fix(&R15, does, How::Rows(rows));
        }
        Ok(())
    }

    /// R15 from the side of the rows: one finding a manifest that is not there.
    fn references_have_manifests(&mut self, at: &Repository<'_>) -> Result<(), Unreadable> {
        let (rows, mut last) = (self.rows, None);
        each::<ManifestReferenceKey>(rows, &at.id.to_be_bytes(), |key, _| {
            let manifest = ManifestKey { repository: at.id, digest: key.manifest };
            if last.replace(key.manifest) != Some(key.manifest) && get(rows, &manifest)?.is_none() {
                let what = format!("{}: reference rows of {}, which is not there", at.name, key.manifest);
                self.report.find_orphan(&R15, ORPHAN, what);
            }
            Ok(())
        })
    }

    fn referrers(&mut self, at: &Repository<'_>) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<ReferrerKey>(rows, &at.id.to_be_bytes(), |key, _| {
            let manifest = get(rows, &ManifestKey { repository: at.id, digest: key.digest })?;
            let what = || {
                let (name, subject) = (at.name, key.subject);
                format!(
                    "{name}: {} is listed among the referrers of {subject}, which it does not name",
                    key.digest
                )
            };
            let Some(manifest) = manifest else {
                self.report.find_orphan(&R7, ORPHAN, what());
                return Ok(());
            };
            if manifest.subject != Some(key.subject) {
                self.report.find(&R7, what());
                let does =
                    format!("remove {} of {} from the referrers of {}", key.digest, at.name, key.subject);
                self.report.fix_by_removal(&R7, does, &key);
            }
            Ok(())
        })
    }

    /// R4, for a bounded number of blobs at a time, the first of which are counted already; silent
    /// where manifests cannot be read.
    fn repository_references(&mut self, at: &Repository<'_>, mut tally: Tally) -> Result<(), Unreadable> {
        if !at.readable {
            return Ok(());
        }
        loop {
            let noted = self.noted_absent(at, &tally)?;
            for count in tally.wrong() {
                let what = format!(
                    "blob {} of {}: {} manifests name it, its row says {}",
                    count.digest, at.name, count.counted, count.recorded
                );
                self.report.find(&R4, what);
                let (digest, to) = (count.digest, count.counted);
                self.is_miscounted(at.id, count);
                if let Some(manifests) = noted.get(&digest) {
                    self.take_back_notes(at, digest, manifests);
                    continue;
                }
                let does = format!("set the references of blob {digest} of {} to {to}", at.name);
                let how =
                    How::RepositoryReferences { repository: at.id, name: at.name.to_owned(), digest, to };
                match to < count.recorded {
                    true => self.report.fix_that_loses(&R4, does, how),
                    false => self.report.fix(&R4, does, how),
                }
            }
            if tally.len() < self.tally {
                return Ok(());
            }
            tally = self.tally_of_repository(at.id, tally.last())?;
            self.count_references(at.id, &mut tally)?;
        }
    }

    /// Manifests that note as absent what the repository has, of blobs that more manifests count than name: a note that
    /// is wrong would let go what the manifest needs. Bounded by [`NOTED`]; the next pass finds the rest.
    fn noted_absent(
        &self,
        at: &Repository<'_>,
        tally: &Tally,
    ) -> Result<BTreeMap<Digest, Vec<Digest>>, Unreadable> {
        let mut noted = BTreeMap::<Digest, Vec<Digest>>::new();
        let counted_more = |count: &&Count| count.counted < count.recorded;
        let wanted: BTreeSet<Digest> = tally.wrong().filter(counted_more).map(|count| count.digest).collect();
        if wanted.is_empty() {
            return Ok(noted);
        }
        each::<ManifestKey>(self.rows, &ManifestKey::prefix(at.id), |key, record| {
            let Content::Good(bytes) = self.blobs.read(&key.digest)? else { return Ok(()) };
            let named = references(record.kind, &record.media_type, &bytes).unwrap_or_default();
            let recorded = self.recorded_roles(at.id, &key.digest)?;
            for blob in named.blobs().filter(|blob| wanted.contains(blob)) {
                if recorded.get(blob) == Some(&ReferenceRole::Absent) {
                    let manifests = noted.entry(*blob).or_default();
                    if manifests.len() < NOTED {
                        manifests.push(key.digest);
                    }
                }
            }
            Ok(())
        })?;
        Ok(noted)
    }

    /// The references are counted again in the next pass.
    fn take_back_notes(&mut self, at: &Repository<'_>, digest: Digest, manifests: &[Digest]) {
        for manifest in manifests {
            let key = ManifestReferenceKey { repository: at.id, manifest: *manifest, digest };
            let does =
                format!("take back that blob {digest} was absent for manifest {manifest} of {}", at.name);
            self.report.fix_by_row(&R4, does, &key, &ReferenceRecord { role: ReferenceRole::Blob });
        }
    }

    fn tally_of_repository(&self, id: u64, after: Option<Digest>) -> Result<Tally, Unreadable> {
        let mut tally = Tally::default();
        each::<RepositoryBlobKey>(self.rows, &RepositoryBlobKey::prefix(id), |key, record| {
            if tally.len() < self.tally && after.is_none_or(|after| after < key.digest) {
                tally.push(key.digest, record.references);
            }
            Ok(())
        })?;
        Ok(tally)
    }

    fn count_references(&self, id: u64, tally: &mut Tally) -> Result<(), Unreadable> {
        each::<ManifestKey>(self.rows, &ManifestKey::prefix(id), |key, record| {
            if let Content::Good(bytes) = self.blobs.read(&key.digest)? {
                let mut found = references(record.kind, &record.media_type, &bytes).unwrap_or_default();
                found.note_absent(&self.recorded_roles(id, &key.digest)?);
                found.blobs().for_each(|blob| tally.bump(blob));
            }
            Ok(())
        })
    }

    /// R8. A repository without a row of counters counts as empty.
    fn counters(&mut self, at: &mut Repository<'_>) -> Result<(), Unreadable> {
        let recorded = get(self.rows, &RepositoryCountersKey { repository: at.id })?.unwrap_or_default();
        at.counted.pushed_at = recorded.pushed_at;
        if at.counted != recorded {
            let what = format!(
                "{}: the counters say {}, a recount says {}",
                at.name,
                shown(&recorded),
                shown(&at.counted)
            );
            self.report.find(&R8, what);
            let does = format!("set the counters of {} to {}", at.name, shown(&at.counted));
            let key = RepositoryCountersKey { repository: at.id };
            self.report.fix_by_row(&R8, does, &key, &at.counted);
        }
        Ok(())
    }
}

/// What makes the reference rows of a manifest those it names.
fn reference_changes(
    repository: u64,
    manifest: &Digest,
    named: &BTreeMap<Digest, ReferenceRole>,
    recorded: &BTreeMap<Digest, ReferenceRole>,
) -> Vec<RowChange> {
    let key = |digest: &Digest| ManifestReferenceKey { repository, manifest: *manifest, digest: *digest };
    let gone = recorded.keys().filter(|digest| !named.contains_key(digest));
    let mut rows: Vec<RowChange> = gone.map(|digest| RowChange::remove(&key(digest))).collect();
    let other = named.iter().filter(|(digest, role)| recorded.get(digest) != Some(role));
    rows.extend(
        other.filter_map(|(digest, role)| RowChange::put(&key(digest), &ReferenceRecord { role: *role })),
    );
    rows
}

fn shown(counters: &RepositoryCounters) -> String {
    let RepositoryCounters { tags, manifests, blobs, bytes, pushed_at: _ } = counters;
    format!("{tags} tags, {manifests} manifests, {blobs} blobs, {bytes} bytes")
}
