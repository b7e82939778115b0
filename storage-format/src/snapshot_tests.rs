//! The snapshot codec against random, cut and altered bytes.

use proptest::prelude::*;

use super::*;

type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

fn rows() -> impl Strategy<Value = Rows> {
    let table = prop::sample::select(Table::ALL.to_vec());
    let bytes = prop::collection::vec(any::<u8>(), 0..30);
    prop::collection::btree_map((table, bytes.clone()), bytes, 0..20)
}

fn write(rows: &Rows) -> Vec<u8> {
    let position = Position { sequence: 9, tag: Tag([3; 16]) };
    let mut out = Vec::new();
    let mut writer = SnapshotWriter::new(position, &mut out);
    for ((table, key), value) in rows {
        writer.row(*table, key, value, &mut out).expect("in order");
    }
    writer.finish(&mut out);
    out
}

fn read(bytes: &[u8]) -> Result<Rows, SnapshotError> {
    let mut reader = SnapshotReader::new(bytes)?;
    let mut rows = Rows::new();
    while let Some(row) = reader.next_row()? {
        rows.insert((row.table, row.key), row.value);
    }
    Ok(rows)
}

#[test]
fn rows_out_of_order_or_twice_are_refused() {
    let cases = [
        ("twice", (Table::Tag, b"a"), (Table::Tag, b"a")),
        ("key before", (Table::Tag, b"b"), (Table::Tag, b"a")),
        ("table before", (Table::Tag, b"a"), (Table::Repository, b"b")),
    ];
    for (name, first, second) in cases {
        let mut out = Vec::new();
        let mut writer = SnapshotWriter::new(Position::default(), &mut out);
        writer.row(first.0, first.1, b"", &mut out).expect("the first");
        assert!(writer.row(second.0, second.1, b"", &mut out).is_err(), "{name}");
    }
}

#[test]
fn sums_do_not_depend_on_order_and_forget_what_is_taken_out() {
    let (mut a, mut b) = (Sums::default(), Sums::default());
    a.add(1, b"x", b"1");
    a.add(2, b"y", b"2");
    b.add(2, b"y", b"2");
    b.add(1, b"z", b"3");
    b.add(1, b"x", b"1");
    assert_ne!(a, b);
    b.remove(1, b"z", b"3");
    assert_eq!(a, b);
    b.remove(1, b"x", b"1");
    b.remove(2, b"y", b"2");
    assert_eq!(b, Sums::default());
}

proptest! {
    #[test]
    fn every_snapshot_survives_and_every_damage_is_an_error(rows in rows(), bit in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
        let bytes = write(&rows);
        prop_assert_eq!(read(&bytes).expect("sound"), rows);
        prop_assert!(read(&bytes[..cut.index(bytes.len())]).is_err());
        let mut damaged = bytes.clone();
        let bit = bit.index(8 * bytes.len());
        damaged[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(read(&damaged).is_err());
        let mut longer = bytes;
        longer.push(0);
        prop_assert!(read(&longer).is_err());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), rows in rows()) {
        let _ = read(&bytes);
        let mut spliced = write(&rows);
        spliced.truncate(HEADER);
        spliced.extend_from_slice(&bytes);
        let _ = read(&spliced);
        let _ = Sums::decode(&bytes);
    }
}
