//! `pierhead trust`: what clients need to trust the appliance's CA, told or written. Reads one public
//! file of the data directory; the server may run or not.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::arguments::{TrustArguments, TrustClient};
use super::{Failure, say, settings};
use crate::authority::host::host_name;
use crate::config::{Settings, is_host};
use crate::{wiring, x509};

/// Where hosts of the Red Hat family look for CAs; Debian's look in the other.
const ANCHORS: &str = "etc/pki/ca-trust/source/anchors";
const CERTIFICATES: &str = "usr/local/share/ca-certificates";

pub fn trust(arguments: &TrustArguments) -> Result<(), Failure> {
    let settings = settings(Settings::default(), arguments.place.config.as_deref())?;
    let data = arguments.place.data.as_ref().unwrap_or(&settings.storage.data);
    let ca = Ca::find(arguments.certificate.as_deref(), data)?;
    if arguments.ca {
        return say(&ca.pem);
    }
    let hosts = hosts(&arguments.host, &settings)?;
    let clients =
        if arguments.write.is_empty() { TrustClient::ALL.to_vec() } else { arguments.write.clone() };
    let mut files = Vec::new();
    for host in &hosts {
        files.extend(clients.iter().flat_map(|client| files_for(*client, host, &ca, &arguments.root)));
    }
    if !arguments.write.is_empty() {
        write_all(&mut files, arguments.force)?;
    }
    let written = !arguments.write.is_empty();
    say(&if arguments.json {
        as_json(&ca, &hosts, &files)
    } else {
        as_text(&ca, &hosts, &files, &arguments.root, written)
    })
}

/// The CA that clients are to trust.
struct Ca {
    pem: String,
    from: PathBuf,
    fingerprint: String,
    ends_ms: u64,
}

impl Ca {
    fn find(given: Option<&Path>, data: &Path) -> Result<Self, Failure> {
        let (pem, from) = match given {
            Some(path) => {
                let what = || format!("cannot read {}", path.display());
                let read = fs::read_to_string(path);
                (read.map_err(|source| Failure::Io { what: what(), source })?, path.to_owned())
            }
            None => {
                let from = data.join(pierhead_storage_format::paths::TLS_CA);
                (wiring::own_ca(data)?.ok_or_else(|| none(&from))?, from)
            }
        };
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok();
        let facts = der.as_ref().and_then(|der| x509::read(der));
        let Some((der, facts)) = der.zip(facts) else {
            return Err(Failure::Usage(format!("{} holds no certificate", from.display())));
        };
        Ok(Self { pem, from, fingerprint: x509::fingerprint(&der), ends_ms: facts.not_after_ms })
    }
}

fn none(path: &Path) -> Failure {
    Failure::Io {
        what: format!(
            "there is no {}: the first start makes it where tls.mode = \"auto\" and no certificate is \
             configured. For a CA of yours, give --certificate FILE",
            path.display()
        ),
        source: ErrorKind::NotFound.into(),
    }
}

/// The names clients use, with the port where it is not 443.
fn hosts(given: &[String], settings: &Settings) -> Result<Vec<String>, Failure> {
    if given.is_empty() {
        return Ok(vec![own_host(settings)]);
    }
    match given.iter().find(|host| !is_reference_host(host)) {
        None => Ok(given.to_vec()),
        Some(host) => {
            Err(Failure::Usage(format!("--host {host:?} is not NAME or NAME:PORT, as in an image's name")))
        }
    }
}

/// This host's name, the full one if it has one, with the port where clients need it: they take what has
/// neither a dot nor a port (and is not `localhost`) for a part of an image's name.
pub fn own_host(settings: &Settings) -> String {
    let name = host_name(Path::new("/"));
    let port = settings.server.listen.first().map_or(443, |address| address.port());
    let is_plain = name.contains('.') || name == "localhost";
    if port == 443 && is_plain { name } else { format!("{name}:{port}") }
}

