//! Backups of a data directory, served or not, and stores from backups. Whoever can run the command on the host
//! with rights to the directories is the local administrator. A running server is asked by the command line to
//! hold removals back; where none runs, the data directory is locked as long as it is copied.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pierhead_storage_format::backup::{DRILL, Point};
use pierhead_storage_format::paths;

use super::offline::{check_locked, permit};
use super::people::People;
use super::{StartError, io, store};
use crate::config::{Settings, Size, StorageSettings};
use crate::seams::{OsRandom, Random, SystemClock};
use crate::services::backup::{
    self, BackupError, Folder, Found, Made, Maker, Restored, Source, State, Target, Verified, Wanted, Watch,
};
use crate::services::fsck::{DiskBlobs, Report, Unreadable};
use crate::stores::disk::{Disk, RealDisk};
use crate::stores::lock::DataLock;
use crate::version::VERSION;

/// How a backup is made.
#[derive(Clone, Copy, Debug)]
pub struct BackupOptions {
    /// A server serves the store, and holds removals back.
    pub served: bool,
    /// With the key file and the CA's key.
    pub key: bool,
    /// With the audit trail.
    pub audit: bool,
    /// What is linked, or in the folder already, is hashed too.
    pub verify: bool,
    /// Copies only.
    pub copy: bool,
    /// So many are kept.
    pub keep: Option<usize>,
}

/// Makes a backup in a folder, made if there is none.
pub fn back_up(
    settings: &Settings,
    to: &Path,
    options: BackupOptions,
    watch: &mut Watch<'_>,
) -> Result<Made, StartError> {
    let permit = permit()?;
    let (source, _lock) = source(settings, options.served)?;
    let to = absolute(to)?;
    let folder = Folder::make(&to)?;
    let maker = Maker { program: VERSION, clock: &SystemClock };
    let wanted = wanted(settings, &to, options);
    Ok(backup::to_folder(&permit, &source, &folder, (wanted, maker), watch)?)
}

/// Writes a backup to `out` as a tar; `scratch` is a folder that takes what has to be written first.
pub fn back_up_to_stream(
    settings: &Settings,
    scratch: &Path,
    options: BackupOptions,
    out: &mut dyn Write,
    watch: &mut Watch<'_>,
) -> Result<Made, StartError> {
    let permit = permit()?;
    let (source, _lock) = source(settings, options.served)?;
    let scratch = Scratch::within(scratch, "pierhead-backup")?;
    let disk = RealDisk::new(&scratch.0);
    let maker = Maker { program: VERSION, clock: &SystemClock };
    let wanted = wanted(settings, &scratch.0, options);
    Ok(backup::to_stream(&permit, &source, (&scratch.0, &disk), (wanted, maker), out, watch)?)
}

/// Where the disk is the store's own, the store keeps what it keeps back.
fn wanted(settings: &Settings, to: &Path, options: BackupOptions) -> Wanted {
    let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
    let is_own = device(to).is_some_and(|own| device(&settings.storage.data) == Some(own));
    let floor = if is_own { settings.storage.reserve.bytes() } else { 0 };
    let BackupOptions { key, audit, verify, copy, keep, .. } = options;
    Wanted { key, audit, verify, link: !copy, keep, floor }
}

fn source(settings: &Settings, served: bool) -> Result<(Source, Option<DataLock>), StartError> {
    let data = &settings.storage.data;
    let lock = if served { None } else { Some(DataLock::existing(data)?) };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(data));
    if !store::has_format(disk.as_ref(), data)? {
        return Err(StartError::NoStore(data.clone()));
    }
    let key = data.join(&settings.identity.key_file);
    let name = PathBuf::from(key.file_name().unwrap_or_default());
    let folder: Arc<dyn Disk> = Arc::new(RealDisk::new(key.parent().unwrap_or(data)));
    let log = lock.as_ref().map(|_| DiskBlobs::open(Arc::clone(&disk))).transpose();
    let logged = log.map_err(|error: Unreadable| BackupError::from(error))?;
    Ok((Source { disk, key: (folder, name), logged }, lock))
}

fn absolute(path: &Path) -> Result<PathBuf, StartError> {
    std::path::absolute(path).map_err(io("cannot tell where the backup is"))
}

/// The backups of a folder, as they were made.
pub fn backups(folder: &Path) -> Result<Vec<Found>, StartError> {
    Ok(Folder::list(&absolute(folder)?)?)
}

/// Reads a backup, or the newest, or all that are whole, and says what is damaged.
pub fn verify_backups(
    folder: &Path,
    name: Option<&str>,
    all: bool,
    watch: &mut Watch<'_>,
) -> Result<Verified, StartError> {
    let permit = permit()?;
    let folder = Folder::existing(&absolute(folder)?)?;
    let whole = |found: Found| match found.state {
        State::Whole(point) => Some(*point),
        _ => None,
    };
    let points: Vec<Point> = match all {
        true => folder.points()?.into_iter().filter_map(whole).collect(),
        false => vec![folder.point(name)?],
    };
    Ok(backup::verify(&permit, &folder, &points, watch)?)
}

