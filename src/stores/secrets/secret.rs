//! Bytes that are not for reading.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

/// A secret: never printed, wiped when dropped, compared in a time that tells its length only.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// These bytes, which must not be kept elsewhere.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the moment they are needed.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is one, for the moment it is needed.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl Clone for Secret {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_by_its_bytes_and_prints_none_of_them() {
        let secret = Secret::from("hunter2".to_owned());
        assert_eq!(secret, Secret::new(b"hunter2".to_vec()));
        assert!(secret != Secret::new(b"hunter3".to_vec()) && secret != Secret::new(Vec::new()));
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(..) Some(Secret(..))");
        assert_eq!(secret.expose_text(), Some("hunter2"));
        assert_eq!(Secret::new(vec![0xff]).expose_text(), None);
    }
}
