//! Random operations against a small model: pushes in every way, re-tags, mounts, deletes, lists,
//! referrers, wrong digests, restarts by SIGTERM and SIGKILL. Every answer must be the model's; at
//! the end `fsck` is clean. On disagreement the seed and the last operations are printed.
//!
//! CI size: 3,000 steps, about 9 s. Full size: 50,000 steps, about 3 min:
//! `PIERHEAD_FULL=1 cargo test --test model -- --nocapture`
//! (`PIERHEAD_ROUNDS=steps`, `PIERHEAD_TEST_SEED=n`).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say why"
)]

mod endurance;
mod support;

use endurance::calls::{Content, Outcome, Place, WAYS};
use endurance::observe::{catalog, next_page};
use endurance::{Daemon, Launch, sizes, verdict};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use support::images::{OCI_INDEX, OCI_LAYER, OCI_MANIFEST, sha512};
use support::repository::strings;
use support::{Response, Rng, sha256};

const REPOSITORIES: [&str; 5] = ["library/solo", "acme/web", "acme/web/nested", "acme/api", "b/c"];
const TYPES: [&str; 3] = ["application/vnd.example.signature", "application/vnd.example.sbom", "text/plain"];
/// A repository with more than these is thinned out.
const MANIFESTS: usize = 50;
const BLOBS: usize = 80;
const SHOWN: usize = 25;

/// A manifest as pushed.
#[derive(Clone)]
struct Pushed {
    bytes: Vec<u8>,
    media_type: &'static str,
    /// Blobs it names (an index names none).
    names: BTreeSet<String>,
    subject: Option<String>,
    artifact_type: Option<String>,
}

#[derive(Default)]
struct Shelf {
    blobs: BTreeMap<String, usize>,
    manifests: BTreeMap<String, Pushed>,
    tags: BTreeMap<String, String>,
}

struct Run {
    rng: Rng,
    server: Option<Daemon>,
    launch: Launch,
    /// Made by its first blob or manifest; never goes again.
    shelves: BTreeMap<&'static str, Shelf>,
    last: VecDeque<String>,
}

#[test]
fn random_operations_are_answered_as_a_small_model_answers_them() {
    let (steps, seed) = (sizes::rounds(3_000, 50_000), sizes::seed());
    let folder = tempfile::Builder::new().prefix("pierhead-model-").tempdir().expect("a scratch folder");
    let data = folder.path().join("data");
    let mut run = Run::new(&data, seed);
    for step in 0..steps {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.step()));
        if let Err(panic) = outcome {
            sizes::note(&format!("seed {seed}, step {step}; the last operations:"));
            run.last.iter().for_each(|line| sizes::note(&format!("  {line}")));
            std::panic::resume_unwind(panic);
        }
    }
    run.compare_all();
    run.server.take().expect("it runs").stop();
    verdict::sound(&data);
    sizes::note(&format!("{steps} steps agree (seed {seed})"));
}

impl Run {
    fn new(data: &Path, seed: u64) -> Self {
        let launch = Launch::on(data);
        let server = Some(launch.start());
        Self { rng: Rng::seeded(seed), server, launch, shelves: BTreeMap::new(), last: VecDeque::new() }
    }

    fn step(&mut self) {
        let name = REPOSITORIES[self.rng.below(REPOSITORIES.len())];
        let choice = match self.shelves.get(name) {
            Some(shelf) if shelf.manifests.len() > MANIFESTS => 650,
            Some(shelf) if shelf.blobs.len() > BLOBS && self.rng.below(2) == 0 => 710,
            _ => self.rng.below(1000),
        };
        match choice {
            0..180 => self.push_blob(name),
            180..200 => self.push_wrong_digest(name),
            200..380 => self.push_image(name),
            380..430 => self.push_index(name),
            430..500 => self.retag(name),
            500..570 => self.mount(name),
            570..640 => self.untag(name),
            640..700 => self.delete_manifest(name),
            700..760 => self.delete_blob(name),
            760..830 => self.read_manifest(name),
            830..890 => self.read_blob(name),
            890..930 => self.list_tags(name),
            930..950 => self.list_repositories(),
            950..990 => self.list_referrers(name),
            990..996 => self.compare_one(name),
            996..998 => self.restart(true),
            _ => self.restart(false),
        }
    }

