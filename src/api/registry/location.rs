//! Where `Location` headers, and the realm of a challenge, point.
//!
//! L1: a location is relative (`/v2/...`) unless a trusted proxy says by which host *and* scheme the
//! client came. A relative one never leads a client to another host or to plain HTTP, where it would
//! drop its credentials, or worse, show them.
//! L2: forwarding headers of a peer that is not a trusted proxy are not looked at.
//! L3: a host that does not parse as `name[:port]` counts as none.
//! L4: `Forwarded` counts only where there is no `X-Forwarded-*` header at all: a proxy that writes
//! those passes on a `Forwarded` that the client made up.
//!
//! Several proxies append to these headers; the first entry is the one nearest to the client, and
//! names the host the client asked for.

use std::net::{IpAddr, Ipv6Addr};

use hyper::Uri;
use hyper::header::{self, HeaderMap, HeaderName};

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The front of every location of one answer: empty, or `https://host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// As a request of `peer` asks for.
    pub fn of(headers: &HeaderMap, peer: IpAddr, trusted: impl Fn(IpAddr) -> bool) -> Self {
        if !trusted(peer) {
            return Self::default();
        }
        let speaks_x = headers.keys().any(|name| name.as_str().starts_with("x-forwarded-"));
        let origin = if speaks_x { x_forwarded(headers) } else { forwarded(headers) };
        origin.unwrap_or_default()
    }

    /// Where the client is told to go for a token, which cannot be relative: as a trusted proxy says, else
    /// to the host the client itself asked.
    pub fn absolute(&self, headers: &HeaderMap, uri: &Uri, tls: bool) -> Option<Self> {
        if !self.0.is_empty() {
            return Some(self.clone());
        }
        let host = uri.authority().map(|authority| authority.as_str());
        let host = host.or_else(|| headers.get(header::HOST)?.to_str().ok())?;
        Self::new(if tls { "https" } else { "http" }, host)
    }

    /// The location of `path`, which starts with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    fn new(proto: &str, host: &str) -> Option<Self> {
        let scheme = ["http", "https"].into_iter().find(|s| proto.eq_ignore_ascii_case(s))?;
        is_host(host).then(|| Self(format!("{scheme}://{host}")))
    }
}

/// Whether `text` is a name or an address, perhaps with a port.
fn is_host(text: &str) -> bool {
    let (is_known, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, port))) => (address.parse::<Ipv6Addr>().is_ok(), port),
        Some(None) => return false,
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (is_name(name), port)
        }
    };
    is_known && (port.is_empty() || is_port(port))
}

/// `:1` to `:65535`.
fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).is_some_and(|port: u16| port > 0)
}

/// Letters, digits, `-`, `_` between dots: what DNS and container networks use.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // One dot at the end is the root's.
    text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

/// `X-Forwarded-Host` with `X-Forwarded-Proto`, as most proxies send them.
fn x_forwarded(headers: &HeaderMap) -> Option<Origin> {
    let first = |name| headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim);
    Origin::new(first(X_FORWARDED_PROTO)?, first(X_FORWARDED_HOST)?)
}

/// RFC 7239: `Forwarded: for=...;host="a:443";proto=https, ...`.
fn forwarded(headers: &HeaderMap) -> Option<Origin> {
    let element = unquoted_split(headers.get(header::FORWARDED)?.to_str().ok()?, ',').next()?;
    let (mut host, mut proto) = (None, None);
    for pair in unquoted_split(element, ';') {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        match name.trim() {
            name if name.eq_ignore_ascii_case("host") => host = Some(value),
            name if name.eq_ignore_ascii_case("proto") => proto = Some(value),
            _ => {}
        }
    }
    Origin::new(proto?, host?)
}

/// Splits at `separator` outside of quotation marks.
fn unquoted_split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

    type Lines<'a> = &'a [(&'static str, &'a str)];

    fn origin(lines: Lines<'_>, peer: IpAddr) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a header"));
        }
        Origin::of(&headers, peer, |ip| ip == PROXY).url("/v2/")
    }

    #[test]
    fn a_trusted_proxy_names_the_host_and_everybody_else_does_not() {
        let x_both = [("x-forwarded-host", "reg.example:8443"), ("x-forwarded-proto", "https")];
        let cases: [(&str, Lines<'_>, IpAddr, &str); 10] = [
            ("nothing said", &[("host", "other.example")], PROXY, "/v2/"),
            ("host and scheme", &x_both, PROXY, "https://reg.example:8443/v2/"),
            ("not a proxy", &x_both, CLIENT, "/v2/"),
            ("host alone", &x_both[..1], PROXY, "/v2/"),
            ("scheme alone", &x_both[1..], PROXY, "/v2/"),
            (
                "first of several",
                &[("x-forwarded-host", "a.example, b.example"), ("x-forwarded-proto", "https, http")],
                PROXY,
                "https://a.example/v2/",
            ),
            (
                "RFC 7239",
                &[("forwarded", "for=192.0.2.7;Proto=https; Host=a.example")],
                PROXY,
                "https://a.example/v2/",
            ),
            (
                "quoted, several hops",
                &[("forwarded", "for=\"[2001:db8::1]:1,2\";host=\"a.example:1\";proto=http, host=b")],
                PROXY,
                "http://a.example:1/v2/",
            ),
            (
                "RFC 7239 without a host",
                &[("forwarded", "for=192.0.2.7"), x_both[0], x_both[1]],
                PROXY,
                "https://reg.example:8443/v2/",
            ),
            (
                "IPv6 host",
                &[("x-forwarded-host", "[::1]:5000"), ("x-forwarded-proto", "http")],
                PROXY,
                "http://[::1]:5000/v2/",
            ),
        ];
        for (name, lines, peer, expected) in cases {
            assert_eq!(origin(lines, peer), expected, "{name}");
        }
    }

    #[test]
    fn what_the_proxy_writes_beats_a_header_that_only_passes_through() {
        let x_both = [("x-forwarded-host", "reg.example:8443"), ("x-forwarded-proto", "https")];
        let cases: [(&str, Lines<'_>, IpAddr, &str); 3] = [
            (
                "both, which disagree",
                &[("forwarded", "host=evil.example;proto=http"), x_both[0], x_both[1]],
                PROXY,
                "https://reg.example:8443/v2/",
            ),
            (
                "both, and the proxy says half",
                &[("forwarded", "host=evil.example;proto=http"), x_both[1]],
                PROXY,
                "/v2/",
            ),
            (
                "both, and the proxy says something else",
                &[("forwarded", "host=evil.example;proto=http"), ("x-forwarded-for", "192.0.2.7")],
                PROXY,
                "/v2/",
            ),
        ];
        for (name, lines, peer, expected) in cases {
            assert_eq!(origin(lines, peer), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_scheme_or_no_host_makes_no_location() {
        let cases: [(&str, Lines<'_>, IpAddr, &str); 3] = [
            (
                "another scheme",
                &[("x-forwarded-host", "a.example"), ("x-forwarded-proto", "ftp")],
                PROXY,
                "/v2/",
            ),
            (
                "user in the host",
                &[("x-forwarded-host", "u@a.example"), ("x-forwarded-proto", "http")],
                PROXY,
                "/v2/",
            ),
            (
                "path in the host",
                &[("x-forwarded-host", "a.example/x"), ("x-forwarded-proto", "http")],
                PROXY,
                "/v2/",
            ),
        ];
        for (name, lines, peer, expected) in cases {
            assert_eq!(origin(lines, peer), expected, "{name}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        let rows = [
            ("a", true),
            ("reg.example", true),
            ("reg.example.:443", true),
            ("my_registry:5000", true),
            ("192.0.2.7:1", true),
            ("[::1]", true),
            ("[2001:db8::1]:65535", true),
            ("", false),
            (":443", false),
            (".", false),
            ("a..b", false),
            ("*", false),
            ("*.example", false),
            ("a:", false),
            ("a:0", false),
            ("a:+1", false),
            ("a:65536", false),
            ("a:1:2", false),
            ("u@a", false),
            ("a/b", false),
            ("a%41", false),
            ("[]", false),
            ("[a]", false),
            ("[::1]x", false),
            ("[::1]:", false),
            ("[::1]:0", false),
            ("[fe80::1%25eth0]", false),
            ("::1", false),
        ];
        for (host, expected) in rows {
            assert_eq!(is_host(host), expected, "{host:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_a_location_that_is_no_uri(host in "[ -~]{0,40}", proto in "https?|[ -~]{0,10}", line in "[ -~]{0,60}") {
            for lines in [vec![("x-forwarded-host", host.as_str()), ("x-forwarded-proto", &proto)], vec![("forwarded", &line)]] {
                let url = origin(&lines, PROXY);
                prop_assert!(url.parse::<hyper::Uri>().is_ok(), "{}", url);
                prop_assert!(url.ends_with("/v2/") && !url.contains('@'));
            }
        }
    }
}
