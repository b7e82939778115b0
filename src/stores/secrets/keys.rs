//! The keys in memory, and what is done with them. Each key of the file is used only through keys
//! derived from it (HMAC-SHA256 over the purpose), so that no two uses share one.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use pierhead_storage_format::key_file::{KEY_LEN, NONCE_LEN, NumberedKey, sealed_head, split_sealed};
use zeroize::Zeroizing;

use super::{Secret, SecretsError};
use crate::seams::Random;

const PURPOSE: &[u8] = b"pierhead key 1: ";
const SEALING: &str = "seal secrets in rows";

/// Keys of one purpose, the current one first.
pub struct DerivedKeys(Vec<NumberedKey>);

impl DerivedKeys {
    /// Keys in the order of the file: the current one first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8; KEY_LEN])> {
        self.0.iter().map(|NumberedKey { number, key }| (*number, &**key))
    }
}

/// A new key of this number.
pub fn make(number: u32, random: &dyn Random) -> Result<NumberedKey, SecretsError> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    random.fill(&mut *key).map_err(SecretsError::Random)?;
    Ok(NumberedKey { number, key })
}

/// The keys of a file, the current one first. There is always one.
pub struct Ring {
    keys: Vec<NumberedKey>,
}

impl Ring {
    /// At least one key, the current one first.
    pub fn new(keys: Vec<NumberedKey>) -> Self {
        debug_assert!(!keys.is_empty());
        Self { keys }
    }

    pub fn keys(&self) -> &[NumberedKey] {
        &self.keys
    }

    pub fn copy(&self) -> impl Iterator<Item = NumberedKey> {
        self.keys.iter().map(|NumberedKey { number, key }| NumberedKey { number: *number, key: key.clone() })
    }

    pub fn current(&self) -> u32 {
        self.keys.first().map_or(0, |key| key.number)
    }

    pub fn derive(&self, purpose: &str) -> DerivedKeys {
        let derived = |NumberedKey { number, key }: &NumberedKey| NumberedKey {
            number: *number,
            key: derive(key, purpose),
        };
        DerivedKeys(self.keys.iter().map(derived).collect())
    }

    pub fn seal(
        &self,
        secret: &Secret,
        context: &[u8],
        random: &dyn Random,
    ) -> Result<Vec<u8>, SecretsError> {
        let key = self.sealing_key(self.current())?;
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce).map_err(SecretsError::Random)?;
        let head = sealed_head(self.current());
        let mut body = Zeroizing::new(secret.expose().to_vec());
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                covered(&head, context),
                &mut body,
            )
            .map_err(|_| SecretsError::Unsealable)?;
        Ok([&head[..], &nonce, &body, tag.as_ref()].concat())
    }

    pub fn unseal(&self, sealed: &[u8], context: &[u8]) -> Result<Secret, SecretsError> {
        let parts = split_sealed(sealed).ok_or(SecretsError::Unsealable)?;
        let key = self.sealing_key(parts.number)?;
        let nonce = Nonce::assume_unique_for_key(parts.nonce);
        let mut body = Zeroizing::new(parts.body.to_vec());
        let opened = key
            .open_in_place(nonce, covered(&parts.head, context), &mut body)
            .map_err(|_| SecretsError::Unsealable)?;
        Ok(Secret::new(opened.to_vec()))
    }

    fn sealing_key(&self, number: u32) -> Result<LessSafeKey, SecretsError> {
        let found = self.keys.iter().find(|key| key.number == number);
        let key = derive(&found.ok_or(SecretsError::UnknownKey(number))?.key, SEALING);
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| SecretsError::Unsealable)?;
        Ok(LessSafeKey::new(key))
    }
}

/// The head is of fixed length, so that no two pairs of head and context are covered alike.
fn covered(head: &[u8; 5], context: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([&head[..], context].concat())
}

fn derive(key: &[u8; KEY_LEN], purpose: &str) -> Zeroizing<[u8; KEY_LEN]> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    context.update(PURPOSE);
    context.update(purpose.as_bytes());
    let mut derived = Zeroizing::new([0; KEY_LEN]);
    derived.copy_from_slice(context.sign().as_ref());
    derived
}
