//! The names and addresses this host is asked by, as the kernel and `/etc` say them; no name service
//! is asked. What cannot be read is left out: a certificate with fewer names is better than none.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::Names;
use crate::config::is_host;

/// Of names and addresses together: more make certificates that some clients refuse for their size.
const MOST: usize = 100;
/// Flags of an IPv6 address that does not stay: temporary, deprecated, tentative.
const PASSING: u8 = 0x01 | 0x20 | 0x40;

/// What the kernel calls the host.
const HOST_NAME: &str = "proc/sys/kernel/hostname";

/// Host name, full name, `localhost`, loopback and the addresses of every interface, with `extra`
/// (names or addresses). `root` is where `/etc` and `/proc` are.
pub fn names(root: &Path, extra: &[String]) -> Names {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let mut names = Names::default();
    extra.iter().for_each(|name| names.add(name));
    ["localhost", "127.0.0.1", "::1"].into_iter().for_each(|name| names.add(name));
    let host = read(HOST_NAME);
    let host = host.trim();
    names.add(host);
    if let Some(full) = full_name(host, &read("etc/hosts"), &read("etc/resolv.conf")) {
        names.add(&full);
    }
    let addresses = ipv4(&read("proc/net/fib_trie")).into_iter().chain(ipv6(&read("proc/net/if_inet6")));
    for address in addresses.take(MOST.saturating_sub(names.dns.len() + names.addresses.len())) {
        names.addresses.insert(address);
    }
    names
}

/// The host's full name, or what name it has; `localhost` where it has none that can be used.
pub fn host_name(root: &Path) -> String {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let host = read(HOST_NAME);
    let full = full_name(host.trim(), &read("etc/hosts"), &read("etc/resolv.conf"));
    let usable = full.into_iter().chain([host.trim().to_owned()]).find(|name| is_host(name));
    usable.map_or_else(|| "localhost".to_owned(), |name| name.to_ascii_lowercase())
}

impl Names {
    /// Adds a name or an address; what is neither is left out.
    fn add(&mut self, text: &str) {
        if let Ok(address) = text.parse::<IpAddr>() {
            self.addresses.insert(address);
        } else if is_host(text) {
            self.dns.insert(text.to_ascii_lowercase());
        }
    }
}

/// `hosts` gives a host its full name by naming it first; else the first domain that is searched.
fn full_name(host: &str, hosts: &str, resolv: &str) -> Option<String> {
    if host.is_empty() || host.contains('.') {
        return None;
    }
    let told = hosts.lines().find_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace().skip(1);
        let first = words.next()?;
        let about_us = first == host || words.any(|alias| alias == host);
        (about_us && first.contains('.')).then(|| first.to_owned())
    });
    let domain = || {
        let mut lines = resolv.lines().map(str::split_whitespace);
        let domain = lines.find_map(|mut words| match words.next() {
            Some("search" | "domain") => words.next().map(|name| name.trim_matches('.').to_owned()),
            _ => None,
        })?;
        (!domain.is_empty()).then(|| format!("{host}.{domain}"))
    };
    told.or_else(domain)
}

/// Local addresses in `fib_trie`: a leaf (`|-- 192.0.2.2`) with a line `/32 host LOCAL` below it.
fn ipv4(trie: &str) -> BTreeSet<IpAddr> {
    let (mut found, mut leaf) = (BTreeSet::new(), None);
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if let Some(address) = leaf.filter(|_| line == "/32 host LOCAL") {
            found.insert(address);
        }
    }
    let usable = |address: &Ipv4Addr| !address.is_loopback() && !address.is_link_local();
    found.into_iter().filter(usable).map(IpAddr::V4).collect()
}

