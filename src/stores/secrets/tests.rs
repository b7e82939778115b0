//! The key file against faults, strangers and swapped rows.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::{KeyStore, Place, Rotation, Secret, SecretsError, WhenMissing};
use crate::seams::{OsRandom, TestRandom};
use crate::stores::disk::faulty::{Faults, FaultyDisk};

const NAME: &str = "secret.key";

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(NAME)
    }

    fn open(&self, missing: WhenMissing) -> Result<KeyStore, SecretsError> {
        KeyStore::open(Place::at(&self.path()), Arc::new(OsRandom), missing)
    }

    fn faulty(&self) -> (Place, Arc<Faults>) {
        let (disk, faults) = FaultyDisk::new(self.folder.path());
        (Place::on(Arc::new(disk), NAME), faults)
    }
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

#[test]
fn the_key_file_is_made_once_for_its_owner_alone_and_opens_what_was_sealed() {
    let bench = Bench::new();
    let store = bench.open(WhenMissing::Make).unwrap();
    assert_eq!(fs::metadata(bench.path()).unwrap().permissions().mode() & 0o7777, 0o600);
    let sealed = store.seal(&secret("the SK"), b"AK1").unwrap();
    assert_eq!(sealed.len(), 6 + 33);
    assert!(store.seal(&secret("the SK"), b"AK1").unwrap() != sealed, "a nonce is not used twice");
    let again = bench.open(WhenMissing::Refuse).unwrap();
    assert_eq!(again.unseal(&sealed, b"AK1").unwrap(), secret("the SK"));
    assert!(!again.needs_resealing(&sealed) && !again.is_rotating());
    assert!(again.needs_resealing(b"no seal"));
}

#[test]
fn a_sealed_secret_opens_nowhere_else_and_not_when_one_bit_is_changed() {
    let store = Bench::new().open(WhenMissing::Make).unwrap();
    let sealed = store.seal(&secret("the SK"), b"AK1").unwrap();
    for context in ["AK2", "AK", "", "AK1 "] {
        let opened = store.unseal(&sealed, context.as_bytes());
        assert!(matches!(opened, Err(SecretsError::Unsealable)), "{context:?}");
    }
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let opened = store.unseal(&changed, b"AK1");
        let named = matches!(opened, Err(SecretsError::UnknownKey(_)));
        assert_eq!(named, (1..5).contains(&at), "byte {at}");
        assert!(opened.is_err(), "byte {at}");
        assert!(store.unseal(&sealed[..at], b"AK1").is_err(), "cut at {at}");
    }
    let other = Bench::new().open(WhenMissing::Make).unwrap();
    assert!(matches!(other.unseal(&sealed, b"AK1"), Err(SecretsError::Unsealable)), "another store's key");
}

/// The layout of what is sealed, as released.
#[test]
fn what_was_sealed_by_an_earlier_program_opens() {
    let bench = Bench::new();
    let golden = include_str!("../../../storage-format/golden/key-file/v1.txt");
    fs::write(bench.path(), golden).unwrap();
    fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o600)).unwrap();
    let store =
        KeyStore::open(Place::at(&bench.path()), Arc::new(TestRandom::default()), WhenMissing::Refuse)
            .unwrap();
    let sealed = store.seal(&secret("SKexample"), b"AKEXAMPLE").unwrap();
    let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("../../../storage-format/golden/key-file/sealed-v1.txt").trim_end());
    let token: Vec<(u32, u8)> = store.derive("tokens").iter().map(|(number, key)| (number, key[0])).collect();
    assert_eq!(token.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_key_file_that_others_may_read_or_that_is_damaged_or_lost_is_refused_by_name() {
    let bench = Bench::new();
    let Err(error) = bench.open(WhenMissing::Refuse) else { panic!("made a new key over sealed rows") };
    assert!(error.to_string().contains("there is no key file"), "{error}");
    assert!(!bench.path().exists());
    bench.open(WhenMissing::Make).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o601] {
        fs::set_permissions(bench.path(), fs::Permissions::from_mode(mode)).unwrap();
        let Err(error) = bench.open(WhenMissing::Make) else { panic!("{mode:o} was accepted") };
        assert!(error.to_string().contains(&format!("mode {mode:04o}")), "{error}");
    }
    fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o400)).unwrap();
    bench.open(WhenMissing::Refuse).unwrap();
    fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o600)).unwrap();
    for content in ["", "something else\n", &"x".repeat(10_000)] {
        fs::write(bench.path(), content).unwrap();
        let opened = bench.open(WhenMissing::Make);
        assert!(matches!(opened, Err(SecretsError::Format { .. })), "{:.20}", content);
        assert_eq!(fs::read_to_string(bench.path()).unwrap(), content, "left as it was");
    }
    fs::remove_file(bench.path()).unwrap();
    fs::create_dir(bench.path()).unwrap();
    assert!(bench.open(WhenMissing::Make).is_err());
}

