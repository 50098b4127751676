//! A host that is allowed although its addresses are private: `nas.lan`, `nas.lan=10.1.2.0/24`, `10.1.2.3:8080`.
//!
//! The owner of a name controls its addresses. With a range after the name, no other private address is allowed.
//! Addresses of cloud metadata services are allowed only literally: alone, or as the whole range.
use super::host::HostPattern;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

/// Addresses of cloud metadata services, which hand out credentials: Amazon's instances, containers and pods,
/// Google, Azure, Alibaba, Oracle, Tencent, Scaleway.
const METADATA_ADDRESSES: &[IpAddr] = &[
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 0, 23)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 42, 42)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
];

/// Returns whether this is the address of a cloud metadata service.
fn is_metadata(address: IpAddr) -> bool {
    METADATA_ADDRESSES.contains(&address)
}

/// A host that is allowed although its addresses are private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateHost {
    pub host: HostPattern,
    /// Range of allowed private addresses; `None`: any.
    within: Option<AddressRange>,
}

/// A range of addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AddressRange {
    first: IpAddr,
    bits: u32,
}

impl PrivateHost {
    /// Parses a host.
    ///
    /// # Errors
    /// The first text says what is wrong, the second what to write.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let (host, range) = text.split_once('=').map_or((text, None), |(host, range)| (host, Some(range)));
        let host = HostPattern::parse(host.trim())?;
        if !host.is_single() {
            let what = format!("\"{text}\" is more than one host");
            return Err((what, "name each private host by itself".into()));
        }
        let within = range.map(|range| AddressRange::parse(range.trim())).transpose()?;
        Ok(Self { host, within })
    }

    /// Returns a host that is an IP address, or this machine: its meaning can't change.
    pub fn literal(host: HostPattern) -> Option<Self> {
        let is_literal = host.address().is_some() || host.fits("localhost");
        is_literal.then_some(Self { host, within: None })
    }

    /// Returns whether it admits the address of a cloud metadata service.
    pub fn is_metadata(&self) -> bool {
        METADATA_ADDRESSES.iter().any(|address| {
            let may_be = self.host.address().is_none_or(|own| own == *address);
            may_be && self.admits(*address)
        })
    }

    /// Returns whether it may be at this address.
    pub fn admits(&self, address: IpAddr) -> bool {
        if is_metadata(address) {
            let alone = |range: &AddressRange| range.first == address && range.bits == width(address);
            return self.host.address() == Some(address) || self.within.as_ref().is_some_and(alone);
        }
        self.within.is_none_or(|range| range.contains(address))
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS }
}

impl AddressRange {
    fn parse(text: &str) -> Result<Self, (String, String)> {
        let refuse = |what: &str, instead: String| {
            Err((format!("the range \"{text}\" {what}"), format!("write {instead}")))
        };
        let example = "\"nas.lan=10.1.2.0/24\", or \"nas.lan=10.1.2.3\" for one address";
        let (first, bits) = text.split_once('/').map_or((text, None), |(first, bits)| (first, Some(bits)));
        let Ok(first) = first.parse::<IpAddr>() else {
            return refuse("does not begin with an address", example.into());
        };
        let width = width(first);
        let Some(bits) = bits.map_or(Some(width), |bits| bits.parse().ok()).filter(|bits| *bits <= width)
        else {
            return refuse(&format!("has no valid length, which is from 0 to {width}"), example.into());
        };
        let range = Self { first, bits };
        let start = range.start();
        if start != first {
            return refuse("does not begin where such a range begins", format!("\"{start}/{bits}\""));
        }
        Ok(range)
    }

    /// Returns the first address of the range.
    fn start(self) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => {
                let mask = u32::MAX.checked_shl(Ipv4Addr::BITS - self.bits).unwrap_or(0);
                Ipv4Addr::from_bits(first.to_bits() & mask).into()
            }
            IpAddr::V6(first) => {
                let mask = u128::MAX.checked_shl(Ipv6Addr::BITS - self.bits).unwrap_or(0);
                Ipv6Addr::from_bits(first.to_bits() & mask).into()
            }
        }
    }

    fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && Self { first: address, ..self }.start() == self.first
    }
}

impl fmt::Display for PrivateHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        match self.within {
            Some(AddressRange { first, bits }) => write!(f, "={first}/{bits}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_after_a_name_is_all_that_counts() {
        for (host, good, bad) in [
            ("nas.lan", &["10.1.2.3", "127.0.0.1", "fd00::1"][..], &["169.254.169.254", "fd00:ec2::254"][..]),
            ("nas.lan=10.1.2.0/24", &["10.1.2.0", "10.1.2.255"], &["10.1.3.0", "127.0.0.1", "fd00::1"]),
            ("nas.lan:8080=10.1.2.3", &["10.1.2.3"], &["10.1.2.4"]),
            ("nas.lan=fd00::/8", &["fd00::1"], &["fd00:ec2::254", "fe80::1", "10.1.2.3"]),
            ("nas.lan=0.0.0.0/0", &["10.1.2.3"], &["169.254.169.254", "100.100.100.200"]),
            ("meta.lan=169.254.169.254", &["169.254.169.254"], &["169.254.169.253"]),
            ("169.254.169.254", &["169.254.169.254"], &["169.254.170.2"]),
            ("[fd00:ec2::254]", &["fd00:ec2::254"], &["169.254.169.254"]),
        ] {
            let host = PrivateHost::parse(host).unwrap();
            for address in good {
                assert!(host.admits(address.parse().unwrap()), "{host} at {address}");
            }
            for address in bad {
                assert!(!host.admits(address.parse().unwrap()), "{host} at {address}");
            }
        }
        assert_eq!(PrivateHost::parse("NAS.lan = 10.1.2.0/24").unwrap().to_string(), "nas.lan=10.1.2.0/24");
        assert_eq!(PrivateHost::parse("nas.lan").unwrap().to_string(), "nas.lan");
    }

    #[test]
    fn ranges_that_are_none_say_what_to_write() {
        for (text, says, hint) in [
            ("nas.lan=", "does not begin with an address", "nas.lan=10.1.2.0/24"),
            ("nas.lan=lan", "does not begin with an address", "nas.lan=10.1.2.0/24"),
            ("nas.lan=10.1.2.0/33", "from 0 to 32", "nas.lan=10.1.2.0/24"),
            ("nas.lan=10.1.2.0/x", "from 0 to 32", "nas.lan=10.1.2.0/24"),
            ("nas.lan=10.1.2.3/24", "does not begin where", "10.1.2.0/24"),
            ("*.lan.example=10.0.0.0/8", "more than one host", "each private host"),
            ("10.0.0.0/8", "is not a host", ""),
        ] {
            let (error, write) = PrivateHost::parse(text).expect_err(text);
            assert!(error.contains(says) && write.contains(hint), "{text}: {error}; {write}");
        }
    }
}
