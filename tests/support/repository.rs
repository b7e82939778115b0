//! One repository of a registry: its paths, and the pushes every test needs.

use super::http::{Request, with_query};
use super::images::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, sha256};
use super::{Http, Image, Response};
use serde_json::Value;
use std::sync::atomic::{AtomicU32, Ordering};

const ACCEPTED: [&str; 5] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, "*/*"];

#[derive(Clone, Debug)]
pub struct Repository {
    pub http: Http,
    pub name: String,
}

impl Repository {
    /// A name no other test, and no earlier run against a lasting registry, has used.
    pub fn fresh(http: Http) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { http, name: format!("t{}/r{number}", std::process::id()) }
    }

    pub fn named(http: Http, name: &str) -> Self {
        Self { http, name: name.to_owned() }
    }

    /// `/v2/<name>/<rest>`
    pub fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    /// A request below this repository; for a manifest it says, as clients do, what it can read.
    pub fn request(&self, method: &str, rest: &str) -> Request {
        let request = self.http.request(method, &self.path(rest));
        let reads = rest.starts_with("manifests/") && matches!(method, "GET" | "HEAD");
        if reads { request.header("Accept", ACCEPTED.join(", ")) } else { request }
    }

    pub fn get(&self, rest: &str) -> Response {
        self.request("GET", rest).send()
    }

    pub fn head(&self, rest: &str) -> Response {
        self.request("HEAD", rest).send()
    }

    pub fn delete(&self, rest: &str) -> Response {
        self.request("DELETE", rest).send()
    }

    /// Begins an upload: its location.
    pub fn begin(&self) -> String {
        self.request("POST", "blobs/uploads/").send().expect(202).location()
    }

    /// Pushes a blob by POST and PUT: its sha256 digest.
    pub fn push_blob(&self, content: &[u8]) -> String {
        let digest = sha256(content);
        self.push_blob_as(content, &digest);
        digest
    }

    pub fn push_blob_as(&self, content: &[u8], digest: &str) {
        let location = with_query(&self.begin(), &format!("digest={digest}"));
        self.http.put(&location).body(content).send().expect(201);
    }

    /// Pushes a manifest whose media type is in its bytes.
    pub fn push_manifest(&self, reference: &str, manifest: &[u8]) -> Response {
        let value: Value = serde_json::from_slice(manifest).expect("a manifest in JSON");
        let media_type = value["mediaType"].as_str().expect("a mediaType member").to_owned();
        self.put_manifest(reference, &media_type, manifest)
    }

    pub fn put_manifest(&self, reference: &str, media_type: &str, manifest: &[u8]) -> Response {
        let path = format!("manifests/{reference}");
        self.request("PUT", &path).header("Content-Type", media_type).body(manifest).send()
    }

    /// Pushes `value` as it is written by serde_json: its bytes and digest.
    pub fn push_value(&self, reference: Option<&str>, value: &Value) -> (Vec<u8>, String) {
        let bytes = serde_json::to_vec(value).expect("a JSON value");
        let digest = sha256(&bytes);
        self.push_manifest(reference.unwrap_or(&digest), &bytes).expect(201);
        (bytes, digest)
    }

    /// Pushes the blobs, then the manifest: its digest.
    pub fn push(&self, reference: &str, image: &Image) -> String {
        self.push_blobs(image);
        self.put_manifest(reference, image.media_type, &image.manifest).expect(201);
        image.digest()
    }

    pub fn push_blobs(&self, image: &Image) {
        for blob in image.blobs() {
            self.push_blob(blob);
        }
    }

    /// Pulls the way clients do and compares every byte.
    pub fn pull_and_compare(&self, reference: &str, image: &Image) {
        let manifest = self.get(&format!("manifests/{reference}")).expect(200);
        assert!(manifest.body == image.manifest, "the manifest comes back byte for byte: {manifest}");
        for blob in image.blobs() {
            let got = self.get(&format!("blobs/{}", sha256(blob))).expect(200);
            assert!(got.body == blob, "a blob comes back byte for byte");
        }
    }

    pub fn tags(&self) -> Vec<String> {
        strings(&self.get("tags/list").expect(200).json()["tags"])
    }
}

/// The strings of a JSON array; `null` is none.
pub fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item.as_str().expect("a string").to_owned()).collect()
}
