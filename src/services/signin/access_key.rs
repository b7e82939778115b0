//! Access keys, the login key made of one, and temporary logins.

use std::io;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::{Secret, hex};
use crate::seams::Random;

const AK_LEN: usize = 20;
const SK_LEN: usize = 40;
const AK_ALPHABET: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const SK_ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A new access key. The SK is shown once and kept sealed.
#[derive(Debug)]
pub struct AccessKey {
    /// The AK: 20 characters `A-Z0-9`.
    pub id: String,
    /// The SK: 40 characters `A-Za-z0-9`, 238 random bits.
    pub secret: Secret,
}

impl AccessKey {
    /// A new one. That no other has its AK is the caller's to check.
    pub fn make(random: &dyn Random) -> io::Result<Self> {
        let secret = Secret::new(characters(SK_ALPHABET, SK_LEN, random)?);
        Ok(Self { id: make_id(random)?, secret })
    }

    /// Whether a text has the form of an AK: of ours, of imported ones and of other editions'.
    pub fn is_id(text: &str) -> bool {
        (16..=32).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    }
}

/// A new temporary login. The key is shown once; only its verifier is kept.
#[derive(Debug)]
pub struct TemporaryLogin {
    /// Stands where an AK does, and has its form.
    pub id: String,
    /// 64 lower-case hex digits, 256 random bits.
    pub key: Secret,
    /// SHA-256 of the key's text.
    pub verifier: [u8; 32],
}

impl TemporaryLogin {
    /// A new one. That no other has its id is the caller's to check.
    pub fn make(random: &dyn Random) -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(&mut *bytes)?;
        let key = Secret::from(hex::encode(&*bytes));
        let verifier = verifier(&key);
        Ok(Self { id: make_id(random)?, key, verifier })
    }
}

/// What is kept of a temporary login's key. Enough for 256 random bits, not for a password.
pub fn verifier(key: &Secret) -> [u8; 32] {
    let mut verifier = [0; 32];
    verifier.copy_from_slice(digest(&SHA256, key.expose()).as_ref());
    verifier
}

/// Whether `given` is the key that `kept` was made of. An unknown login is checked against a
/// verifier of zeros, which no key has.
pub fn verifies_temporary(given: &Secret, kept: &[u8; 32]) -> bool {
    verify_slices_are_equal(&verifier(given), kept).is_ok()
}

/// The login key of an access key: lower-case hex of HMAC-SHA256 under the SK over the AK.
pub fn login_key(id: &str, secret: &Secret) -> Secret {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    Secret::from(hex::encode(hmac::sign(&key, id.as_bytes()).as_ref()))
}

/// Whether `given` is the login key of this access key. Without one (an unknown AK) the same work
/// is done for a secret that nobody has, and the answer is no.
pub fn is_login_key(given: &Secret, id: &str, secret: Option<&Secret>) -> bool {
    let nobody = Secret::new(vec![0; SK_LEN]);
    let right = *given == login_key(id, secret.unwrap_or(&nobody));
    right && secret.is_some()
}

fn make_id(random: &dyn Random) -> io::Result<String> {
    let id = characters(AK_ALPHABET, AK_LEN, random)?;
    Ok(id.into_iter().map(char::from).collect())
}

/// So many characters, each of the alphabet equally likely: bytes past its last multiple are drawn
/// again.
fn characters(alphabet: &[u8], count: usize, random: &dyn Random) -> io::Result<Vec<u8>> {
    let fair = 256 - 256 % alphabet.len();
    let mut chosen = Vec::with_capacity(count);
    let mut drawn = Zeroizing::new([0; 64]);
    while chosen.len() < count {
        random.fill(&mut *drawn)?;
        let fair = drawn.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
        chosen.extend(fair.take(count - chosen.len()).map(|byte| alphabet[byte % alphabet.len()]));
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seams::OsRandom;

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    /// The vector of the documents, as the shell's openssl makes it.
    #[test]
    fn the_login_key_is_the_hmac_of_the_ak_under_the_sk() {
        let (id, sk) = ("AKEXAMPLE0000000001", secret("SKexample000000000000000000000000000000001"));
        let key = secret("ff0a664c54653f4cb0d9a12309ef53d874975ec161e9264dfb322476f9d2e76d");
        assert_eq!(login_key(id, &sk), key);
        let cases = [
            ("right", key.clone(), id, Some(&sk), true),
            ("another ak", key.clone(), "AKEXAMPLE0000000002", Some(&sk), false),
            ("another sk", key.clone(), id, Some(&key), false),
            ("unknown ak", key.clone(), id, None, false),
            ("unknown ak, guessed stand-in", login_key(id, &Secret::new(vec![0; 40])), id, None, false),
            ("the sk itself", sk.clone(), id, Some(&sk), false),
            ("empty", secret(""), id, Some(&sk), false),
            ("upper case", secret(&key.expose_text().unwrap().to_uppercase()), id, Some(&sk), false),
        ];
        for (name, given, id, sk, right) in cases {
            assert_eq!(is_login_key(&given, id, sk), right, "{name}");
        }
    }

    #[test]
    fn new_access_keys_have_their_form_and_every_character_occurs() {
        let mut seen = std::collections::BTreeSet::new();
        let mut ids = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let key = AccessKey::make(&OsRandom).unwrap();
            assert!(AccessKey::is_id(&key.id) && key.id.len() == 20, "{}", key.id);
            let sk = key.secret.expose_text().unwrap();
            assert!(sk.len() == 40 && sk.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            seen.extend(sk.bytes());
            assert!(ids.insert(key.id));
        }
        assert_eq!(seen.len(), SK_ALPHABET.len());
    }

    #[test]
    fn a_temporary_login_is_proved_by_its_key_alone() {
        let login = TemporaryLogin::make(&OsRandom).unwrap();
        assert!(AccessKey::is_id(&login.id));
        assert!(hex::decode32(login.key.expose_text().unwrap()).is_some());
        assert!(verifies_temporary(&login.key, &login.verifier));
        let other = TemporaryLogin::make(&OsRandom).unwrap();
        assert!(!verifies_temporary(&other.key, &login.verifier));
        assert!(!verifies_temporary(&login.key, &[0; 32]));
    }
}
