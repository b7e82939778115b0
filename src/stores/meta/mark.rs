//! The mark: a file beside the index that says in which state its files were when the index was last
//! known to be right, so that a start with millions of rows need not read every row before it serves.
//! It is text, never parsed: a start writes down what it would say of the files it finds, and compares.
//!
//! - K1: a *closed* mark names every file of the index with inode, length and times, after a close in
//!   order that synced them all. One that fits says: nobody wrote to them since, and no power cut took
//!   anything away.
//! - K2: an *open* mark names the boot of the machine and the engine's folder and files by inode and
//!   birth. One that fits says: the process ended, the machine did not; the kernel has every byte the
//!   engine wrote.
//! - K3: a copy, a restored backup, a power cut, another kernel or a mark that cannot be read fit
//!   neither: the index is then checked in full before it is used.
//!
//! What either is believed to mean is in `open`. `FORMAT.md` describes the file.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use pierhead_storage_format::paths;

use crate::stores::disk::Disk;

const HEAD: &str = "pierhead index mark 1\n";
/// A mark with more is none of ours.
const LONGEST: u64 = 64 << 10;
const PART: &str = "meta/index-mark.tmp";

/// What a mark proves of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nothing.
    Nothing,
    /// Its process died, the machine went on (K2).
    Process,
    /// It was closed in order and nobody touched it since (K1).
    Closed,
}

/// Reads and writes the mark.
pub(super) struct Marks {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) index_dir: PathBuf,
    /// Names the time since the machine was started; `None` if it has no name.
    pub(super) boot: Option<String>,
}

impl Marks {
    /// What the mark that is there proves of the index as it lies there now.
    pub(super) fn trust(&self) -> Trust {
        let Ok(there) = self.read() else { return Trust::Nothing };
        let is = |text: io::Result<String>| text.is_ok_and(|text| text == there);
        if is(self.closed_text()) {
            Trust::Closed
        } else if is(self.open_text()) {
            Trust::Process
        } else {
            Trust::Nothing
        }
    }

    /// Before the engine opens the index: what the mark says of its files ends to be true.
    pub(super) fn remove(&self) {
        let path = Path::new(paths::INDEX_MARK);
        let removed = match self.disk.file_len(path) {
            Ok(None) => return,
            Ok(Some(_)) | Err(_) => self.disk.remove_file(path).and_then(|()| self.sync()),
        };
        // It fits again only if the first write to the index is lost, with its time, and all else is not.
        self.tell(removed);
    }

    /// The engine has the index open, and it is right or as good as that.
    pub(super) fn opened(&self) {
        if self.boot.is_some() {
            self.tell(self.open_text().and_then(|text| self.write(&text)));
        }
    }

    /// The index was closed in order and is right.
    pub(super) fn closed(&self) {
        if files(&self.index_dir).is_ok_and(|files| files.is_empty()) {
            return; // an engine without files
        }
        let synced = sync_all(&self.index_dir);
        self.tell(synced.and_then(|()| self.closed_text()).and_then(|text| self.write(&text)));
    }

    fn tell(&self, result: io::Result<()>) {
        if let Err(error) = result {
            tracing::warn!(%error, "the index's mark is not written: the next start checks every row first");
        }
    }

    fn read(&self) -> io::Result<String> {
        let mut text = String::new();
        let file = self.disk.open_read(Path::new(paths::INDEX_MARK))?;
        file.take(LONGEST).read_to_string(&mut text)?;
        Ok(text)
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let part = Path::new(PART);
        self.disk.remove_file(part)?;
        let mut file = self.disk.create(part)?;
        file.write_at(text.as_bytes(), 0)?;
        file.sync_data()?;
        self.disk.rename(part, Path::new(paths::INDEX_MARK))?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync_dir(Path::new(paths::INDEX_MARK).parent().unwrap_or(Path::new("")))
    }

    fn closed_text(&self) -> io::Result<String> {
        let mut text = format!("{HEAD}closed\n");
        let files = files(&self.index_dir)?;
        if files.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        for (name, file) in files {
            let (changed, wrote) = ((file.ctime(), file.ctime_nsec()), (file.mtime(), file.mtime_nsec()));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:?} {} {} {changed:?} {wrote:?}", file.ino(), file.len());
        }
        Ok(text)
    }

    /// Of files that come and go while the engine runs only the folder and the log are named.
    fn open_text(&self) -> io::Result<String> {
        let boot = self.boot.as_deref().ok_or(io::ErrorKind::Unsupported)?;
        let mut text = format!("{HEAD}open in {boot}\n");
        for path in [self.index_dir.clone(), self.index_dir.join("db")] {
            let file = fs::metadata(path)?;
            let born = file.created()?.duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
            let _ = writeln!(text, "{} {} {}", file.dev(), file.ino(), born.as_nanos());
        }
        Ok(text)
    }
}

/// What the engine keeps in its folder, by name.
fn files(folder: &Path) -> io::Result<Vec<(String, fs::Metadata)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            found.push((entry.file_name().to_string_lossy().into_owned(), metadata));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// The engine does not make what it wrote durable by itself.
fn sync_all(folder: &Path) -> io::Result<()> {
    for (name, _) in files(folder)? {
        File::open(folder.join(name))?.sync_all()?;
    }
    File::open(folder)?.sync_all()
}
