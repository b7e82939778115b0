//! Torn tails, flipped bytes, missing and foreign segments.

use super::super::chain::{Chain, LastFrame};
use super::super::{CheckOptions, check};
use super::*;

/// A closed store with three change sets in one segment, and its frames.
async fn three() -> (House, Vec<LastFrame>, u64) {
    let house = House::memory();
    let (meta, _) = house.open();
    for round in 1..=3 {
        put(&meta, vec![format!("a{round}"), "same".into()], round).await.expect("committed");
    }
    meta.close();
    let chain = Chain::open(&house.disk(), 0).expect("chain");
    let mut frames = Vec::new();
    let tail = chain.walk(&mut |_, offset, frame| {
        frames.push(LastFrame { offset, before: frame.before, count: frame.count });
        Ok(())
    });
    let end = tail.expect("sound").expect("a segment").end;
    (house, frames, end)
}

fn first_two() -> Rows {
    Rows::from([("a1".into(), 1), ("a2".into(), 2), ("same".into(), 2)])
}

fn ids(house: &House) -> Vec<&'static str> {
    let options = CheckOptions { index_dir: None, scratch: house.at("scratch"), cache_bytes: 1 << 20 };
    let mut ids: Vec<_> = check(&house.disk(), &options).expect("readable").iter().map(|f| f.id).collect();
    ids.dedup();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_torn_at_any_byte_is_cut_and_the_store_goes_on() {
    let (house, frames, end) = three().await;
    let last = frames[2].offset;
    let segment = house.segments()[0].clone();
    let whole = fs::read(&segment).expect("segment");
    for cut in last..end {
        for (name, keeps) in [("file ends", 0), ("zeros follow", 2000), ("first bytes missing", 0)] {
            let mut bytes = whole[..usize::try_from(cut).expect("small")].to_vec();
            bytes.resize(bytes.len() + keeps, 0);
            let first = usize::try_from(last).expect("small");
            if name == "first bytes missing" {
                let len = bytes.len().min(first + 30);
                bytes[first..len].fill(0);
            }
            let torn = bytes[first..].iter().any(|b| *b != 0);
            fs::write(&segment, &bytes).expect("torn");
            let copy = house.copy();
            assert_eq!(ids(&copy), if torn { vec!["M2"] } else { vec![] }, "{name} at {cut}");
            let (meta, opened) = copy.open();
            let case = format!("{name} at {cut}");
            assert_eq!(opened.torn_tail.map(|t| t.offset), torn.then_some(last), "{case}");
            assert_eq!(contents(&meta), first_two(), "{case}");
            if cut % 8 == 0 {
                put_one(&meta, "more", 9).await.expect("writable");
                meta.close();
                let (meta, opened) = copy.open();
                assert_eq!((opened.torn_tail, opened.sequence), (None, 3), "{case}");
                assert_eq!(contents(&meta).get("more"), Some(&9), "{case}");
                assert!(ids(&copy).is_empty(), "{case}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_before_the_last_frame_is_reported_and_nothing_is_touched() {
    let (house, frames, _) = three().await;
    let segment = house.segments()[0].clone();
    let whole = fs::read(&segment).expect("segment");
    for at in 0..frames[2].offset {
        let mut bytes = whole.clone();
        bytes[usize::try_from(at).expect("small")] ^= 0x10;
        fs::write(&segment, &bytes).expect("damaged");
        let expected = frames.iter().map(|f| f.offset).filter(|o| *o <= at).max().unwrap_or(0);
        match house.try_open().map(|_| ()) {
            Err(OpenError::Damaged { file, offset, .. }) => {
                assert_eq!(
                    (file.as_str(), offset),
                    ("meta/journal/00000000000000000001.log", expected),
                    "byte {at}"
                );
            }
            other => panic!("byte {at}: {other:?}"),
        }
        assert_eq!(fs::read(&segment).expect("segment"), bytes, "byte {at}: changed");
        assert_eq!(ids(&house), ["M1"], "byte {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_inside_a_torn_one_is_no_witness_against_it() {
    let house = House::memory();
    let (meta, _) = house.open();
    put_one(&meta, "a", 1).await.expect("committed");
    meta.close();
    let segment = house.segments()[0].clone();
    let mut bytes = fs::read(&segment).expect("segment");
    bytes.truncate(
        usize::try_from(
            Chain::open(&house.disk(), 0)
                .expect("chain")
                .walk(&mut |_, _, _| Ok(()))
                .expect("sound")
                .expect("segment")
                .end,
        )
        .expect("small"),
    );
    let frame = bytes[68..].to_vec();
    bytes.extend_from_slice(b"garbage");
    bytes.extend_from_slice(&frame);
    fs::write(&segment, bytes).expect("written");
    let (meta, opened) = house.open();
    assert!(opened.torn_tail.is_some());
    assert_eq!(contents(&meta).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_missing_cut_swapped_or_foreign_is_damage() {
    type Damage = (&'static str, fn(&[PathBuf]));
    let damages: [Damage; 5] = [
        ("a middle one missing", |s| fs::remove_file(&s[1]).expect("removed")),
        ("the first missing", |s| fs::remove_file(&s[0]).expect("removed")),
        ("two swapped", |s| {
            let (one, two) = (fs::read(&s[1]).expect("read"), fs::read(&s[2]).expect("read"));
            fs::write(&s[1], two).expect("written");
            fs::write(&s[2], one).expect("written");
        }),
        ("a middle one cut", |s| {
            let bytes = fs::read(&s[1]).expect("read");
            fs::write(&s[1], &bytes[..bytes.len() - 1]).expect("written");
        }),
        ("a middle one empty", |s| fs::write(&s[1], b"").expect("written")),
    ];
    for (name, damage) in damages {
        let house = House { snapshot_after: 1 << 20, ..House::memory() };
        for round in 1..=4 {
            let (meta, _) = house.open();
            put_one(&meta, "a", round).await.expect("committed");
            put_one(&meta, "b", round).await.expect("committed");
            meta.close();
        }
        let segments = house.segments();
        assert!(segments.len() >= 4, "{name}: {segments:?}");
        damage(&segments);
        assert!(matches!(house.try_open(), Err(OpenError::Damaged { .. })), "{name}");
        assert_eq!(ids(&house), ["M1"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_ahead_of_the_journal_is_reported_and_nothing_is_cut() {
    let house = House::sled();
    let (meta, _) = house.open();
    for round in 1..=3 {
        put_one(&meta, "a", round).await.expect("committed");
    }
    meta.close();
    let segment = house.segments()[0].clone();
    let bytes = fs::read(&segment).expect("segment");
    let end = Chain::open(&house.disk(), 0)
        .expect("chain")
        .walk(&mut |_, _, _| Ok(()))
        .expect("sound")
        .expect("segment")
        .end;
    let cut = &bytes[..usize::try_from(end).expect("small") - 5];
    fs::write(&segment, cut).expect("cut");
    assert!(matches!(house.try_open(), Err(OpenError::LostTail { index: 3, journal: 2 })));
    assert_eq!(fs::read(&segment).expect("segment"), cut, "the evidence is untouched");
    fs::remove_file(&segment).expect("removed");
    assert!(matches!(house.try_open(), Err(OpenError::LostTail { index: 3, journal: 0 })));
}
