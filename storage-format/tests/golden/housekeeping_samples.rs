//! Samples of what is to go and what can come back.

use pierhead_storage_format::Algorithm;
use pierhead_storage_format::housekeeping::{
    CollectedKey, CollectedRecord, DeletedManifestKey, DeletedManifestRecord, DeletedReferenceKey,
    RemovalKey, RemovalRecord, UnreferencedKey, UnreferencedRecord,
};
use pierhead_storage_format::records::Present;

use super::{REPOSITORY, Sample, TIME, digest, sample};

pub fn samples() -> Vec<Sample> {
    let (layer, manifest) = (digest(Algorithm::Sha256, 0x50), digest(Algorithm::Sha512, 0x10));
    let unnamed = UnreferencedKey { since: TIME, repository: REPOSITORY, digest: layer };
    let deleted = DeletedManifestRecord {
        repository: "acme/web/front".into(),
        digest: manifest,
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        size: 1234,
        deleted_at: TIME,
        deleted_by: "acme/anna".into(),
        tags: vec!["v1".into(), "latest".into()],
        more_tags: 3,
    };
    let bare = DeletedManifestRecord { tags: Vec::new(), more_tags: 0, ..deleted.clone() };
    let removal = RemovalRecord { name: "acme/old".into(), begun_at: TIME, by: "acme/anna".into() };
    vec![
        sample(None, &unnamed, &UnreferencedRecord { name: Some("acme/web/front".into()) }),
        sample(Some("store"), &UnreferencedKey::of_store(TIME, manifest), &UnreferencedRecord { name: None }),
        sample(None, &DeletedManifestKey { number: 7 }, &deleted),
        sample(Some("untagged"), &DeletedManifestKey { number: 8 }, &bare),
        sample(None, &CollectedKey { at: TIME, digest: layer }, &CollectedRecord { size: 10 << 30 }),
        sample(None, &DeletedReferenceKey { number: 7, digest: layer }, &Present {}),
        sample(None, &RemovalKey { repository: REPOSITORY }, &removal),
    ]
}
