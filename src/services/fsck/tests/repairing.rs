//! What can be done about each sickness, done in memory: the store is well then, or exactly what was said is left.

use pierhead_storage_format::housekeeping::{DeletedManifestKey, UnreferencedKey, UnreferencedRecord};
use pierhead_storage_format::keys::{
    BlobKey, CounterKey, OrganisationKey, RepositoryBlobKey, RepositoryKey, Table, TableKey,
};
use pierhead_storage_format::outboard::{CHUNK, Outboard};
use pierhead_storage_format::quota::{OrganisationBlobKey, OrganisationUsageKey};
use pierhead_storage_format::records::{BlobRecord, ReferenceRole, RepositoryBlobRecord};
use pierhead_storage_format::scrub::{DamageKey, DamageKind, DamageRecord};

use super::fixtures::{FILES, METADATA_ROWS, RETENTION, RETENTION_LEFTOVERS};
use super::{
    OTHER, Store, TALLY, digest_of, healthy, holdings, housekeeping, identity, ids, image_names, outboard_of,
    path_of, run, signature, tag, web_manifest,
};
use crate::services::fsck::fix::MAX_ROWS;
use crate::services::fsck::report::{R5, R6};
use crate::services::fsck::{How, Options, Plan, Report, RowChange};

/// Of these nothing is repaired.
const LEFT: &[&str] =
    &["R1", "R3", "R10", "R11", "R12", "R14", "R18", "R21", "R23", "R24", "R28", "R62", "R63"];
/// Nor of these, though others of their ids are.
const LEFT_TOO: &[&str] = &[
    "a file that is not a blob's",
    "public attributes of no repository",
    "a deleted manifest that does not keep itself",
    "a deleted manifest that keeps what is not there",
    "a blob of a repository with another size",
    "a manifest of another size than its blob",
    "a manifest without a blob row or a file",
    "a layer without a blob row, of other bytes",
];
/// Nor of rows that mirror one that is not there at all: it may have been lost.
const ORPHANS: &[&str] = &[
    "a mirror without its tag",
    "a mirror for a repository that lacks the blob",
    "a mirror for a repository that is not there",
    "a row of a manifest that is not there",
    "a name that finds no account",
    "a name that finds nobody",
    "what a deleted manifest that is not there keeps",
];

