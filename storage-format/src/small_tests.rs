//! Every segment is read as written, and nothing passes for a record that is none.

use proptest::prelude::*;

use super::*;

fn header() -> Header {
    Header { number: 7, id: [9; 16] }
}

/// Not what the bytes hash to: that is not looked at here.
fn digest(seed: u8) -> Digest {
    let algorithm = if seed.is_multiple_of(3) { Algorithm::Sha512 } else { Algorithm::Sha256 };
    Digest::new(algorithm, &vec![seed; algorithm.raw_len()]).expect("length matches")
}

fn segment(blobs: &[Vec<u8>]) -> (Vec<u8>, Vec<Record>) {
    let (mut bytes, mut records) = (header().encode().to_vec(), Vec::new());
    for (seed, blob) in (0..).zip(blobs) {
        header().key().encode(&mut bytes, 0, &digest(seed), blob).expect("small");
        records.push(Record { digest: digest(seed), bytes: bytes.len() - blob.len()..bytes.len() });
    }
    (bytes, records)
}

fn blobs() -> Vec<Vec<u8>> {
    vec![b"one".to_vec(), Vec::new(), vec![3; 5000], RECORD_MAGIC.repeat(9), vec![5; MAX_BLOB]]
}

#[test]
fn a_segment_cut_anywhere_gives_the_records_before_the_cut() {
    let (bytes, records) = segment(&blobs());
    for cut in (0..=6000).chain([bytes.len() - 1, bytes.len()]) {
        match read(&bytes[..cut]) {
            Ok((found, whole)) => {
                let before = records.iter().filter(|record| record.bytes.end <= cut).count();
                assert_eq!((found, &whole[..]), (header(), &records[..before]), "cut at {cut}");
            }
            Err(_) => assert!(cut < HEADER, "cut at {cut}"),
        }
    }
}

#[test]
fn records_after_a_damaged_one_and_zeros_after_the_last_are_passed() {
    let (mut bytes, records) = segment(&blobs());
    bytes[HEADER + 6] ^= 1;
    bytes.resize(bytes.len() + 10_000, 0);
    assert_eq!(read(&bytes).expect("the header holds").1, records[1..]);
}

#[test]
fn a_record_of_another_segment_or_place_or_within_a_blob_is_none() {
    let (bytes, records) = segment(&blobs());
    let other = Header { number: 7, id: [8; 16] };
    let cases = [
        ("another segment of that number", [&other.encode()[..], &bytes[HEADER..]].concat()),
        ("another place", [&header().encode()[..], &[0], &bytes[HEADER..]].concat()),
    ];
    for (name, segment) in cases {
        assert_eq!(read(&segment).expect("the header holds").1, [], "{name}");
    }
    let (nested, whole) = segment(&[bytes[HEADER..6000].to_vec()]);
    assert_eq!(read(&nested).expect("the header holds").1, whole, "a blob of records");
    assert_eq!(records.len(), 5);
}

#[test]
fn a_blob_that_is_not_small_has_no_record() {
    let mut log = Vec::new();
    let encoded = header().key().encode(&mut log, 0, &digest(1), &vec![0; MAX_BLOB + 1]);
    assert_eq!((encoded.is_err(), log.len()), (true, 0));
}

proptest! {
    #[test]
    fn what_was_encoded_is_read(blobs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
        let (bytes, records) = segment(&blobs);
        prop_assert_eq!(read(&bytes).expect("the header holds"), (header(), records));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(tail in prop::collection::vec(any::<u8>(), 0..400), at in 0..400usize) {
        let _ = read(&tail);
        let mut bytes = [&header().encode()[..], &tail].concat();
        let at = at.min(bytes.len());
        bytes.splice(at..at, RECORD_MAGIC);
        let _ = read(&bytes);
    }
}
