//! A manifest as JSON: its kind, what it names, what it is about. The stored bytes are never
//! changed; this only reads them.
//!
//! Kinds: image manifests (OCI image-spec "Image Manifest", Docker schema 2, the OCI artifact
//! manifest of 1.1-rc) name a config and layers; indexes (OCI "Image Index", Docker lists) name
//! manifests; every other type is opaque and names nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use pierhead_storage_format::Digest;
use pierhead_storage_format::records::{ManifestKind, ReferenceRole};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::services::error::Error;
use crate::services::names::MediaType;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Things one manifest may name: each is a row in its change set, which others wait for.
const MAX_REFERENCES: usize = 10_000;

/// Layers of these types may be fetched elsewhere, so they may be absent here.
const FOREIGN_PREFIXES: [&str; 2] =
    ["application/vnd.oci.image.layer.nondistributable.", "application/vnd.docker.image.rootfs.foreign."];

/// What a manifest says, as far as the registry is concerned.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// The type it is stored and served as.
    pub media_type: String,
    /// How its references were read.
    pub kind: ManifestKind,
    /// What it names, each digest once, with its strongest role.
    pub references: BTreeMap<Digest, ReferenceRole>,
    /// The manifest it is about.
    pub subject: Option<Digest>,
    /// Its `artifactType`, else its config's media type.
    pub artifact_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "list")]
    layers: Option<Option<Vec<Descriptor>>>,
    #[serde(default, deserialize_with = "list")]
    blobs: Option<Option<Vec<Descriptor>>>,
    #[serde(default, deserialize_with = "list")]
    manifests: Option<Option<Vec<Descriptor>>>,
    subject: Option<Descriptor>,
    #[serde(rename = "annotations")]
    _annotations: Option<Texts>,
}

/// A list that is there, if only as null, which is empty where a list is wanted (Go writes a slice
/// without elements so) and nothing where none is.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Vec<Descriptor>>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// An object of texts (or nulls), looked at and not kept: clients in Go cannot read a referrers
/// list in which an annotation is anything else.
struct Texts;

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Texts {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("annotations: an object of texts")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self, M::Error> {
        while map.next_entry::<Cow<'_, str>, Option<Cow<'_, str>>>()?.is_some() {}
        Ok(self)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    digest: String,
    /// Bytes; left out by some old tools.
    size: Option<i64>,
}

impl Descriptor {
    fn media_type(&self) -> &str {
        self.media_type.as_deref().unwrap_or_default()
    }
}

/// Only what a referrers list shows.
#[derive(Deserialize)]
struct Annotated {
    annotations: Option<Box<RawValue>>,
}

fn invalid(why: impl Into<String>) -> Error {
    Error::ManifestInvalid(why.into())
}

/// Reads a manifest. `declared` is the request's media type; without one the JSON's own decides.
pub fn read(declared: Option<&MediaType>, bytes: &[u8]) -> Result<Document, Error> {
    if let Some(declared) = declared
        && kind_of(declared.as_str()).is_none()
    {
        return Ok(opaque(declared.as_str()));
    }
    let wire: Wire =
        serde_json::from_slice(bytes).map_err(|error| invalid(format!("not JSON of a manifest: {error}")))?;
    let media_type = media_type(declared, &wire)?;
    match kind_of(&media_type) {
        Some(ManifestKind::Index) => index(media_type, &wire),
        Some(_) => image(media_type, &wire),
        None => Ok(opaque(&media_type)),
    }
}

/// What is told of a stored manifest beside what its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its `schemaVersion`.
    pub schema: u64,
    /// The config it names.
    pub config: Option<Digest>,
}

impl Default for About {
    fn default() -> Self {
        Self { schema: 2, config: None }
    }
}

