//! What is admitted, promised and kept back, on a disk that claims a certain amount of free space.

mod marks;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pierhead_storage_format::identity::Id;

use super::*;
use crate::stores::disk::{DiskFile, Entry, Filesystem, RealDisk, Space, faulty::FaultyDisk};

/// A real folder that claims a certain amount of free space.
struct Claims {
    real: RealDisk,
    free: AtomicU64,
    asked: AtomicU64,
}

impl Disk for Claims {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.real.create(path)
    }
    fn create_private(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.real.create_private(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.real.open(path)
    }
    fn open_read(&self, path: &Path) -> io::Result<std::fs::File> {
        self.real.open_read(path)
    }
    fn file_len(&self, path: &Path) -> io::Result<Option<u64>> {
        self.real.file_len(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.real.remove_file(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.real.create_dir(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.real.remove_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.real.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.real.list(path)
    }
    fn space(&self) -> io::Result<Space> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(Space { free: self.free.load(Ordering::SeqCst), total: u64::MAX })
    }
    fn filesystem(&self) -> io::Result<Box<dyn Filesystem>> {
        self.real.filesystem()
    }
}

fn claims(free: u64) -> (Arc<Claims>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let real = RealDisk::new(folder.path());
    (Arc::new(Claims { real, free: free.into(), asked: 0.into() }), folder)
}

#[test]
fn uploads_are_refused_when_they_would_pass_the_floor() {
    let cases = [
        ("plenty", 1000, 100, 500, true),
        ("exactly to the floor", 1000, 500, 500, true),
        ("one byte past it", 1000, 501, 500, false),
        ("below it already", 400, 0, 500, false),
        ("no floor", 100, 100, 0, true),
        ("more than there is", 100, 101, 0, false),
        ("an absurd length", 1000, u64::MAX, 500, false),
    ];
    for (name, free, bytes, floor, admitted) in cases {
        let (disk, _folder) = claims(free);
        let reserve = Reserve::open(disk, 0, floor).expect("opens");
        assert_eq!(reserve.admits(bytes).is_ok(), admitted, "{name}");
    }
}

#[test]
fn the_disk_is_asked_again_after_100_ms_or_64_mib_and_admissions_count_between() {
    let (disk, _folder) = claims(GRANTED);
    let reserve = Reserve::open(Arc::<Claims>::clone(&disk), 0, 1000).expect("opens");
    let start = Instant::now();
    let asked = || disk.asked.load(Ordering::SeqCst);
    let before = asked();
    reserve.admits_at(1, start).expect("admits");
    reserve.admits_at(GRANTED - 1002, start).expect("admits");
    assert_eq!(asked(), before + 1);
    assert_eq!(reserve.admits_at(2, start), Err(Full { free: 1001, floor: 1000 }));
    assert_eq!(asked(), before + 1, "a refusal does not buy a look");
    disk.free.store(GRANTED + 1, Ordering::SeqCst);
    reserve.admits_at(2, start + FRESH).expect("the disk says there is room");
    assert_eq!(asked(), before + 2);
    disk.free.store(1 << 40, Ordering::SeqCst);
    reserve.admits_at(GRANTED, start + FRESH).expect("looks again before so much");
    assert_eq!(asked(), before + 3);
}

#[test]
fn what_was_admitted_counts_until_it_is_written_or_did_not_come() {
    const LARGE: u64 = 10 * GRANTED;
    let later = |fresh: u32| FRESH * fresh;
    // Each step: when, what the disk says is free, what is asked for, whether it is admitted.
    type Step = (Duration, u64, u64, bool);
    let cases: [(&str, &[Step]); 6] = [
        ("two at once", &[(later(0), LARGE, LARGE, true), (later(0), LARGE, LARGE, false)]),
        ("after another look", &[(later(0), LARGE, LARGE, true), (later(1), LARGE, 1, false)]),
        (
            "one is written, another comes",
            &[
                (later(0), 2 * LARGE, LARGE, true),
                (later(1), LARGE, LARGE, true),
                (later(2), LARGE, 1, false),
            ],
        ),
        (
            "half of one is written",
            &[
                (later(0), 2 * LARGE, LARGE, true),
                (later(1), 3 * LARGE / 2, LARGE + 1, false),
                (later(1), 3 * LARGE / 2, LARGE, true),
            ],
        ),
        (
            "one does not come",
            &[
                (later(0), LARGE, LARGE, true),
                (later(9), LARGE, 1, false),
                (PENDING + later(1), LARGE, 1, false),
                (2 * PENDING + later(2), LARGE, LARGE, true),
            ],
        ),
        (
            "what is deleted makes room",
            &[(later(0), LARGE, LARGE, true), (later(1), 3 * LARGE, 2 * LARGE, true)],
        ),
    ];
    for (name, steps) in cases {
        let (disk, _folder) = claims(0);
        let reserve = Reserve::open(Arc::<Claims>::clone(&disk), 0, 0).expect("opens");
        let start = Instant::now();
        for (number, (after, free, bytes, admitted)) in steps.iter().enumerate() {
            disk.free.store(*free, Ordering::SeqCst);
            let answer = reserve.admits_at(*bytes, start + *after);
            assert_eq!(answer.is_ok(), *admitted, "{name}, step {number}: {answer:?}");
        }
    }
}

#[test]
fn the_ballast_is_made_when_there_is_room_and_given_up_once() {
    let (disk, folder) = claims(1500);
    let ballast = folder.path().join(paths::BALLAST);
    let reserve = Reserve::open(Arc::<Claims>::clone(&disk), 1000, 600).expect("opens");
    assert!(!ballast.exists(), "no room for ballast and floor");
    assert!(!reserve.release());
    disk.free.store(1600, Ordering::SeqCst);
    assert!(reserve.restore().expect("makes it"));
    assert_eq!(std::fs::metadata(&ballast).expect("there").len(), 1000);
    assert!(reserve.release());
    assert!(!ballast.exists());
    assert!(!reserve.release());
}

#[test]
fn a_ballast_of_another_size_is_made_anew_and_none_is_wanted_with_zero() {
    let (disk, folder) = claims(1 << 40);
    let ballast = folder.path().join(paths::BALLAST);
    for (size, expected) in [(1000, Some(1000)), (5000, Some(5000)), (5000, Some(5000)), (0, None)] {
        Reserve::open(Arc::<Claims>::clone(&disk), size, 0).expect("opens");
        assert_eq!(std::fs::metadata(&ballast).ok().map(|meta| meta.len()), expected, "{size}");
    }
}

#[test]
fn a_ballast_that_could_not_be_made_whole_is_not_there() {
    for (step, errno) in [28, 122, 5].into_iter().flat_map(|errno| (0..4).map(move |step| (step, errno))) {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (disk, faults) = FaultyDisk::new(folder.path());
        let reserve = Reserve::open(Arc::new(disk), 1 << 20, 0).expect("opens");
        assert!(reserve.release());
        let at = faults.steps();
        faults.fail(at + step, at + step + 1, errno);
        let restored = reserve.restore();
        assert!(!matches!(restored, Ok(true)), "step {step}: {restored:?}");
        assert_eq!(restored.is_err(), errno == 5 || step == 0, "step {step}: {restored:?}");
        assert!(!reserve.release(), "step {step}");
        faults.heal();
        assert!(reserve.restore().expect("works when the disk is well"));
    }
}

/// One account, which could bring a body of any size, and others.
const ONE: (Holder, u64) = (Holder::Account(Id::from_bytes([1; 16])), u64::MAX);
const OTHER: (Holder, u64) = (Holder::Account(Id::from_bytes([2; 16])), u64::MAX);
const THIRD: (Holder, u64) = (Holder::Host, u64::MAX);
/// Two of nobody in particular.
const FIRST: (Holder, u64) = (Holder::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))), u64::MAX);
const SECOND: (Holder, u64) = (Holder::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))), u64::MAX);

