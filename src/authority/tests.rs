//! What is made when, by a clock the test sets.

use super::*;
use crate::seams::{TestClock, TestRandom};
use crate::stores::disk::RealDisk;
use crate::stores::disk::faulty::FaultyDisk;

/// 2027-06-01.
const NOW: u64 = 1_811_808_000_000;

struct House {
    folder: tempfile::TempDir,
    clock: Arc<TestClock>,
    random: Arc<TestRandom>,
}

impl House {
    fn new() -> Self {
        let clock = Arc::new(TestClock::default());
        clock.set(NOW);
        Self { folder: tempfile::tempdir().unwrap(), clock, random: Arc::new(TestRandom::default()) }
    }

    fn authority(&self) -> Authority {
        let files = AuthorityFiles::new(Arc::new(RealDisk::new(self.folder.path())));
        Authority::new(files, self.clock.clone(), self.random.clone())
    }

    fn at(&self, days: u64, names: &Names) -> Issued {
        self.clock.set(NOW + days * DAY_MS);
        self.authority().ensure(names).unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("tls").join(name)
    }
}

fn names(all: &[&str]) -> Names {
    let mut names = Names::default();
    for name in all {
        match name.parse() {
            Ok(address) => drop(names.addresses.insert(address)),
            Err(_) => drop(names.dns.insert((*name).to_owned())),
        }
    }
    names
}

#[test]
fn the_first_start_makes_a_ca_of_ten_years_and_a_certificate_of_one() {
    let house = House::new();
    let wanted = names(&["localhost", "store", "10.0.0.1", "::1"]);
    let issued = house.at(0, &wanted);
    assert_eq!(issued.made, Some(Due::Absent));
    assert_eq!(issued.warnings, []);
    assert!(wanted.are_in(&issued.facts));
    assert_eq!(issued.facts.not_before_ms, NOW - DAY_MS);
    assert_eq!(issued.facts.not_after_ms, NOW + 365 * DAY_MS);
    let ca = facts_of(&issued.ca).unwrap();
    assert_eq!(ca.not_after_ms, NOW + 3652 * DAY_MS);
    assert!(ca.common_name.unwrap().starts_with("Pierhead CA store "));
    assert!(issue::is_whole(&issued.server) && issue::is_issued(&issued.server, &issued.ca));
    assert_eq!(std::fs::read_to_string(house.path("ca.crt")).unwrap(), issued.ca);
    assert_eq!(std::fs::read_to_string(house.path("server.pem")).unwrap(), issued.server);
}

#[test]
fn a_certificate_is_kept_until_a_third_of_its_life_is_left() {
    let house = House::new();
    let wanted = names(&["store"]);
    let first = house.at(0, &wanted);
    // It lives 366 days, the backdated one included.
    let rows = [(1, None), (242, None), (243, Some(Due::EndsSoon)), (244, None), (1000, Some(Due::EndsSoon))];
    let mut last = first.server;
    for (days, made) in rows {
        let issued = house.at(days, &wanted);
        assert_eq!(issued.made, made, "day {days}");
        assert_eq!(issued.server == last, made.is_none(), "day {days}");
        assert_eq!(issued.ca, first.ca, "day {days}: the CA stays");
        assert!(issue::is_issued(&issued.server, &issued.ca), "day {days}");
        last = issued.server;
    }
}