/// Where a store comes from.
pub enum From<'a> {
    /// A folder, and the name of a point, or the newest.
    Folder(&'a Path, Option<&'a str>),
    /// A stream.
    Stream(&'a mut dyn Read),
}

/// What became of a restore.
pub struct Outcome {
    /// What came.
    pub restored: Restored,
    /// What `fsck` says of it.
    pub report: Report,
}

/// Makes a store in `data`, where nothing is, or an interrupted restore.
pub fn restore(from: From<'_>, data: &Path, watch: &mut Watch<'_>) -> Result<Outcome, StartError> {
    let data = absolute(data)?;
    let lock = DataLock::create(&data)?;
    let target = target(&data)?;
    let restored = match from {
        From::Folder(folder, name) => {
            let folder = Folder::existing(&absolute(folder)?)?;
            let point = folder.point(name)?;
            backup::from_folder(&permit()?, &folder, point, &target, false, watch)?
        }
        From::Stream(input) => backup::from_stream(&permit()?, input, &target, watch)?,
    };
    let report = check_locked(&data, &target.disk, &lock, false, &mut |_, _| {})?;
    Ok(Outcome { restored, report })
}

fn target(data: &Path) -> Result<Target, StartError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(data));
    let entries = disk.list(Path::new("")).map_err(io("cannot list the data directory"))?;
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    let harmless = |name: &str| name == paths::LOCK || name == "lost+found" || name.starts_with('.');
    let unfinished = has(paths::RESTORE);
    if !unfinished && !entries.iter().all(|entry| harmless(&entry.name)) {
        return Err(StartError::NotEmpty(data.to_owned()));
    }
    Ok(Target { root: data.to_owned(), disk, format: store::write_format })
}

/// What a drill proved.
pub struct Drilled {
    /// The point, and what came of it.
    pub restored: Restored,
    /// What `fsck --deep` says of it, every byte read.
    pub report: Report,
    /// Why the secrets of the point cannot be opened, if they cannot.
    pub secrets: Option<StartError>,
}

/// Restores a point to a scratch folder, opens it as a start does, checks every byte, and removes it again.
pub fn drill(
    folder: &Path,
    name: Option<&str>,
    scratch: Option<&Path>,
    watch: &mut Watch<'_>,
) -> Result<Drilled, StartError> {
    let root = absolute(folder)?;
    let folder = Folder::existing(&root)?;
    let point = folder.point(name)?;
    let scratch = match scratch {
        Some(path) => Scratch::within(path, "pierhead-drill")?,
        None => Scratch::anew(&root.join(DRILL))?,
    };
    let target = target(&scratch.0)?;
    // What is linked is not read here, but by the check.
    let restored = backup::from_folder(&permit()?, &folder, point, &target, true, watch)?;
    let secrets = open_as_a_start_does(&scratch.0)?;
    let lock = DataLock::existing(&scratch.0)?;
    let report = check_locked(&scratch.0, &target.disk, &lock, true, &mut |_, done| {
        watch(backup::Stage::Verifying, done, 0)
    })?;
    drop(lock);
    Ok(Drilled { restored, report, secrets })
}

fn open_as_a_start_does(data: &Path) -> Result<Option<StartError>, StartError> {
    let none = Size::from_bytes(0);
    let storage =
        StorageSettings { data: data.to_owned(), ballast: none, reserve: none, ..StorageSettings::default() };
    let (opened, _) = store::open(&storage)?;
    let settings = Settings { storage, ..Settings::lab() };
    let people = People::open(&settings, true, &opened).err();
    opened.close();
    Ok(people)
}

/// A folder that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    /// In a folder that others may write to, by a name that nobody can guess.
    fn within(folder: &Path, what: &str) -> Result<Self, StartError> {
        let id = OsRandom.id().map_err(io("cannot name a scratch folder"))?;
        Self::make(&absolute(folder)?.join(format!("{what}-{id}")))
    }

    /// What is there already is somebody else's: an error.
    fn make(path: &Path) -> Result<Self, StartError> {
        use std::os::unix::fs::DirBuilderExt;
        let made = std::fs::DirBuilder::new().mode(0o700).create(path);
        made.map_err(io("cannot make a scratch folder"))?;
        Ok(Self(path.to_owned()))
    }

    /// The same; what a killed run left there goes first.
    fn anew(path: &Path) -> Result<Self, StartError> {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io("cannot remove what an earlier drill left")(error))
            }
            _ => Self::make(path),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a scratch folder stays; remove it");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_scratch_folder_is_its_owners_alone_is_never_somebody_elses_and_goes() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let one = Scratch::within(folder.path(), "test").expect("made");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&one.0), 0o700);
        let taken = Scratch::make(&one.0).err().expect("it is there").to_string();
        assert!(taken.contains("scratch folder"), "{taken}");
        std::fs::write(one.0.join("file"), b"of a backup").expect("written");
        let path = one.0.clone();
        // What a killed run left is not dropped.
        std::mem::forget(one);
        let again = Scratch::anew(&path).expect("made anew");
        assert_eq!((mode(&path), std::fs::read_dir(&path).expect("readable").count()), (0o700, 0));
        drop(again);
        assert!(!path.exists());
    }
}