/// `name`, `name:port`, `[v6]` or `[v6]:port`. Folders are named by it, so nothing else may pass.
fn is_reference_host(text: &str) -> bool {
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if let Some((address, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
        return is_address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    match text.split_once(':') {
        None => is_host(text) && !text.starts_with('*'),
        Some((name, port)) => is_host(name) && !name.starts_with('*') && is_port(port),
    }
}

/// A file a client reads.
struct Wanted {
    client: TrustClient,
    path: PathBuf,
    content: String,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not asked for, or not yet.
    Shown,
    /// It was there as it should be.
    Unchanged,
    /// It is there now.
    Written,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Unchanged => "unchanged",
            Self::Written => "written",
        }
    }
}

fn files_for(client: TrustClient, host: &str, ca: &Ca, root: &Path) -> Vec<Wanted> {
    let file = |below: String, content: &str| Wanted {
        client,
        path: root.join(below),
        content: content.to_owned(),
        state: State::Shown,
    };
    match client {
        TrustClient::Docker => vec![file(format!("etc/docker/certs.d/{host}/ca.crt"), &ca.pem)],
        TrustClient::Podman => vec![file(format!("etc/containers/certs.d/{host}/ca.crt"), &ca.pem)],
        TrustClient::Containerd => {
            // A path that does not begin with a slash is one beside hosts.toml.
            let hosts = format!(
                "server = \"https://{host}\"\n\n[host.\"https://{host}\"]\n  \
                 capabilities = [\"pull\", \"resolve\", \"push\"]\n  ca = \"ca.crt\"\n"
            );
            let folder = format!("etc/containerd/certs.d/{host}");
            vec![file(format!("{folder}/ca.crt"), &ca.pem), file(format!("{folder}/hosts.toml"), &hosts)]
        }
        TrustClient::System => {
            let folder = if root.join(ANCHORS).is_dir() { ANCHORS } else { CERTIFICATES };
            let plain = host.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-', "_");
            vec![file(format!("{folder}/pierhead-{plain}.crt"), &ca.pem)]
        }
    }
}

/// What is to be done besides, if anything.
fn then(client: TrustClient, host: &str, root: &Path) -> String {
    match client {
        TrustClient::Docker => "nothing else: the daemon looks at each pull and push".to_owned(),
        TrustClient::Podman => "nothing else; buildah, skopeo and CRI-O look there, too".to_owned(),
        TrustClient::Containerd => format!(
            "in /etc/containerd/config.toml (version 2), then restart containerd:\n      \
             [plugins.\"io.containerd.grpc.v1.cri\".registry]\n        \
             config_path = \"/etc/containerd/certs.d\"\n    \
             ctr: ctr image pull --hosts-dir /etc/containerd/certs.d {host}/ORGANISATION/NAME:TAG\n    \
             Kubernetes: the same files on every node that pulls (kubelet pulls through containerd)"
        ),
        TrustClient::System if root.join(ANCHORS).is_dir() => "run: update-ca-trust".to_owned(),
        TrustClient::System => {
            format!("run: update-ca-certificates (Red Hat family: /{ANCHORS}, then update-ca-trust)")
        }
    }
}

