//! The key file on the disk. It is replaced in one step: `<name>.tmp` (its owner's alone, written,
//! synced), renamed over the file, the folder synced. A stop before the rename leaves the old file
//! and perhaps a `.tmp`, which the next replacement removes; a stop after it leaves the new one.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pierhead_storage_format::key_file::{KeyFileError, MAX_KEY_FILE, NumberedKey, decode, encode};
use zeroize::Zeroizing;

use super::{Place, SecretsError};

/// The keys of the file, the current one first; `None` if there is no file.
pub fn read(place: &Place) -> Result<Option<Vec<NumberedKey>>, SecretsError> {
    let failed = |source| SecretsError::Io { file: place.shown.clone(), source };
    let file = match place.disk.open_read(&place.name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretsError::Exposed { file: place.shown.clone(), mode });
    }
    // Whoever made it may have been stopped before its name was durable, and rows that depend on it
    // are written from now on.
    place.disk.sync_dir(Path::new("")).map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_KEY_FILE + 1));
    file.take(MAX_KEY_FILE as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let wrong = |source: KeyFileError| SecretsError::Format { file: place.shown.clone(), source };
    decode(&bytes).map(Some).map_err(wrong)
}

/// Makes the file hold these keys, durably.
pub fn replace(place: &Place, keys: &[NumberedKey]) -> Result<(), SecretsError> {
    let steps = || -> io::Result<()> {
        let mut name = place.name.clone().into_os_string();
        name.push(".tmp");
        let unfinished = PathBuf::from(name);
        place.disk.remove_file(&unfinished)?;
        let mut file = place.disk.create_private(&unfinished)?;
        file.write_at(encode(keys).as_bytes(), 0)?;
        file.sync_data()?;
        place.disk.rename(&unfinished, &place.name)?;
        place.disk.sync_dir(Path::new(""))
    };
    steps().map_err(|source| SecretsError::Io { file: place.shown.clone(), source })
}
