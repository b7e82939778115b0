//! Opening a data directory. Order: lock, `FORMAT` read, reserve, metadata, blobs, what an earlier
//! run left is cleared, `FORMAT` written if the store is new. `FORMAT` is last, so that a folder
//! whose making was cut short is made again.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use pierhead_storage_format::{paths, store};

use super::{StartError, io};
use crate::config::StorageSettings;
use crate::seams::OsRandom;
use crate::services::uploads::clear_leftovers;
use crate::stores::blobs::{self, Blobs};
use crate::stores::disk::{Disk, RealDisk};
use crate::stores::lock::DataLock;
use crate::stores::meta::Meta;
use crate::stores::space::Reserve;

/// Names that a store's making may have left before `FORMAT` was written.
const OURS: [&str; 7] =
    ["FORMAT.new", paths::LOCK, paths::BALLAST, paths::BLOBS, paths::UPLOADS, paths::QUARANTINE, "meta"];

/// An open data directory. Fields are dropped in this order: the lock is given up last.
pub struct Store {
    /// Rows.
    pub meta: Meta,
    /// Bytes.
    pub blobs: Blobs,
    /// Space kept back.
    pub reserve: Arc<Reserve>,
    _lock: DataLock,
}

impl Store {
    /// Closes the metadata: what was begun is finished. Blocks.
    pub fn close(self) {}
}

/// Opens, or makes, the store. Blocks.
pub fn open(settings: &StorageSettings) -> Result<Store, StartError> {
    let lock = DataLock::create(&settings.data)?;
    let disk = Arc::new(RealDisk::new(&settings.data));
    let is_new = !has_format(disk.as_ref(), &settings.data)?;
    let reserve = Reserve::open(disk.clone(), settings.ballast.bytes(), settings.reserve.bytes());
    let reserve = Arc::new(reserve.map_err(io("cannot keep space back"))?);
    let meta = Meta::default();
    let options = blobs::Options { disk: disk.clone(), random: Arc::new(OsRandom) };
    let (blobs, leftovers) = Blobs::open(options)?;
    clear_leftovers(&meta, &blobs, &leftovers)?;
    if is_new {
        write_format(disk.as_ref()).map_err(io("cannot write FORMAT"))?;
    }
    Ok(Store { meta, blobs, reserve, _lock: lock })
}

/// Whether there is a store; an error if there is something else.
pub fn has_format(disk: &dyn Disk, data: &Path) -> Result<bool, StartError> {
    match disk.open_read(Path::new(paths::FORMAT)) {
        Ok(file) => {
            let mut text = Vec::new();
            file.take(store::MAX_FORMAT_FILE as u64 + 1)
                .read_to_end(&mut text)
                .map_err(io("cannot read FORMAT"))?;
            let check = store::decode(&text);
            check.map_err(|source| StartError::Format { data: data.to_owned(), source })?;
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let entries = disk.list(Path::new("")).map_err(io("cannot list the data directory"))?;
            // A filesystem of its own has its own folder; names that start with a dot are nobody's.
            let foreign =
                |name: &str| !OURS.contains(&name) && name != "lost+found" && !name.starts_with('.');
            match entries.iter().find(|entry| foreign(&entry.name)) {
                Some(_) => Err(StartError::Foreign(data.to_owned())),
                None => Ok(false),
            }
        }
        Err(error) => Err(io("cannot read FORMAT")(error)),
    }
}

/// The file's content, then its name, are made durable.
pub fn write_format(disk: &dyn Disk) -> std::io::Result<()> {
    let part = Path::new("FORMAT.new");
    disk.remove_file(part)?;
    let mut file = disk.create(part)?;
    file.write_at(store::encode().as_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(part, Path::new(paths::FORMAT))?;
    disk.sync_dir(Path::new(""))
}