/// What is left of a sick store.
fn left(name: &str, id: &'static str) -> Vec<&'static str> {
    match id {
        "B1" | "B3" => vec!["B1"], // until somebody pushes it
        _ if LEFT.contains(&id) || LEFT_TOO.contains(&name) || ORPHANS.contains(&name) => vec![id],
        _ => Vec::new(),
    }
}

/// Does what a pass does.
fn mend(store: &mut Store, report: &Report) -> usize {
    mend_by(&mut Plan::default(), store, report)
}

fn mend_by(plan: &mut Plan, store: &mut Store, report: &Report) -> usize {
    plan.heed(report);
    let fixes = plan.choose(report.fixes.clone());
    for fix in &fixes {
        one(store, &fix.how);
    }
    fixes.len()
}

/// When the repair is.
const NOW: u64 = 99;

/// As counts that are put right see to the list.
fn move_in_list(
    store: &mut Store,
    (from, to): (&UnreferencedKey, &UnreferencedKey),
    references: u64,
    name: Option<String>,
) {
    store.rows.remove(&(Table::Unreferenced, from.encode()));
    if references == 0 {
        store.put(to, &UnreferencedRecord { name });
    }
}

fn one(store: &mut Store, how: &How) {
    match how {
        How::Rows(rows) => {
            for row in rows {
                let key = (row.table, row.key.clone());
                match &row.value {
                    Some(value) => store.rows.insert(key, value.clone()),
                    None => store.rows.remove(&key),
                };
            }
        }
        How::RepositoryReferences { repository, name, digest, to } => {
            let key = RepositoryBlobKey { repository: *repository, digest: *digest };
            let row = store.get(&key).expect("there");
            let at = |since| UnreferencedKey { since, repository: key.repository, digest: key.digest };
            move_in_list(store, (&at(row.linked_at), &at(NOW)), *to, Some(name.clone()));
            let linked_at = if *to == 0 { NOW } else { row.linked_at };
            store.put(&key, &RepositoryBlobRecord { references: *to, linked_at, ..row });
        }
        How::BlobReferences { digest, to } => {
            let row = store.get(&BlobKey { digest: *digest }).expect("there");
            let at = |since| UnreferencedKey::of_store(since, *digest);
            move_in_list(store, (&at(row.changed_at), &at(NOW)), *to, None);
            store.put(&BlobKey { digest: *digest }, &BlobRecord { references: *to, changed_at: NOW, ..row });
        }
        How::Recount => {
            let (blobs, usages) = (store.all::<OrganisationBlobKey>(), store.all::<OrganisationUsageKey>());
            blobs.iter().for_each(|(key, _)| store.drop(key));
            usages.iter().for_each(|(key, _)| store.drop(key));
            let counters = store.all::<CounterKey>().into_iter();
            let counters: Vec<CounterKey> = counters.map(|(key, _)| key).collect();
            counters.iter().filter(|key| key.name.starts_with("bytes of ")).for_each(|key| store.drop(key));
            holdings::count(store);
        }
        How::BlobRow { digest, references } => {
            let bytes = store.files.get(&path_of(digest)).filter(|bytes| digest_of(bytes) == *digest);
            if let Some(size) = bytes.map(|bytes| bytes.len() as u64) {
                let record = BlobRecord { size, references: *references, changed_at: 1 };
                store.put(&BlobKey { digest: *digest }, &record);
            }
        }
        How::Blob { digest, size } => {
            let is_sound = store.files.get(&path_of(digest)).is_some_and(|bytes| digest_of(bytes) == *digest);
            let key = DamageKey { digest: *digest };
            if is_sound {
                store.rows.retain(|(table, at), _| !(*table == DamageKey::TABLE && *at == key.encode()));
                return;
            }
            let kind = match store.files.remove(&path_of(digest)) {
                Some(_) => DamageKind::Damaged,
                None => DamageKind::Missing,
            };
            store.put(&key, &DamageRecord { found_at: 1, kind, size: *size, parts: Vec::new() });
        }
        How::SetAside { digest, outboard } => {
            let path = if *outboard { outboard_of(digest) } else { path_of(digest) };
            assert!(store.files.remove(&path).is_some(), "{path}");
        }
        How::Outboard { digest, size } => {
            let bytes = store.files.get(&path_of(digest)).expect("there");
            let chunks = bytes.chunks(CHUNK as usize).map(|chunk| *blake3::hash(chunk).as_bytes()).collect();
            match Outboard::new(*digest, *size, chunks).filter(|_| *size > CHUNK) {
                Some(made) => store.files.insert(outboard_of(digest), made.encode()),
                None => store.files.remove(&outboard_of(digest)),
            };
        }
    }
}

#[test]
fn what_can_be_repaired_is_well_then_and_what_cannot_is_left_and_said() {
    let all = METADATA_ROWS.iter().chain(FILES).chain(RETENTION).chain(RETENTION_LEFTOVERS);
    let all = all.chain(identity::RIGHTS).chain(identity::LEFTOVERS);
    let all = all.chain(holdings::HOLDINGS).chain(holdings::LEFT);
    let mut wrong = Vec::new();
    for (name, id, make_sick) in all.chain(housekeeping::LISTS).chain(housekeeping::LEFT) {
        let mut store = healthy();
        make_sick(&mut store);
        repair(&mut store);
        let found = ids(&run(&store, true, TALLY).expect("readable"));
        if found != left(name, id) {
            wrong.push((name, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_row_that_mirrors_nothing_is_left_with_advice_of_its_own_and_named_as_what_holds_back() {
    let all = METADATA_ROWS.iter().chain(identity::RIGHTS).chain(housekeeping::LISTS);
    for (name, id, make_sick) in all.filter(|(name, ..)| ORPHANS.contains(name)) {
        let mut store = healthy();
        make_sick(&mut store);
        let report = run(&store, false, TALLY).expect("readable");
        assert_eq!(report.fixes, [], "{name}");
        let finding = &report.findings[0];
        assert!(finding.advice.starts_with("a repair leaves it, and gives nothing up"), "{name}");
        let losses: Vec<_> = report.all_losses().collect();
        assert_eq!(losses, [(*id, finding.what.as_str())], "{name}");
    }
}

#[test]
fn what_is_held_back_is_told_with_what_holds_it_back() {
    let mut store = healthy();
    store.tag(1, "gone", digest_of(b"gone"));
    store.change(&BlobKey { digest: digest_of(super::LAYER) }, |blob| blob.references += 1);
    let (report, mut plan) = (run(&store, false, TALLY).expect("readable"), Plan::default());
    assert_eq!(mend_by(&mut plan, &mut store, &report), 0);
    let held: Vec<_> = plan.held_back().iter().map(|fix| fix.id).collect();
    let losses: Vec<_> = plan.losses().map(|(id, what)| (id, what.contains("acme/web:gone"))).collect();
    assert_eq!((held, losses), (vec!["R5"], vec![("R1", true)]));
}

#[test]
fn what_a_repair_mends_itself_holds_back_until_its_end_and_is_not_told_as_to_be_mended() {
    let mut store = healthy();
    let digest = digest_of(super::LAYER);
    store.change(&BlobKey { digest: digest_of(super::CONFIG) }, |blob| blob.references += 1);
    store.drop(&BlobKey { digest });
    let (first, mut plan) = (run(&store, false, TALLY).expect("readable"), Plan::default());
    assert!(first.all_losses().all(|(id, _)| id == "R13") && first.has_losses());
    assert_eq!(mend_by(&mut plan, &mut store, &first), 1);
    for _ in 0..2 {
        let held: Vec<_> = plan.held_back().iter().map(|fix| fix.id).collect();
        assert_eq!((held, plan.losses().count()), (vec!["R5"], 0));
        let next = run(&store, false, TALLY).expect("readable");
        assert_eq!(mend_by(&mut plan, &mut store, &next), 0);
    }
    // The same command, run again.
    repair(&mut store);
    assert!(run(&store, false, TALLY).expect("readable").is_clean());
}

#[test]
fn what_could_not_be_mended_after_all_is_told() {
    let mut store = healthy();
    store.change(&BlobKey { digest: digest_of(super::CONFIG) }, |blob| blob.references += 1);
    store.drop(&BlobKey { digest: digest_of(super::LAYER) });
    let (report, mut plan) = (run(&store, false, TALLY).expect("readable"), Plan::default());
    plan.heed(&report);
    assert_eq!((plan.choose(report.fixes.clone()).len(), plan.losses().count()), (1, 0));
    plan.heed(&report);
    assert_eq!((plan.choose(report.fixes.clone()).len(), plan.losses().count()), (0, 1));
}

/// Passes as a repair makes them.
fn repair(store: &mut Store) {
    let mut plan = Plan::default();
    for _ in 0..6 {
        let report = run(store, true, TALLY).expect("readable");
        if mend_by(&mut plan, store, &report) == 0 {
            break;
        }
    }
}

#[test]
fn a_count_and_a_list_that_are_both_wrong_are_both_right_after_one_repair() {
    let mut store = healthy();
    housekeeping::miscounted_and_listed_wrongly(&mut store);
    assert_eq!(ids(&run(&store, true, TALLY).expect("readable")), ["R4", "R5", "R50"]);
    repair(&mut store);
    assert_eq!(run(&store, true, TALLY).expect("readable").findings, []);
}

#[test]
fn nothing_is_given_up_while_rows_may_be_missing() {
    // A tag of no manifest says so; the count that is lower for it is left alone.
    let mut store = healthy();
    store.tag(1, "gone", digest_of(b"gone"));
    let layer = BlobKey { digest: digest_of(super::LAYER) };
    store.change(&layer, |blob| blob.references += 1);
    let before = store.rows.clone();
    let report = run(&store, false, TALLY).expect("readable");
    assert_eq!(ids(&report), ["R1", "R5"]);
    assert_eq!(mend(&mut store, &report), 0);
    assert_eq!(store.rows, before);
    // One that is too low is raised all the same.
    store.change(&layer, |blob| blob.references -= 2);
    let report = run(&store, false, TALLY).expect("readable");
    assert_eq!(mend(&mut store, &report), 1);
    assert_eq!(ids(&run(&store, false, TALLY).expect("readable")), ["R1"]);
}

/// What is lost, and how.
type Loss = (&'static str, fn(&mut Store));

#[test]
fn what_a_lost_row_leaves_behind_is_not_given_up() {
    let cases: [Loss; 7] = [
        ("the manifest row of an untagged manifest", |store| store.drop(&web_manifest(&signature()))),
        ("a tag", |store| store.drop(&tag("v1"))),
        ("a user", |store| identity::lose_user(store)),
        ("an organisation", |store| store.drop(&OrganisationKey { name: "acme-two".into() })),
        ("a repository", |store| store.drop(&RepositoryKey { name: "acme-two/web".into() })),
        ("a blob of a repository that no manifest names", |store| {
            store.drop(&RepositoryBlobKey { repository: 2, digest: digest_of(OTHER) });
        }),
        ("a deleted manifest", |store| store.drop(&DeletedManifestKey { number: 7 })),
    ];
    for (name, lose) in cases {
        let mut store = healthy();
        housekeeping::delete(&mut store);
        holdings::count(&mut store);
        lose(&mut store);
        let (before, mut plan) = (store.clone(), Plan::default());
        for _ in 0..4 {
            let report = run(&store, true, TALLY).expect("readable");
            mend_by(&mut plan, &mut store, &report);
        }
        // Numbers of a listing may follow what is there; no row goes, and no count that keeps something falls.
        for (key, value) in &before.rows {
            assert!(store.rows.contains_key(key), "{name}: {key:?} is gone");
            let keeps =
                [Table::Blob, Table::RepositoryBlob, Table::OrganisationBlob, Table::OrganisationUsage];
            assert!(!keeps.contains(&key.0) || store.rows.get(key) == Some(value), "{name}: {key:?} fell");
        }
        assert_eq!(store.files, before.files, "{name}");
    }
}

#[test]
fn what_said_that_rows_are_missing_counts_until_the_end_of_the_repair() {
    let mut store = healthy();
    let layer = BlobKey { digest: digest_of(super::LAYER) };
    store.change(&layer, |blob| blob.references += 1);
    let (before, mut plan) = (store.rows.clone(), Plan::default());
    let mut first = Report::default();
    first.find_orphan(&R6, "", "a mirror of nothing".to_owned());
    mend_by(&mut plan, &mut store, &first);
    let second = run(&store, false, TALLY).expect("readable");
    assert!(!second.has_losses());
    assert_eq!(mend_by(&mut plan, &mut store, &second), 0);
    assert_eq!(store.rows, before);
}

#[test]
fn fixes_that_are_held_back_do_not_keep_others_out() {
    let mut report = Report::default();
    let key = BlobKey { digest: digest_of(b"x") };
    for _ in 0..=MAX_ROWS {
        report.fix_by_removal(&R5, "lose".into(), &key);
    }
    report.fix(&R5, "raise".into(), How::BlobReferences { digest: key.digest, to: 2 });
    assert_eq!(report.fixes.len(), MAX_ROWS + 1);
    report.find_orphan(&R6, "", "a mirror of nothing".to_owned());
    let mut plan = Plan::default();
    plan.heed(&report);
    assert_eq!(plan.choose(report.fixes).len(), 1);
}

#[test]
fn fixes_are_bounded_by_the_rows_they_change_and_none_are_kept_for_nobody() {
    let rows = vec![RowChange::remove(&BlobKey { digest: digest_of(b"x") }); MAX_ROWS / 2];
    let mut report = Report::default();
    for number in 0..5 {
        report.fix(&R5, number.to_string(), How::Rows(rows.clone()));
    }
    assert_eq!(report.fixes.len(), 2);
    let mut report = Report::of(Options::default());
    report.fix(&R5, "one".into(), How::Rows(rows));
    assert_eq!(report.fixes, []);
}

#[test]
fn a_layer_that_is_counted_is_not_given_up_for_a_note_that_it_was_absent() {
    let mut store = healthy();
    let before = store.rows.clone();
    store.change(&image_names(super::LAYER), |row| row.role = ReferenceRole::Absent);
    let mut plan = Plan::default();
    for _ in 0..3 {
        let report = run(&store, false, TALLY).expect("readable");
        mend_by(&mut plan, &mut store, &report);
    }
    assert_eq!(store.rows, before, "the note is taken back, and the count stays");
}

#[test]
fn a_start_that_would_remove_a_file_whose_row_may_be_lost_is_told() {
    let mut store = healthy();
    store.files.insert(path_of(&digest_of(b"extra")), b"extra".to_vec());
    store.intents.insert(digest_of(b"extra"));
    assert!(!run(&store, false, TALLY).expect("readable").clears_what_may_be_needed());
    store.drop(&tag("v1"));
    assert!(run(&store, false, TALLY).expect("readable").clears_what_may_be_needed());
    let mut store = healthy();
    store.drop(&BlobKey { digest: digest_of(super::LAYER) });
    store.intents.insert(digest_of(super::LAYER));
    assert!(run(&store, false, TALLY).expect("readable").clears_what_may_be_needed(), "needed for sure");
    // What only the log has.
    let mut store = healthy();
    let manifest = digest_of(signature().as_bytes());
    store.logged = [manifest].into();
    assert!(!run(&store, false, TALLY).expect("readable").clears_what_may_be_needed());
    store.files.remove(&path_of(&manifest));
    store.drop(&BlobKey { digest: manifest });
    assert!(run(&store, false, TALLY).expect("readable").clears_what_may_be_needed(), "the only copy");
}
