//! What is about a version: signatures, attestations, bills of materials. Some are found by their tag, as cosign names
//! them (`sha256-<hex>.sig`), others by the subject they name.

use pierhead_storage_format::Digest;
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::keys::{ManifestKey, ManifestTagKey, ReferrerKey, TableKey, TagKey};

use super::versions::number;
use super::{Images, Page, permitted};
use crate::services::access::{Action, Permit};
use crate::services::error::Error;
use crate::services::names::{Reference, Tag};

/// Rows looked at in one go.
const BATCH: usize = 1000;

/// What is about a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accessory {
    /// A number that the repository and the digest always give; below 2^53.
    pub id: u64,
    /// The account that owns the repository.
    pub owner: Option<Id>,
    /// A tag that names it, if one does.
    pub tag: Option<String>,
    /// The manifest.
    pub digest: Digest,
    /// The manifest it is about.
    pub target: Digest,
    /// Bytes of the manifest.
    pub size: u64,
    /// What it is.
    pub kind: About,
    /// UTC milliseconds.
    pub pushed_at: u64,
}

/// What an accessory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A signature by its tag.
    Signature,
    /// An attestation by its tag.
    Attestation,
    /// A bill of materials by its tag.
    Materials,
    /// What its manifest says.
    Other(Option<String>),
}

/// How cosign ends the tags of what is about a manifest.
const ENDINGS: [(&str, About); 3] =
    [(".sig", About::Signature), (".att", About::Attestation), (".sbom", About::Materials)];

impl Images {
    /// What is about a version, `offset` items left out, and how many there are in all.
    pub async fn accessories(
        &self,
        permit: &Permit,
        tag: &Tag,
        offset: usize,
        limit: usize,
    ) -> Result<(Vec<Accessory>, usize), Error> {
        let name = permitted(permit, Action::ShowTag)?;
        let repository = self.there(name)?;
        let target = self.named(repository, tag)?;
        let mut found = Vec::new();
        for (ending, kind) in ENDINGS {
            let tag = format!("{}-{}{ending}", target.algorithm().name(), target.hex());
            let row = self.shelves.meta.get(&TagKey { repository, tag: tag.clone() })?;
            found.extend(row.map(|row| (row.digest, Some(tag), kind)));
        }
        let by_tag: Vec<Digest> = found.iter().map(|(digest, ..)| *digest).collect();
        let mut total = found.len();
        let prefix = ReferrerKey::prefix(repository, &target);
        let (mut after, until): (Option<Vec<u8>>, _) = (None, offset.saturating_add(limit));
        loop {
            let rows = self.shelves.meta.page::<ReferrerKey>(&prefix, after.as_deref(), BATCH)?;
            after = rows.last().map(|(key, _)| key.encode());
            for (key, record) in rows.iter().filter(|(key, _)| !by_tag.contains(&key.digest)) {
                total += 1;
                if total <= until {
                    found.push((key.digest, None, About::Other(record.artifact_type.clone())));
                }
            }
            if rows.len() < BATCH {
                break;
            }
            tokio::task::yield_now().await;
        }
        let owner = self.shelves.counters.owner(name);
        let mut items = Vec::new();
        for (digest, tag, kind) in found.into_iter().skip(offset).take(limit) {
            let Some(manifest) = self.shelves.meta.get(&ManifestKey { repository, digest })? else {
                continue;
            };
            let tag = match tag {
                Some(tag) => Some(tag),
                None => self.tags_of(repository, &digest, None, 1)?.pop(),
            };
            let id = number(repository, &digest.to_string());
            let (size, pushed_at) = (manifest.size, manifest.pushed_at);
            items.push(Accessory { id, owner, tag, digest, target, size, kind, pushed_at });
        }
        Ok((items, total))
    }

    /// The tags that name what a version is about: of a signature those of the image that is signed, of anything that
    /// is about nothing its own. After `after`, in the order of bytes.
    pub fn tags_referred_to(
        &self,
        permit: &Permit,
        tag: &Tag,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<String>, Error> {
        let repository = self.there(permitted(permit, Action::ShowTag)?)?;
        let own = self.named(repository, tag)?;
        let manifest = self.shelves.meta.get(&ManifestKey { repository, digest: own })?;
        let subject = manifest.and_then(|manifest| manifest.subject);
        let target = by_tag(tag.as_str()).or(subject).unwrap_or(own);
        let mut items = self.tags_of(repository, &target, after, limit + 1)?;
        let more = items.len() > limit;
        items.truncate(limit);
        Ok(Page { items, more })
    }

    fn named(&self, repository: u64, tag: &Tag) -> Result<Digest, Error> {
        let key = TagKey { repository, tag: tag.as_str().to_owned() };
        let row = self.shelves.meta.get(&key)?;
        Ok(row.ok_or_else(|| Error::ManifestUnknown(Reference::Tag(tag.clone())))?.digest)
    }

    fn tags_of(
        &self,
        repository: u64,
        digest: &Digest,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let after =
            after.map(|tag| ManifestTagKey { repository, digest: *digest, tag: tag.to_owned() }.encode());
        let prefix = ManifestTagKey::prefix(repository, digest);
        let rows = self.shelves.meta.page::<ManifestTagKey>(&prefix, after.as_deref(), limit)?;
        Ok(rows.into_iter().map(|(key, _)| key.tag).collect())
    }
}

/// The manifest that a tag, by its form, is about.
fn by_tag(tag: &str) -> Option<Digest> {
    let name = ENDINGS.iter().find_map(|(ending, _)| tag.strip_suffix(ending))?;
    let (algorithm, hex) = name.split_once('-')?;
    format!("{algorithm}:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_cosigns_form_is_about_a_digest_and_no_other_is() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for ending in [".sig", ".att", ".sbom"] {
            let digest = by_tag(&format!("sha256-{hex}{ending}")).map(|digest| digest.hex());
            assert_eq!(digest.as_deref(), Some(hex), "{ending}");
        }
        for tag in ["v1", "v1.sig", "sha256-abc.sig", ".sig", &format!("sha256-{hex}"), "md5-00.sig"] {
            assert_eq!(by_tag(tag), None, "{tag}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_tag_makes_the_reader_panic(tag in "(sha256|sha512|.{0,3})?-?[0-9a-f.]{0,70}(.sig|.att)?") {
            let _ = by_tag(&tag);
        }
    }
}
