//! The journal codec against random, cut and altered bytes.

use proptest::prelude::*;

use super::*;

type Owned = (Table, Vec<u8>, Option<Vec<u8>>);

fn sets() -> impl Strategy<Value = Vec<Vec<Owned>>> {
    let table = prop::sample::select(Table::ALL.to_vec());
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    let change = (table, bytes.clone(), prop::option::of(bytes));
    prop::collection::vec(prop::collection::vec(change, 0..6), 1..6)
}

fn body_of(sets: &[Vec<Owned>]) -> Vec<u8> {
    let mut body = Vec::new();
    for set in sets {
        let changes: Vec<_> =
            set.iter().map(|(t, k, v)| Change { table: *t, key: k, value: v.as_deref() }).collect();
        encode_change_set(&changes, &mut body).expect("small");
    }
    body
}

fn sets_of(body: &[u8], count: u32) -> Result<Vec<Vec<Owned>>, FormatError> {
    let mut sets = vec![Vec::new(); count as usize];
    each_change(body, count, &mut |set, change| {
        sets[set as usize].push((change.table, change.key.to_vec(), change.value.map(<[u8]>::to_vec)));
    })?;
    Ok(sets)
}

fn header() -> SegmentHeader {
    let start = Position { sequence: 41, tag: Tag([7; 16]) };
    SegmentHeader { start, previous: 3, previous_end: 900 }
}

fn read_frame(key: &SegmentKey, offset: u64, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    let header = FrameHeader::decode(key, offset, bytes)?;
    Ok(header.check(key, offset, &bytes[FRAME_HEADER..])?.to_vec())
}

#[test]
fn a_frame_holds_only_in_its_segment_and_at_its_offset() {
    let key = header().key();
    let other = SegmentHeader { previous_end: 901, ..header() }.key();
    let frame = encode_frame(&key, 500, 500, 42, 1, b"body").expect("small");
    assert!(read_frame(&key, 500, &frame).is_ok());
    assert!(read_frame(&key, 501, &frame).is_err(), "another offset");
    assert!(read_frame(&other, 500, &frame).is_err(), "another segment");
}

#[test]
fn what_is_too_large_is_refused_and_leaves_the_body_as_it_was() {
    let (key, value) = (vec![0; MAX_KEY + 1], vec![0; MAX_RECORD + 1]);
    let cases = [
        ("key", Change { table: Table::Tag, key: &key, value: None }),
        ("value", Change { table: Table::Tag, key: b"k", value: Some(&value) }),
    ];
    for (name, change) in cases {
        let mut body = vec![1, 2, 3];
        assert_eq!(encode_change_set(&[change], &mut body), Err(FormatError::TooLarge), "{name}");
        assert_eq!(body, [1, 2, 3], "{name}");
    }
    let key = header().key();
    assert!(encode_frame(&key, 0, 0, 1, 1, &vec![0; MAX_BODY + 1]).is_err());
    assert!(encode_frame(&key, 0, 0, 1, 0, b"").is_err(), "no change set");
}

#[test]
fn histories_that_differ_have_different_positions() {
    let start = Position::default();
    let a = start.after(1, b"a").and_then(|p| p.after(1, b"b"));
    let b = start.after(1, b"b").and_then(|p| p.after(1, b"a"));
    assert_ne!(a, b);
    assert_ne!(start.after(2, b"a"), start.after(1, b"a"));
    assert_eq!(Position { sequence: u64::MAX, ..start }.after(1, b"a"), None);
}

proptest! {
    #[test]
    fn every_body_survives_its_frame_and_every_damage_is_an_error(sets in sets(), bit in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
        let body = body_of(&sets);
        let count = u32::try_from(sets.len()).expect("small");
        prop_assert_eq!(sets_of(&body, count), Ok(sets));
        let key = header().key();
        let frame = encode_frame(&key, 68, 68, 42, count, &body).expect("small");
        prop_assert_eq!(read_frame(&key, 68, &frame), Ok(body.clone()));
        let mut flipped = frame.clone();
        let bit = bit.index(8 * frame.len());
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(read_frame(&key, 68, &flipped).is_err());
        prop_assert!(sets_of(&body[..cut.index(body.len())], count).is_err());
        prop_assert!(sets_of(&body, count + 1).is_err());
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0u32..5) {
        let _ = SegmentHeader::decode(&bytes);
        let _ = read_frame(&header().key(), 68, &bytes);
        let _ = sets_of(&bytes, count);
    }

    #[test]
    fn a_segment_header_survives_and_every_flipped_bit_is_an_error(sequence in any::<u64>(), tag in any::<[u8; 16]>(), previous in any::<u64>(), previous_end in any::<u64>(), bit in 0usize..8 * SEGMENT_HEADER) {
        let header = SegmentHeader { start: Position { sequence, tag: Tag(tag) }, previous, previous_end };
        let mut bytes = header.encode();
        prop_assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        prop_assert!(SegmentHeader::decode(&bytes[..bit / 8]).is_err());
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(SegmentHeader::decode(&bytes).is_err());
    }
}