    fn place(&self, name: &str) -> Place {
        Place { http: self.server.as_ref().expect("it runs").http(), name: name.to_owned() }
    }

    fn note(&mut self, line: String) {
        self.last.push_back(line);
        if self.last.len() > SHOWN {
            self.last.pop_front();
        }
    }

    /// One of the digests a repository has, or rarely one it has not.
    fn pick(&mut self, from: Vec<String>) -> String {
        let stray = from.is_empty() || self.rng.below(20) == 0;
        if stray { sha256(&self.rng.bytes(8)) } else { from[self.rng.below(from.len())].clone() }
    }

    fn blobs(&self, name: &str) -> Vec<String> {
        self.shelves.get(name).map(|shelf| shelf.blobs.keys().cloned().collect()).unwrap_or_default()
    }

    fn manifests(&self, name: &str) -> Vec<String> {
        self.shelves.get(name).map(|shelf| shelf.manifests.keys().cloned().collect()).unwrap_or_default()
    }

    fn tag(&mut self) -> String {
        format!("{}{}", ["v", "V", "1.", "_", "latest-"][self.rng.below(5)], self.rng.below(6))
    }

    fn push_blob(&mut self, name: &'static str) {
        let common = self.rng.below(3) == 0;
        let content = if common { Content::common(&mut self.rng) } else { Content::random(&mut self.rng) };
        let bytes = content.bytes();
        let long = self.rng.below(8) == 0;
        let digest = if long { sha512(&bytes) } else { sha256(&bytes) };
        let way = WAYS[self.rng.below(WAYS.len())];
        self.note(format!("{name}: push blob {digest} ({} bytes, {way:?})", bytes.len()));
        if long {
            let target = format!("blobs/uploads/?digest={digest}");
            self.place(name).request("POST", &target).body(bytes).send().expect(201);
        } else {
            let outcome = self.place(name).push_blob(way, &bytes);
            assert!(matches!(outcome, Outcome::Acknowledged), "{outcome:?}");
        }
        self.shelves.entry(name).or_default().blobs.insert(digest, content.length);
    }

    fn push_wrong_digest(&mut self, name: &'static str) {
        let (bytes, digest) = (self.rng.bytes(100), sha256(&self.rng.bytes(100)));
        self.note(format!("{name}: push a blob as {digest}, which it is not"));
        let target = format!("blobs/uploads/?digest={digest}");
        self.place(name).request("POST", &target).body(bytes).send().refused(400, "DIGEST_INVALID");
    }

