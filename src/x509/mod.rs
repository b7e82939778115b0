//! What a certificate says about itself: names, dates, issuer. For messages, for warnings and for
//! deciding when to renew; never for trust, which rustls decides alone.
//!
//! Words: *facts* are what was read. X1: no bytes make a reader panic or loop, and what is not
//! understood is none, never a guess. X2: nothing here opens a file.
//! Must not name another room. Look next: `der` (the encoding), RFC 5280 §4.1.

mod der;

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use der::{Reader, oid, tag};

/// What one certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The first moment it is valid, UTC ms since 1970.
    pub not_before_ms: u64,
    /// The last moment it is valid, UTC ms since 1970.
    pub not_after_ms: u64,
    /// Who issued it, as it is encoded.
    pub issuer: Vec<u8>,
    /// Whose it is, as it is encoded.
    pub subject: Vec<u8>,
    /// The common name in the subject, if it is text.
    pub common_name: Option<String>,
    /// DNS names it is for, as written.
    pub dns_names: Vec<String>,
    /// Addresses it is for.
    pub addresses: Vec<IpAddr>,
}

impl Facts {
    /// Whether it names nothing that a client could ask for.
    pub fn is_nameless(&self) -> bool {
        self.dns_names.is_empty() && self.addresses.is_empty()
    }
}

/// Reads a certificate in DER; none if it is not one, or says what is not understood.
pub fn read(certificate: &[u8]) -> Option<Facts> {
    let mut signed = Reader::new(certificate).enter(tag::SEQUENCE)?;
    let mut body = signed.enter(tag::SEQUENCE)?;
    body.skip_if(tag::VERSION);
    body.take(tag::INTEGER)?;
    body.take(tag::SEQUENCE)?;
    let issuer = body.take(tag::SEQUENCE)?;
    let mut validity = body.enter(tag::SEQUENCE)?;
    let (not_before_ms, not_after_ms) = (time(&mut validity)?, time(&mut validity)?);
    let subject = body.take(tag::SEQUENCE)?;
    body.take(tag::SEQUENCE)?;
    let mut facts = Facts {
        not_before_ms,
        not_after_ms,
        issuer: issuer.to_vec(),
        subject: subject.to_vec(),
        common_name: common_name(subject),
        dns_names: Vec::new(),
        addresses: Vec::new(),
    };
    body.skip_if(tag::ISSUER_ID);
    body.skip_if(tag::SUBJECT_ID);
    if let Some(mut extensions) = body.enter(tag::EXTENSIONS) {
        let mut extensions = extensions.enter(tag::SEQUENCE)?;
        while !extensions.is_empty() {
            extension(extensions.enter(tag::SEQUENCE)?, &mut facts)?;
        }
    }
    Some(facts)
}

/// The SHA-256 of a certificate in DER, as other tools show it: `AB:CD:…`.
pub fn fingerprint(certificate: &[u8]) -> String {
    let hex: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    hex.join(":")
}

