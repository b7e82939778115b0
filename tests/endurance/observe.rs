//! What a server has, read the way clients read it: every byte is compared with its digest.

use super::calls::Place;
use super::common::Seen;
use super::model::{Change, State};
use crate::support::Response;
use crate::support::http::with_query;
use crate::support::images::{OCI_MANIFEST, sha256};
use crate::support::repository::strings;
use std::collections::{BTreeMap, BTreeSet};

/// The repository's tags, all pages of them.
pub fn tag_names(place: &Place) -> Vec<String> {
    let mut names = Vec::new();
    let mut target = format!("/v2/{}/tags/list?n=100", place.name);
    loop {
        let response = place.http.get(&target).send().expect_one(&[200, 404]);
        if response.status == 404 {
            return names;
        }
        names.extend(strings(&response.json()["tags"]));
        match next_page(&response) {
            Some(next) => target = next,
            None => return names,
        }
    }
}

/// All repositories.
pub fn catalog(place: &Place) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut target = with_query("/v2/_catalog", "n=100");
    loop {
        let response = place.http.get(&target).send().expect(200);
        names.extend(strings(&response.json()["repositories"]));
        match next_page(&response) {
            Some(next) => target = next,
            None => return names,
        }
    }
}

/// Path and query of `Link: <...>; rel="next"`.
pub fn next_page(response: &Response) -> Option<String> {
    let link = response.header("link")?;
    let target = link.trim().strip_prefix('<')?.split_once('>')?.0;
    match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map(|at| rest[at..].to_owned()),
        None => Some(target.to_owned()),
    }
}

/// The digest a tag names.
pub fn resolve(place: &Place, tag: &str) -> String {
    let response = get_manifest(place, tag).expect(200);
    let digest = response.need("docker-content-digest").to_owned();
    assert_eq!(sha256(&response.body), digest, "the manifest of tag {tag} is not its digest's: {response}");
    digest
}

fn get_manifest(place: &Place, reference: &str) -> Response {
    place.request("GET", &format!("manifests/{reference}")).header("Accept", OCI_MANIFEST).send()
}

/// A manifest's bytes, if it is there.
pub fn manifest(place: &Place, digest: &str) -> Option<Vec<u8>> {
    let response = get_manifest(place, digest).expect_one(&[200, 404]);
    if response.status == 404 {
        return None;
    }
    assert_eq!(sha256(&response.body), digest, "a manifest is not its digest's: {response}");
    Some(response.body)
}

/// Whether a blob is there, all of it.
pub fn has_blob(place: &Place, digest: &str) -> bool {
    let response = place.request("GET", &format!("blobs/{digest}")).send().expect_one(&[200, 404]);
    let here = response.status == 200;
    assert!(!here || sha256(&response.body) == digest, "{}: blob {digest} has other bytes", place.name);
    here
}

/// The blobs a manifest of the workload names, in its order.
pub fn names(manifest: &[u8]) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_slice(manifest).expect("a manifest is JSON");
    let digest = |descriptor: &serde_json::Value| descriptor["digest"].as_str().expect("a digest").to_owned();
    let layers = value["layers"].as_array().expect("layers");
    std::iter::once(digest(&value["config"])).chain(layers.iter().map(digest)).collect()
}

/// Digests to look for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub blobs: BTreeSet<String>,
    pub manifests: BTreeSet<String>,
}

impl Wanted {
    /// Everything a state holds.
    pub fn extend(&mut self, state: &State) {
        self.blobs.extend(state.blobs.iter().cloned());
        self.manifests.extend(state.manifests.keys().cloned());
    }

    /// What a change may have left.
    pub fn touch(&mut self, change: &Change) {
        match change {
            Change::Link(digest) | Change::Unlink(digest) => self.blobs.insert(digest.clone()),
            Change::Put { digest, .. } | Change::Delete(digest) => self.manifests.insert(digest.clone()),
            Change::Untag(_) => false,
        };
    }
}

/// A repository, looked through for every digest of `wanted`, which holds all it can have.
pub fn state(place: &Place, wanted: &Wanted) -> State {
    let mut state = State::default();
    for tag in tag_names(place) {
        let digest = resolve(place, &tag);
        assert!(
            state.tags.insert(tag.clone(), digest).is_none(),
            "{}: tag {tag} is listed twice",
            place.name
        );
    }
    let tagged: BTreeSet<String> = state.tags.values().cloned().collect();
    for digest in wanted.manifests.union(&tagged) {
        if let Some(bytes) = manifest(place, digest) {
            state.manifests.insert(digest.clone(), names(&bytes));
        }
    }
    state.blobs = wanted.blobs.iter().filter(|digest| has_blob(place, digest)).cloned().collect();
    state
}

/// The common repository: its tags and those of `wanted` that are there. Every manifest found
/// must pull as a whole.
pub fn common(place: &Place, wanted: &BTreeSet<String>) -> Seen {
    let tags = tag_names(place).into_iter().map(|tag| {
        let digest = resolve(place, &tag);
        (tag, digest)
    });
    let mut seen = Seen { tags: tags.collect::<BTreeMap<_, _>>(), manifests: BTreeSet::new() };
    let tagged: BTreeSet<String> = seen.tags.values().cloned().collect();
    let mut pulled = BTreeSet::new();
    for digest in wanted.union(&tagged) {
        let Some(bytes) = manifest(place, digest) else { continue };
        for blob in names(&bytes) {
            if pulled.insert(blob.clone()) {
                assert!(has_blob(place, &blob), "{}: manifest {digest} lacks blob {blob}", place.name);
            }
        }
        seen.manifests.insert(digest.clone());
    }
    seen
}
