//! What findings say: which images they concern, where, how bad it is, and in which words of `FORMAT.md`.

use pierhead_storage_format::keys::ManifestReferenceKey;
use pierhead_storage_format::records::{ReferenceRecord, ReferenceRole};

use super::{CONFIG, LAYER, OTHER, TALLY, digest_of, healthy, image, image_names, path_of, run};
use crate::services::fsck::Report;
use crate::services::fsck::report::{INVARIANTS, MAX_FINDINGS, METADATA, R1};

#[test]
fn a_finding_of_a_blob_says_that_not_all_images_were_looked_up() {
    let mut store = healthy();
    store.files.remove(&path_of(&digest_of(LAYER)));
    for number in 0_u32..20_000 {
        let manifest = digest_of(&number.to_be_bytes());
        let key = ManifestReferenceKey { manifest, ..image_names(OTHER) };
        store.put(&key, &ReferenceRecord { role: ReferenceRole::Foreign });
    }
    let report = run(&store, false, TALLY).expect("readable");
    let found = report.findings.iter().find(|finding| finding.id == "B1").expect("found");
    assert_eq!(found.images.last().map(String::as_str), Some("others, not looked up"), "{found:?}");
}

#[test]
fn a_finding_of_a_blob_says_whether_there_are_more_images_than_it_names() {
    // Two tags of it are there, and a signature that has its config too.
    for (tags, others) in [(17, false), (18, true), (40, true)] {
        let mut store = healthy();
        let image = digest_of(image().as_bytes());
        (0..tags).for_each(|number| store.tag(1, &format!("t{number}"), image));
        store.files.remove(&path_of(&digest_of(CONFIG)));
        let report = run(&store, false, TALLY).expect("readable");
        let images = &report.findings.iter().find(|finding| finding.id == "B1").expect("found").images;
        let said = images.last().is_some_and(|last| last == "others, not looked up");
        assert_eq!((images.len(), said), (20 + usize::from(others), others), "{tags}: {images:?}");
    }
}

#[test]
fn a_finding_names_repository_tag_and_digest() {
    let mut store = healthy();
    store.tag(1, "gone", digest_of(b"gone"));
    let report = run(&store, false, TALLY).expect("readable");
    let what = &report.findings[0].what;
    for part in ["acme/web:gone", &digest_of(b"gone").to_string()] {
        assert!(what.contains(part), "{part} in {what}");
    }
}

#[test]
fn a_finding_of_the_metadata_has_its_own_severity() {
    let cases = [("M1", false), ("M2", true), ("M4", false), ("M5", true), ("M99", false)];
    for (id, clean) in cases {
        let mut report = Report::default();
        report.add_metadata(id, "a file".into());
        assert_eq!(report.is_clean(), clean, "{id}");
    }
}

#[test]
fn findings_beyond_the_limit_are_counted_but_not_kept() {
    let mut report = Report::default();
    for _ in 0..=MAX_FINDINGS {
        report.find(&R1, "a tag".into());
    }
    assert_eq!(report.findings.len() as u64, MAX_FINDINGS);
    assert_eq!(report.by_id.get("R1"), Some(&(MAX_FINDINGS + 1)));
}

#[test]
fn format_md_states_every_invariant_word_for_word() {
    let text =
        include_str!("../../../../storage-format/FORMAT.md").split_whitespace().collect::<Vec<_>>().join(" ");
    for invariant in INVARIANTS {
        let stated = format!("**{}** {}", invariant.id, invariant.holds);
        assert!(text.contains(&stated), "{stated}");
    }
    for (id, ..) in METADATA {
        assert!(text.contains(&format!("**{id}** ")), "{id}");
    }
}
