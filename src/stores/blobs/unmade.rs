//! The file of an upload that has nothing on the disk yet: folder and file are made when the first
//! bytes have to leave memory, so that opening an upload, and publishing a small one, costs neither.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pierhead_storage_format::paths;

use super::Store;
use crate::stores::disk::DiskFile;

/// A file that is made by the first write to it, or sync of it.
pub(super) struct Unmade {
    store: Arc<Store>,
    id: String,
    file: Option<Box<dyn DiskFile>>,
    /// Whether there may be something on the disk; for the upload.
    made: Arc<AtomicBool>,
}

impl Unmade {
    pub(super) fn new(store: &Arc<Store>, id: &str, made: &Arc<AtomicBool>) -> Self {
        Self { store: Arc::clone(store), id: id.to_owned(), file: None, made: Arc::clone(made) }
    }

    fn made(&mut self) -> io::Result<&mut dyn DiskFile> {
        if self.file.is_none() {
            self.made.store(true, Ordering::SeqCst);
            let disk = &self.store.disk;
            let data = paths::upload_data(&self.id);
            disk.create_dir(data.parent().unwrap_or(Path::new(paths::UPLOADS)))?;
            self.file = Some(disk.create(&data)?);
        }
        match self.file.as_deref_mut() {
            Some(file) => Ok(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl DiskFile for Unmade {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.made()?.write_at(bytes, offset)
    }

    fn write_direct(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.made()?.write_direct(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.as_ref().map_or(Ok(0), |file| file.read_at(bytes, offset))
    }

    fn len(&self) -> io::Result<u64> {
        self.file.as_ref().map_or(Ok(0), |file| file.len())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        if len == 0 && self.file.is_none() { Ok(()) } else { self.made()?.set_len(len) }
    }

    fn allocate(&mut self, len: u64) -> io::Result<()> {
        self.made()?.allocate(len)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.made()?.sync_data()
    }
}