/// What a stored manifest says of itself; of one that is not `read` here, nothing but its version if it is JSON that has
/// one.
pub fn about(bytes: &[u8], read: bool) -> About {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Told<'a> {
        schema_version: Option<u64>,
        #[serde(borrow)]
        config: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Named {
        digest: String,
    }
    let Ok(told) = serde_json::from_slice::<Told<'_>>(bytes) else { return About::default() };
    let config = told.config.filter(|_| read);
    let config = config.and_then(|config| serde_json::from_str::<Named>(config.get()).ok());
    let config = config.and_then(|config| config.digest.parse().ok());
    About { schema: told.schema_version.unwrap_or(About::default().schema), config }
}

/// The annotations of a stored manifest as they stand in it; none if it has none or is not JSON.
pub fn annotations(bytes: &[u8]) -> Option<Box<RawValue>> {
    serde_json::from_slice::<Annotated>(bytes).ok()?.annotations
}

/// Whether a manifest of this type is an index, which names images and is none.
pub fn is_index(media_type: &str) -> bool {
    kind_of(media_type) == Some(ManifestKind::Index)
}

fn kind_of(media_type: &str) -> Option<ManifestKind> {
    match media_type {
        OCI_MANIFEST | OCI_ARTIFACT | DOCKER_MANIFEST => Some(ManifestKind::Image),
        OCI_INDEX | DOCKER_LIST => Some(ManifestKind::Index),
        _ => None,
    }
}

fn opaque(media_type: &str) -> Document {
    Document {
        media_type: media_type.to_owned(),
        kind: ManifestKind::Opaque,
        references: BTreeMap::new(),
        subject: None,
        artifact_type: None,
    }
}

/// OCI distribution-spec, "Pushing Manifests": the header and the manifest's own field agree.
fn media_type(declared: Option<&MediaType>, wire: &Wire) -> Result<String, Error> {
    let own = wire.media_type.as_deref().filter(|own| !own.is_empty());
    match (declared.map(MediaType::as_str), own) {
        (Some(declared), Some(own)) if declared != own => {
            Err(invalid(format!("sent as {declared}, but its mediaType is {own}")))
        }
        (Some(declared), _) => Ok(declared.to_owned()),
        (None, Some(own)) => own
            .parse::<MediaType>()
            .map(|own| own.as_str().to_owned())
            .map_err(|_| invalid("its mediaType is no media type")),
        (None, None) if is_list(&wire.manifests) => Ok(OCI_INDEX.to_owned()),
        (None, None) if wire.config.is_some() => Ok(OCI_MANIFEST.to_owned()),
        (None, None) if wire.manifests.is_some() => Ok(OCI_INDEX.to_owned()),
        (None, None) => {
            Err(invalid("no Content-Type, no mediaType, and neither config nor manifests to tell it by"))
        }
    }
}

fn is_list(list: &Option<Option<Vec<Descriptor>>>) -> bool {
    matches!(list, Some(Some(_)))
}

fn schema_two(wire: &Wire) -> Result<(), Error> {
    match wire.schema_version {
        Some(2) => Ok(()),
        _ => Err(invalid("its schemaVersion is not 2")),
    }
}

fn image(media_type: String, wire: &Wire) -> Result<Document, Error> {
    let artifact = media_type == OCI_ARTIFACT;
    if !artifact {
        schema_two(wire)?;
        if wire.config.is_none() || wire.layers.is_none() {
            return Err(invalid("it has no config or no layers"));
        }
    }
    if is_list(&wire.manifests) {
        return Err(invalid("an image manifest that has manifests"));
    }
    let mut references = BTreeMap::new();
    let layers = if artifact { &wire.blobs } else { &wire.layers };
    for layer in layers.iter().flatten().flatten() {
        let foreign = FOREIGN_PREFIXES.iter().any(|prefix| layer.media_type().starts_with(prefix));
        add(&mut references, layer, if foreign { ReferenceRole::Foreign } else { ReferenceRole::Blob })?;
    }
    if let Some(config) = wire.config.as_ref().filter(|_| !artifact) {
        add(&mut references, config, ReferenceRole::Blob)?;
    }
    let config_type = wire.config.as_ref().map(Descriptor::media_type).filter(|_| !artifact);
    let artifact_type = artifact_type(wire, config_type)?;
    Ok(Document { media_type, kind: ManifestKind::Image, references, subject: subject(wire)?, artifact_type })
}

