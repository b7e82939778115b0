//! The end of a round: `fsck` on the stopped store, a start, and every repository against its
//! ledger.

use super::calls::Place;
use super::daemon::fsck;
use super::{Common, Writer, observe};
use crate::support::Http;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Panics unless `fsck` finds nothing wrong with the store of a stopped server.
pub fn sound(data: &Path) {
    let output = fsck(data);
    assert!(
        output.status.success(),
        "fsck of {} finds fault ({}):\n{}{}",
        data.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Panics unless a started server has what the ledgers say, and nothing else. `data`: where its
/// files are, unless it is a peer.
pub fn kept(http: Http, data: Option<&Path>, writers: &mut [Writer], common: &Common) {
    for writer in writers.iter_mut() {
        for shelf in 0..writer.shelves.len() {
            check_shelf(http, writer, shelf);
        }
    }
    let place = Place { http, name: common.name().to_owned() };
    let seen = observe::common(&place, &common.manifests());
    if let Err(why) = common.observed(&seen) {
        panic!("{why}\n{}", diaries(writers));
    }
    for writer in writers.iter_mut() {
        writer.stored.extend(seen.manifests.iter().cloned());
    }
    check_catalog(http, writers);
    if let Some(data) = data {
        check_files(data, writers);
    }
}

fn check_shelf(http: Http, writer: &mut Writer, number: usize) {
    let shelf = &mut writer.shelves[number];
    let mut wanted = observe::Wanted::default();
    shelf.last.iter().for_each(|change| wanted.touch(change));
    shelf.ledger.all().iter().for_each(|state| wanted.extend(state));
    let place = Place { http, name: shelf.name.clone() };
    let seen = observe::state(&place, &wanted);
    let stored: Vec<String> = seen.blobs.iter().chain(seen.manifests.keys()).cloned().collect();
    if let Err(contradiction) = shelf.ledger.observed(seen) {
        panic!("{}: {contradiction}\n{}", place.name, writer.diary_text());
    }
    writer.stored.extend(stored);
}

fn check_catalog(http: Http, writers: &[Writer]) {
    let listed = observe::catalog(&Place { http, name: String::new() });
    for shelf in writers.iter().flat_map(|writer| &writer.shelves) {
        let filled = !shelf.ledger.any().is_empty();
        assert!(
            !filled || listed.contains(&shelf.name),
            "{} is missing in the catalog {listed:?}",
            shelf.name
        );
    }
}

/// Bytes of changes that did not happen are swept at start.
fn check_files(data: &Path, writers: &[Writer]) {
    let known: BTreeSet<&String> = writers.iter().flat_map(|writer| &writer.stored).collect();
    for digest in blob_files(data) {
        let digest = digest.strip_suffix(".b3").map_or(digest.clone(), str::to_owned);
        assert!(known.contains(&digest), "{digest} is on the disk, and nobody's\n{}", diaries(writers));
    }
}

/// The digests of the files below `blobs/`.
pub fn blob_files(data: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for algorithm in ["sha256", "sha512"] {
        let Ok(folders) = fs::read_dir(data.join("blobs").join(algorithm)) else { continue };
        for folder in folders {
            let folder = folder.expect("the folder can be read").path();
            for file in fs::read_dir(folder).expect("the folder can be read") {
                let name = file.expect("the folder can be read").file_name();
                found.push(format!("{algorithm}:{}", name.to_string_lossy()));
            }
        }
    }
    found
}

fn diaries(writers: &[Writer]) -> String {
    writers.iter().map(|writer| writer.diary_text() + "\n").collect()
}
