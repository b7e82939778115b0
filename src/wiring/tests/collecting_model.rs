//! Random pushes, mounts, indexes, tags, deletes, restores, hours, collections and stops without notice against a small
//! model: what an image names is there, byte for byte, as long as the image is; whoever was told that a blob is there
//! can name it; in the end everything that nothing names is gone, and `fsck` finds nothing after each stop.
//!
//! `PIERHEAD_ROUNDS` steps (400), `PIERHEAD_TEST_SEED`.

use std::collections::{BTreeMap, BTreeSet};

use hyper::Method;
use pierhead_storage_format::keys::{BlobKey, ManifestKey, RepositoryBlobKey};
use serde_json::json;
use tokio::task::JoinSet;

use super::house::{House, digest};
use crate::services::access::{Action, Resource};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const NAMES: [&str; 3] = ["acme/web", "acme/api", "other/web"];

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).expect("small")
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.below(all.len())) }
    }
}

/// A manifest that is there: its bytes and the blobs it names.
#[derive(Clone)]
struct Image {
    bytes: String,
    kind: &'static str,
    blobs: Vec<&'static [u8]>,
}

#[derive(Default)]
struct Shelf {
    images: BTreeMap<String, Image>,
    tags: BTreeMap<String, String>,
}

struct Model {
    rng: Rng,
    shelves: BTreeMap<&'static str, Shelf>,
    /// What was deleted, by number of the trash.
    deleted: Vec<(&'static str, String, Image)>,
    made: usize,
}

impl Model {
    fn name(&mut self) -> &'static str {
        NAMES[self.rng.below(NAMES.len())]
    }

    /// Few different ones, so that repositories share them; now and then one larger than the small log takes.
    fn blob(&mut self) -> &'static [u8] {
        let number = self.rng.below(25);
        let size = if number < 3 { 70_000 } else { 40 };
        Box::leak(format!("{number:04}").repeat(size / 4).into_bytes().into_boxed_slice())
    }

    async fn push(&mut self, house: &House) {
        let (name, config, layer) = (self.name(), self.blob(), self.blob());
        for blob in [config, layer] {
            let path = format!("/v2/{name}/blobs/{}", digest(blob));
            let told = house.as_whom(Method::HEAD, &path, "").await.status;
            if told == 404 {
                self.bring(house, name, blob).await;
            }
        }
        if self.rng.below(3) == 0 {
            // A slow client: it names what it was told of, most of a grace period later.
            house.after_more(3000).await;
            house.collector.turn_if_due();
            house.collect().await;
        }
        self.made += 1;
        let described =
            |bytes: &[u8]| json!({"mediaType": "text/plain", "digest": digest(bytes), "size": bytes.len()});
        let value = json!({
            "schemaVersion": 2, "mediaType": OCI, "config": described(config), "layers": [described(layer)],
            "annotations": {"number": (self.made % 40).to_string()},
        });
        let mut blobs = vec![config, layer];
        blobs.dedup();
        self.put(house, name, Image { bytes: value.to_string(), kind: OCI, blobs }).await;
    }

    async fn bring(&mut self, house: &House, name: &str, blob: &'static [u8]) {
        let from = NAMES[self.rng.below(NAMES.len())];
        let mount = format!("/v2/{name}/blobs/uploads/?mount={}&from={from}", digest(blob));
        if self.rng.below(2) == 0 && house.as_whom(Method::POST, &mount, "").await.status == 201 {
            return;
        }
        assert_eq!(house.push_blob(name, "", blob).await.status, 201);
    }

    async fn put(&mut self, house: &House, name: &'static str, image: Image) {
        let tag = format!("v{}", self.rng.below(6));
        let by_tag = self.rng.below(4) > 0;
        let own = digest(image.bytes.as_bytes());
        let path = format!("/v2/{name}/manifests/{}", if by_tag { &tag } else { &own });
        let answer =
            house.ask(Method::PUT, &path, &[("content-type", image.kind)], image.bytes.clone()).await;
        assert_eq!(answer.status, 201, "what it names was told to be there: {answer:?}");
        let shelf = self.shelves.entry(name).or_default();
        shelf.images.insert(own.clone(), image);
        if by_tag {
            shelf.tags.insert(tag, own);
        }
    }

    async fn index(&mut self, house: &House) {
        let name = self.name();
        let all: Vec<String> = self.shelves.entry(name).or_default().images.keys().cloned().collect();
        let Some(child) = self.rng.of(&all) else { return };
        let named = json!({"mediaType": OCI, "digest": child, "size": 1});
        let value = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]});
        self.put(house, name, Image { bytes: value.to_string(), kind: INDEX, blobs: Vec::new() }).await;
    }

    async fn delete(&mut self, house: &House) {
        let name = self.name();
        let all: Vec<String> = self.shelves.entry(name).or_default().images.keys().cloned().collect();
        let Some(gone) = self.rng.of(&all).cloned() else { return };
        let path = format!("/v2/{name}/manifests/{gone}");
        assert_eq!(house.as_whom(Method::DELETE, &path, "").await.status, 202);
        self.went(name, &gone);
    }

    fn went(&mut self, name: &'static str, gone: &str) {
        let shelf = self.shelves.entry(name).or_default();
        let image = shelf.images.remove(gone).expect("it was there");
        shelf.tags.retain(|_, named| named != gone);
        self.deleted.push((name, gone.to_owned(), image));
    }

    async fn remove(&mut self, house: &House) {
        let name = self.name();
        let permit =
            house.permit(Action::DeleteRepository, Resource::Repository(name.parse().expect("a name")));
        let share = [1, 12, 4000][self.rng.below(3)];
        if house.images.delete_by(&permit, share).await.is_ok() {
            let all: Vec<String> = self.shelves.entry(name).or_default().images.keys().cloned().collect();
            all.iter().for_each(|gone| self.went(name, gone));
        }
    }

    async fn restore(&mut self, house: &House) {
        let permit = house.permit(Action::ListDeleted, Resource::Registry);
        let (listed, _) = house.images.deleted(&permit, None, None, 1000).await.expect("listed");
        let Some(item) = self.rng.of(&listed) else { return };
        let name = NAMES.into_iter().find(|name| *name == item.record.repository).expect("one of ours");
        let permit =
            house.permit(Action::RestoreVersion, Resource::Repository(name.parse().expect("a name")));
        let back = house.images.restore(&permit, item.number).await.expect("restored");
        let own = item.record.digest.to_string();
        let (.., image) = self.deleted.iter().find(|(_, gone, _)| *gone == own).expect("we deleted it");
        let shelf = self.shelves.entry(name).or_default();
        shelf.images.insert(own.clone(), image.clone());
        shelf.tags.extend(back.tags.into_iter().map(|tag| (tag, own.clone())));
    }

    async fn untag(&mut self, house: &House) {
        let name = self.name();
        let all: Vec<String> = self.shelves.entry(name).or_default().tags.keys().cloned().collect();
        let Some(tag) = self.rng.of(&all) else { return };
        assert_eq!(
            house.as_whom(Method::DELETE, &format!("/v2/{name}/manifests/{tag}"), "").await.status,
            202
        );
        self.shelves.entry(name).or_default().tags.remove(tag);
    }

    /// Everything that is there answers with its bytes, everything else with 404.
    async fn compare(&self, house: &House) {
        for (name, shelf) in &self.shelves {
            for (own, image) in &shelf.images {
                let answer = house.as_whom(Method::GET, &format!("/v2/{name}/manifests/{own}"), "").await;
                assert_eq!((answer.status, &answer.body), (200, &image.bytes), "{name}@{own}");
                for blob in &image.blobs {
                    let path = format!("/v2/{name}/blobs/{}", digest(blob));
                    let answer = house.as_whom(Method::GET, &path, "").await;
                    assert_eq!((answer.status, answer.body.as_bytes()), (200, *blob), "{name}@{own}");
                }
            }
            for (tag, own) in &shelf.tags {
                let answer = house.as_whom(Method::HEAD, &format!("/v2/{name}/manifests/{tag}"), "").await;
                assert_eq!(
                    (answer.status, answer.header("docker-content-digest")),
                    (200, own.as_str()),
                    "{name}:{tag}"
                );
            }
        }
        for (name, gone, _) in &self.deleted {
            if !self.shelves.get(name).is_some_and(|shelf| shelf.images.contains_key(gone)) {
                let answer = house.as_whom(Method::GET, &format!("/v2/{name}/manifests/{gone}"), "").await;
                assert_eq!(answer.status, 404, "{name}@{gone}");
            }
        }
    }

    /// Exactly what images name is left.
    fn only_what_is_named_is_left(&self, house: &House) {
        let images = || self.shelves.values().flat_map(|shelf| &shelf.images);
        let mut named: BTreeSet<String> = images().map(|(own, _)| own.clone()).collect();
        let links: usize = self
            .shelves
            .values()
            .map(|shelf| shelf.images.values().flat_map(|image| &image.blobs).collect::<BTreeSet<_>>().len())
            .sum();
        named.extend(images().flat_map(|(_, image)| image.blobs.iter().map(|blob| digest(blob))));
        let rows = house.meta().page::<BlobKey>(&[], None, 10_000).expect("rows");
        let left: BTreeSet<String> = rows.iter().map(|(key, _)| key.digest.to_string()).collect();
        assert_eq!(left, named);
        assert_eq!(house.meta().page::<RepositoryBlobKey>(&[], None, 10_000).expect("rows").len(), links);
        assert_eq!(
            house.meta().page::<ManifestKey>(&[], None, 10_000).expect("rows").len(),
            images().count()
        );
    }
}

