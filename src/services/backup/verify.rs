//! Whether points are what they were: their files against their records, every blob against its digest.

use pierhead_storage_format::Digest;
use pierhead_storage_format::backup::list::parse_file;
use pierhead_storage_format::backup::{BLOBS, FILES, FOLDER, Point, point_dir};

use super::copy::part_of;
use super::draft::check;
use super::error::{BackupError, io};
use super::folder::Folder;
use super::lists::{Lines, Merged};
use super::pool::Pool;
use super::{Stage, Watch, permitted};
use crate::services::access::Permit;

/// Damaged things that are named.
const NAMED: usize = 100;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Points that were looked at.
    pub points: Vec<String>,
    /// Blobs that were hashed, each once.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs and files that are damaged or missing.
    pub damaged: u64,
    /// The first of them.
    pub named: Vec<String>,
    /// Blobs that the points never had, since the store had lost them.
    pub missing: u64,
}

impl Verified {
    fn find(&mut self, what: String) {
        self.damaged += 1;
        if self.named.len() < NAMED {
            self.named.push(what);
        }
    }
}

/// Reads all that `points` need.
pub fn verify(
    permit: &Permit,
    folder: &Folder,
    points: &[Point],
    watch: &mut Watch<'_>,
) -> Result<Verified, BackupError> {
    permitted(permit)?;
    let mut verified = Verified::default();
    let mut lists = Vec::new();
    for point in points {
        verified.points.push(point.name.clone());
        verified.missing += point.missing;
        match files(folder, point, &mut verified) {
            Ok(list) => lists.push(list),
            Err(BackupError::Damaged(what)) => verified.find(format!("{}/{what}", point.name)),
            Err(error) => return Err(error),
        }
    }
    let total = points.iter().map(|point| point.blobs).max().unwrap_or(0);
    blobs(folder, lists, total, &mut verified, watch)?;
    Ok(verified)
}

fn files(folder: &Folder, point: &Point, verified: &mut Verified) -> Result<Lines, BackupError> {
    let (disk, dir) = (folder.disk.as_ref(), point_dir(&point.name));
    check(&folder.root, disk, &dir, point)?;
    let reading = io("reading", &folder.root, &dir);
    let mut lines = Lines::open(disk, &dir.join(FILES)).map_err(&reading)?;
    while let Some(line) = lines.next().map_err(&reading)? {
        let Some((hash, size, path)) = parse_file(&line) else {
            return Err(BackupError::Damaged(FILES.to_owned()));
        };
        let found = disk.open_read(&dir.join(FOLDER).join(path)).and_then(part_of);
        if !found.is_ok_and(|found| found.blake3 == hash && found.bytes == size) {
            verified.find(format!("{}/{FOLDER}/{path}", point.name));
        }
    }
    Lines::open(disk, &dir.join(BLOBS)).map_err(&reading)
}

fn blobs(
    folder: &Folder,
    lists: Vec<Lines>,
    total: u64,
    verified: &mut Verified,
    watch: &mut Watch<'_>,
) -> Result<(), BackupError> {
    let reading = io("reading", &folder.root, std::path::Path::new(BLOBS));
    let pool = Pool::new(&folder.root, &folder.disk, 0)?;
    let mut named = Merged::new(lists).map_err(&reading)?;
    while let Some((digest, size)) = named.next().map_err(&reading)? {
        let done = verified.blobs;
        if !is_sound(&pool, &digest, size, &mut || watch(Stage::Verifying, done, total))? {
            verified.find(digest.to_string());
        }
        verified.blobs += 1;
        verified.bytes += size;
    }
    Ok(())
}

fn is_sound(pool: &Pool, digest: &Digest, size: u64, told: &mut dyn FnMut()) -> Result<bool, BackupError> {
    Ok(pool.has(digest, size)? && pool.is_sound(digest, size, told)?)
}
