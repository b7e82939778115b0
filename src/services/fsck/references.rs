//! What an image manifest or an index refers to, read from its bytes again: a recount that used
//! what the push path remembered would prove nothing.

use std::collections::BTreeSet;

use pierhead_storage_format::Digest;
use pierhead_storage_format::records::ManifestKind;
use serde::Deserialize;

/// Layers that a registry may lack: their bytes come from somewhere else.
/// (OCI image-spec 1.1, layer.md "Non-Distributable Layers"; Docker image manifest v2 schema 2.)
const NON_DISTRIBUTABLE: [&str; 4] = [
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
];

/// What the bytes name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Config and distributable layers of an image; each once.
    pub blobs: BTreeSet<Digest>,
    /// The manifest it is about.
    pub subject: Option<Digest>,
}

/// Reads a manifest of `kind`; `None` if the bytes are none. An opaque one refers to nothing.
pub fn references(kind: ManifestKind, bytes: &[u8]) -> Option<References> {
    if kind == ManifestKind::Opaque {
        return Some(References::default());
    }
    let manifest: Manifest = serde_json::from_slice(bytes).ok()?;
    let mut blobs = BTreeSet::new();
    if kind == ManifestKind::Image {
        for part in manifest.config.iter().chain(&manifest.layers) {
            if !NON_DISTRIBUTABLE.contains(&part.media_type.as_deref().unwrap_or_default()) {
                blobs.insert(part.digest.parse().ok()?);
            }
        }
    }
    let subject = match manifest.subject {
        Some(subject) => Some(subject.digest.parse().ok()?),
        None => None,
    };
    Some(References { blobs, subject })
}

#[derive(Deserialize)]
struct Manifest {
    config: Option<Part>,
    #[serde(default)]
    layers: Vec<Part>,
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

    fn digest(byte: u8) -> Digest {
        format!("sha256:{}", format!("{byte:02x}").repeat(32)).parse().expect("a digest")
    }

    #[test]
    fn config_and_layers_count_once_and_foreign_layers_not_at_all() {
        let (config, layer, subject) = (digest(1), digest(2), digest(3));
        let text = format!(
            r#"{{"config":{{"digest":"{config}"}},"subject":{{"digest":"{subject}"}},"layers":[
            {{"digest":"{layer}"}},{{"digest":"{layer}"}},{{"digest":"{config}"}},
            {{"mediaType":"{}","digest":"{}"}}]}}"#,
            NON_DISTRIBUTABLE[0],
            digest(4)
        );
        let image = references(ManifestKind::Image, text.as_bytes()).expect("an image");
        assert_eq!(image, References { blobs: BTreeSet::from([config, layer]), subject: Some(subject) });
        let index = references(ManifestKind::Index, text.as_bytes()).expect("an index");
        assert_eq!(index, References { blobs: BTreeSet::new(), subject: Some(subject) });
        assert_eq!(references(ManifestKind::Opaque, b"\xff"), Some(References::default()));
        assert_eq!(references(ManifestKind::Image, br#"{"config":{"digest":"sha256:1"}}"#), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\":,a-z]*") {
            let _ = references(ManifestKind::Image, &bytes);
            let _ = references(ManifestKind::Image, text.as_bytes());
        }
    }
}
