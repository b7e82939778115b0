//! What every surface does alike for the audit trail: where a request comes from, and whether it is followed.
//! A surface begins a trace from its row, tells it what it learns, hands it on with the permit and ends it with
//! the answer's status, all in one place.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderName};

use crate::server::{Peer, PeerFacts};
use crate::services::audit::{Audit, Operation, Source, Trace};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Begins traces; none without a trail. Clones are the same one.
#[derive(Clone)]
pub struct Recorder {
    audit: Option<Audit>,
    is_trusted_proxy: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

impl Recorder {
    /// Into this trail; whether an address is a proxy whose forwarding headers are believed.
    pub fn new(audit: Option<Audit>, is_trusted_proxy: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>) -> Self {
        Self { audit, is_trusted_proxy }
    }

    /// Follows a request, if anything of it can be recorded.
    pub fn begin(
        &self,
        operation: &'static Operation,
        facts: &PeerFacts,
        headers: &HeaderMap,
    ) -> Option<Trace> {
        let source = || self.source(&facts.peer, headers);
        let trace = self.audit.as_ref()?.begin(operation, source(), &facts.request_id)?;
        if headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-auth-token") {
            trace.signed();
        }
        Some(trace)
    }

    /// Where a request comes from.
    pub(super) fn source(&self, peer: &Peer, headers: &HeaderMap) -> Source {
        self.address(peer, headers).map_or_else(|| Source::Local(peer.to_string()), Source::Address)
    }

    /// The address nearest to us that is no proxy of ours; none of a process of this host. A client may put
    /// others in front of it.
    pub fn address(&self, peer: &Peer, headers: &HeaderMap) -> Option<IpAddr> {
        let peer_ip = peer.ip()?;
        if !(self.is_trusted_proxy)(peer_ip) {
            return Some(peer_ip);
        }
        // From the right: what a client put in front, whatever it is, hides nothing that a proxy appended.
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).map_while(hop);
        let mut nearest = peer_ip;
        for hop in hops {
            nearest = hop;
            if !(self.is_trusted_proxy)(hop) {
                break;
            }
        }
        Some(nearest)
    }
}

/// The address of a hop, which may come with a port, or in brackets.
fn hop(bytes: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(bytes.trim_ascii()).ok()?;
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_what_trusted_proxies_forward_and_nothing_a_client_makes_up() {
        let trusted = |ip: IpAddr| ip.to_string().starts_with("10.");
        let recorder = Recorder::new(None, Arc::new(trusted));
        let cases = [
            ("no proxy", "192.0.2.1", "198.51.100.7", "192.0.2.1"),
            ("a proxy without the header", "10.0.0.1", "", "10.0.0.1"),
            ("a proxy", "10.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("two proxies", "10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
            ("a client that makes one up", "10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
            ("no address", "10.0.0.1", "198.51.100.7, unknown", "10.0.0.1"),
            ("proxies alone", "10.0.0.1", "10.0.0.3", "10.0.0.3"),
            ("a client that sends no text", "10.0.0.1", "\u{fc}, 198.51.100.7", "198.51.100.7"),
            ("no text behind a proxy", "10.0.0.1", "\u{fc}, 10.0.0.2", "10.0.0.2"),
            ("with a port", "10.0.0.1", "203.0.113.9, 198.51.100.7:4711, 10.0.0.2:80", "198.51.100.7"),
            ("version 6 with a port", "10.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
            ("version 6 in brackets", "10.0.0.1", "203.0.113.9,[2001:db8::7]", "2001:db8::7"),
            ("brackets around version 4", "10.0.0.1", "[198.51.100.7]", "10.0.0.1"),
            ("a port that is none", "10.0.0.1", "198.51.100.7:99999", "10.0.0.1"),
            ("several lines", "10.0.0.1", "203.0.113.9\n\u{fc}, 198.51.100.7\n10.0.0.2", "198.51.100.7"),
        ];
        for (name, peer, forwarded, expected) in cases {
            let peer = Peer::Network(format!("{peer}:1").parse().expect("an address"));
            let mut headers = HeaderMap::new();
            for line in forwarded.lines() {
                headers.append(X_FORWARDED_FOR, line.as_bytes().try_into().expect("a value"));
            }
            assert_eq!(recorder.source(&peer, &headers).to_string(), expected, "{name}");
        }
    }
}
