//! Which addresses are on the public internet. Only addresses that are certainly public count: a new special range must not
//! become a hole.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Special ranges of IPv4 (the IANA registry of special-purpose addresses): first address and prefix length.
const SPECIAL_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // The metadata service of most clouds is here, at 169.254.169.254 …
    ([169, 254, 0, 0], 16),
    // … and that of one is here.
    ([168, 63, 129, 16], 32),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Special ranges within 2000::/3, the only public part of IPv6: protocol assignments with Teredo (2001::/23), documentation,
/// 6to4.
const SPECIAL_V6: &[([u16; 2], u32)] =
    &[([0x2001, 0], 23), ([0x2001, 0xdb8], 32), ([0x2002, 0], 16), ([0x3fff, 0], 20)];

/// Returns whether this address is on the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            !SPECIAL_V4.iter().any(|(first, length)| {
                let first = Ipv4Addr::from(*first).to_bits();
                (bits ^ first) >> (32 - length) == 0
            })
        }
        // Addresses that contain an IPv4 address (mapped, compatible, NAT64) are outside 2000::/3 or listed.
        IpAddr::V6(address) => {
            let [first, second, ..] = address.segments();
            let bits = u32::from(first) << 16 | u32::from(second);
            first >> 13 == 1
                && !SPECIAL_V6.iter().any(|([first, second], length)| {
                    let start = u32::from(*first) << 16 | u32::from(*second);
                    (bits ^ start) >> (32 - length) == 0
                })
        }
    }
}

/// Returns whether it is an address of a machine in a private network. Unspecified, multicast and protocol addresses are not.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(address) => {
            address == Ipv6Addr::LOCALHOST
                || address.segments()[0] & 0xfe00 == 0xfc00
                || address.segments()[0] & 0xffc0 == 0xfe80
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the ranges: their first and last addresses, and their neighbours.
    use super::*;

    #[test]
    fn ranges_begin_and_end_where_they_should() {
        for (text, public, private) in [
            ("0.0.0.0", false, false),
            ("0.255.255.255", false, false),
            ("1.0.0.0", true, false),
            ("9.255.255.255", true, false),
            ("10.0.0.0", false, true),
            ("10.255.255.255", false, true),
            ("11.0.0.0", true, false),
            ("100.63.255.255", true, false),
            ("100.64.0.0", false, true),
            ("100.127.255.255", false, true),
            ("100.128.0.0", true, false),
            ("126.255.255.255", true, false),
            ("127.0.0.0", false, true),
            ("127.255.255.255", false, true),
            ("128.0.0.0", true, false),
            ("168.63.129.15", true, false),
            ("168.63.129.16", false, false),
            ("169.253.255.255", true, false),
            ("169.254.169.254", false, true),
            ("169.255.0.0", true, false),
            ("172.15.255.255", true, false),
            ("172.16.0.0", false, true),
            ("172.31.255.255", false, true),
            ("172.32.0.0", true, false),
            ("192.0.0.1", false, false),
            ("192.0.1.0", true, false),
            ("192.0.2.1", false, false),
            ("192.88.99.1", false, false),
            ("192.167.255.255", true, false),
            ("192.168.0.0", false, true),
            ("192.169.0.0", true, false),
            ("198.17.255.255", true, false),
            ("198.18.0.0", false, false),
            ("198.19.255.255", false, false),
            ("198.20.0.0", true, false),
            ("198.51.100.7", false, false),
            ("203.0.113.7", false, false),
            ("223.255.255.255", true, false),
            ("224.0.0.1", false, false),
            ("239.255.255.255", false, false),
            ("240.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("::", false, false),
            ("::1", false, true),
            ("::7f00:1", false, false),
            ("::8.8.8.8", false, false),
            ("::ffff:127.0.0.1", false, false),
            ("::ffff:8.8.8.8", false, false),
            ("::ffff:0:8.8.8.8", false, false),
            ("64:ff9b::808:808", false, false),
            ("64:ff9b:1::1", false, false),
            ("100::1", false, false),
            ("1fff:ffff::1", false, false),
            ("2000::1", true, false),
            ("2001::1", false, false),
            ("2001:1ff:ffff::1", false, false),
            ("2001:200::1", true, false),
            ("2001:db8::1", false, false),
            ("2001:db9::1", true, false),
            ("2002:7f00:1::1", false, false),
            ("2003::1", true, false),
            ("2606:4700:4700::1111", true, false),
            ("3ffe::1", true, false),
            ("3fff:fff::1", false, false),
            ("3fff:1000::1", true, false),
            ("4000::1", false, false),
            ("5f00::1", false, false),
            ("fbff::1", false, false),
            ("fc00::1", false, true),
            ("fd00:ec2::254", false, true),
            ("fe7f::1", false, false),
            ("fe80::1", false, true),
            ("febf::1", false, true),
            ("fec0::1", false, false),
            ("ff02::1", false, false),
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(is_public(address), public, "{text} public");
            assert_eq!(is_private(address), private, "{text} private");
        }
    }
}
