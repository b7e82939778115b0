//! Every journal is read as written, and every damage is seen.

use proptest::prelude::*;

use super::*;

fn header() -> Header {
    Header {
        id: 0x7f3c_0000_0000_0000_0000_0000_0000_0001,
        algorithm: Algorithm::Sha256,
        created_at: 1_795_000_000_000,
        repository: "acme/web".to_owned(),
        actor: b"anonymous".to_vec(),
    }
}

fn checkpoint(previous: u64, chunks: usize) -> Checkpoint {
    let state = State { version: 11, bytes: vec![7; 104] };
    let offset = previous - previous % CHUNK + chunks as u64 * CHUNK;
    Checkpoint { offset, state, chunks: vec![[9; 32]; chunks], tail: None }
}

/// One that ends `beyond` bytes after its last whole chunk.
fn with_tail(previous: u64, chunks: usize, beyond: u64) -> Checkpoint {
    let whole = checkpoint(previous, chunks);
    Checkpoint { offset: whole.offset + beyond, tail: Some([8; 32]), ..whole }
}

fn journal(counts: &[usize]) -> (Vec<u8>, Vec<u64>) {
    let key = header().key().expect("small");
    let mut bytes = header().encode().expect("small");
    let (mut ends, mut previous) = (Vec::new(), 0);
    for count in counts {
        let checkpoint = checkpoint(previous, *count);
        previous = checkpoint.offset;
        bytes.extend(checkpoint.encode(&key, bytes.len() as u64).expect("small"));
        ends.push(bytes.len() as u64);
    }
    (bytes, ends)
}

#[test]
fn a_journal_cut_anywhere_gives_the_checkpoints_before_the_cut() {
    let (bytes, ends) = journal(&[1, 32, 2]);
    let start = header().encode().expect("small").len();
    for cut in 0..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut as u64).count();
        match read(&bytes[..cut]) {
            Ok((found, checkpoints)) => {
                assert_eq!((found, checkpoints.len()), (header(), whole), "cut at {cut}");
                assert!(cut >= start);
            }
            Err(_) => assert!(cut < start, "cut at {cut}"),
        }
    }
}

#[test]
fn a_checkpoint_elsewhere_or_of_another_upload_or_out_of_order_is_none() {
    let key = header().key().expect("small");
    let bytes = checkpoint(CHUNK, 2).encode(&key, 100).expect("small");
    assert!(Checkpoint::decode(&key, 100, CHUNK, &bytes).is_ok());
    assert!(Checkpoint::decode(&key, 101, CHUNK, &bytes).is_err(), "another place");
    assert!(Checkpoint::decode(&key, 100, 0, &bytes).is_err(), "another one before it");
    let other = Header { id: 1, ..header() }.key().expect("small");
    assert!(Checkpoint::decode(&other, 100, CHUNK, &bytes).is_err(), "another upload");
    let nothing = checkpoint(0, 0).encode(&key, 100).expect("small");
    assert!(Checkpoint::decode(&key, 100, 0, &nothing).is_err(), "no progress");
}

#[test]
fn a_checkpoint_within_a_chunk_is_continued_by_that_chunk_as_a_whole() {
    let key = header().key().expect("small");
    let holds = |previous: u64, checkpoint: &Checkpoint| {
        let bytes = checkpoint.encode(&key, 100).expect("fits");
        let read = Checkpoint::decode(&key, 100, previous, &bytes);
        read.is_ok_and(|read| read == (checkpoint.clone(), bytes.len()))
    };
    for (name, previous, checkpoint, expected) in [
        ("the first bytes", 0, with_tail(0, 0, 7), true),
        ("after whole chunks", CHUNK, with_tail(CHUNK, 2, CHUNK - 1), true),
        ("in the same chunk", 7, with_tail(0, 0, 8), true),
        ("in the same chunk, but not further", 7, with_tail(0, 0, 7), false),
        ("the rest of the chunk", 7, checkpoint(7, 1), true),
        ("the rest of the chunk and more", 7, with_tail(7, 3, 1), true),
        ("a chunk left out", 7, checkpoint(CHUNK, 1), false),
    ] {
        assert_eq!(holds(previous, &checkpoint), expected, "{name}");
    }
    let whole = checkpoint(0, 1);
    assert!(
        Checkpoint { tail: Some([1; 32]), ..whole.clone() }.encode(&key, 0).is_err(),
        "a tail of nothing"
    );
    assert!(Checkpoint { offset: CHUNK + 1, ..whole }.encode(&key, 0).is_err(), "no tail where there is one");
}

#[test]
fn parts_that_are_too_long_are_refused_on_writing() {
    let key = header().key().expect("small");
    assert!(Header { repository: "x".repeat(256), ..header() }.encode().is_err());
    assert!(Header { actor: vec![0; 4097], ..header() }.encode().is_err());
    assert!(checkpoint(0, MAX_CHUNKS + 1).encode(&key, 0).is_err());
    let longest = Header { repository: "x".repeat(255), actor: vec![0; 4096], ..header() };
    assert!(longest.encode().expect("fits").len() <= MAX_HEADER);
}

proptest! {
    #[test]
    fn every_header_survives_and_every_damage_is_an_error(
        id in any::<u128>(), created_at in any::<u64>(), repository in ".{0,60}",
        actor in prop::collection::vec(any::<u8>(), 0..100), long in any::<bool>(), place in any::<prop::sample::Index>(),
    ) {
        let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let header = Header { id, algorithm, created_at, repository, actor };
        let mut bytes = header.encode().expect("small");
        prop_assert_eq!(Header::decode(&bytes), Ok((header, bytes.len())));
        prop_assert!(Header::decode(&bytes[..place.index(bytes.len())]).is_err());
        let bit = place.index(8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Header::decode(&bytes).is_err());
    }

    #[test]
    fn every_checkpoint_survives_and_every_damage_is_an_error(
        at in any::<u64>(), previous in 0u64..1 << 40, state in prop::collection::vec(any::<u8>(), 0..300),
        version in any::<u8>(), chunks in prop::collection::vec(any::<[u8; 32]>(), 1..20), place in any::<prop::sample::Index>(),
        beyond in 0u64..CHUNK,
    ) {
        let key = header().key().expect("small");
        let offset = previous - previous % CHUNK + chunks.len() as u64 * CHUNK + beyond;
        let tail = (beyond > 0).then_some([5; 32]);
        let checkpoint = Checkpoint { offset, state: State { version, bytes: state }, chunks, tail };
        let mut bytes = checkpoint.encode(&key, at).expect("small");
        prop_assert_eq!(Checkpoint::decode(&key, at, previous, &bytes), Ok((checkpoint, bytes.len())));
        prop_assert!(Checkpoint::decode(&key, at, previous, &bytes[..place.index(bytes.len())]).is_err());
        let bit = place.index(8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Checkpoint::decode(&key, at, previous, &bytes).is_err());
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<u64>(), previous in any::<u64>()) {
        let _ = read(&bytes);
        let _ = Checkpoint::decode(&header().key().expect("small"), at, previous, &bytes);
    }
}