/// Addresses in `if_inet6`: hex digits, index, prefix, scope, flags, interface.
fn ipv6(table: &str) -> BTreeSet<IpAddr> {
    let parse = |line: &str| {
        let mut fields = line.split_whitespace();
        let address = fields.next().filter(|digits| digits.len() == 32)?;
        let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
        let (scope, flags) = (fields.nth(2)?, fields.next()?);
        let flags = u8::from_str_radix(flags, 16).ok()?;
        // Global or site (unique local) addresses; one of a link needs a zone, which no URL has.
        let usable = (scope == "00" || scope == "40") && flags & PASSING == 0 && !address.is_loopback();
        usable.then_some(IpAddr::V6(address))
    };
    table.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::*;

    const TRIE: &str = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n           \
        |-- 127.0.0.1\n              /32 host LOCAL\n           |-- 192.0.2.0\n              /24 link UNICAST\n           \
        |-- 192.0.2.2\n              /32 host LOCAL\n        |-- 192.0.2.255\n           /32 link BROADCAST\n     \
        |-- 169.254.7.7\n        /32 host LOCAL\n";
    const INET6: &str = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n\
        00000000000000000000000000000001 01 80 10 80       lo\n\
        fd000000000000000000000000000002 04 40 00 82     eth0\n\
        fd000000000000000000000000000003 04 40 00 01     eth0\n";

    /// Paths and texts.
    type Files<'a> = &'a [(&'a str, &'a str)];
    /// Name of the case, files, names of the settings, what comes of it.
    type Row<'a> = (&'a str, Files<'a>, &'a [&'a str], &'a str);

    fn root(files: Files<'_>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn host(files: Files<'_>, extra: &[&str]) -> Names {
        names(root(files).path(), &extra.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    fn shown(names: &Names) -> String {
        let addresses = names.addresses.iter().map(ToString::to_string);
        names.dns.iter().cloned().chain(addresses).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_host_is_asked_by_its_names_and_lasting_addresses() {
        let (name, trie, inet6) = (
            ("proc/sys/kernel/hostname", "Store-1\n"),
            ("proc/net/fib_trie", TRIE),
            ("proc/net/if_inet6", INET6),
        );
        let hosts = ("etc/hosts", "127.0.0.1 localhost\n192.0.2.2 store-1.site.example Store-1 # us\n");
        let resolv = ("etc/resolv.conf", "nameserver 192.0.2.1\nsearch lan.example other\n");
        let rows: [Row<'_>; 5] = [
            ("nothing can be read", &[], &[], "localhost 127.0.0.1 ::1"),
            ("addresses", &[name, trie, inet6], &[], "localhost store-1 127.0.0.1 192.0.2.2 ::1 fd00::2"),
            (
                "told by hosts",
                &[name, hosts, resolv],
                &[],
                "localhost store-1 store-1.site.example 127.0.0.1 ::1",
            ),
            (
                "told by resolv.conf",
                &[name, resolv],
                &[],
                "localhost store-1 store-1.lan.example 127.0.0.1 ::1",
            ),
            (
                "names of the settings",
                &[],
                &["R.Example", "*.r.example", "10.0.0.9", "not a name"],
                "*.r.example localhost r.example 10.0.0.9 127.0.0.1 ::1",
            ),
        ];
        for (case, files, extra, expected) in rows {
            assert_eq!(shown(&host(files, extra)), expected, "{case}");
        }
    }

    #[test]
    fn a_host_is_called_by_its_full_name_if_it_has_one() {
        let name = ("proc/sys/kernel/hostname", "Store-1\n");
        let hosts = ("etc/hosts", "192.0.2.2 Store-1.Site.example Store-1\n");
        let rows: [(&str, Files<'_>, &str); 5] = [
            ("nothing can be read", &[], "localhost"),
            ("a short name", &[name], "store-1"),
            ("told by hosts", &[name, hosts], "store-1.site.example"),
            (
                "told by resolv.conf",
                &[name, ("etc/resolv.conf", "search lan.example\n")],
                "store-1.lan.example",
            ),
            ("no name", &[("proc/sys/kernel/hostname", "_ _\n")], "localhost"),
        ];
        for (case, files, expected) in rows {
            assert_eq!(host_name(root(files).path()), expected, "{case}");
        }
    }

    #[test]
    fn a_host_with_very_many_addresses_keeps_its_names() {
        let trie: String =
            (0..500).map(|n| format!("|-- 10.0.{}.{}\n/32 host LOCAL\n", n / 250, n % 250)).collect();
        let names = host(&[("proc/net/fib_trie", &trie)], &["r.example"]);
        assert!(names.dns.contains("r.example"));
        assert_eq!(names.dns.len() + names.addresses.len(), MOST);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in "(\\|-- |/32 host LOCAL|[0-9a-f.: ]|\n|.)*") {
            let _ = (ipv4(&text), ipv6(&text), full_name("host", &text, &text));
        }
    }
}
