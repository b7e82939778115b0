//! Blobs that nothing names any more: their files go to `quarantine/collected/`, and from there some time later.
//! Whoever collects has taken their rows away, keeps others from publishing them meanwhile, and remembers them until
//! both steps are done, so that a stop anywhere is taken up again (`FORMAT.md`, "Removing a blob").

use std::io::ErrorKind;
use std::path::Path;

use pierhead_storage_format::{Digest, paths};

use super::error::{BlobError, blocking, io};
use super::{Blobs, Store, outboard};

impl Blobs {
    /// Moves the files of blobs that have no rows out of the way, durably; one that has none is as good as moved.
    /// Their outboards go. Tries all of them, and gives the first error.
    pub async fn set_collected(&self, digests: Vec<Digest>) -> Result<(), BlobError> {
        let store = std::sync::Arc::clone(&self.0);
        blocking(move || {
            let moved = each(&digests, |digest| store.set_one_aside(digest));
            let synced = store.disk.sync_dir(Path::new(paths::COLLECTED));
            moved.and(synced.map_err(io("syncing the folder of collected blobs")))
        })
        .await
    }

    /// Unlinks what [`set_collected`](Self::set_collected) moved, durably. Blobs `without` rows lose a file that
    /// is in its old place, too: one that could not be moved, or that a power cut brought back.
    pub async fn unlink_collected(
        &self,
        digests: Vec<Digest>,
        without: Vec<Digest>,
    ) -> Result<(), BlobError> {
        let store = std::sync::Arc::clone(&self.0);
        blocking(move || {
            each(&without, |digest| store.set_one_aside(digest))?;
            let unlinked = each(&digests, |digest| {
                store.disk.remove_file(&paths::collected(digest)).map_err(io("unlinking a collected blob"))
            });
            let synced = store.disk.sync_dir(Path::new(paths::COLLECTED));
            unlinked.and(synced.map_err(io("syncing the folder of collected blobs")))
        })
        .await
    }
}

fn each(digests: &[Digest], mut work: impl FnMut(&Digest) -> Result<(), BlobError>) -> Result<(), BlobError> {
    let mut done = Ok(());
    for digest in digests {
        done = done.and(work(digest));
    }
    done
}

impl Store {
    /// The log of small blobs must not give it its file back.
    fn set_one_aside(&self, digest: &Digest) -> Result<(), BlobError> {
        let _place = self.places.lock(digest);
        self.small.forget(digest);
        match self.disk.rename(&paths::blob(digest), &paths::collected(digest)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io("setting a collected blob aside")(error));
            }
            _ => {}
        }
        outboard::remove(self.disk.as_ref(), digest).map_err(io("removing the outboard of a collected blob"))
    }
}
