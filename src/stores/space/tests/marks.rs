//! The soft mark.

use super::*;

#[test]
fn the_soft_mark_fits_the_disk_unless_it_is_set() {
    const GIB: u64 = 1 << 30;
    let rows = [
        ("a large disk", 1000 * GIB, GIB, None, 4 * GIB),
        ("a disk of 40 GiB", 40 * GIB, GIB, None, 2 * GIB),
        ("a small disk", 10 * GIB, GIB, None, GIB + GIB / 4),
        ("set", 10 * GIB, GIB, Some(3 * GIB), 3 * GIB),
    ];
    for (name, total, hard, set, expected) in rows {
        let (reserve, _disk, _folder) = reserve(5 * GIB, hard);
        let reserve = Arc::into_inner(reserve).expect("the only one").with_soft_mark(set);
        lock(&reserve.look).at = Some(Instant::now());
        lock(&reserve.look).total = total;
        assert_eq!(reserve.standing().soft, expected, "{name}");
    }
}