#[test]
fn a_rotation_keeps_every_secret_open_from_its_first_step_to_its_last() {
    let bench = Bench::new();
    let store = bench.open(WhenMissing::Make).unwrap();
    let old = store.seal(&secret("s"), b"c").unwrap();
    let token_key = store.derive("tokens").iter().map(|(number, key)| (number, *key)).collect::<Vec<_>>();
    assert_eq!(store.begin_rotation().unwrap(), Rotation::Begun);
    assert_eq!(store.begin_rotation().unwrap(), Rotation::Resumed);
    let resumed = bench.open(WhenMissing::Refuse).unwrap();
    assert_eq!(resumed.begin_rotation().unwrap(), Rotation::Resumed, "after a restart too");
    assert!(store.is_rotating() && store.needs_resealing(&old));
    let both = store.derive("tokens").iter().map(|(number, key)| (number, *key)).collect::<Vec<_>>();
    assert_eq!((both.len(), both[0].0, &both[1]), (2, 2, &token_key[0]));
    let new = store.seal(&store.unseal(&old, b"c").unwrap(), b"c").unwrap();
    assert!(!store.needs_resealing(&new));
    store.finish_rotation().unwrap();
    let after = bench.open(WhenMissing::Refuse).unwrap();
    for store in [&store, &after] {
        assert_eq!(store.unseal(&new, b"c").unwrap(), secret("s"));
        assert!(matches!(store.unseal(&old, b"c"), Err(SecretsError::UnknownKey(1))));
        assert!(!store.is_rotating());
    }
    after.finish_rotation().unwrap();
    assert_eq!(after.begin_rotation().unwrap(), Rotation::Begun);
    assert_eq!(after.derive("tokens").iter().next().unwrap().0, 3, "a number is not used again");
    assert_eq!(fs::metadata(bench.path()).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_start_that_fails_at_any_step_leaves_nothing_that_stops_the_next() {
    for step in 0.. {
        let bench = Bench::new();
        let (place, faults) = bench.faulty();
        faults.fail(step, step + 1, 28);
        let opened = KeyStore::open(place, Arc::new(OsRandom), WhenMissing::Make);
        if faults.steps() <= step {
            assert!(opened.is_ok() && step >= 5);
            break;
        }
        assert!(matches!(opened, Err(SecretsError::Io { .. })), "step {step}");
        bench.open(WhenMissing::Make).unwrap();
        assert!(!bench.folder.path().join("secret.key.tmp").exists(), "step {step}");
    }
}

#[test]
fn a_rotation_that_fails_at_any_step_loses_no_secret_here_or_after_a_restart() {
    for step in 0..40 {
        let bench = Bench::new();
        let (place, faults) = bench.faulty();
        let store = KeyStore::open(place, Arc::new(OsRandom), WhenMissing::Make).unwrap();
        let mut row = store.seal(&secret("s"), b"c").unwrap();
        let at = faults.steps() + step;
        faults.fail(at, at + 1, 5);
        let mut rotate = |store: &KeyStore| -> Result<(), SecretsError> {
            store.begin_rotation()?;
            row = store.seal(&store.unseal(&row, b"c")?, b"c")?;
            store.finish_rotation()
        };
        let first = rotate(&store);
        let held = store.unseal(&row.clone(), b"c");
        assert_eq!(held.unwrap(), secret("s"), "step {step}: {first:?}");
        let restarted = bench.open(WhenMissing::Refuse).unwrap();
        assert_eq!(restarted.unseal(&row, b"c").unwrap(), secret("s"), "step {step}: {first:?}");
        // The same process may also try again and go on.
        faults.heal();
        let again = store.begin_rotation().unwrap();
        let fresh = store.seal(&store.unseal(&row, b"c").unwrap(), b"c").unwrap();
        store.finish_rotation().unwrap();
        let last = bench.open(WhenMissing::Refuse).unwrap();
        assert_eq!(last.unseal(&fresh, b"c").unwrap(), secret("s"), "step {step}: {first:?}, {again:?}");
        if first.is_ok() {
            assert!(step >= 10, "both replacements were met");
            return;
        }
    }
    panic!("no rotation got through");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_secret_comes_back_in_its_context_and_no_bytes_make_opening_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        context in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let store = Bench::new().open(WhenMissing::Make).unwrap();
        let sealed = store.seal(&Secret::new(bytes.clone()), &context).unwrap();
        let opened = store.unseal(&sealed, &context).unwrap();
        prop_assert_eq!(opened.expose(), bytes.as_slice());
        prop_assert!(store.unseal(&bytes, &context).is_err());
    }
}
