//! Who may not come in for a time, and who is never kept out. A *subject* is an address, which for IPv6 is its /64, or
//! a user. Addresses are 16 bytes: those of IPv4 are IPv4-mapped (`::ffff:192.0.2.7`), so that there is one spelling.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::codec::{FormatError, Record};
use crate::identity::Id;
use crate::keys::{Table, TableKey};

const ADDRESS: u8 = 1;
const USER: u8 = 2;

/// Who is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BanKey {
    /// An IPv4-mapped address, or the start of a /64.
    Address(Ipv6Addr),
    /// A user.
    User(Id),
}

impl TableKey for BanKey {
    const TABLE: Table = Table::Ban;
    type Record = BanRecord;

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Address(address) => [&[ADDRESS], address.octets().as_slice()].concat(),
            Self::User(id) => [&[USER], id.as_bytes().as_slice()].concat(),
        }
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        match key.split_first() {
            Some((&ADDRESS, rest)) => {
                let octets: [u8; 16] = rest.try_into().map_err(|_| FormatError::Key)?;
                let address = Ipv6Addr::from(octets);
                let is_one = address.to_ipv4_mapped().is_some() || octets[8..] == [0; 8];
                if is_one { Ok(Self::Address(address)) } else { Err(FormatError::Key) }
            }
            Some((&USER, rest)) => user(rest).map(Self::User),
            _ => Err(FormatError::Key),
        }
    }
}

fn user(key: &[u8]) -> Result<Id, FormatError> {
    match Id::read_key(key)? {
        (id, []) => Ok(id),
        _ => Err(FormatError::Key),
    }
}

/// What a ban is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BanReason {
    /// Far more requests than the rate allows, though refused.
    Flood,
    /// Many different wrong credentials.
    FailedSignIns,
    /// Many different tokens that were never given.
    InvalidTokens,
    /// Far more uploads at once than anybody needs.
    ParallelUploads,
    /// An administrator said so.
    Administrator,
}

/// A ban. One that ended stays for a while, so that the next one is longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanRecord {
    /// When it began, UTC milliseconds since 1970.
    pub since: u64,
    /// When it ends, alike.
    pub until: u64,
    /// How many there were of this subject in a row, this one counted.
    pub times: u64,
    /// What for.
    pub reason: BanReason,
    /// Who said so; at most 255 bytes.
    pub by: String,
    /// What an administrator wrote beside it; at most 255 characters.
    pub note: String,
}

impl Record for BanRecord {
    const VERSION: u8 = 1;
}

/// Who is never banned by the appliance itself, nor held to its rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BanExemptionKey {
    /// A network: its first address, IPv4-mapped for IPv4, and how many leading bits of these 128 count.
    Network(Ipv6Addr, u8),
    /// A user.
    User(Id),
}

impl TableKey for BanExemptionKey {
    const TABLE: Table = Table::BanExemption;
    type Record = BanExemptionRecord;

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Network(address, bits) => [&[ADDRESS], address.octets().as_slice(), &[*bits]].concat(),
            Self::User(id) => [&[USER], id.as_bytes().as_slice()].concat(),
        }
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        match key {
            [ADDRESS, octets @ .., bits] => {
                let octets: [u8; 16] = octets.try_into().map_err(|_| FormatError::Key)?;
                let beyond = 128_u32.checked_sub(u32::from(*bits)).ok_or(FormatError::Key)?;
                let host = u128::MAX.checked_shr(u32::from(*bits)).unwrap_or(0);
                let is_start = beyond == 0 || u128::from_be_bytes(octets) & host == 0;
                if is_start { Ok(Self::Network(octets.into(), *bits)) } else { Err(FormatError::Key) }
            }
            [USER, rest @ ..] => user(rest).map(Self::User),
            _ => Err(FormatError::Key),
        }
    }
}

/// An exemption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanExemptionRecord {
    /// Since when, UTC milliseconds since 1970.
    pub since: u64,
    /// Who said so; at most 255 bytes.
    pub by: String,
    /// What he wrote beside it; at most 255 characters.
    pub note: String,
}

impl Record for BanExemptionRecord {
    const VERSION: u8 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_spelling_and_any_other_is_refused() {
        let address = |text: &str| -> Ipv6Addr { text.parse().expect("an address") };
        for text in ["::ffff:192.0.2.7", "2001:db8::", "::"] {
            let key = BanKey::Address(address(text));
            assert_eq!(BanKey::decode(&key.encode()), Ok(key), "{text}");
        }
        assert!(
            BanKey::decode(&BanKey::Address(address("2001:db8::1")).encode()).is_err(),
            "no start of a /64"
        );
        for (text, bits, good) in [
            ("::ffff:10.0.0.0", 104, true),
            ("::ffff:10.1.0.0", 104, false),
            ("::", 0, true),
            ("2001:db8::1", 128, true),
            ("2001:db8::1", 64, false),
            ("::", 129, false),
        ] {
            let key = BanExemptionKey::Network(address(text), bits);
            assert_eq!(BanExemptionKey::decode(&key.encode()).is_ok(), good, "{text}/{bits}");
        }
        for wrong in [&[][..], &[0], &[1, 2], &[2; 16], &[3; 17]] {
            assert!(BanKey::decode(wrong).is_err() && BanExemptionKey::decode(wrong).is_err(), "{wrong:?}");
        }
    }
}