/// A reserve without ballast on a disk that claims `free` bytes.
fn reserve(free: u64, floor: u64) -> (Arc<Reserve>, Arc<Claims>, tempfile::TempDir) {
    let (disk, folder) = claims(free);
    let reserve = Reserve::open(Arc::<Claims>::clone(&disk), 0, floor).expect("opens");
    (Arc::new(reserve), disk, folder)
}

/// Up to twenty uploads of so many bytes, of which so many have come, that were let in.
fn twenty(reserve: &Arc<Reserve>, of: (Holder, u64), bytes: u64, came: u64, at: Instant) -> Vec<Promise> {
    let begun = |_| {
        let mut promise = reserve.promise_at(of, bytes, at).ok()?;
        promise.written_at(came, at).ok().map(|()| promise)
    };
    (0..20).map_while(begun).collect()
}

/// How many of them were promised room.
fn promised(uploads: &[Promise]) -> usize {
    uploads.iter().filter(|upload| upload.held > 0).count()
}

#[test]
fn uploads_that_fit_alone_and_not_together_are_refused_at_their_beginning() {
    let (reserve, disk, _folder) = reserve(1000, 100);
    let start = Instant::now();
    let promises = twenty(&reserve, ONE, 200, 4, start);
    assert_eq!(promises.len(), 4, "900 bytes are there for uploads of 200");
    disk.free.store(984, Ordering::SeqCst);
    assert_eq!(reserve.admits_at(101, start + FRESH), Err(Full { free: 200, floor: 100 }));
    reserve.admits_at(100, start + FRESH).expect("what nobody was promised");
    // Long after: what is promised stays so, and what was admitted and never came does not.
    let later = start + 10 * PENDING;
    assert_eq!(reserve.promise_at(ONE, 101, later).map(drop), Err(Full { free: 200, floor: 100 }));
    drop(promises);
    disk.free.store(1000, Ordering::SeqCst);
    drop(reserve.promise_at(ONE, 900, later + FRESH).expect("all of it is free again"));
    let look = lock(&reserve.look);
    assert_eq!((look.promised.all(), look.promised.firm()), (0, 0));
}

