//! The digest of bytes as they come, for either algorithm.

use pierhead_storage_format::upload::State;
use pierhead_storage_format::{Algorithm, Digest};
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest as _, Sha256, Sha512};

/// What [`Hasher::save`] writes is this version's: sha2 0.11. Another minor version of that crate
/// writes otherwise, and must get another number.
const STATE_VERSION: u8 = 11;

/// A digest under way.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// Of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// What [`load`](Self::load) goes on from.
    pub(super) fn save(&self) -> State {
        let bytes = match self {
            Self::Sha256(hash) => hash.serialize().to_vec(),
            Self::Sha512(hash) => hash.serialize().to_vec(),
        };
        State { version: STATE_VERSION, bytes }
    }

    /// Goes on where it was saved; `None` if this program did not save it so.
    pub(super) fn load(algorithm: Algorithm, state: &State) -> Option<Self> {
        if state.version != STATE_VERSION {
            return None;
        }
        let bytes = state.bytes.as_slice();
        match algorithm {
            Algorithm::Sha256 => Sha256::deserialize(bytes.try_into().ok()?).ok().map(Self::Sha256),
            Algorithm::Sha512 => Sha512::deserialize(bytes.try_into().ok()?).ok().map(Self::Sha512),
        }
    }

    /// The digest of what came so far; more may follow.
    #[expect(clippy::expect_used, reason = "the arrays have the algorithms' lengths")]
    pub fn digest(&self) -> Digest {
        let digest = match self {
            Self::Sha256(hash) => Digest::new(Algorithm::Sha256, &hash.clone().finalize()),
            Self::Sha512(hash) => Digest::new(Algorithm::Sha512, &hash.clone().finalize()),
        };
        digest.expect("a finished hash has its algorithm's length")
    }
}

/// The digest of `bytes`.
pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.digest()
}