/// A moment as people read it, for messages.
pub fn date(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    moment.map_or_else(|| "the end of time".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

fn extension(mut extension: Reader<'_>, facts: &mut Facts) -> Option<()> {
    let id = extension.take(tag::OID)?;
    extension.skip_if(tag::BOOLEAN);
    let value = extension.take(tag::OCTETS)?;
    if id != oid::SUBJECT_ALT_NAME {
        return Some(());
    }
    let mut names = Reader::new(value).enter(tag::SEQUENCE)?;
    while let Some((kind, name)) = names.next() {
        match (kind, name.len()) {
            (tag::DNS_NAME, _) => facts.dns_names.push(String::from_utf8(name.to_vec()).ok()?),
            (tag::ADDRESS, 4) => facts.addresses.push(IpAddr::from(<[u8; 4]>::try_from(name).ok()?)),
            (tag::ADDRESS, 16) => facts.addresses.push(IpAddr::from(<[u8; 16]>::try_from(name).ok()?)),
            _ => {}
        }
    }
    names.is_empty().then_some(())
}

/// The last common name of a subject: the most specific one.
fn common_name(subject: &[u8]) -> Option<String> {
    let (mut parts, mut found) = (Reader::new(subject), None);
    while let Some(mut part) = parts.enter(tag::SET) {
        while let Some(mut attribute) = part.enter(tag::SEQUENCE) {
            let is_name = attribute.take(tag::OID)? == oid::COMMON_NAME;
            let (kind, value) = attribute.next()?;
            if is_name && matches!(kind, tag::UTF8 | tag::PRINTABLE | tag::IA5) {
                found = String::from_utf8(value.to_vec()).ok();
            }
        }
    }
    found
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5); before 1970 is 1970.
fn time(reader: &mut Reader<'_>) -> Option<u64> {
    let (kind, text) = reader.next()?;
    let digits = text.strip_suffix(b"Z").filter(|text| text.iter().all(u8::is_ascii_digit))?;
    let number = |part: &[u8]| part.iter().fold(0i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let (year, rest) = match (kind, digits.len()) {
        (tag::UTC_TIME, 12) => {
            let short = number(&digits[..2]);
            (if short < 50 { 2000 + short } else { 1900 + short }, &digits[2..])
        }
        (tag::GENERAL_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let part = |at: usize| number(&rest[at * 2..at * 2 + 2]);
    let (month, day) = (part(0), part(1));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = (days_since_1970(year, month, day) * 24 + part(2)) * 3600 + part(3) * 60 + part(4);
    Some(u64::try_from(seconds.max(0)).ok()? * 1000)
}

/// Days of the Gregorian calendar; years begin in March here, so that a leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 153 + 2) / 5
        + day
        - 719_469
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let names = ["r.example".to_owned(), "10.1.2.3".to_owned(), "fd00::1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_dates_and_subject_are_read() {
        let der = made(|params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::OrganizationName, "Näher");
            params.distinguished_name.push(DnType::CommonName, "a registry");
            params.not_before = date_time_ymd(2024, 2, 29);
            params.not_after = date_time_ymd(2053, 1, 1);
        });
        let facts = read(&der).unwrap();
        assert_eq!(facts.dns_names, ["r.example"]);
        assert_eq!(
            facts.addresses,
            ["10.1.2.3".parse::<IpAddr>().unwrap(), "fd00::1".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(facts.common_name.as_deref(), Some("a registry"));
        assert_eq!(facts.issuer, facts.subject);
        assert_eq!(date(facts.not_before_ms), "2024-02-29 00:00 UTC");
        assert_eq!(date(facts.not_after_ms), "2053-01-01 00:00 UTC");
    }

    #[test]
    fn the_last_moment_there_is_can_be_written_and_read() {
        let der = made(|params| {
            params.not_after = date_time_ymd(9999, 12, 31);
            params.subject_alt_names.clear();
        });
        let facts = read(&der).unwrap();
        assert_eq!(facts.not_after_ms, 253_402_214_400_000);
        assert!(facts.is_nameless());
        assert_eq!(date(u64::MAX), "the end of time");
    }

    #[test]
    fn a_fingerprint_looks_as_openssl_shows_it() {
        let shown = fingerprint(b"");
        assert!(shown.starts_with("E3:B0:C4:42:") && shown.len() == 95, "{shown}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }

        #[test]
        fn no_damage_to_a_certificate_makes_the_reader_panic(at in any::<usize>(), byte in any::<u8>(), cut in any::<usize>()) {
            let mut der = made(|_| ());
            let at = at % der.len();
            der[at] = byte;
            let _ = read(&der);
            der.truncate(cut % der.len());
            prop_assert!(read(&der).is_none());
        }

        #[test]
        fn days_are_those_of_the_calendar(days in 0i64..100_000) {
            let text = jiff::Timestamp::from_second(days * 86_400).unwrap().strftime("%Y %m %d").to_string();
            let mut parts = text.split(' ').map(|part| part.parse::<i64>().unwrap());
            let (year, month, day) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            prop_assert_eq!(days_since_1970(year, month, day), days);
        }
    }
}