#[test]
fn a_promised_byte_counts_once_while_it_goes_from_promised_to_written() {
    let (reserve, disk, _folder) = reserve(1000, 0);
    let start = Instant::now();
    let mut promise = reserve.promise_at(ONE, 600, start).expect("fits");
    let usable = |after: u32| {
        drop(reserve.looked(0, start + FRESH * after));
        lock(&reserve.look).usable()
    };
    promise.written_at(400, start).expect("promised");
    assert_eq!(usable(0), 400, "on its way to the disk");
    disk.free.store(600, Ordering::SeqCst);
    assert_eq!(usable(1), 400, "written");
    promise.written_at(300, start + FRESH).expect("more than was said is a matter of the upload's");
    disk.free.store(400, Ordering::SeqCst);
    drop(promise);
    assert_eq!(usable(100), 400);
}

#[test]
fn a_promise_that_is_hardly_used_lapses_and_its_upload_goes_on_where_there_is_room() {
    let (reserve, _disk, _folder) = reserve(10_000_000, 0);
    let start = Instant::now();
    let mut slow = reserve.promise_at(ONE, 9_000_000, start).expect("fits");
    let mut fast = reserve.promise_at(ONE, 900_000, start).expect("fits");
    for second in 1..=70 {
        let now = start + Duration::from_secs(second);
        slow.written_at(1, now).expect("there is room");
        fast.written_at(2_000, now).expect("there is room");
    }
    assert!(lock(&reserve.look).promised.all() < 900_000, "the slow one's is given up");
    let now = start + Duration::from_secs(71);
    let mut taken = reserve.promise_at(ONE, 9_000_000, now).expect("room for another");
    taken.written_at(200_000, now).expect("promised");
    slow.written_at(1, now).expect("a byte is left");
    assert!(slow.written_at(1_000_000, now).is_err(), "as any upload without a promise");
    drop((slow, fast, taken));
    assert_eq!(lock(&reserve.look).promised.all(), 0);
}

#[test]
fn an_upload_that_was_slow_for_a_while_has_its_promise_again_if_there_is_room() {
    const MIB: u64 = 1 << 20;
    let (reserve, _disk, _folder) = reserve(1000 * MIB, 0);
    let start = Instant::now();
    let mut promise = reserve.promise_at(ONE, 900 * MIB, start).expect("fits");
    let held = || lock(&reserve.look).promised.all() / MIB;
    let minute = |minutes: u64| start + Duration::from_secs(60 * minutes);
    promise.written_at(MIB, minute(1)).expect("promised");
    assert_eq!(held(), 60, "an hour's at one a minute");
    promise.written_at(14 * MIB, minute(1)).expect("faster than it was");
    promise.written_at(MIB, minute(2)).expect("the same");
    assert_eq!(held(), 884, "all of the rest");
    promise.written_at(MIB, minute(30)).expect("promised");
    assert!(held() < 4, "after half an hour without a byte");
    let mut others = reserve.promise_at(OTHER, 900 * MIB, minute(30)).expect("room for another");
    others.written_at(15 * MIB, minute(30)).expect("promised");
    assert!(promise.written_at(200 * MIB, minute(30)).is_err(), "his room is another's");
    drop(others);
    promise.written_at(200 * MIB, minute(30)).expect("there is room again");
}