    fn push_image(&mut self, name: &'static str) {
        let count = 1 + self.rng.below(4);
        let named: Vec<String> = (0..count).map(|_| self.pick(self.blobs(name))).collect();
        let sizes = self.shelves.get(name).map(|shelf| shelf.blobs.clone()).unwrap_or_default();
        let layer = |digest: &String| json!({ "mediaType": OCI_LAYER, "digest": digest, "size": sizes.get(digest).copied().unwrap_or(8) });
        let mut layers: Vec<Value> = named.iter().map(layer).collect();
        let config = layers.remove(0);
        let mut value =
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers });
        let artifact_type = (self.rng.below(2) == 0).then(|| TYPES[self.rng.below(TYPES.len())].to_owned());
        if let Some(kind) = &artifact_type {
            value["artifactType"] = json!(kind);
        }
        let subject = self.subject(name, &mut value);
        if self.rng.below(2) == 0 {
            value["annotations"] = json!({ "number": self.rng.number().to_string() });
        }
        let pushed = Pushed {
            bytes: serde_json::to_vec(&value).expect("a JSON value"),
            media_type: OCI_MANIFEST,
            names: named.into_iter().collect(),
            subject,
            artifact_type: artifact_type.or_else(|| Some(OCI_LAYER.to_owned())),
        };
        self.put(name, pushed);
    }

    /// Sometimes a subject: a manifest of the repository, or one that is not there.
    fn subject(&mut self, name: &str, value: &mut Value) -> Option<String> {
        if self.rng.below(4) > 0 {
            return None;
        }
        let digest = self.pick(self.manifests(name));
        value["subject"] = json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": 100 });
        Some(digest)
    }

    fn push_index(&mut self, name: &'static str) {
        let children: Vec<String> =
            (0..1 + self.rng.below(3)).map(|_| self.pick(self.manifests(name))).collect();
        let child = |digest: &String| json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": 100 });
        let children: Vec<Value> = children.iter().map(child).collect();
        let mut value = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children });
        let subject = self.subject(name, &mut value);
        let artifact_type = (self.rng.below(3) == 0).then(|| TYPES[self.rng.below(TYPES.len())].to_owned());
        if let Some(kind) = &artifact_type {
            value["artifactType"] = json!(kind);
        }
        let bytes = serde_json::to_vec(&value).expect("a JSON value");
        self.put(
            name,
            Pushed { bytes, media_type: OCI_INDEX, names: BTreeSet::new(), subject, artifact_type },
        );
    }

    fn retag(&mut self, name: &'static str) {
        let digest = self.pick(self.manifests(name));
        let known = self.shelves.get(name).and_then(|shelf| shelf.manifests.get(&digest)).cloned();
        if let Some(pushed) = known {
            self.put(name, pushed);
        }
    }

    /// Pushes under a tag, or by digest, sometimes with more tags in the query.
    fn put(&mut self, name: &'static str, pushed: Pushed) {
        let digest = sha256(&pushed.bytes);
        let mut tags = BTreeSet::new();
        let by_digest = self.rng.below(6) == 0;
        if !by_digest {
            tags.insert(self.tag());
        }
        let reference = tags.first().cloned().unwrap_or_else(|| digest.clone());
        let mut target = format!("manifests/{reference}");
        if self.rng.below(6) == 0 {
            let more = self.tag();
            target = format!("{target}?tag={more}");
            tags.insert(more);
        }
        self.note(format!("{name}: PUT {target} = {digest}, naming {:?}", pushed.names));
        let request = self.place(name).request("PUT", &target).header("Content-Type", pushed.media_type);
        let response = request.body(pushed.bytes.clone()).send();
        let here = self.shelves.get(name);
        if !pushed.names.iter().all(|blob| here.is_some_and(|shelf| shelf.blobs.contains_key(blob))) {
            response.refused(400, "MANIFEST_BLOB_UNKNOWN");
            return;
        }
        let response = response.expect(201);
        assert_eq!(response.need("docker-content-digest"), digest);
        assert_eq!(response.header("oci-subject"), pushed.subject.as_deref(), "{response}");
        let shelf = self.shelves.entry(name).or_default();
        shelf.manifests.insert(digest.clone(), pushed);
        shelf.tags.extend(tags.into_iter().map(|tag| (tag, digest.clone())));
    }

    fn mount(&mut self, name: &'static str) {
        let source = REPOSITORIES[self.rng.below(REPOSITORIES.len())];
        let digest = self.pick(self.blobs(source));
        let from = (self.rng.below(3) > 0).then_some(source);
        self.note(format!("{name}: mount {digest} from {from:?}"));
        let outcome = self.place(name).mount(&digest, from);
        let size = |shelf: &Shelf| shelf.blobs.get(&digest).copied();
        let found = match from {
            Some(source) => self.shelves.get(source).and_then(size),
            None => self.shelves.values().find_map(size),
        };
        match (found, outcome) {
            (Some(size), Outcome::Acknowledged) => {
                self.shelves.entry(name).or_default().blobs.insert(digest, size);
            }
            (None, Outcome::Refused(_)) => {}
            (found, outcome) => panic!("the model has {found:?}, the answer was {outcome:?}"),
        }
    }

    fn untag(&mut self, name: &'static str) {
        let tag = self.tag();
        self.note(format!("{name}: delete tag {tag}"));
        let response = self.place(name).request("DELETE", &format!("manifests/{tag}")).send();
        match self.shelves.get_mut(name).and_then(|shelf| shelf.tags.remove(&tag)) {
            Some(_) => response.expect(202),
            None => self.unknown(name, response, "MANIFEST_UNKNOWN"),
        };
    }

    fn delete_manifest(&mut self, name: &'static str) {
        let digest = self.pick(self.manifests(name));
        self.note(format!("{name}: delete manifest {digest}"));
        let response = self.place(name).request("DELETE", &format!("manifests/{digest}")).send();
        match self.shelves.get_mut(name).and_then(|shelf| shelf.manifests.remove(&digest)) {
            Some(_) => {
                self.shelves.entry(name).or_default().tags.retain(|_, names| *names != digest);
                response.expect(202);
            }
            None => {
                self.unknown(name, response, "MANIFEST_UNKNOWN");
            }
        }
    }

    fn delete_blob(&mut self, name: &'static str) {
        let digest = self.pick(self.blobs(name));
        self.note(format!("{name}: delete blob {digest}"));
        let response = self.place(name).request("DELETE", &format!("blobs/{digest}")).send();
        let used = self
            .shelves
            .get(name)
            .is_some_and(|shelf| shelf.manifests.values().any(|manifest| manifest.names.contains(&digest)));
        if used {
            response.expect(405);
        } else if self.shelves.get_mut(name).is_some_and(|shelf| shelf.blobs.remove(&digest).is_some()) {
            response.expect(202);
        } else {
            self.unknown(name, response, "BLOB_UNKNOWN");
        }
    }

    /// 404: of the repository, if nothing was ever pushed there, else of the thing.
    fn unknown(&self, name: &str, response: Response, code: &str) -> Response {
        let code = if self.shelves.contains_key(name) { code } else { "NAME_UNKNOWN" };
        response.refused(404, code)
    }

    fn read_manifest(&mut self, name: &'static str) {
        let by_tag = self.rng.below(2) == 0;
        let reference = if by_tag { self.tag() } else { self.pick(self.manifests(name)) };
        self.note(format!("{name}: read manifest {reference}"));
        let shelf = self.shelves.get(name);
        let digest =
            shelf.map(|shelf| shelf.tags.get(&reference).cloned().unwrap_or_else(|| reference.clone()));
        let wanted = shelf.zip(digest.clone()).and_then(|(shelf, digest)| shelf.manifests.get(&digest));
        let path = format!("manifests/{reference}");
        let head = self.place(name).request("HEAD", &path).send();
        let get = self.place(name).request("GET", &path).send();
        let Some(wanted) = wanted else {
            head.expect(404);
            self.unknown(name, get, "MANIFEST_UNKNOWN");
            return;
        };
        for response in [&head, &get] {
            assert_eq!(response.status, 200, "{response}");
            assert_eq!(response.need("docker-content-digest"), digest.clone().expect("found by it"));
            assert_eq!(response.need("content-type"), wanted.media_type);
            assert_eq!(response.need("content-length"), wanted.bytes.len().to_string());
        }
        assert!(get.body == wanted.bytes, "the manifest's bytes");
    }

    fn read_blob(&mut self, name: &'static str) {
        let digest = self.pick(self.blobs(name));
        self.note(format!("{name}: read blob {digest}"));
        let path = format!("blobs/{digest}");
        let head = self.place(name).request("HEAD", &path).send();
        let get = self.place(name).request("GET", &path).send();
        let Some(&size) = self.shelves.get(name).and_then(|shelf| shelf.blobs.get(&digest)) else {
            head.expect(404);
            get.expect(404);
            return;
        };
        assert_eq!(head.expect(200).need("content-length"), size.to_string());
        let body = get.expect(200).body;
        assert!([sha256(&body), sha512(&body)].contains(&digest), "the blob's bytes");
    }

    fn list_tags(&mut self, name: &'static str) {
        let (count, last) = (1 + self.rng.below(8), self.tag());
        let after = self.rng.below(2) == 0;
        let query =
            if after { format!("tags/list?n={count}&last={last}") } else { format!("tags/list?n={count}") };
        self.note(format!("{name}: {query}"));
        let response = self.place(name).request("GET", &query).send();
        let Some(shelf) = self.shelves.get(name) else {
            response.refused(404, "NAME_UNKNOWN");
            return;
        };
        let all: Vec<String> = shelf.tags.keys().filter(|tag| !after || **tag > last).cloned().collect();
        let response = response.expect(200);
        assert_eq!(response.json()["name"], *name);
        assert_eq!(strings(&response.json()["tags"]), all[..count.min(all.len())]);
        assert_eq!(next_page(&response).is_some(), all.len() > count, "{response}");
    }

    fn list_repositories(&mut self) {
        self.note("list repositories".to_owned());
        let listed = catalog(&self.place(""));
        let wanted: BTreeSet<String> = self.shelves.keys().map(|name| (*name).to_owned()).collect();
        assert_eq!(listed, wanted);
    }

    fn list_referrers(&mut self, name: &'static str) {
        let subjects = self
            .shelves
            .get(name)
            .map(|shelf| shelf.manifests.values().filter_map(|manifest| manifest.subject.clone()).collect());
        let subject = self.pick(subjects.unwrap_or_default());
        let filter = (self.rng.below(2) == 0).then(|| TYPES[self.rng.below(TYPES.len())]);
        let query = filter.map(|kind| format!("?artifactType={kind}")).unwrap_or_default();
        self.note(format!("{name}: referrers/{subject}{query}"));
        let response =
            self.place(name).request("GET", &format!("referrers/{subject}{query}")).send().expect(200);
        let manifests = self.shelves.get(name).map(|shelf| shelf.manifests.clone()).unwrap_or_default();
        let fits = |pushed: &Pushed| {
            pushed.subject.as_ref() == Some(&subject)
                && filter.is_none_or(|kind| pushed.artifact_type.as_deref() == Some(kind))
        };
        let wanted: BTreeSet<String> =
            manifests.into_iter().filter(|(_, pushed)| fits(pushed)).map(|(digest, _)| digest).collect();
        let value = response.json();
        let listed = value["manifests"].as_array().expect("an index has manifests");
        let listed: Vec<String> =
            listed.iter().map(|entry| entry["digest"].as_str().expect("a digest").to_owned()).collect();
        assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), wanted);
        assert_eq!(listed.len(), wanted.len(), "each once: {listed:?}");
    }

    /// A repository from end to end: tags with their digests, every manifest and blob.
    fn compare_one(&mut self, name: &'static str) {
        self.note(format!("{name}: compare all"));
        let place = self.place(name);
        let Some(shelf) = self.shelves.get(name) else { return };
        let listed = endurance::observe::tag_names(&place);
        assert_eq!(listed, shelf.tags.keys().cloned().collect::<Vec<_>>());
        for (tag, digest) in &shelf.tags {
            let response = place.request("HEAD", &format!("manifests/{tag}")).send().expect(200);
            assert_eq!(response.need("docker-content-digest"), digest);
        }
        for (digest, pushed) in &shelf.manifests {
            let body = place.request("GET", &format!("manifests/{digest}")).send().expect(200).body;
            assert!(body == pushed.bytes, "manifest {digest}");
        }
        for digest in shelf.blobs.keys() {
            place.request("HEAD", &format!("blobs/{digest}")).send().expect(200);
        }
    }

    fn compare_all(&mut self) {
        REPOSITORIES.into_iter().for_each(|name| self.compare_one(name));
        self.list_repositories();
    }

    fn restart(&mut self, in_order: bool) {
        self.note(format!("restart, {}", if in_order { "in order" } else { "by SIGKILL" }));
        let server = self.server.take().expect("it runs");
        let log = if in_order { server.stop() } else { server.kill() };
        assert!(!log.contains("panicked at"), "{log}");
        self.server = Some(self.launch.start());
    }
}
