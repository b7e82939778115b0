//! What must be known again and may not be read off the disk: SKs are kept in rows sealed under a
//! key of the key file, which is not part of journal, snapshot or dump. The same keys, derived for a
//! purpose, sign the tokens the appliance gives out.
//!
//! Words: *current*, *previous*, *number* as in `FORMAT.md` §10. *Context* - what a sealed secret
//! belongs to (its AK); it is not stored with it, and the secret opens in no other.
//!
//! X1: nothing is sealed under a key before the file that holds it is durable.
//! X2: a key leaves the file only by `finish_rotation`, which the caller asks for when no row is
//! sealed under it any more. A stop at any step leaves a file that opens every row.
//! X3: the file is its owner's alone from its first moment; one that others may read is refused.
//! X4: a file is made only where the caller says that nothing can be sealed under a lost one.
//!
//! Must not know what a secret is for. Start at [`KeyStore`]; `file` is the steps on the disk.

mod file;
mod keys;
mod secret;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use pierhead_storage_format::key_file::{KeyFileError, MAX_KEYS, split_sealed};

use super::disk::{Disk, RealDisk};
use crate::seams::Random;
use keys::Ring;

pub use keys::DerivedKeys;
pub use secret::Secret;

/// Why secrets cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// There is no key file, and there must be one.
    #[error(
        "there is no key file {}, and the store holds secrets sealed under it: put it back from where it is kept safe", .0.display()
    )]
    Missing(PathBuf),
    /// Somebody else may read or write it.
    #[error("the key file {} has mode {mode:04o}: only its owner may have access (chmod 600, and consider it known to others)", file.display())]
    Exposed {
        /// The key file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What is in it is not a key file's.
    #[error("the key file {} cannot be used", file.display())]
    Format {
        /// The key file.
        file: PathBuf,
        /// Why.
        #[source]
        source: KeyFileError,
    },
    /// It cannot be read or written.
    #[error("the key file {} cannot be read or written", file.display())]
    Io {
        /// The key file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The host gives no random bytes.
    #[error("no random bytes")]
    Random(#[source] io::Error),
    /// Sealed under a key that the key file does not have: it is another store's, or an old copy.
    #[error("sealed under key {0}, which the key file does not have")]
    UnknownKey(u32),
    /// The bytes are damaged, belong to another context, or are another store's.
    #[error("the sealed secret is damaged or not of this place")]
    Unsealable,
}

/// Whether a key file may be made where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenMissing {
    /// The store holds nothing sealed: make one.
    Make,
    /// It does: refuse.
    Refuse,
}

/// Where the key file is.
pub struct Place {
    disk: Arc<dyn Disk>,
    name: PathBuf,
    shown: PathBuf,
}

impl Place {
    /// The file of this path.
    pub fn at(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let disk = RealDisk::new(folder.unwrap_or(Path::new(".")));
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        Self { disk: Arc::new(disk), name, shown: path.to_owned() }
    }

    /// The file `name` at the top of `disk`.
    #[cfg(test)]
    pub fn on(disk: Arc<dyn Disk>, name: &str) -> Self {
        Self { disk, name: name.into(), shown: name.into() }
    }
}

/// How a rotation began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// With a new current key.
    Begun,
    /// One that was interrupted goes on; no key was added.
    Resumed,
}

/// The keys in use. Cheap to share; sealing and opening do not block.
pub struct KeyStore {
    place: Place,
    random: Arc<dyn Random>,
    ring: ArcSwap<Ring>,
    /// Held while the file is replaced.
    changing: Mutex<()>,
}

impl KeyStore {
    /// Reads the key file, or makes one. Blocks.
    pub fn open(place: Place, random: Arc<dyn Random>, missing: WhenMissing) -> Result<Self, SecretsError> {
        let ring = match file::read(&place)? {
            Some(keys) => Ring::new(keys),
            None if missing == WhenMissing::Refuse => return Err(SecretsError::Missing(place.shown)),
            None => {
                let first = Ring::new(vec![keys::make(1, &*random)?]);
                file::replace(&place, first.keys())?;
                first
            }
        };
        Ok(Self { place, random, ring: ArcSwap::from_pointee(ring), changing: Mutex::new(()) })
    }

    /// Encrypts `secret` under the current key, bound to `context`: 33 bytes more than the secret.
    pub fn seal(&self, secret: &Secret, context: &[u8]) -> Result<Vec<u8>, SecretsError> {
        self.ring.load().seal(secret, context, &*self.random)
    }

    /// Decrypts what `seal` gave for the same `context`.
    pub fn unseal(&self, sealed: &[u8], context: &[u8]) -> Result<Secret, SecretsError> {
        self.ring.load().unseal(sealed, context)
    }

    /// Keys for one purpose, which tell nothing of each other or of those in the file. They change
    /// with a rotation: take them anew after `begin_rotation` and `finish_rotation`.
    pub fn derive(&self, purpose: &str) -> DerivedKeys {
        self.ring.load().derive(purpose)
    }

    /// Whether `sealed` is under another key than the current one: unseal and seal it anew.
    pub fn needs_resealing(&self, sealed: &[u8]) -> bool {
        split_sealed(sealed).map(|parts| parts.number) != Some(self.ring.load().current())
    }

    /// The number of the current key: what is sealed now is under that one.
    pub fn current(&self) -> u32 {
        self.ring.load().current()
    }

    /// Whether previous keys are still there: a rotation has begun and not finished.
    #[cfg(test)]
    pub fn is_rotating(&self) -> bool {
        self.ring.load().keys().len() > 1
    }

    /// Adds a new current key. Afterwards the caller seals every row anew that `needs_resealing`,
    /// durably, until a whole pass finds none, and calls `finish_rotation`. What was sealed before
    /// this returned and is committed later must be looked at again. Blocks.
    pub fn begin_rotation(&self) -> Result<Rotation, SecretsError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = self.ring.load();
        if ring.keys().len() > 1 {
            return Ok(Rotation::Resumed);
        }
        let number = ring.current().checked_add(1).ok_or_else(|| self.no_number_left())?;
        let newer =
            Ring::new(std::iter::once(keys::make(number, &*self.random)?).chain(ring.copy()).collect());
        debug_assert!(newer.keys().len() <= MAX_KEYS);
        file::replace(&self.place, newer.keys())?;
        self.ring.store(Arc::new(newer));
        Ok(Rotation::Begun)
    }

    /// Drops the previous keys. What is still sealed under one is lost. Blocks.
    pub fn finish_rotation(&self) -> Result<(), SecretsError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let only = Ring::new(self.ring.load().copy().take(1).collect());
        file::replace(&self.place, only.keys())?;
        self.ring.store(Arc::new(only));
        Ok(())
    }

    fn no_number_left(&self) -> SecretsError {
        SecretsError::Format { file: self.place.shown.clone(), source: KeyFileError::Damaged }
    }
}
