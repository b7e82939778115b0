//! Names and addresses of hosts.

use std::net::IpAddr;

/// Whether `text` is an address, or a host name, perhaps with `*` as its first part.
pub fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_host_name(text)
}

fn is_host_name(text: &str) -> bool {
    let rest = text.strip_prefix("*.").unwrap_or(text);
    let is_part = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&part.len())
            && part.bytes().all(plain)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    // A last part of digits only would be an address that is wrong.
    let last = rest.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && rest.split('.').all(is_part) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::*;

    #[test]
    fn names_are_told_from_what_is_none() {
        for good in ["a", "r.example", "*.r.example", "xn--bcher-kva.example", "10.0.0.1", "::1", "a_b.c"] {
            assert!(is_host(good), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "",
            ".",
            "a..b",
            "-a",
            "a b",
            "*",
            "a.*",
            "10.0.0.256",
            "https://a",
            "a:5000",
            "ä",
            long.as_str(),
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = is_host(&text);
        }
    }
}
