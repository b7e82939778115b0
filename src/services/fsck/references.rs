//! What an image manifest or an index refers to, read from its bytes again: a recount that used
//! what the push path remembered would prove nothing.

use std::collections::BTreeMap;

use pierhead_storage_format::Digest;
use pierhead_storage_format::records::{ManifestKind, ReferenceRole};
use serde::Deserialize;

/// Layers that a registry may lack: their bytes come from somewhere else.
/// (OCI image-spec 1.1, layer.md "Non-Distributable Layers"; Docker image manifest v2 schema 2.)
const NON_DISTRIBUTABLE: [&str; 2] =
    ["application/vnd.docker.image.rootfs.foreign.", "application/vnd.oci.image.layer.nondistributable."];

/// An image manifest whose only parts are `blobs`.
const ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";

/// What the bytes name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Each digest once, with its strongest role.
    pub named: BTreeMap<Digest, ReferenceRole>,
    /// The manifest it is about.
    pub subject: Option<Digest>,
}

impl References {
    /// Config and distributable layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Digest> {
        self.named.iter().filter(|(_, role)| **role == ReferenceRole::Blob).map(|(digest, _)| digest)
    }

    /// A config or layer that was absent when the manifest was pushed, where the settings allow
    /// that, is noted so in its row; the bytes cannot say it.
    pub fn note_absent(&mut self, recorded: &BTreeMap<Digest, ReferenceRole>) {
        for (digest, role) in &mut self.named {
            if *role == ReferenceRole::Blob && recorded.get(digest) == Some(&ReferenceRole::Absent) {
                *role = ReferenceRole::Absent;
            }
        }
    }

    fn add(&mut self, digest: &str, role: ReferenceRole) -> Option<()> {
        let kept = self.named.entry(digest.parse().ok()?).or_insert(role);
        if role == ReferenceRole::Blob {
            *kept = role;
        }
        Some(())
    }
}

/// Reads a manifest of `kind`; `None` if the bytes are none. An opaque one refers to nothing.
pub fn references(kind: ManifestKind, media_type: &str, bytes: &[u8]) -> Option<References> {
    let mut found = References::default();
    if kind == ManifestKind::Opaque {
        return Some(found);
    }
    let manifest: Manifest = serde_json::from_slice(bytes).ok()?;
    if let Some(subject) = &manifest.subject {
        found.subject = Some(subject.digest.parse().ok()?);
    }
    if kind == ManifestKind::Index {
        for child in manifest.manifests.iter().flatten() {
            found.add(&child.digest, ReferenceRole::Child)?;
        }
        return Some(found);
    }
    let artifact = media_type == ARTIFACT;
    for layer in if artifact { &manifest.blobs } else { &manifest.layers }.iter().flatten() {
        let layer_type = layer.media_type.as_deref().unwrap_or_default();
        let foreign = NON_DISTRIBUTABLE.iter().any(|prefix| layer_type.starts_with(prefix));
        found.add(&layer.digest, if foreign { ReferenceRole::Foreign } else { ReferenceRole::Blob })?;
    }
    if let Some(config) = manifest.config.filter(|_| !artifact) {
        found.add(&config.digest, ReferenceRole::Blob)?;
    }
    Some(found)
}

#[derive(Deserialize)]
struct Manifest {
    config: Option<Part>,
    layers: Option<Vec<Part>>,
    blobs: Option<Vec<Part>>,
    manifests: Option<Vec<Part>>,
    subject: Option<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    digest: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

    fn digest(byte: u8) -> Digest {
        format!("sha256:{}", format!("{byte:02x}").repeat(32)).parse().expect("a digest")
    }

    #[test]
    fn each_digest_counts_once_with_its_strongest_role() {
        use ReferenceRole::{Blob, Child, Foreign};
        let [config, layer, subject, foreign, child, part] = [1, 2, 3, 4, 5, 6].map(digest);
        let foreign_type = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        let text = format!(
            r#"{{"config":{{"digest":"{config}"}},"subject":{{"digest":"{subject}"}},"layers":[
            {{"digest":"{layer}"}},{{"digest":"{layer}"}},{{"digest":"{config}"}},
            {{"mediaType":"{foreign_type}","digest":"{foreign}"}},{{"mediaType":"{foreign_type}","digest":"{layer}"}}],
            "manifests":[{{"digest":"{child}"}}],"blobs":[{{"digest":"{part}"}}]}}"#
        );
        let cases = [
            ("image", ManifestKind::Image, IMAGE, vec![(config, Blob), (layer, Blob), (foreign, Foreign)]),
            ("artifact", ManifestKind::Image, ARTIFACT, vec![(part, Blob)]),
            ("index", ManifestKind::Index, "any/index", vec![(child, Child)]),
        ];
        for (name, kind, media_type, named) in cases {
            let found = references(kind, media_type, text.as_bytes()).expect(name);
            assert_eq!(
                found,
                References { named: named.into_iter().collect(), subject: Some(subject) },
                "{name}"
            );
        }
        assert_eq!(references(ManifestKind::Opaque, IMAGE, b"\xff"), Some(References::default()));
        assert_eq!(references(ManifestKind::Image, IMAGE, br#"{"config":{"digest":"sha256:1"}}"#), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\":,a-z]*") {
            let _ = references(ManifestKind::Image, IMAGE, &bytes);
            let _ = references(ManifestKind::Index, IMAGE, text.as_bytes());
        }
    }
}
