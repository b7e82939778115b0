//! What is written is read, what is damaged is told, and filters never say no wrongly.

use proptest::prelude::*;

use super::super::{EventRecord, Field, Hashed, LogHeader, Rating, items, read_log};
use super::*;
use crate::codec::Record;

fn id(n: u64) -> Id {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    Id::from_bytes(bytes)
}

fn event(n: u64) -> EventRecord {
    EventRecord {
        at: 1_800_000_000_000 + n,
        took: n % 7,
        name: if n.is_multiple_of(2) { "createUserNamespace" } else { "listUserNamespaces" }.to_owned(),
        resource_type: "usernamespace".to_owned(),
        resource: format!("org-{}", n % 50),
        resource_id: String::new(),
        account: Some(id(n % 3)),
        account_name: "main".to_owned(),
        user: Some(id(100 + n % 9)),
        user_name: format!("user-{}", n % 9),
        source: "192.0.2.1".to_owned(),
        code: 201,
        rating: if n == 1500 { Rating::Incident } else { Rating::Normal },
        request_id: Some(id(n)),
        request: r#"{"namespace":"acme"}"#.to_owned(),
        response: "{}".to_owned(),
    }
}

fn encoded(n: u64) -> Vec<u8> {
    event(n).encode().expect("a record")
}

fn segment(count: u64) -> Vec<u8> {
    let mut writer = SegmentWriter::new(7, |raw: &[u8]| Ok::<_, FormatError>(raw.to_vec()));
    for n in 0..count {
        writer.push(Item { id: id(n), record: &encoded(n) }).expect("in order");
    }
    writer.finish().expect("small")
}

fn open(bytes: &[u8]) -> Result<(Trailer, Index), FormatError> {
    let at = bytes.len().checked_sub(TRAILER).ok_or(FormatError::Record)?;
    decode_segment_header(bytes)?;
    let trailer = Trailer::decode(&bytes[at..], bytes.len() as u64)?;
    let index = usize::try_from(trailer.index_at).map_err(|_| FormatError::Record)?;
    let entries = Index::decode(&trailer, bytes.get(index..at).ok_or(FormatError::Record)?)?;
    Ok((trailer, entries))
}

/// Reads everything and makes every check.
fn whole(bytes: &[u8]) -> Result<Vec<(Id, EventRecord)>, FormatError> {
    let (trailer, index) = open(bytes)?;
    let range = |from: u64, len: u64| bytes[from as usize..(from + len) as usize].to_vec();
    if !trailer.holds_filters(&range(trailer.filters_at, trailer.filters_len())) {
        return Err(FormatError::Damaged("filters"));
    }
    let mut found = Vec::new();
    for entry in &index.entries {
        let frame = range(entry.offset, entry.len.into());
        if !entry.holds(&frame) {
            return Err(FormatError::Damaged("frame"));
        }
        for item in items(&frame) {
            let item = item?;
            found.push((item.id, EventRecord::decode(item.record)?));
        }
    }
    Ok(found)
}

#[test]
fn a_segment_is_read_as_it_was_written() {
    for count in [0, 1, 1023, 1024, 1025, 3000] {
        let bytes = segment(count);
        let expected: Vec<_> = (0..count).map(|n| (id(n), event(n))).collect();
        assert_eq!(whole(&bytes), Ok(expected), "{count}");
    }
}

#[test]
fn an_index_tells_ids_times_and_ratings_of_each_frame() {
    let (_, index) = open(&segment(3000)).expect("whole");
    let ratings: Vec<u8> = index.entries.iter().map(|entry| entry.ratings).collect();
    assert_eq!(ratings, [1, 1 | 4, 1]);
    let second = index.entries[1];
    assert_eq!((second.first, second.last, second.count), (id(1024), id(2047), 1024));
    assert_eq!((second.from, second.to), (event(1024).at, event(2047).at));
}

#[test]
fn a_filter_never_says_no_to_what_is_there_and_seldom_yes_to_what_is_not() {
    let bytes = segment(1024);
    let (trailer, _) = open(&bytes).expect("whole");
    let filter = &bytes[trailer.filters_at as usize..trailer.index_at as usize];
    for n in 0..50 {
        let there = Hashed::new(Field::Resource, format!("org-{n}").as_bytes());
        assert!(there.may_be_in(filter), "{n}");
    }
    for (field, text) in [
        (Field::User, "user-3".to_owned()),
        (Field::User, id(103).to_string()),
        (Field::Name, "createUserNamespace".to_owned()),
        (Field::ResourceType, "usernamespace".to_owned()),
    ] {
        assert!(Hashed::new(field, text.as_bytes()).may_be_in(filter), "{text}");
    }
    assert!(Hashed::new(Field::Account, id(2).as_bytes()).may_be_in(filter));
    let wrong = (0..10_000)
        .filter(|n| Hashed::new(Field::Resource, format!("other-{n}").as_bytes()).may_be_in(filter));
    assert!(wrong.count() < 50, "about one in a thousand");
}

