//! Addresses as they are counted against: 128 bits, IPv4 mapped into them; one of IPv6 counts with its /64, which is what
//! one customer gets.

use std::net::{IpAddr, Ipv6Addr};

/// A network: its first address and how many leading bits of the 128 count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    start: Ipv6Addr,
    bits: u8,
}

impl Network {
    /// Of this first address with so many bits, at most 128; what is set behind them is cleared.
    pub fn new(start: Ipv6Addr, bits: u8) -> Self {
        let bits = bits.min(128);
        Self { start: cleared(start, bits), bits }
    }

    /// Its first address, IPv4-mapped for IPv4, and its bits of 128.
    pub const fn parts(&self) -> (Ipv6Addr, u8) {
        (self.start, self.bits)
    }

    /// Whether an address is in it. One of IPv4 is in no network of IPv6, though it be all of it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = mapped(address);
        let crosses = self.bits < 96 && address.to_ipv4_mapped().is_some();
        !crosses && cleared(address, self.bits) == self.start
    }

    /// Whether all of another one is in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.contains(other.start.into())
    }
}

/// As it is written: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.
impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.start.to_ipv4_mapped(), self.bits) {
            (Some(address), 128) => address.fmt(f),
            (Some(address), bits @ 96..) => write!(f, "{address}/{}", bits - 96),
            (_, 128) => self.start.fmt(f),
            (_, bits) => write!(f, "{}/{bits}", self.start),
        }
    }
}

/// What an address counts as: itself for IPv4, its /64 for IPv6.
pub fn of(address: IpAddr) -> Ipv6Addr {
    let mapped = mapped(address);
    if mapped.to_ipv4_mapped().is_some() { mapped } else { cleared(mapped, 64) }
}

/// The network that [`of`] stands for.
pub fn around(start: Ipv6Addr) -> Network {
    let bits = if start.to_ipv4_mapped().is_some() { 128 } else { 64 };
    Network::new(start, bits)
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn cleared(address: Ipv6Addr, bits: u8) -> Ipv6Addr {
    let host = u128::MAX.checked_shr(bits.into()).unwrap_or(0);
    (u128::from(address) & !host).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_as_itself_or_as_its_64() {
        let cases = [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ];
        for (address, counts_as) in cases {
            let network = around(of(address.parse().expect("an address")));
            assert_eq!(network.to_string(), counts_as, "{address}");
            assert!(network.contains(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn a_network_holds_what_its_bits_say_and_ipv4_is_no_part_of_ipv6() {
        let cases = [
            ("::ffff:10.0.0.0", 104, "10.1.2.3", true),
            ("::ffff:10.0.0.0", 104, "11.1.2.3", false),
            ("::ffff:0.0.0.0", 96, "203.0.113.9", true),
            ("::", 0, "2001:db8::1", true),
            ("::", 0, "203.0.113.9", false),
            ("2001:db8::", 32, "2001:db8:ffff::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
            ("::1", 128, "::1", true),
            ("::1", 128, "::2", false),
        ];
        for (start, bits, address, inside) in cases {
            let network = Network::new(start.parse().expect("an address"), bits);
            assert_eq!(network.contains(address.parse().expect("one")), inside, "{address} in {network}");
        }
    }
}
