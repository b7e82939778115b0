//! Whom a blob concerns: the images that need it. Bounded, as a blob that thousands of images have is not looked up
//! in all of them.

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::{
    BlobRepositoryKey, ManifestKey, ManifestReferenceKey, ManifestTagKey, RepositoryKey,
};

use super::rows::{get, some};
use super::{Check, Unreadable};

/// Images that are named of a blob.
const IMAGES: usize = 20;
/// Rows looked through for them.
const ROWS: usize = 20_000;

/// Said in place of those that are beyond it.
const OTHERS: &str = "others, not looked up";

/// What was found so far.
struct Search {
    images: Vec<String>,
    rows: usize,
}

impl Search {
    /// Whether it goes on; counts a row. One image too many is looked for: it says that there are more.
    fn goes_on(&mut self) -> bool {
        self.rows = self.rows.saturating_sub(1);
        self.rows > 0 && self.images.len() <= IMAGES
    }

    /// What is told.
    fn told(mut self, is_cut: bool) -> Vec<String> {
        if is_cut || self.rows == 0 || self.images.len() > IMAGES {
            self.images.truncate(IMAGES);
            self.images.push(OTHERS.to_owned());
        }
        self.images
    }
}

impl Check<'_> {
    /// The first images that need a blob, as `repository:tag` or `repository@digest`.
    pub(super) fn images_of(&self, digest: &Digest) -> Result<Vec<String>, Unreadable> {
        let mut search = Search { images: Vec::new(), rows: ROWS };
        let mut repositories = Vec::new();
        some::<BlobRepositoryKey>(self.rows, &BlobRepositoryKey::prefix(digest), |key, _| {
            repositories.push(key.name);
            Ok(repositories.len() <= IMAGES)
        })?;
        let is_cut = repositories.len() > IMAGES;
        for name in repositories {
            if let Some(record) = get(self.rows, &RepositoryKey { name: name.clone() })? {
                self.manifests_with((&name, record.id), digest, &mut search)?;
            }
        }
        self.manifest_itself(digest, &mut search)?;
        Ok(search.told(is_cut))
    }

    fn manifests_with(
        &self,
        at: (&str, u64),
        digest: &Digest,
        search: &mut Search,
    ) -> Result<(), Unreadable> {
        let mut manifests = Vec::new();
        some::<ManifestReferenceKey>(self.rows, &at.1.to_be_bytes(), |key, _| {
            if key.digest == *digest {
                manifests.push(key.manifest);
            }
            Ok(search.goes_on() && manifests.len() <= IMAGES)
        })?;
        manifests.iter().try_for_each(|manifest| self.name_image(at, manifest, search))
    }

    /// Where the blob is a manifest: no row finds repositories by manifest.
    fn manifest_itself(&self, digest: &Digest, search: &mut Search) -> Result<(), Unreadable> {
        some::<RepositoryKey>(self.rows, &[], |RepositoryKey { name }, record| {
            let key = ManifestKey { repository: record.id, digest: *digest };
            if get(self.rows, &key)?.is_some() {
                self.name_image((&name, record.id), digest, search)?;
            }
            Ok(search.goes_on())
        })
    }

    /// By its tags, or by its digest if it has none.
    fn name_image(&self, at: (&str, u64), manifest: &Digest, search: &mut Search) -> Result<(), Unreadable> {
        let (name, repository) = at;
        let mut prefix = repository.to_be_bytes().to_vec();
        manifest.write_key(&mut prefix);
        let before = search.images.len();
        some::<ManifestTagKey>(self.rows, &prefix, |key, _| {
            if search.images.len() <= IMAGES {
                search.images.push(format!("{name}:{}", key.tag));
            }
            Ok(search.images.len() <= IMAGES)
        })?;
        if search.images.len() == before && before <= IMAGES {
            search.images.push(format!("{name}@{manifest}"));
        }
        Ok(())
    }
}