#[test]
fn twenty_large_bodies_of_one_leave_promises_for_others() {
    // Holder by holder: how much each announces at a time, and how often he is promised it of twenty times.
    type Row = (&'static str, (Holder, u64), u64, usize);
    let cases: [(&str, u32, &[Row]); 7] = [
        ("half", 50, &[("greedy", ONE, 100, 7), ("other", OTHER, 100, 2), ("third", THIRD, 10, 7)]),
        ("a body of the largest size", 10, &[("greedy", (ONE.0, 600), 600, 1), ("other", OTHER, 100, 3)]),
        ("small ones", 50, &[("greedy", (ONE.0, 0), 10, 20), ("other", (OTHER.0, 0), 10, 20)]),
        ("more than there is for one", 50, &[("greedy", ONE, 901, 0), ("other", OTHER, 300, 2)]),
        ("no limit", 100, &[("greedy", ONE, 100, 10), ("other", OTHER, 1, 0)]),
        (
            "many addresses",
            50,
            &[("one", FIRST, 300, 2), ("another", SECOND, 100, 1), ("other", OTHER, 100, 2)],
        ),
        (
            "the same, small",
            50,
            &[("one", FIRST, 700, 1), ("another", SECOND, 10, 5), ("other", OTHER, 100, 1)],
        ),
    ];
    for (name, percent, rows) in cases {
        let (disk, _folder) = claims(1100);
        let reserve = Reserve::open(Arc::<Claims>::clone(&disk), 0, 100).expect("opens");
        let reserve = Arc::new(reserve.with_share(percent));
        let start = Instant::now();
        let mut all = Vec::new();
        for (who, holder, bytes, expected) in rows {
            let uploads = twenty(&reserve, *holder, *bytes, 0, start);
            assert_eq!((uploads.len(), promised(&uploads)), (20, *expected), "{name}: {who}");
            all.push(uploads);
        }
        // Nothing came, so that nobody is refused who says no length, or whose bytes come.
        reserve.admits_at(1, start).expect("no length");
        let mut brings = reserve.promise_at(THIRD, 900, start).expect("let in");
        brings.written_at(900, start).expect("there is room for all of it");
        drop((all, brings));
        let look = lock(&reserve.look);
        assert_eq!(
            (look.promised.all(), look.promised.firm(), look.promised.of_anybody()),
            (0, 0, 0),
            "{name}"
        );
    }
}

#[test]
fn the_only_user_has_all_of_the_disk_and_what_is_beyond_his_share_is_not_promised() {
    const GIB: u64 = 1 << 30;
    let cases: [(&str, u64, u64, &[bool]); 3] = [
        ("four layers", 24, 4, &[true, true, true, false, false, false]),
        ("one layer", 8, 7, &[false]),
        ("one that is within it", 8, 4, &[true, false]),
    ];
    for (name, free, each, expected) in cases {
        let (disk, _folder) = claims(free * GIB);
        let reserve = Reserve::open(Arc::<Claims>::clone(&disk), 0, 0).expect("opens");
        let reserve = Arc::new(reserve.with_share(50));
        let (start, of) = (Instant::now(), (ONE.0, 4 * GIB));
        // They come at the same pace, a sixteenth of a layer at a time, and then one is too much.
        let mut uploads = Vec::new();
        for (number, expected) in expected.iter().enumerate() {
            let upload =
                reserve.promise_at(of, each * GIB, start).map_err(|full| panic!("{name} {number}: {full}"));
            let upload: Promise = upload.unwrap();
            assert_eq!(upload.held > 0, *expected, "{name}, {number}");
            uploads.push(upload);
        }
        for part in 0..16 {
            for (number, upload) in uploads.iter_mut().enumerate() {
                let wrote = upload.written_at(each * GIB / 16, start);
                wrote.unwrap_or_else(|full| panic!("{name}, {number}, part {part}: {full}"));
                disk.free.fetch_sub(each * GIB / 16, Ordering::SeqCst);
            }
        }
        assert!(reserve.promise_at(of, 5 * GIB, start).is_err(), "{name}: what does not fit is refused");
    }
}

#[test]
fn whoever_is_refused_is_let_in_when_as_much_came_free_as_the_refusal_says() {
    for (name, before, bytes) in [
        ("who has nothing", 0, 800),
        ("who has his share", 500, 600),
        ("who asks for more than any share", 100, 2000),
        ("who is let in at once", 400, 550),
    ] {
        let (disk, _folder) = claims(1000);
        let reserve = Reserve::open(Arc::<Claims>::clone(&disk), 0, 50).expect("opens");
        let reserve = Arc::new(reserve.with_share(50));
        let start = Instant::now();
        let others = twenty(&reserve, OTHER, 30, 1, start);
        let mut his = reserve.promise_at(ONE, before, start).ok();
        his.as_mut().map(|his| his.written_at(before / 20, start));
        if let Err(full) = reserve.promise_at(ONE, bytes, start).map(drop) {
            disk.free.fetch_add(full.floor + bytes - full.free, Ordering::SeqCst);
            reserve.look_again();
        }
        assert!(reserve.promise_at(ONE, bytes, start).is_ok(), "{name}");
        drop((others, his));
    }
}

#[test]
fn what_is_announced_and_not_brought_refuses_no_body_that_comes() {
    const GIB: u64 = 1 << 30;
    for came in [0, 1] {
        let (disk, _folder) = claims(16 * GIB);
        let reserve = Reserve::open(Arc::<Claims>::clone(&disk), 0, 0).expect("opens");
        let reserve = Arc::new(reserve.with_share(50));
        let start = Instant::now();
        // As many as there is room to promise, of addresses and of accounts.
        let greedy = [(FIRST, 10), (SECOND, 4), (ONE, 3), (OTHER, 1)];
        let greedy: Vec<Promise> =
            greedy.into_iter().flat_map(|(of, gib)| twenty(&reserve, of, gib * GIB, came, start)).collect();
        assert!(promised(&greedy) > 3, "{} have promises", promised(&greedy));
        let mut honest = reserve.promise_at((THIRD.0, 0), 15 * GIB, start).expect("let in");
        for part in 1..=15 {
            honest.written_at(GIB, start).unwrap_or_else(|full| panic!("part {part}: {full}"));
            disk.free.fetch_sub(GIB, Ordering::SeqCst);
        }
        assert!(reserve.promise_at(THIRD, 2 * GIB, start).is_err());
    }
}

#[test]
fn an_upload_holds_as_much_of_its_rest_as_there_is_when_there_is_not_all() {
    const MIB: u64 = 1 << 20;
    let (reserve, _disk, _folder) = reserve(1000 * MIB, 0);
    let start = Instant::now();
    let mut first = reserve.promise_at(OTHER, 600 * MIB, start).expect("fits");
    let mut promise = reserve.promise_at(ONE, 900 * MIB, start).expect("fits what is firm");
    assert_eq!(promise.held, 0, "and not what is promised");
    first.written_at(10 * MIB, start).expect("promised");
    promise.written_at(20 * MIB, start + Duration::from_secs(60)).expect("there is room");
    assert_eq!(promise.held / MIB, 390, "what nobody else was promised");
}

#[test]
fn what_is_asked_again_and_again_and_refused_is_no_pace() {
    let (reserve, disk, _folder) = reserve(1_000_000, 0);
    let start = Instant::now();
    let mut promise = reserve.promise_at(ONE, 900_000, start).expect("fits");
    promise.written_at(100, start).expect("promised");
    disk.free.store(1000, Ordering::SeqCst);
    for _ in 0..8 {
        assert!(promise.written_at(50_000, start + FRESH).is_err(), "others have filled the disk");
    }
    disk.free.store(1_000_000, Ordering::SeqCst);
    promise.written_at(100, start + Duration::from_secs(60)).expect("there is room again");
    assert_eq!(promise.held, 200 * 60, "an hour's at the pace of what came");
}

#[test]
fn an_upload_that_was_let_in_is_kept_its_room_whatever_comes_later() {
    let (disk, _folder) = claims(1_000_000);
    let reserve = Reserve::open(Arc::<Claims>::clone(&disk), 0, 1000).expect("opens");
    let reserve = Arc::new(reserve.with_share(50));
    let start = Instant::now();
    let mut first = reserve.promise_at(ONE, 500_000, start).expect("fits");
    let mut kept = Vec::new();
    for second in 0..500_u64 {
        let now = start + Duration::from_secs(second);
        kept.extend([OTHER, THIRD].map(|holder| reserve.promise_at(holder, 50_000, now).ok()));
        let _ = reserve.admits_at(20_000, now);
        first.written_at(1000, now).expect("promised");
        disk.free.fetch_sub(1000, Ordering::SeqCst);
    }
    assert!(kept.iter().flatten().count() > 3, "others were let in");
}

#[test]
fn a_promise_holds_down_to_half_of_the_reserve_though_others_fill_the_disk() {
    let (reserve, disk, _folder) = reserve(1000, 400);
    let start = Instant::now();
    let mut promise = reserve.promise_at(ONE, 500, start).expect("fits");
    promise.written_at(10, start).expect("promised");
    for (free, is_kept) in [(600, true), (400, true), (250, true), (150, false)] {
        disk.free.store(free, Ordering::SeqCst);
        reserve.look_again();
        assert_eq!(promise.written_at(10, start).is_ok(), is_kept, "{free} free");
        assert_eq!(reserve.admits_at(0, start).is_ok(), free > 1000, "{free} free: others are refused");
    }
}