fn index(media_type: String, wire: &Wire) -> Result<Document, Error> {
    schema_two(wire)?;
    let Some(manifests) = &wire.manifests else { return Err(invalid("an index without manifests")) };
    if is_list(&wire.layers) {
        return Err(invalid("an index that has layers"));
    }
    let mut references = BTreeMap::new();
    for child in manifests.iter().flatten() {
        add(&mut references, child, ReferenceRole::Child)?;
    }
    let artifact_type = artifact_type(wire, None)?;
    Ok(Document { media_type, kind: ManifestKind::Index, references, subject: subject(wire)?, artifact_type })
}

fn add(
    references: &mut BTreeMap<Digest, ReferenceRole>,
    descriptor: &Descriptor,
    role: ReferenceRole,
) -> Result<(), Error> {
    if descriptor.size.is_some_and(|size| size < 0) {
        return Err(invalid("a descriptor's size is negative"));
    }
    if references.len() >= MAX_REFERENCES {
        return Err(invalid(format!("it names more than {MAX_REFERENCES} things")));
    }
    let digest = digest(descriptor)?;
    let kept = references.entry(digest).or_insert(role);
    if role == ReferenceRole::Blob {
        *kept = role;
    }
    Ok(())
}

fn digest(descriptor: &Descriptor) -> Result<Digest, Error> {
    descriptor.digest.parse().map_err(|error| invalid(format!("a descriptor's digest: {error}")))
}

fn subject(wire: &Wire) -> Result<Option<Digest>, Error> {
    wire.subject.as_ref().map(digest).transpose()
}

