//! A disk whose power can be cut, for tests: the last changes of folders that nobody synced are undone then, as a file
//! system with an ordered journal loses them. A sync of a folder makes durable its own changes and all that came
//! before the last of them; a rename is one step. What is in files is not lost here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::faulty::{Faults, FaultyDisk};
use super::{Disk, DiskFile, DiskReader, Entry, Filesystem, Space};

/// A change of a folder that may not be durable, with what undoes it.
enum Change {
    Made(PathBuf),
    MadeFolder(PathBuf),
    Moved { from: PathBuf, to: PathBuf, replaced: Option<Vec<u8>> },
    Gone(PathBuf, Vec<u8>),
    GoneFolder(PathBuf, Vec<(PathBuf, Vec<u8>)>),
}

impl Change {
    fn is_in(&self, folder: &Path) -> bool {
        let within = |path: &Path| path.parent() == Some(folder);
        match self {
            Self::Moved { from, to, .. } => within(from) || within(to),
            Self::Made(path) | Self::MadeFolder(path) | Self::Gone(path, _) | Self::GoneFolder(path, _) => {
                within(path)
            }
        }
    }

    fn undo(self) -> io::Result<()> {
        match self {
            Self::Made(path) => remove(&path),
            Self::MadeFolder(path) => fs::remove_dir_all(path),
            Self::Moved { from, to, replaced } => {
                if to.exists() {
                    fs::rename(&to, from)?;
                }
                replaced.map_or(Ok(()), |bytes| fs::write(to, bytes))
            }
            Self::Gone(path, bytes) => fs::write(path, bytes),
            Self::GoneFolder(path, files) => {
                fs::create_dir_all(path)?;
                files.into_iter().try_for_each(|(path, bytes)| fs::write(path, bytes))
            }
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What a cut would lose.
#[derive(Default)]
pub struct Power(Mutex<Vec<Change>>);

impl Power {
    fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes that may be lost.
    pub fn loose(&self) -> usize {
        self.changes().len()
    }

    /// Cuts it: all but the first `kept` of what may be lost is. Nobody may use the disk any more.
    pub fn cut(&self, kept: usize) {
        let mut changes = self.changes();
        while changes.len() > kept {
            changes.pop().expect("there is one").undo().expect("the scratch folder is sound");
        }
        changes.clear();
    }
}

/// [`FaultyDisk`] with a switch.
pub struct PowerDisk {
    disk: FaultyDisk,
    root: PathBuf,
    power: Arc<Power>,
}

impl PowerDisk {
    /// A disk at `root`, with its faults and its power.
    pub fn new(root: &Path) -> (Self, Arc<Faults>, Arc<Power>) {
        let (disk, faults) = FaultyDisk::new(root);
        let power = Arc::new(Power::default());
        (Self { disk, root: root.to_owned(), power: Arc::clone(&power) }, faults, power)
    }

    fn files_in(&self, path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.root.join(path)).into_iter().flatten().flatten();
        entries.filter_map(|entry| Some((entry.path(), fs::read(entry.path()).ok()?))).collect()
    }
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut changes = self.power.changes();
        let file = self.disk.create(path)?;
        changes.push(Change::Made(self.root.join(path)));
        Ok(file)
    }

    fn create_private(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut changes = self.power.changes();
        let file = self.disk.create_private(path)?;
        changes.push(Change::Made(self.root.join(path)));
        Ok(file)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<fs::File> {
        self.disk.open_read(path)
    }

    fn open_reader(&self, path: &Path) -> io::Result<Box<dyn DiskReader>> {
        self.disk.open_reader(path)
    }

    fn open_read_direct(&self, path: &Path) -> io::Result<fs::File> {
        self.disk.open_read_direct(path)
    }

    fn file_len(&self, path: &Path) -> io::Result<Option<u64>> {
        self.disk.file_len(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut changes = self.power.changes();
        let replaced = fs::read(self.root.join(to)).ok();
        self.disk.rename(from, to)?;
        changes.push(Change::Moved { from: self.root.join(from), to: self.root.join(to), replaced });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut changes = self.power.changes();
        let bytes = fs::read(self.root.join(path)).ok();
        self.disk.remove_file(path)?;
        changes.extend(bytes.map(|bytes| Change::Gone(self.root.join(path), bytes)));
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut changes = self.power.changes();
        let is_new = !self.root.join(path).exists();
        self.disk.create_dir(path)?;
        if is_new {
            changes.push(Change::MadeFolder(self.root.join(path)));
        }
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut changes = self.power.changes();
        let (was_there, files) = (self.root.join(path).exists(), self.files_in(path));
        self.disk.remove_dir(path)?;
        if was_there {
            changes.push(Change::GoneFolder(self.root.join(path), files));
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut changes = self.power.changes();
        self.disk.sync_dir(path)?;
        let folder = if path.as_os_str().is_empty() { self.root.clone() } else { self.root.join(path) };
        if let Some(last) = changes.iter().rposition(|change| change.is_in(&folder)) {
            changes.drain(..=last);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(path)
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.space()
    }

    fn filesystem(&self) -> io::Result<Box<dyn Filesystem>> {
        Ok(Box::new(PowerFilesystem { real: self.disk.filesystem()?, power: Arc::clone(&self.power) }))
    }
}

struct PowerFilesystem {
    real: Box<dyn Filesystem>,
    power: Arc<Power>,
}

impl Filesystem for PowerFilesystem {
    fn sync(&self) -> io::Result<()> {
        let mut changes = self.power.changes();
        self.real.sync()?;
        changes.clear();
        Ok(())
    }

    fn tells_errors(&self) -> bool {
        self.real.tells_errors()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_undoes_the_last_changes_that_were_not_synced_and_only_those() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (disk, _, power) = PowerDisk::new(folder.path());
        let (a, b) = (Path::new("a"), Path::new("b"));
        let there = |path: &str| fs::read_to_string(folder.path().join(path)).ok();
        disk.create_dir(a).expect("made");
        disk.create_dir(b).expect("made");
        disk.sync_dir(Path::new("")).expect("synced");
        for name in ["a/one", "a/two"] {
            disk.create(Path::new(name)).expect("made").write_at(name.as_bytes(), 0).expect("written");
        }
        disk.sync_dir(a).expect("synced");
        assert_eq!(power.loose(), 0);
        disk.rename(Path::new("a/one"), Path::new("b/two")).expect("moved");
        disk.remove_file(Path::new("a/two")).expect("removed");
        disk.sync_dir(b).expect("synced");
        assert_eq!(
            power.loose(),
            1,
            "what came before the rename's sync, and the rename; not what came after"
        );
        disk.create(Path::new("b/three")).expect("made");
        power.cut(0);
        assert_eq!((there("b/two"), there("b/three")), (Some("a/one".to_owned()), None));
        assert_eq!((there("a/one"), there("a/two")), (None, Some("a/two".to_owned())));
        disk.rename(Path::new("b/two"), Path::new("a/two")).expect("moved");
        disk.remove_dir(b).expect("removed");
        power.cut(1);
        assert_eq!((there("b/two"), there("a/two")), (None, Some("a/one".to_owned())));
        assert!(folder.path().join("b").is_dir(), "the first of both was kept");
    }
}
