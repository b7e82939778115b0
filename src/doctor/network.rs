//! The addresses: free, or served by us, and whether a client that trusts the CA gets the answer it should.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{Finding, Patient};
use crate::causes;
use crate::config::Presented;

/// For connecting, and for each read and write.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer that are looked at.
const MOST: u64 = 4096;
/// What every registry's `/v2/` says (the Docker Registry protocol).
const MARK: &str = "docker-distribution-api-version";

/// What is at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Free,
    Taken,
    /// Only a more privileged user, or the service, may listen there.
    Denied,
    /// It is none of this host's, or there is another reason.
    Other(String),
}

/// What a client at the address was answered.
pub(super) type Answer = Result<String, String>;

pub(super) fn examine(
    patient: &Patient<'_>,
    roots: Vec<CertificateDer<'static>>,
    runs: bool,
) -> Vec<Finding> {
    let tls = patient.settings.tls.presented() != Presented::Nothing;
    let own = patient.settings.tls.presented() == Presented::Own;
    let config = tls.then(|| client(roots));
    let addresses = patient.settings.server.listen.iter();
    addresses
        .flat_map(|address| {
            let port = port(*address);
            let asked = port == Port::Taken;
            let answer = asked.then(|| ask(near(*address), &name_of(patient), config.as_ref()));
            let answer = answer.map(|answer| if own { answer } else { forgive(answer) });
            judge(*address, &port, runs, answer)
        })
        .collect()
}

/// Clients may know an issuer that an operator's certificate does not come with.
fn forgive(answer: Answer) -> Answer {
    let unknown = |why: &String| why.contains("UnknownIssuer");
    if answer.as_ref().err().is_some_and(unknown) {
        return Ok(
            "it speaks TLS; whether clients trust who issued its certificate cannot be told here".to_owned()
        );
    }
    answer
}

/// The name that clients use: as said, or this host's.
pub(super) fn name_of(patient: &Patient<'_>) -> String {
    let said = patient.host.map(|host| {
        let bare = host.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(address, _)| address);
        let named = host.split_once(':').filter(|(_, port)| !port.contains(':')).map(|(name, _)| name);
        bare.or(named).unwrap_or(host).to_owned()
    });
    said.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

fn port(address: SocketAddr) -> Port {
    match try_out(address) {
        Ok(()) => Port::Free,
        Err(Errno::ADDRINUSE) => Port::Taken,
        Err(Errno::ACCESS) => Port::Denied,
        Err(error) => Port::Other(io::Error::from(error).to_string()),
    }
}

/// Binds and does not listen: with SO_REUSEADDR that keeps nobody from the address who comes meanwhile.
fn try_out(address: SocketAddr) -> Result<(), Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)
}

/// Where a client of this host finds what listens there.
fn near(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

pub(super) fn judge(address: SocketAddr, port: &Port, runs: bool, answer: Option<Answer>) -> Vec<Finding> {
    let (port_number, check) = (address.port(), "port");
    let finding = match (port, runs) {
        (Port::Free, false) => Finding::ok(check, format!("{address} is free")),
        (Port::Free, true) => Finding::warn(
            check,
            format!("a server has the store, and nobody listens on {address}"),
            "is it starting (journalctl -u pierhead)? Was server.listen changed? Then restart it",
        ),
        (Port::Denied, _) => Finding::warn(
            check,
            format!("whether {address} is free cannot be told by this user"),
            "run this as root; the service may listen there by its unit",
        ),
        (Port::Other(why), _) => Finding::fail(
            check,
            format!("{address} cannot be listened on: {why}"),
            "set server.listen to an address of this host",
        ),
        (Port::Taken, false) => {
            let what = format!("{address} is taken, and not by the server of this store");
            let advice = format!(
                "`ss -ltnp 'sport = :{port_number}'` names who has it: stop that, or set server.listen"
            );
            return vec![Finding::fail(check, what, advice)];
        }
        (Port::Taken, true) => return answer.map(|answer| reached(address, answer)).into_iter().collect(),
    };
    vec![finding]
}

fn reached(address: SocketAddr, answer: Answer) -> Finding {
    match answer {
        Ok(what) => Finding::ok("client", format!("{address}: {what}")),
        Err(why) => Finding::fail(
            "client",
            format!("a client does not get through to {address}: {why}"),
            "look at what was said of the certificate, at journalctl -u pierhead, and whether another program has the port",
        ),
    }
}

fn client(roots: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, String> {
    let mut trusted = RootCertStore::empty();
    trusted.add_parsable_certificates(roots);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(trusted).with_no_client_auth()))
}

/// Asks for `/v2/` as a client does that has no credentials.
fn ask(address: SocketAddr, name: &str, config: Option<&Result<Arc<ClientConfig>, String>>) -> Answer {
    let failed = |error: io::Error| causes::chain(&error);
    let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    let Some(config) = config else { return exchange(stream, name) };
    let asked = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let connection = ClientConnection::new(Arc::clone(config.as_ref().map_err(Clone::clone)?), asked);
    exchange(StreamOwned::new(connection.map_err(|error| error.to_string())?, stream), name)
}

fn exchange(mut stream: impl Read + Write, name: &str) -> Answer {
    let request = format!(
        "GET /v2/ HTTP/1.1\r\nHost: {name}\r\nUser-Agent: pierhead-doctor\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(|error| causes::chain(&error))?;
    let mut bytes = Vec::new();
    let read = stream.take(MOST).read_to_end(&mut bytes);
    if bytes.is_empty() {
        read.map_err(|error| causes::chain(&error))?;
    }
    verdict(&String::from_utf8_lossy(&bytes))
}

/// What an answer's head means.
pub(super) fn verdict(text: &str) -> Answer {
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).unwrap_or("");
    let registry = text.to_ascii_lowercase().contains(MARK);
    match status {
        "401" if registry => Ok("a client is asked to sign in, as it should be".to_owned()),
        "200" if registry => Ok("a client gets in without signing in".to_owned()),
        "" => Err("what answers does not speak HTTP".to_owned()),
        _ if registry => Err(format!("/v2/ answers {status}")),
        _ => Err(format!("what answers ({status}) is no registry")),
    }
}
