//! What `--lab` refuses and what it prints.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::config::Settings;
use crate::wiring::Listening;

/// Why `--lab` will not listen where `settings` say, if it will not.
pub fn refusal(settings: &Settings, open_to_network: bool) -> Option<String> {
    let listen = settings.server.listen.iter().map(|address| ("server.listen", address));
    let monitoring = settings.metrics.listen.iter().map(|address| ("metrics.listen", address));
    let (key, exposed) = listen.chain(monitoring).find(|(_, address)| is_exposed(address))?;
    (!open_to_network).then(|| {
        format!(
            "--lab lets anybody push and pull, and {exposed} ({key}) can be reached by others. \
             Use a loopback address, or say it twice: --lab --lab-open-to-network"
        )
    })
}

/// Whether others than this host can reach it.
fn is_exposed(address: &SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// What to do about a port that is taken.
pub fn taken(address: SocketAddr) -> String {
    let port = address.port();
    let other = SocketAddr::new(address.ip(), if port < 65_535 { port + 1 } else { port - 1 });
    format!(
        "Stop what listens there (`ss -ltnp 'sport = :{port}'` names it), \
         or take another port: pierhead serve --lab --listen {other}"
    )
}

/// What is open, and what to try.
pub fn banner(listening: &Listening, data: &Path) -> String {
    let mut text = String::new();
    let scheme = if listening.tls { "https" } else { "http" };
    let exposed = listening.addresses.iter().chain(&listening.metrics).any(is_exposed);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "Pierhead lab: OPEN. Anybody who can reach these addresses may push, pull and delete:"
    );
    for address in &listening.addresses {
        let _ = writeln!(text, "  listening on {scheme}://{address}");
    }
    for address in &listening.metrics {
        let _ = writeln!(text, "  monitoring on http://{address}/metrics");
    }
    if exposed {
        let _ = writeln!(text, "WARNING: this is open to the NETWORK, without any sign-in.");
    }
    let _ = writeln!(text, "  data in {}", data.display());
    if let Some(socket) = &listening.admin {
        let _ = writeln!(text, "  administered by: pierhead status --socket {}", socket.display());
    }
    if let Some(address) = listening.addresses.first() {
        text.push_str(&commands(&host(*address), listening.tls));
    }
    text
}

/// The address a client on this host would use.
fn host(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port()).to_string()
}

fn commands(host: &str, tls: bool) -> String {
    // Under TLS these flags stand for "do not check the certificate".
    let ctr = if tls { "--skip-verify" } else { "--plain-http" };
    format!(
        "Try:\n  \
         docker tag busybox {host}/lab/busybox && docker push {host}/lab/busybox    (no flag on loopback; elsewhere \"insecure-registries\": [\"{host}\"] in daemon.json)\n  \
         podman push --tls-verify=false busybox {host}/lab/busybox\n  \
         skopeo copy --dest-tls-verify=false docker-archive:image.tar docker://{host}/lab/image:1\n  \
         ctr image push {ctr} {host}/lab/busybox:latest\n\
         Stop with Ctrl-C.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_open_unless_said_twice() {
        let rows = [
            ("127.0.0.1:5000", false, true),
            ("127.9.9.9:5000", false, true),
            ("[::1]:5000", false, true),
            ("[::ffff:127.0.0.1]:5000", false, true),
            ("0.0.0.0:5000", false, false),
            ("[::]:5000", false, false),
            ("192.0.2.1:5000", false, false),
            ("0.0.0.0:5000", true, true),
        ];
        for (address, said_twice, taken) in rows {
            let address: SocketAddr = address.parse().unwrap();
            let (mut listen, mut monitoring) = (Settings::lab(), Settings::lab());
            listen.server.listen.push(address);
            monitoring.metrics.listen = Some(address);
            for (key, settings) in [("server.listen", listen), ("metrics.listen", monitoring)] {
                let refusal = refusal(&settings, said_twice);
                assert_eq!(refusal.is_none(), taken, "{key} {address} {said_twice}");
                assert!(refusal.is_none_or(|words| words.contains(key)), "{key} {address}");
            }
        }
    }

    #[test]
    fn the_banner_warns_of_monitoring_that_others_can_reach() {
        for (monitoring, warns) in [("127.0.0.1:9090", false), ("0.0.0.0:9090", true)] {
            let (addresses, metrics) =
                (vec!["127.0.0.1:1".parse().unwrap()], vec![monitoring.parse().unwrap()]);
            let text = banner(&Listening { addresses, tls: false, metrics, admin: None }, Path::new("/d"));
            assert_eq!(text.contains("NETWORK"), warns, "{text}");
        }
    }

    #[test]
    fn the_banner_says_what_is_open_and_names_each_client() {
        let addresses = vec!["0.0.0.0:5000".parse().unwrap(), "[::1]:5000".parse().unwrap()];
        let listening = Listening { addresses, tls: false, metrics: Vec::new(), admin: None };
        let text = banner(&listening, Path::new("/d"));
        for words in [
            "OPEN",
            "listening on http://[::1]:5000",
            "NETWORK",
            "docker push 127.0.0.1:5000/",
            "podman push --tls-verify=false",
            "skopeo copy --dest-tls-verify=false",
            "ctr image push --plain-http",
        ] {
            assert!(text.contains(words), "{words} is missing:\n{text}");
        }
    }
}