#[test]
fn a_segment_that_was_cut_or_changed_anywhere_is_told() {
    let bytes = segment(3);
    let good = whole(&bytes).expect("whole");
    for cut in 0..bytes.len() {
        assert!(whole(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut copy = bytes.clone();
        copy[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(whole(&copy), Ok(good.clone()), "bit {bit}");
        assert!(whole(&copy).is_err(), "bit {bit}");
    }
}

#[test]
fn trace_ids_that_do_not_ascend_and_records_that_are_none_are_refused() {
    let mut writer = SegmentWriter::new(1, |raw: &[u8]| Ok::<_, FormatError>(raw.to_vec()));
    writer.push(Item { id: id(2), record: &encoded(2) }).expect("first");
    for (case, n, record) in [
        ("same", 2, encoded(2)),
        ("back", 1, encoded(1)),
        ("no record", 3, vec![1, 2]),
        ("later", 3, vec![9]),
    ] {
        assert!(writer.push(Item { id: id(n), record: &record }).is_err(), "{case}");
    }
    assert_eq!(whole(&writer.finish().expect("small")).map(|found| found.len()), Ok(1));
}

fn log(batches: &[Vec<u64>]) -> (Vec<u8>, Vec<(usize, Vec<u64>)>) {
    let header = LogHeader { number: 3, id: [9; 16] };
    let (key, mut bytes, mut ends) = (header.key(), header.encode(), Vec::new());
    for batch in batches {
        let mut raw = Vec::new();
        for n in batch {
            push_item(&mut raw, Item { id: id(*n), record: &encoded(*n) }).expect("small");
        }
        let batch_bytes = key.encode(bytes.len() as u64, &raw).expect("small");
        bytes.extend_from_slice(&batch_bytes);
        ends.push((bytes.len(), batch.clone()));
    }
    (bytes, ends)
}

fn ids_of(log: &[u8]) -> Result<Vec<Id>, FormatError> {
    Ok(read_log(log)?.1.iter().map(|item| item.id).collect())
}

#[test]
fn a_log_cut_anywhere_gives_the_batches_before_the_cut() {
    let (bytes, ends) = log(&[vec![1, 2], vec![3], vec![4, 5, 6]]);
    for cut in 0..=bytes.len() {
        match ids_of(&bytes[..cut]) {
            Ok(found) => {
                let whole = ends.iter().filter(|(end, _)| *end <= cut).flat_map(|(_, ids)| ids);
                assert_eq!(found, whole.map(|n| id(*n)).collect::<Vec<_>>(), "cut at {cut}");
            }
            Err(_) => assert!(cut < LogHeader { number: 3, id: [9; 16] }.encode().len(), "cut at {cut}"),
        }
    }
}

#[test]
fn batches_after_a_damaged_one_are_found_and_the_loss_is_told() {
    let (mut bytes, ends) = log(&[vec![1, 2], vec![3], vec![4]]);
    bytes[ends[0].0 + 30] ^= 1;
    let (_, found, lost) = read_log(&bytes).expect("the header holds");
    assert_eq!(found.iter().map(|item| item.id).collect::<Vec<_>>(), [id(1), id(2), id(4)]);
    assert_eq!(lost, ends[1].0 - ends[0].0);
}

#[test]
fn a_batch_of_another_log_or_place_is_none() {
    let (bytes, _) = log(&[vec![1]]);
    let header = LogHeader { number: 3, id: [8; 16] }.encode();
    let other = [&header[..], &bytes[header.len()..]].concat();
    let moved = [&bytes[..header.len()], &[0], &bytes[header.len()..]].concat();
    assert_eq!(ids_of(&other), Ok(vec![]));
    assert_eq!(ids_of(&moved), Ok(vec![]));
}

fn any_event() -> impl Strategy<Value = EventRecord> {
    let texts = prop::collection::vec(".{0,40}", 9);
    let ids = (any::<Option<[u8; 16]>>(), any::<Option<[u8; 16]>>(), any::<Option<[u8; 16]>>());
    (any::<[u64; 3]>(), texts, ids, 0usize..3).prop_map(|(numbers, texts, ids, rating)| {
        let text = |n: usize| texts[n].clone();
        EventRecord {
            at: numbers[0],
            took: numbers[1],
            name: text(0),
            resource_type: text(1),
            resource: text(2),
            resource_id: text(3),
            account: ids.0.map(Id::from_bytes),
            account_name: text(4),
            user: ids.1.map(Id::from_bytes),
            user_name: text(5),
            source: text(6),
            code: numbers[2],
            rating: Rating::ALL[rating],
            request_id: ids.2.map(Id::from_bytes),
            request: text(7),
            response: text(8),
        }
    })
}

proptest! {
    #[test]
    fn whatever_is_written_to_a_segment_or_log_is_read(events in prop::collection::vec(any_event(), 0..30)) {
        let mut writer = SegmentWriter::new(1, |raw: &[u8]| Ok::<_, FormatError>(raw.to_vec()));
        let (mut expected, mut raw) = (Vec::new(), Vec::new());
        for (n, event) in (0..).zip(events) {
            let record = event.encode().expect("short");
            let view = EventView::of(&record).expect("a record");
            prop_assert_eq!((view.at, view.resource, view.user), (event.at, &event.resource[..], event.user));
            prop_assert_eq!((view.response, view.rating), (&event.response[..], event.rating));
            writer.push(Item { id: id(n), record: &record }).expect("in order");
            push_item(&mut raw, Item { id: id(n), record: &record }).expect("short");
            expected.push((id(n), event));
        }
        prop_assert_eq!(whole(&writer.finish().expect("small")), Ok(expected.clone()));
        let header = LogHeader { number: 3, id: [9; 16] };
        let mut bytes = header.encode();
        bytes.extend(header.key().encode(bytes.len() as u64, &raw).expect("small"));
        prop_assert_eq!(ids_of(&bytes), Ok(expected.iter().map(|event| event.0).collect()));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(tail in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (whole(&tail), ids_of(&tail), EventView::of(&tail), items(&tail).count());
        let header = LogHeader { number: 3, id: [9; 16] }.encode();
        let _ = ids_of(&[&header[..], b"PhAb", &tail].concat());
        if tail.len() >= TRAILER {
            let _ = Trailer::decode(&tail[..TRAILER], tail.len() as u64);
        }
    }
}
