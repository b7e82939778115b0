//! The name that clients use, where it is said: whether this host finds it, and whether it leads here.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::{Finding, Patient, network};

/// For a name service; resolvers may wait for much longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of a question.
#[derive(Debug)]
pub(super) enum Found {
    /// Its addresses.
    Known(Vec<IpAddr>),
    /// Why there are none.
    Unknown(String),
    /// No answer in time.
    Late,
}

pub(super) fn examine(patient: &Patient<'_>) -> Option<Finding> {
    patient.host?;
    let name = network::name_of(patient);
    name.parse::<IpAddr>().is_err().then(|| judge(&name, &look(name.clone()), is_here))
}

/// Asked on a thread of its own, which may outlive the answer: a resolver cannot be told to stop.
fn look(name: String) -> Found {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let asked = (name.as_str(), 0).to_socket_addrs();
        // Nobody may wait for it any more.
        let _ = sender.send(asked.map(|found| found.map(|address| address.ip()).collect::<Vec<_>>()));
    });
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(mut addresses)) => {
            addresses.dedup();
            Found::Known(addresses)
        }
        Ok(Err(error)) => Found::Unknown(error.to_string()),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Found::Late,
    }
}

/// Whether it is an address of this host, loopback included: only there can one listen.
fn is_here(address: &IpAddr) -> bool {
    TcpListener::bind(SocketAddr::new(*address, 0)).is_ok()
}

pub(super) fn judge(name: &str, found: &Found, is_here: impl Fn(&IpAddr) -> bool) -> Finding {
    let check = "name";
    let lost = "clients must find it: in DNS, or by a line in the /etc/hosts of each";
    let addresses = match found {
        Found::Known(addresses) if addresses.is_empty() => {
            return Finding::warn(check, format!("this host cannot find {name}"), lost);
        }
        Found::Unknown(why) => {
            return Finding::warn(check, format!("this host cannot find {name}: {why}"), lost);
        }
        Found::Late => {
            return Finding::warn(
                check,
                format!("this host cannot find {name}: no name service answers"),
                lost,
            );
        }
        Found::Known(addresses) => addresses,
    };
    if let Some(here) = addresses.iter().find(|address| is_here(address)) {
        return Finding::ok(check, format!("{name} is {here}, an address of this host"));
    }
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    Finding::warn(
        check,
        format!("{name} is {}, no address of this host", all.join(" ")),
        "that is right where a proxy or a router passes it on; if not, correct DNS or /etc/hosts",
    )
}