/// OCI distribution-spec, "Listing Referrers": `artifactType`, else the config's media type.
fn artifact_type(wire: &Wire, config_type: Option<&str>) -> Result<Option<String>, Error> {
    let own = wire.artifact_type.as_deref().filter(|own| !own.is_empty());
    match own.or(config_type.filter(|config| !config.is_empty())) {
        Some(text) if text.len() > 255 => Err(invalid("its artifactType is longer than 255 bytes")),
        text => Ok(text.map(str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn digest_of(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    fn descriptor(letter: char, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": digest_of(letter), "size": 1})
    }

    fn typed(text: &str) -> MediaType {
        text.parse().expect("a media type")
    }

    fn image_json() -> Value {
        json!({
            "schemaVersion": 2, "config": descriptor('a', "application/vnd.oci.image.config.v1+json"),
            "layers": [
                descriptor('b', "application/vnd.oci.image.layer.v1.tar+gzip"),
                descriptor('c', "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
                descriptor('b', "application/vnd.oci.image.layer.v1.tar+gzip"),
            ],
            "subject": descriptor('d', OCI_MANIFEST),
        })
    }

    #[test]
    fn an_image_names_its_config_and_layers_each_once_and_its_subject() {
        let read = read(Some(&typed(OCI_MANIFEST)), image_json().to_string().as_bytes()).expect("valid");
        let roles: Vec<_> = read.references.iter().map(|(d, r)| (d.to_string(), *r)).collect();
        assert_eq!(
            roles,
            [
                (digest_of('a'), ReferenceRole::Blob),
                (digest_of('b'), ReferenceRole::Blob),
                (digest_of('c'), ReferenceRole::Foreign)
            ]
        );
        assert_eq!(read.subject.map(|d| d.to_string()), Some(digest_of('d')));
        assert_eq!(read.artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
    }

    #[test]
    fn without_a_declared_type_the_json_decides() {
        let image = read(None, image_json().to_string().as_bytes()).expect("an image");
        assert_eq!((image.media_type.as_str(), image.kind), (OCI_MANIFEST, ManifestKind::Image));
        let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [descriptor('a', OCI_MANIFEST)]});
        let list = read(None, list.to_string().as_bytes()).expect("a list");
        assert_eq!((list.media_type.as_str(), list.kind), (DOCKER_LIST, ManifestKind::Index));
    }

    #[test]
    fn a_list_that_is_null_is_empty_as_go_writes_it() {
        let mut image = image_json();
        image["layers"] = Value::Null;
        image["annotations"] = json!({"a": "b", "c": null});
        image["config"]["mediaType"] = Value::Null;
        let image = read(Some(&typed(OCI_MANIFEST)), image.to_string().as_bytes()).expect("an image");
        assert_eq!(image.references.len(), 1, "the config");
        let mut both = image_json();
        both["manifests"] = Value::Null;
        for declared in [Some(typed(OCI_MANIFEST)), None] {
            let read =
                read(declared.as_ref(), both.to_string().as_bytes()).expect("a null is no list of manifests");
            assert_eq!(read.kind, ManifestKind::Image);
        }
        let index = json!({"schemaVersion": 2, "manifests": null}).to_string();
        assert!(read(Some(&typed(OCI_INDEX)), index.as_bytes()).expect("an index").references.is_empty());
    }

    #[test]
    fn a_manifest_that_names_too_much_is_refused() {
        let child =
            |n: usize| json!({"mediaType": OCI_MANIFEST, "digest": format!("sha256:{n:064x}"), "size": 1});
        for (count, fits) in [(MAX_REFERENCES, true), (MAX_REFERENCES + 1, false)] {
            let children: Vec<Value> = (0..count).map(child).collect();
            let text = json!({"schemaVersion": 2, "manifests": children}).to_string();
            assert_eq!(read(Some(&typed(OCI_INDEX)), text.as_bytes()).is_ok(), fits, "{count}");
        }
    }

    #[test]
    fn an_unknown_type_is_opaque_and_need_not_be_json() {
        let read = read(Some(&typed("application/vnd.example.thing")), b"\xff\x00").expect("opaque");
        assert_eq!(read, opaque("application/vnd.example.thing"));
    }

    #[test]
    fn a_manifest_that_is_not_what_its_type_says_is_refused() {
        let mut bad_digest = image_json();
        bad_digest["layers"][0]["digest"] = json!("sha256:xyz");
        let mut schema_one = image_json();
        schema_one["schemaVersion"] = json!(1);
        let mut both = image_json();
        both["manifests"] = json!([]);
        let mut noted = image_json();
        noted["annotations"] = json!({"a": 1});
        let mut other = image_json();
        other["mediaType"] = json!(DOCKER_MANIFEST);
        let cases = [
            ("not JSON", "{".to_owned()),
            ("an array", "[]".to_owned()),
            ("empty object", "{}".to_owned()),
            ("no layers", json!({"schemaVersion": 2, "config": descriptor('a', "x/y")}).to_string()),
            ("a digest that does not parse", bad_digest.to_string()),
            ("schema 1", schema_one.to_string()),
            ("manifests beside layers", both.to_string()),
            ("mediaType differs from the declared", other.to_string()),
            ("a number as an annotation", noted.to_string()),
            ("deep nesting", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        ];
        for (name, text) in cases {
            let result = read(Some(&typed(OCI_MANIFEST)), text.as_bytes());
            assert!(matches!(result, Err(Error::ManifestInvalid(_))), "{name}: {result:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_manifest_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(None, &bytes);
            let _ = read(Some(&typed(OCI_INDEX)), &bytes);
            let _ = annotations(&bytes);
        }

        #[test]
        fn altered_manifests_are_read_or_refused(at in 0usize..400, byte in any::<u8>()) {
            let mut bytes = image_json().to_string().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = read(None, &bytes);
        }
    }
}