/// All or, where another file is in the way, none. Not over a different file unless `force`d.
fn write_all(files: &mut [Wanted], force: bool) -> Result<(), Failure> {
    for file in files.iter_mut() {
        match fs::read(&file.path) {
            Ok(present) if present == file.content.as_bytes() => file.state = State::Unchanged,
            Ok(_) if force => {}
            Ok(_) => {
                let what = format!(
                    "{} is there and different; nothing was written (--force replaces it)",
                    file.path.display()
                );
                return Err(Failure::Io { what, source: ErrorKind::AlreadyExists.into() });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => {
                return Err(Failure::Io { what: format!("cannot read {}", file.path.display()), source });
            }
        }
    }
    for file in files.iter_mut().filter(|file| file.state == State::Shown) {
        let what = || format!("cannot write {}", file.path.display());
        write(&file.path, &file.content).map_err(|source| Failure::Io { what: what(), source })?;
        file.state = State::Written;
    }
    Ok(())
}

/// Whole or not at all, for everybody to read.
fn write(path: &Path, content: &str) -> io::Result<()> {
    let (folder, name) = path.parent().zip(path.file_name()).ok_or(ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let part = folder.join(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&part)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

fn as_text(ca: &Ca, hosts: &[String], files: &[Wanted], root: &Path, written: bool) -> String {
    let mut text = format!(
        "CA           {}\nSHA-256      {}\nvalid until  {}\nfor          {}  \
         (names must be the certificate's: the host's own, and tls.names)\n",
        ca.from.display(),
        ca.fingerprint,
        x509::date(ca.ends_ms),
        hosts.join(" ")
    );
    for client in TrustClient::ALL.iter().filter(|client| files.iter().any(|file| file.client == **client)) {
        text.push_str(&format!("\n{}\n", client.title()));
        for file in files.iter().filter(|file| file.client == *client) {
            let state = if written { format!(" ({})", file.state.name()) } else { String::new() };
            text.push_str(&format!("  {}{state}\n", file.path.display()));
            if !file.content.starts_with("-----BEGIN") {
                for line in file.content.lines().filter(|line| !line.is_empty()) {
                    text.push_str(&format!("      {line}\n"));
                }
            }
        }
        let host = hosts.first().map_or("", String::as_str);
        text.push_str(&format!("    {}\n", then(*client, host, root)));
    }
    if !written {
        let named: String = hosts.iter().map(|host| format!(" --host {host}")).collect();
        text.push_str(&format!(
            "\nEach .crt is the CA above (`pierhead trust --ca` prints it). On this host, as root:\n  \
             pierhead trust{named} --write docker,containerd,podman,system\n\
             Elsewhere, fetch it, and compare the fingerprint before you use it:\n"
        ));
        for host in hosts {
            text.push_str(&format!("  curl -kfo ca.crt https://{host}/ca.crt && openssl x509 -noout -fingerprint -sha256 -in ca.crt\n"));
        }
    }
    text
}

fn as_json(ca: &Ca, hosts: &[String], files: &[Wanted]) -> String {
    let files: Vec<_> = files
        .iter()
        .map(|file| {
            let (client, state) = (file.client.name(), file.state.name());
            json!({"client": client, "path": file.path, "content": file.content, "state": state})
        })
        .collect();
    let about = json!({
        "path": ca.from, "sha256": ca.fingerprint, "valid_until": x509::date(ca.ends_ms), "pem": ca.pem,
    });
    format!("{}\n", json!({"ca": about, "hosts": hosts, "files": files}))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::*;

    #[test]
    fn hosts_are_those_an_image_s_name_may_have() {
        for good in ["r", "r.example", "r.example:5000", "10.0.0.1:443", "[::1]", "[fd00::1]:5000"] {
            assert!(is_reference_host(good), "{good}");
        }
        for bad in
            ["", "..", "../x", "a/b", "r:", "r:0", "r:65536", "::1", "[::1", "[r]", "*.r", "r:1:2", "r\n"]
        {
            assert!(!is_reference_host(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_host_leads_out_of_its_folder(text in "[a-z.:/\\[\\]0-9*-]{0,12}") {
            assert!(!is_reference_host(&text) || (!text.contains('/') && text != ".." && text != "."));
        }
    }

    #[test]
    fn files_that_differ_keep_everything_as_it_is_unless_forced() {
        let root = tempfile::tempdir().unwrap();
        let ca = Ca { pem: "-----BEGIN ".into(), from: "/d".into(), fingerprint: "F".into(), ends_ms: 0 };
        let wanted = || -> Vec<Wanted> {
            TrustClient::ALL
                .iter()
                .flat_map(|client| files_for(*client, "r:5000", &ca, root.path()))
                .collect()
        };
        let states = |files: &[Wanted]| files.iter().map(|file| file.state.name()).collect::<Vec<_>>();
        let mut first = wanted();
        write_all(&mut first, false).unwrap();
        assert_eq!(states(&first), ["written"; 5]);
        let mut again = wanted();
        write_all(&mut again, false).unwrap();
        assert_eq!(states(&again), ["unchanged"; 5]);

        fs::write(&first[4].path, "somebody's").unwrap();
        fs::remove_file(&first[0].path).unwrap();
        assert!(write_all(&mut wanted(), false).is_err());
        assert!(!first[0].path.exists(), "nothing was written");
        let mut forced = wanted();
        write_all(&mut forced, true).unwrap();
        assert_eq!(fs::read_to_string(&first[4].path).unwrap(), first[4].content);
        assert!(forced.iter().filter(|file| file.state == State::Written).count() == 2);
    }
}
