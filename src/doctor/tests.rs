//! What facts mean, by tables. `tests/doctor.rs` has the real binary look at a real host.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pierhead_storage_format::store::StoreError;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;

use super::network::{Port, verdict};
use super::*;
use crate::config::StorageSettings;
use crate::seams::TestClock;

/// 2026-11-21.
const NOW: u64 = 1_795_219_200_000;
const GIB: u64 = 1 << 30;

/// The worst level, and what was found in one text.
fn told(findings: &[Finding]) -> (Level, String) {
    for finding in findings {
        assert_eq!(finding.level == Level::Ok, finding.advice.is_none(), "{finding:?}");
    }
    let text = findings.iter().map(|finding| format!("{}: {}\n", finding.check, finding.what)).collect();
    (worst(findings), text)
}

#[test]
fn a_host_is_judged_by_kernel_memory_file_system_disk_writes_and_open_files() {
    let sound = || host::Facts {
        kernel: "6.1.0-18-amd64".to_owned(),
        memory: GIB,
        file_system: Some(0xEF53),
        direct: Some(true),
        durable: Some(Ok(Duration::from_millis(3))),
        files: Some(65_536),
    };
    let rows = [
        ("as it should be", sound(), Level::Ok, "ext4"),
        ("no limit", host::Facts { files: None, ..sound() }, Level::Ok, "any number"),
        ("few files", host::Facts { files: Some(1024), ..sound() }, Level::Warn, "1024 are allowed"),
        (
            "an old kernel",
            host::Facts { kernel: "5.10.0".to_owned(), ..sound() },
            Level::Warn,
            "older than 5.14",
        ),
        (
            "little memory",
            host::Facts { memory: GIB / 4, ..sound() },
            Level::Warn,
            "256 MiB, and the settings",
        ),
        ("no number", host::Facts { kernel: "x".to_owned(), ..sound() }, Level::Warn, "older"),
        ("in memory", host::Facts { file_system: Some(0x0102_1994), ..sound() }, Level::Warn, "tmpfs"),
        ("far away", host::Facts { file_system: Some(0x6969), ..sound() }, Level::Warn, "NFS"),
        ("unknown", host::Facts { file_system: Some(7), ..sound() }, Level::Warn, "0x7"),
        ("no O_DIRECT", host::Facts { direct: Some(false), ..sound() }, Level::Warn, "O_DIRECT"),
        (
            "slow",
            host::Facts { durable: Some(Ok(Duration::from_millis(80))), ..sound() },
            Level::Warn,
            "80 ms",
        ),
        (
            "not ours",
            host::Facts { durable: None, direct: None, ..sound() },
            Level::Warn,
            "nothing may be written",
        ),
        ("broken", host::Facts { durable: Some(Err(ErrorKind::Other)), ..sound() }, Level::Fail, "durable"),
    ];
    for (name, facts, level, words) in rows {
        let (found, text) = told(&host::judge(&facts, &Settings::default(), Some(1000)));
        assert!(found == level && text.contains(words), "{name}: {found:?} {text}");
    }
}

#[test]
fn a_host_is_judged_by_what_the_settings_and_the_store_may_want() {
    let facts = |memory, files| host::Facts {
        kernel: "6.1.0-18-amd64".to_owned(),
        memory,
        file_system: Some(0xEF53),
        direct: None,
        durable: Some(Ok(Duration::ZERO)),
        files: Some(files),
    };
    let none: fn(&mut Settings) = |_| {};
    let sessions: fn(&mut Settings) = |settings| settings.registry.max_sessions = 50_000;
    let http2: fn(&mut Settings) = |settings| settings.server.http2 = true;
    let rows = [
        ("as set", none, facts(GIB, 34_512), Some(0), Level::Ok, "may take 544, with the index's 0 rows"),
        ("more sessions", sessions, facts(GIB, 65_536), Some(0), Level::Warn, "74512 may be wanted"),
        ("and files for them", sessions, facts(GIB, 74_512), Some(0), Level::Ok, "74512 are allowed"),
        ("HTTP/2", http2, facts(4 * GIB, 65_536), Some(0), Level::Warn, "may take 5592 MiB"),
        ("HTTP/2, and memory for it", http2, facts(6 * GIB, 65_536), Some(0), Level::Ok, "may take 5592,"),
        ("many rows", none, facts(GIB, 65_536), Some(10_000_000), Level::Warn, "may take 1402 MiB"),
        ("nobody tells how many", none, facts(GIB, 65_536), None, Level::Ok, "90 bytes for each row"),
    ];
    for (name, change, facts, index, level, words) in rows {
        let mut settings = Settings::default();
        change(&mut settings);
        let (found, text) = told(&host::judge(&facts, &settings, index));
        assert!(found == level && text.contains(words), "{name}: {found:?} {text}");
    }
}

