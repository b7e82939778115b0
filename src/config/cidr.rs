//! Networks (`10.0.0.0/8`, `fd00::/8`, one address), for the lists of proxies that are believed.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    network: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Neither an address nor `address/bits`.
    #[error("expected an address or a network such as 10.0.0.0/8 or fd00::/8")]
    Syntax,
    /// More bits than the address has.
    #[error("a network of this family has at most {0} bits")]
    Bits(u8),
    /// The address has bits set behind the network's: probably a slip.
    #[error("{0} is not the start of that network, did you mean {1}?")]
    HostBits(IpAddr, Cidr),
}

impl Cidr {
    /// Its first address and leading bits among the 128 of IPv6, IPv4 mapped into them.
    pub fn in_v6(&self) -> (Ipv6Addr, u8) {
        match self.network {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped(), self.bits + 96),
            IpAddr::V6(v6) => (v6, self.bits),
        }
    }

    /// Whether `address` is in this network. An IPv4 address that arrives in IPv6's clothes
    /// (`::ffff:10.0.0.1`) counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.bits) == Some(self.network)
            && address.to_canonical().is_ipv4() == self.network.is_ipv4()
    }
}

/// What counts as one address: an IPv4 address, or the /64 an IPv6 address is in, which is one site's.
pub fn counted_as(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 32 } else { 64 };
    masked(address, bits).unwrap_or(address)
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// `address` with all but the first `bits` cleared; `None` if it has fewer.
fn masked(address: IpAddr, bits: u8) -> Option<IpAddr> {
    let host = u32::from(width(address).checked_sub(bits)?);
    Some(match address {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & u32::MAX.checked_shl(host).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & u128::MAX.checked_shl(host).unwrap_or(0)).into()),
    })
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| CidrError::Syntax)?;
        let bits = match bits {
            None => width(address),
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| CidrError::Syntax)?
            }
            Some(_) => return Err(CidrError::Syntax),
        };
        let network = masked(address, bits).ok_or(CidrError::Bits(width(address)))?;
        let cidr = Self { network, bits };
        if network == address { Ok(cidr) } else { Err(CidrError::HostBits(address, cidr)) }
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn an_ipv6_address_counts_as_its_64_bit_network_and_an_ipv4_one_as_itself() {
        let rows = [
            ("10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ];
        for (address, expected) in rows {
            let parsed = |text: &str| text.parse::<IpAddr>().expect("an address");
            assert_eq!(counted_as(parsed(address)), parsed(expected), "{address}");
        }
    }

    #[test]
    fn an_address_is_in_a_network_when_its_leading_bits_agree() {
        let rows = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("fd00::/8", "fdff::1", true),
            ("::/0", "2001:db8::1", true),
            ("::1", "::1", true),
        ];
        for (network, address, inside) in rows {
            let cidr: Cidr = network.parse().unwrap();
            assert_eq!(cidr.contains(address.parse().unwrap()), inside, "{address} in {network}");
        }
    }

    #[test]
    fn texts_that_are_no_network_are_refused() {
        for text in
            ["", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0/8", "::/129", "a/8", "10.0.0.0/8/8"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        let Err(error) = "10.1.0.0/8".parse::<Cidr>() else { panic!("host bits are a slip") };
        assert!(error.to_string().contains("10.0.0.0/8"), "{error}");
    }

    proptest! {
        #[test]
        fn a_network_reads_back_and_holds_its_own_start(v6 in any::<bool>(), raw in any::<u128>(), bits in 0u8..=128) {
            let address = if v6 { IpAddr::V6(raw.into()) } else { IpAddr::V4((raw as u32).into()) };
            let bits = bits.min(width(address));
            let cidr = Cidr { network: masked(address, bits).unwrap(), bits };
            prop_assert_eq!(cidr.to_string().parse::<Cidr>(), Ok(cidr));
            if !v6 || address.to_canonical().is_ipv6() {
                prop_assert!(cidr.contains(address));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = text.parse::<Cidr>();
        }
    }
}
