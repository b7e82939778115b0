//! The `Authorization` header: Basic (RFC 7617), Bearer (RFC 6750) and Huawei's request signatures.

use base64ct::{Base64, Base64Unpadded, Encoding as _};
use zeroize::Zeroizing;

use super::Secret;
use super::signature::Signature;

/// What the header brings.
#[derive(Debug)]
pub enum Authorization {
    /// A user name (see [`super::login::Login`]) and what proves it.
    Basic {
        /// Up to the first `:`; never has one.
        user: String,
        /// All after it.
        password: Secret,
    },
    /// A token of ours.
    Bearer(Secret),
    /// A signature of the request.
    Signature(Signature),
}

/// Why the header is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    /// More than one.
    #[error("there is more than one Authorization header")]
    Duplicate,
    /// Longer than [`Authorization::MAX_LEN`].
    #[error("the Authorization header is too long")]
    TooLong,
    /// Not as its scheme says.
    #[error("the Authorization header cannot be read")]
    Malformed,
    /// A scheme that is not known.
    #[error("the scheme of the Authorization header is not known")]
    UnknownScheme,
    /// A way to sign requests that is known and not offered; its name.
    #[error("the signature algorithm {0} is not supported, SDK-HMAC-SHA256 is")]
    UnsupportedAlgorithm(&'static str),
}

/// Ways to sign requests that Huawei's SDKs have and this appliance has not.
const UNSUPPORTED: [&str; 4] = ["SDK-HMAC-SM3", "SDK-ECDSA-P256-SHA256", "SDK-SM2-SM3", "V11-HMAC-SHA256"];

impl Authorization {
    /// The longest header that is looked at, in bytes: tokens for many repositories are long.
    pub const MAX_LEN: usize = 16 << 10;

    /// Reads the values of all `Authorization` headers of a request; `None` without any.
    pub fn parse(values: &[&[u8]]) -> Result<Option<Self>, AuthorizationError> {
        match values {
            [] => Ok(None),
            [value] => Self::read(value).map(Some),
            _ => Err(AuthorizationError::Duplicate),
        }
    }

    fn read(value: &[u8]) -> Result<Self, AuthorizationError> {
        if value.len() > Self::MAX_LEN {
            return Err(AuthorizationError::TooLong);
        }
        let text = std::str::from_utf8(value).map_err(|_| AuthorizationError::Malformed)?.trim();
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim_start();
        if scheme.eq_ignore_ascii_case("basic") {
            return basic(rest).ok_or(AuthorizationError::Malformed);
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            let sound = !rest.is_empty() && rest.bytes().all(is_token68);
            let bearer = sound.then(|| Self::Bearer(Secret::from(rest.to_owned())));
            return bearer.ok_or(AuthorizationError::Malformed);
        }
        if scheme == Signature::ALGORITHM {
            return Signature::parse(rest).map(Self::Signature).ok_or(AuthorizationError::Malformed);
        }
        let known = UNSUPPORTED.into_iter().find(|name| *name == scheme);
        Err(known.map_or(AuthorizationError::UnknownScheme, AuthorizationError::UnsupportedAlgorithm))
    }
}

const fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// RFC 7617: base64 of `user:password` in UTF-8. A client that leaves the padding out is understood.
fn basic(encoded: &str) -> Option<Authorization> {
    let decoded = if encoded.contains('=') || encoded.len().is_multiple_of(4) {
        Base64::decode_vec(encoded)
    } else {
        Base64Unpadded::decode_vec(encoded)
    };
    let decoded = Zeroizing::new(decoded.ok()?);
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Authorization::Basic { user: user.to_owned(), password: Secret::from(password.to_owned()) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(value: &str) -> Result<Authorization, AuthorizationError> {
        Authorization::parse(&[value.as_bytes()]).map(|found| found.expect("there is one"))
    }

    #[test]
    fn basic_credentials_are_split_at_the_first_colon() {
        let cases = [
            ("as in RFC 7617", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", "open sesame"))),
            ("another case", "bAsIc QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", "open sesame"))),
            ("more spaces", " Basic   QWxhZGRpbjpvcGVuIHNlc2FtZQ== ", Some(("Aladdin", "open sesame"))),
            ("no padding", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", Some(("Aladdin", "open sesame"))),
            ("UTF-8 (RFC 7617, 2.1)", "Basic dGVzdDoxMjPCow==", Some(("test", "123£"))),
            ("colons in the password", "Basic YTpiOmM=", Some(("a", "b:c"))),
            ("no password", "Basic YTo=", Some(("a", ""))),
            ("no user", "Basic OmI=", Some(("", "b"))),
            ("no colon", "Basic YWI=", None),
            ("not base64", "Basic a:b", None),
            ("the URL's alphabet", "Basic -_-_", None),
            ("half the padding", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=", None),
            ("Latin-1", "Basic dGVzdDoxMjOj", None),
            ("nothing", "Basic", None),
        ];
        for (name, header, expected) in cases {
            match (read(header), expected) {
                (Ok(Authorization::Basic { user, password }), Some(expected)) => {
                    assert_eq!((user.as_str(), password.expose_text().unwrap()), expected, "{name}");
                }
                (Err(AuthorizationError::Malformed), None) => {}
                (other, _) => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn every_other_header_is_refused_by_its_reason() {
        use AuthorizationError as E;
        let long = format!("Bearer {}", "a".repeat(Authorization::MAX_LEN));
        let cases: [(&str, &[&[u8]], E); 13] = [
            ("two", &[b"Bearer a", b"Bearer a"], E::Duplicate),
            ("long", &[long.as_bytes()], E::TooLong),
            ("empty", &[b""], E::UnknownScheme),
            ("no token", &[b"Bearer "], E::Malformed),
            ("a token with a space", &[b"Bearer a b"], E::Malformed),
            ("a token with a control character", &[b"Bearer a\x01"], E::Malformed),
            ("not UTF-8", &[b"Bearer \xff"], E::Malformed),
            ("another scheme", &[b"Digest a=b"], E::UnknownScheme),
            ("no parts", &[b"SDK-HMAC-SHA256 "], E::Malformed),
            (
                "SM3",
                &[b"SDK-HMAC-SM3 Access=a, SignedHeaders=b, Signature=c"],
                E::UnsupportedAlgorithm("SDK-HMAC-SM3"),
            ),
            ("ECDSA", &[b"SDK-ECDSA-P256-SHA256 x"], E::UnsupportedAlgorithm("SDK-ECDSA-P256-SHA256")),
            ("SM2", &[b"SDK-SM2-SM3 x"], E::UnsupportedAlgorithm("SDK-SM2-SM3")),
            ("V11", &[b"V11-HMAC-SHA256 Credential=a/b"], E::UnsupportedAlgorithm("V11-HMAC-SHA256")),
        ];
        for (name, values, expected) in cases {
            assert_eq!(Authorization::parse(values).map(|_| ()), Err(expected), "{name}");
        }
        assert!(matches!(Authorization::parse(&[]), Ok(None)));
        assert!(
            matches!(read("Bearer abc.d-e_f"), Ok(Authorization::Bearer(token)) if token.expose() == b"abc.d-e_f")
        );
    }

    #[test]
    fn nothing_secret_is_printed() {
        let basic = read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert!(!format!("{basic:?}").contains("sesame"));
        assert!(!format!("{:?}", read("Bearer abcdef").unwrap()).contains("abcdef"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,200}") {
            let _ = Authorization::parse(&[&bytes]);
            for scheme in ["Basic", "Bearer", Signature::ALGORITHM] {
                let _ = read(&format!("{scheme} {text}"));
            }
        }

        #[test]
        fn what_a_client_encodes_is_what_is_read(user in "[^:]{0,40}", password in ".{0,40}") {
            let header = format!("Basic {}", Base64::encode_string(format!("{user}:{password}").as_bytes()));
            match read(&header) {
                Ok(Authorization::Basic { user: found, password: secret }) => {
                    prop_assert_eq!(found, user);
                    prop_assert_eq!(secret.expose(), password.as_bytes());
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