#[test]
fn a_disk_is_judged_by_what_is_kept_back_and_by_its_size() {
    let facts = |free, inodes_free| disk::Facts { free, total: 100 * GIB, inodes_free, inodes: 1000 };
    let rows = [
        ("room", Some(facts(50 * GIB, 900)), Level::Ok, "50.0 GiB of 100.0 GiB"),
        ("little of a large disk", Some(facts(9 * GIB, 900)), Level::Warn, "9.0 GiB"),
        ("below the mark", Some(facts(GIB / 2, 900)), Level::Fail, "uploads are refused"),
        ("no inodes", Some(facts(50 * GIB, 9)), Level::Warn, "9 of 1000 inodes"),
        ("no limit on inodes", Some(disk::Facts { inodes: 0, ..facts(50 * GIB, 0) }), Level::Ok, "free"),
        ("unseen", None, Level::Warn, "cannot be asked"),
    ];
    for (name, facts, level, words) in rows {
        let (found, text) = told(&disk::judge(facts, &StorageSettings::default()));
        assert!(found == level && text.contains(words), "{name}: {found:?} {text}");
    }
}

#[test]
fn a_clock_is_judged_by_the_store_and_by_the_calendar() {
    let rows = [
        ("set", NOW, Some(NOW - 1), true, Level::Ok, "set by a time service"),
        ("no store", NOW, None, false, Level::Ok, "cannot be told"),
        ("a little behind", NOW, Some(NOW + 60_000), false, Level::Ok, "2026-11-21"),
        ("behind the store", NOW, Some(NOW + 3_600_000), true, Level::Fail, "the store was written at"),
        ("not set", 1000, None, false, Level::Fail, "1970-01-01"),
    ];
    for (name, now_ms, newest_ms, synchronised, level, words) in rows {
        let (found, text) = told(&clock::judge(&clock::Facts { now_ms, newest_ms, synchronised }));
        assert!(found == level && text.contains(words), "{name}: {found:?} {text}");
    }
}

#[test]
fn files_are_judged_by_owner_and_mode() {
    let about = |path: &str, owner, mode| files::About { path: PathBuf::from(path), owner, mode };
    let (key, other) = (|mode| about("/d/secret.key", 7, mode), || about("/d/FORMAT", 7, 0o644));
    // The data directory's mode, the secret, another file, what may not be seen.
    let rows = [
        ("right", Some(0o750), key(0o600), other(), None, Level::Ok, "right"),
        ("no data yet", None, key(0o600), other(), None, Level::Ok, ""),
        ("a secret for all", Some(0o750), key(0o644), other(), None, Level::Fail, "0644"),
        ("a secret for a group", Some(0o750), key(0o640), other(), None, Level::Warn, "0640"),
        ("open data", Some(0o755), key(0o600), other(), None, Level::Warn, "everybody"),
        ("another's file", Some(0o750), key(0o600), about("/d/FORMAT", 0, 0), None, Level::Fail, "user 0"),
        ("unseen", Some(0o750), key(0o600), other(), Some("/d/secret.key"), Level::Warn, "may not"),
    ];
    for (name, data, secret, file, unseen, level, words) in rows {
        let data = data.map(|mode| about("/d", 7, mode));
        let unseen = unseen.map(PathBuf::from).into_iter().collect();
        let (found, text) =
            told(&files::judge(&files::Facts { data, secrets: vec![secret], own: vec![file], unseen }));
        assert!(found == level && text.contains(words), "{name}: {found:?} {text}");
    }
}

#[test]
fn a_store_is_judged_by_its_format_and_by_who_has_it() {
    use store::Format;
    let rows = [
        ("served", Format::Found(Ok(())), Some(7), Level::Ok, "process 7 has it"),
        ("served in a container", Format::Found(Ok(())), Some(0), Level::Ok, "a server has it"),
        ("not served", Format::Found(Ok(())), None, Level::Warn, "no server"),
        ("a later one", Format::Found(Err(StoreError::Version(9))), None, Level::Fail, "format 9"),
        ("no store", Format::None, None, Level::Warn, "the first start makes it"),
        ("lost", Format::Lost, None, Level::Fail, "no FORMAT"),
        ("unread", Format::Unread(ErrorKind::PermissionDenied), None, Level::Warn, "permission denied"),
    ];
    for (name, format, holder, level, words) in rows {
        let (found, text) = told(&store::judge(&store::Facts { format, holder }, Path::new("/d")));
        assert!(found == level && text.contains(words), "{name}: {found:?} {text}");
    }
}