fn set(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[tokio::test]
async fn random_pushes_deletes_restores_collections_and_stops_agree_with_a_small_model() {
    let (steps, seed) = (set("PIERHEAD_ROUNDS", 400), set("PIERHEAD_TEST_SEED", 1));
    let mut house = House::with(true, |settings| settings.registry.delete = true).await;
    let mut model = Model { rng: Rng(seed), shelves: BTreeMap::new(), deleted: Vec::new(), made: 0 };
    for _ in 0..steps {
        match model.rng.below(100) {
            0..40 => model.push(&house).await,
            40..46 => model.index(&house).await,
            46..62 => model.delete(&house).await,
            62..67 => model.untag(&house).await,
            67..75 => model.restore(&house).await,
            75..77 => model.remove(&house).await,
            77..83 => house.hours(1 + model.rng.below(3) as u64).await,
            83..94 => house.collect().await,
            94..97 => model.compare(&house).await,
            _ => {
                // A run is under way when it stops.
                let collector = house.collector.clone();
                let mut running = JoinSet::new();
                running.spawn(async move { collector.run().await });
                for _ in 0..model.rng.below(6) {
                    tokio::task::yield_now().await;
                }
                house.collector.stop();
                running.join_all().await;
                house = house.reopen_sound().await;
                model.compare(&house).await;
            }
        }
    }
    model.compare(&house).await;
    // Long enough for everything that was deleted to be given up, and collected.
    for _ in 0..16 {
        house.hours(2).await;
        house.collect().await;
    }
    model.compare(&house).await;
    house.hours(3).await;
    house.collect().await;
    model.only_what_is_named_is_left(&house);
    assert_eq!(house.files().len(), house.meta().page::<BlobKey>(&[], None, 10_000).expect("rows").len());
    house.sound().await;
}
