//! Disk space kept back, so that metadata and deletes never meet a full disk: a ballast file that is
//! given up when they do, and a floor of free space below which uploads are refused. Pulls and
//! deletes ask nothing here.
//!
//! The ballast's length is set only after its space is allocated, so a file of the right length is a
//! whole one. Free space is looked up at most every [`FRESH`], or after [`GRANTED`] bytes. What was
//! admitted counts as used until a look finds that much less free space, or for [`PENDING`]: one
//! whose bytes did not come by then has given up, or is met by a full disk.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pierhead_storage_format::paths;

use super::disk::{Disk, is_full};

/// How long a look at the free space is believed.
const FRESH: Duration = Duration::from_millis(100);
/// How many bytes are admitted on one look.
const GRANTED: u64 = 64 << 20;
/// How long, at least, what was admitted and is not seen written is waited for; at most twice that.
const PENDING: Duration = Duration::from_secs(1);

/// An upload is refused: free space would fall below the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{free} bytes of disk space are free, and {floor} are kept back")]
pub struct Full {
    /// Bytes free, less what was admitted and is not written yet.
    pub free: u64,
    /// Bytes kept back.
    pub floor: u64,
}

/// The space kept back.
pub struct Reserve {
    disk: Arc<dyn Disk>,
    ballast: u64,
    floor: u64,
    look: Mutex<Look>,
    /// Held while the ballast is made or removed.
    changing: Mutex<()>,
}

struct Look {
    free: u64,
    at: Option<Instant>,
    /// Bytes admitted since.
    granted: u64,
    pending: Pending,
}

impl Look {
    fn renew(&mut self, free: u64, now: Instant) {
        self.pending.written(self.free.saturating_sub(free));
        (self.free, self.at, self.granted) = (free, Some(now), 0);
    }
}

/// Bytes admitted and not seen written, in this turn of [`PENDING`] and the one before.
#[derive(Default)]
struct Pending {
    before: u64,
    now: u64,
    since: Option<Instant>,
}

impl Pending {
    fn total(&self) -> u64 {
        self.before.saturating_add(self.now)
    }

    fn forget(&mut self, now: Instant) {
        let since = self.since.unwrap_or(now);
        let age = now.saturating_duration_since(since);
        if age >= 2 * PENDING {
            *self = Self { since: Some(now), ..Self::default() };
        } else if age >= PENDING {
            *self = Self { before: self.now, now: 0, since: Some(since + PENDING) };
        } else {
            self.since = Some(since);
        }
    }

    /// The oldest first.
    fn written(&mut self, bytes: u64) {
        let rest = bytes.saturating_sub(self.before);
        self.before = self.before.saturating_sub(bytes);
        self.now = self.now.saturating_sub(rest);
    }
}

impl Reserve {
    /// Makes a ballast of `ballast` bytes (0: none) if there is room for it and `floor`. Blocks. Too
    /// little room is no error: `restore` makes it later.
    pub fn open(disk: Arc<dyn Disk>, ballast: u64, floor: u64) -> io::Result<Self> {
        let look = Look { free: disk.space()?.free, at: None, granted: 0, pending: Pending::default() };
        let reserve = Self { disk, ballast, floor, look: Mutex::new(look), changing: Mutex::new(()) };
        let there = reserve.disk.file_len(Path::new(paths::BALLAST))?;
        if there != Some(ballast) || ballast == 0 {
            reserve.disk.remove_file(Path::new(paths::BALLAST))?; // of another size, or half made
        }
        reserve.restore()?;
        Ok(reserve)
    }

    /// Whether `bytes` more may be written by an upload. Cheap enough for every frame.
    pub fn admits(&self, bytes: u64) -> Result<(), Full> {
        self.admits_at(bytes, Instant::now())
    }

    fn admits_at(&self, bytes: u64, now: Instant) -> Result<(), Full> {
        let mut look = lock(&self.look);
        let stale = look.at.is_none_or(|at| now.saturating_duration_since(at) >= FRESH);
        if stale || look.granted.saturating_add(bytes) > GRANTED {
            // If the disk will not say, the last answer less what was admitted since stands.
            if let Ok(space) = self.disk.space() {
                look.renew(space.free, now);
            }
        }
        look.pending.forget(now);
        let free = look.free.saturating_sub(look.pending.total());
        if free < self.floor.saturating_add(bytes) {
            return Err(Full { free, floor: self.floor });
        }
        look.granted = look.granted.saturating_add(bytes);
        look.pending.now = look.pending.now.saturating_add(bytes);
        Ok(())
    }

    /// Free bytes on the disk now. Blocks.
    pub fn free(&self) -> io::Result<u64> {
        Ok(self.disk.space()?.free)
    }

    /// Gives up the ballast, for a writer of metadata that met a full disk; true if that freed
    /// anything. Blocks.
    pub fn release(&self) -> bool {
        let _changing = lock(&self.changing);
        let ballast = Path::new(paths::BALLAST);
        match self.disk.file_len(ballast) {
            Ok(Some(len)) => self.disk.remove_file(ballast).is_ok() && len > 0,
            _ => false,
        }
    }

    /// Makes the ballast again when there is room for it and the floor; true if it is there
    /// afterwards. For a timer. Blocks.
    pub fn restore(&self) -> io::Result<bool> {
        let _changing = lock(&self.changing);
        let ballast = Path::new(paths::BALLAST);
        if self.ballast == 0 || self.disk.file_len(ballast)? == Some(self.ballast) {
            return Ok(self.ballast > 0);
        }
        if self.disk.space()?.free < self.floor.saturating_add(self.ballast) {
            return Ok(false);
        }
        self.disk.remove_file(ballast)?;
        let made = self.make();
        if made.is_err() {
            let _ = self.disk.remove_file(ballast); // the next restore removes it otherwise
        }
        match made {
            Err(error) if is_full(&error) => Ok(false),
            made => made.map(|()| true),
        }
    }

    fn make(&self) -> io::Result<()> {
        let mut file = self.disk.create(Path::new(paths::BALLAST))?;
        file.allocate(self.ballast)?;
        file.set_len(self.ballast)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

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
        for (step, errno) in [28, 122, 5].into_iter().flat_map(|errno| (0..4).map(move |step| (step, errno)))
        {
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
}