#[test]
fn a_server_is_judged_by_what_it_says_of_itself() {
    let well = || Told {
        version: "1.0".to_owned(),
        begun: true,
        read_only: None,
        in_memory: false,
        audit: None,
        findings: 0,
        rows: Some(7),
    };
    let why = || Some("the disk".to_owned());
    let rows = [
        ("not asked", None, Level::Ok, ""),
        ("well", Some(well()), Level::Ok, "version 1.0 runs"),
        ("not restarted", Some(Told { version: "0.9".to_owned(), ..well() }), Level::Warn, "0.9 runs"),
        ("nobody there", Some(Told { begun: false, ..well() }), Level::Warn, "nobody can sign in"),
        ("read-only", Some(Told { read_only: why(), ..well() }), Level::Fail, "the disk"),
        ("no index", Some(Told { in_memory: true, ..well() }), Level::Warn, "from memory"),
        ("no audit", Some(Told { audit: why(), ..well() }), Level::Warn, "audit trail is not complete"),
        ("damage", Some(Told { findings: 3, ..well() }), Level::Fail, "3 blobs are damaged"),
    ];
    for (name, said, level, words) in rows {
        let (found, text) = told(&appliance::judge(said.as_ref(), "1.0"));
        assert!(found == level && text.contains(words), "{name}: {found:?} {text}");
    }
}

#[test]
fn a_name_is_judged_by_where_it_leads() {
    use names::Found;
    let here = |address: &std::net::IpAddr| address.to_string() == "10.0.0.1";
    let known = |addresses: &[&str]| Found::Known(addresses.iter().map(|a| a.parse().unwrap()).collect());
    let rows = [
        ("here", known(&["10.0.0.1"]), Level::Ok, "r.example is 10.0.0.1, an address of this host"),
        ("here, too", known(&["10.0.0.9", "10.0.0.1"]), Level::Ok, "an address of this host"),
        ("elsewhere", known(&["10.0.0.9"]), Level::Warn, "r.example is 10.0.0.9, no address of this host"),
        ("nowhere", known(&[]), Level::Warn, "cannot find r.example"),
        ("unknown", Found::Unknown("why".to_owned()), Level::Warn, "cannot find r.example: why"),
        ("no answer", Found::Late, Level::Warn, "no name service answers"),
    ];
    for (name, found, level, words) in rows {
        let (judged, text) = told(&[names::judge("r.example", &found, here)]);
        assert!(judged == level && text.contains(words), "{name}: {judged:?} {text}");
    }
}

#[test]
fn a_lock_is_found_by_device_and_inode() {
    let locks = "1: POSIX  ADVISORY  WRITE 11 fd:00:456 0 EOF\n2: FLOCK  ADVISORY  WRITE 12 fe:00:456 0 EOF\n\
                 3: FLOCK  ADVISORY  WRITE -1 fe:00:457 0 EOF\n4: -> FLOCK  ADVISORY  WRITE 13 fe:00:458 0 EOF\n";
    let device = rustix::fs::makedev(0xfe, 0);
    for (inode, expected) in [(456, Some(12)), (457, Some(0)), (458, None), (459, None)] {
        assert_eq!(store::holder(locks, device, inode), expected, "{inode}");
    }
}

fn certificate(names: &[&str], from: i32, to: i32) -> CertificateDer<'static> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 12, 20));
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