#[test]
fn a_new_name_makes_a_certificate_due_and_one_that_went_away_does_not() {
    let house = House::new();
    house.at(0, &names(&["store", "10.0.0.1"]));
    assert_eq!(house.at(0, &names(&["store"])).made, None);
    let issued = house.at(0, &names(&["store", "10.0.0.2"]));
    assert_eq!(issued.made, Some(Due::Names));
    assert_eq!(issued.facts.addresses, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
    assert_eq!(house.at(0, &names(&["store", "10.0.0.2", "r.example"])).made, Some(Due::Names));
}

#[test]
fn what_cannot_be_used_is_made_again() {
    let wanted = names(&["store"]);
    let other = House::new().at(0, &wanted);
    let key = |issued: &Issued| issued.server.find("-----BEGIN PRIVATE").unwrap();
    let house = House::new();
    let own = house.at(0, &wanted);
    let mixed = format!("{}{}", &own.server[..key(&own)], &other.server[key(&other)..]);
    let rows = [
        ("removed", None, Due::Absent),
        ("emptied", Some(String::new()), Due::Unusable),
        ("cut", Some(own.server[..own.server.len() / 2].to_owned()), Due::Unusable),
        ("another's key", Some(mixed), Due::Unusable),
        ("another CA's", Some(other.server), Due::Foreign),
    ];
    for (case, content, due) in rows {
        let path = house.path("server.pem");
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let issued = house.at(0, &wanted);
        assert_eq!(issued.made, Some(due), "{case}");
        assert!(issue::is_issued(&issued.server, &own.ca), "{case}");
    }
}

#[test]
fn an_unset_clock_makes_certificates_that_are_valid_when_it_is_set() {
    let house = House::new();
    let wanted = names(&["store"]);
    house.clock.set(12_345);
    let issued = house.authority().ensure(&wanted).unwrap();
    assert_eq!(issued.warnings, [Warning::ClockUnset]);
    assert_eq!(issued.facts.not_before_ms, WRITTEN_MS - DAY_MS);
    let again = house.authority().ensure(&wanted).unwrap();
    assert_eq!(again.made, None, "it is not made anew at every start");
    // Set at last, a year and a half later.
    let later = house.at(0, &wanted);
    assert_eq!((later.made, later.warnings.len()), (Some(Due::EndsSoon), 0));
    assert_eq!(later.ca, issued.ca);
    assert!(facts_of(&later.ca).unwrap().not_after_ms > NOW + 5 * 365 * DAY_MS);
}

#[test]
fn a_clock_that_jumped_ahead_and_back_leaves_a_valid_certificate() {
    let house = House::new();
    let wanted = names(&["store"]);
    house.at(0, &wanted);
    house.at(2000, &wanted);
    let issued = house.at(1, &wanted);
    assert_eq!(issued.made, Some(Due::NotYetValid));
    assert!(issued.facts.not_before_ms <= NOW + DAY_MS);
}

#[test]
fn a_ca_made_by_a_clock_ahead_is_spoken_of() {
    let house = House::new();
    let wanted = names(&["store"]);
    let first = house.at(2000, &wanted);
    let issued = house.at(0, &wanted);
    let begins = NOW + 1999 * DAY_MS;
    assert_eq!(issued.warnings, [Warning::AuthorityNotYetValid(begins)]);
    assert_eq!(issued.ca, first.ca);
}

#[test]
fn the_end_of_the_ca_is_told_a_year_ahead_and_it_goes_on_being_used() {
    let house = House::new();
    let wanted = names(&["store"]);
    let first = house.at(0, &wanted);
    let end = NOW + 3652 * DAY_MS;
    assert_eq!(house.at(3652 - 366, &wanted).warnings, []);
    let issued = house.at(3652 - 300, &wanted);
    assert_eq!(issued.warnings, [Warning::AuthorityEnds(end)]);
    let issued = house.at(3652 - 100, &wanted);
    assert_eq!(issued.facts.not_after_ms, end, "no longer than the CA");
    for days in [3652 - 50, 3652 + 100] {
        let issued = house.at(days, &wanted);
        assert_eq!((issued.made, &issued.ca), (None, &first.ca), "day {days}: there is no better one");
    }
}

#[test]
fn a_ca_that_lost_its_key_or_has_another_is_refused_and_not_replaced() {
    let house = House::new();
    let wanted = names(&["store"]);
    let issued = house.at(0, &wanted);
    let other = House::new();
    other.at(0, &wanted);
    let foreign = std::fs::read_to_string(other.path("ca.key")).unwrap();
    for (case, key) in [("another's", Some(foreign.as_str())), ("none in it", Some("")), ("gone", None)] {
        match key {
            Some(key) => std::fs::write(house.path("ca.key"), key).unwrap(),
            None => std::fs::remove_file(house.path("ca.key")).unwrap(),
        }
        let error = house.authority().ensure(&wanted).unwrap_err();
        assert!(matches!(error, AuthorityError::Damaged(_)), "{case}: {error}");
        assert_eq!(std::fs::read_to_string(house.path("ca.crt")).unwrap(), issued.ca, "{case}");
    }
    std::fs::remove_file(house.path("ca.crt")).unwrap();
    let issued_anew = house.at(0, &wanted);
    assert_ne!(issued_anew.ca, issued.ca);
    assert_eq!(issued_anew.made, Some(Due::Foreign));
}

#[test]
fn a_stop_at_any_step_of_the_first_start_leaves_what_the_next_start_can_use() {
    let wanted = names(&["store"]);
    for failing in 0.. {
        let house = House::new();
        let (disk, faults) = FaultyDisk::new(house.folder.path());
        let files = AuthorityFiles::new(Arc::new(disk));
        let authority = Authority::new(files, house.clock.clone(), house.random.clone());
        faults.fail(failing, u64::MAX, 28);
        let result = authority.ensure(&wanted);
        let issued = house.at(0, &wanted);
        assert!(issue::is_issued(&issued.server, &issued.ca), "step {failing}");
        if let Ok(result) = result {
            assert!(failing > 15, "every step was made to fail");
            assert_eq!((issued.made, issued.server), (None, result.server));
            return;
        }
    }
}
