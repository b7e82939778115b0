//! Images from a seed: layers of random bytes (registries never look into a layer), a config, and
//! a manifest in Docker's or OCI's words.

use super::Rng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub const OCI_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// A digest nothing in these tests has.
pub const ABSENT: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Oci,
    Docker,
}

#[derive(Clone, Debug)]
pub struct Image {
    pub media_type: &'static str,
    pub config: Vec<u8>,
    pub layers: Vec<Vec<u8>>,
    pub manifest: Vec<u8>,
}

impl Image {
    /// An image with a layer of each of `sizes` (bytes).
    pub fn random(rng: &mut Rng, kind: Kind, sizes: &[usize]) -> Self {
        let layers: Vec<Vec<u8>> = sizes.iter().map(|&size| layer_of(rng, size)).collect();
        let config = config_of(&layers);
        let manifest = serde_json::to_vec(&manifest_of(kind, &config, &layers)).expect("a JSON value");
        let media_type = if kind == Kind::Oci { OCI_MANIFEST } else { DOCKER_MANIFEST };
        Self { media_type, config, layers, manifest }
    }

    /// The smallest usual one: an OCI image of one small layer.
    pub fn small(rng: &mut Rng) -> Self {
        Self::random(rng, Kind::Oci, &[500])
    }

    pub fn digest(&self) -> String {
        sha256(&self.manifest)
    }

    pub fn descriptor(&self) -> Value {
        descriptor(self.media_type, &self.manifest)
    }

    /// The blobs a manifest refers to: config first.
    pub fn blobs(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.config.as_slice()).chain(self.layers.iter().map(Vec::as_slice))
    }
}

/// Random bytes that begin as gzip does: clients compress again what does not.
fn layer_of(rng: &mut Rng, size: usize) -> Vec<u8> {
    let mut layer = rng.bytes(size);
    for (byte, magic) in layer.iter_mut().zip([0x1f, 0x8b, 8]) {
        *byte = magic;
    }
    layer
}

fn config_of(layers: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": ids }, "history": [],
    });
    serde_json::to_vec(&config).expect("a JSON value")
}

/// The manifest as a value, to be bent by tests before it is written.
pub fn manifest_of(kind: Kind, config: &[u8], layers: &[Vec<u8>]) -> Value {
    let (manifest, config_type, layer_type) = match kind {
        Kind::Oci => (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER),
        Kind::Docker => (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER),
    };
    let layers: Vec<Value> = layers.iter().map(|layer| descriptor(layer_type, layer)).collect();
    json!({
        "schemaVersion": 2, "mediaType": manifest,
        "config": descriptor(config_type, config), "layers": layers,
    })
}

/// An artifact: the empty config, one layer of `payload`, maybe a subject.
pub fn artifact_of(artifact_type: &str, payload: &[u8], subject: Option<Value>) -> Value {
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": artifact_type,
        "config": descriptor(OCI_EMPTY, b"{}"), "layers": [descriptor("text/plain", payload)],
    });
    if let Some(subject) = subject {
        manifest["subject"] = subject;
    }
    manifest
}

/// An index over `children` (descriptors), each given a platform of its own.
pub fn index_of(kind: Kind, children: &[Value]) -> Value {
    let media_type = if kind == Kind::Oci { OCI_INDEX } else { DOCKER_LIST };
    let platforms = ["amd64", "arm64", "riscv64", "s390x"];
    let children: Vec<Value> = children
        .iter()
        .zip(platforms.iter().cycle())
        .map(|(child, platform)| {
            let mut child = child.clone();
            child["platform"] = json!({ "architecture": platform, "os": "linux" });
            child
        })
        .collect();
    json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": children })
}

pub fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(content), "size": content.len() })
}

pub fn sha256(content: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(content)))
}

pub fn sha512(content: &[u8]) -> String {
    format!("sha512:{}", hex(&Sha512::digest(content)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