#[test]
fn a_certificate_is_judged_by_its_dates_its_names_and_its_ca() {
    use certificate::Facts;
    let known =
        |names: &[&str], from, to| Facts::Known { chain: vec![certificate(names, from, to)], ca: None };
    let of_ca = |to| Facts::Known {
        chain: vec![certificate(&["r.example"], 2026, 2030)],
        ca: Some(certificate(&["ca"], 2026, to)),
    };
    let rows = [
        ("right", known(&["r.example"], 2026, 2027), Level::Ok, "for r.example"),
        ("a wildcard", known(&["*.example"], 2026, 2027), Level::Ok, "for r.example"),
        ("another's", known(&["s.example"], 2026, 2027), Level::Fail, "not for r.example"),
        ("ended", known(&["r.example"], 2024, 2025), Level::Fail, "it ended at 2025-12-20"),
        ("ends soon", known(&["r.example"], 2025, 2026), Level::Warn, "it ends at 2026-12-20"),
        ("not yet", known(&["r.example"], 2027, 2028), Level::Fail, "not valid before 2027"),
        ("a CA of our own", of_ca(2036), Level::Ok, "valid until 2036"),
        ("a CA that ends", of_ca(2026), Level::Warn, "CA of the appliance ends"),
        ("nonsense", Facts::Known { chain: Vec::new(), ca: None }, Level::Fail, "cannot be read"),
        ("plain", Facts::Plain, Level::Ok, "plain HTTP"),
        ("unmade", Facts::Unmade, Level::Ok, "first start"),
        ("unread", Facts::Unread("why".to_owned()), Level::Warn, "why"),
    ];
    let (settings, clock) = (Settings::default(), TestClock::default());
    for (name, facts, level, words) in rows {
        let patient = Patient {
            settings: &settings,
            tls: None,
            host: Some("r.example:5000"),
            told: None,
            clock: &clock,
        };
        let (found, text) = told(&certificate::judge(&facts, &patient, NOW));
        assert!(found == level && text.contains(words), "{name}: {found:?} {text}");
    }
    let refused = Patient {
        settings: &settings,
        tls: Some("no key".to_owned()),
        host: None,
        told: None,
        clock: &clock,
    };
    assert_eq!(told(&certificate::judge(&Facts::Plain, &refused, NOW)).0, Level::Fail);
}

#[test]
fn names_are_compared_as_clients_compare_them() {
    let read =
        crate::x509::read(&certificate(&["*.a.example", "B.example", "10.0.0.1"], 2026, 2027)).unwrap();
    for (host, covered) in [
        ("r.a.example", true),
        ("R.A.EXAMPLE", true),
        ("x.r.a.example", false),
        ("a.example", false),
        (".a.example", false),
        ("b.example", true),
        ("10.0.0.1", true),
        ("10.0.0.2", false),
    ] {
        assert_eq!(certificate::covers(&read, host), covered, "{host}");
    }
}

#[test]
fn a_host_is_taken_without_its_port() {
    let (settings, clock) = (Settings::default(), TestClock::default());
    for (host, name) in [("r.example", "r.example"), ("r:1", "r"), ("[::1]:5", "::1"), ("::1", "::1")] {
        let patient = Patient { settings: &settings, tls: None, host: Some(host), told: None, clock: &clock };
        assert_eq!(network::name_of(&patient), name);
    }
}

#[test]
fn a_port_is_judged_by_who_has_it_and_what_it_answers() {
    let rows = [
        ("free", Port::Free, false, None, Level::Ok, "is free"),
        ("not listening", Port::Free, true, None, Level::Warn, "nobody listens"),
        ("another's", Port::Taken, false, None, Level::Fail, "taken"),
        ("ours", Port::Taken, true, Some(Ok("yes".to_owned())), Level::Ok, "yes"),
        ("ours and unreachable", Port::Taken, true, Some(Err("no".to_owned())), Level::Fail, "no"),
        ("not to be told", Port::Denied, false, None, Level::Warn, "cannot be told"),
        ("nowhere", Port::Other("why".to_owned()), false, None, Level::Fail, "why"),
    ];
    for (name, port, runs, answer, level, words) in rows {
        let findings = network::judge("127.0.0.1:5000".parse().unwrap(), &port, runs, answer);
        let (found, text) = told(&findings);
        assert!(found == level && text.contains(words), "{name}: {found:?} {text}");
    }
}

#[test]
fn an_answer_is_told_from_that_of_something_else() {
    let head = "Docker-Distribution-API-Version: registry/2.0\r\n\r\n";
    let rows = [
        (format!("HTTP/1.1 401 Unauthorized\r\n{head}"), true),
        (format!("HTTP/1.1 200 OK\r\n{head}"), true),
        (format!("HTTP/1.1 503 Unavailable\r\n{head}"), false),
        ("HTTP/1.1 200 OK\r\nServer: other\r\n\r\n".to_owned(), false),
        ("SSH-2.0".to_owned(), false),
        ("HTTP/1.\u{e9}".to_owned(), false),
        (String::new(), false),
    ];
    for (text, good) in rows {
        assert_eq!(verdict(&text).is_ok(), good, "{text:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_answer_makes_the_reader_panic(text in ".{0,60}|HTTP/1.{0,20}") {
        let _ = verdict(&text);
    }

    #[test]
    fn no_table_of_locks_makes_the_reader_panic(text in "([0-9a-f:]{0,9} ?(FLOCK)? ?){0,12}") {
        let _ = store::holder(&text, 1, 2);
    }
}
