//! Which addresses are everybody's: those that no registry keeps for something else.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is kept of IPv4: each range by its first address and the bits that are the same in all of it.
///
/// From IANA's IPv4 special-purpose registry (RFC 6890), but for the two that end it, of the IPv4 address space registry.
/// Left out are those that the registry calls globally reachable.
const KEPT_V4: [(Ipv4Addr, u32); 15] = [
    // This network; private use; shared by the customers of a carrier; loopback; link local; private use.
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    // Assignments of the IETF; documentation; relays of 6to4, given up; private use.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // Benchmarks; documentation, twice.
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast; reserved.
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// All that is given out of IPv6: IANA's IPv6 address space registry.
const GIVEN_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What is kept of that: IANA's IPv6 special-purpose registry.
const KEPT_V6: [(Ipv6Addr, u32); 4] = [
    // Assignments of the IETF, Teredo among them; documentation; 6to4; documentation.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether everybody can dial an address.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !KEPT_V4.iter().any(|(first, bits)| common_v4(*first, ip) >= *bits),
        IpAddr::V6(ip) => {
            let lies_in = |(first, bits): &(Ipv6Addr, u32)| common_v6(*first, ip) >= *bits;
            lies_in(&GIVEN_V6) && !KEPT_V6.iter().any(lies_in)
        }
    }
}

/// How many bits two addresses begin with alike.
const fn common_v4(one: Ipv4Addr, other: Ipv4Addr) -> u32 {
    (one.to_bits() ^ other.to_bits()).leading_zeros()
}

/// The same.
const fn common_v6(one: Ipv6Addr, other: Ipv6Addr) -> u32 {
    (one.to_bits() ^ other.to_bits()).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last public address before a range, its first and last, and the next public one after it; where another
    /// range follows at once, or nothing does, none.
    const RANGES: [[&str; 4]; 18] = [
        ["", "0.0.0.0", "0.255.255.255", "1.0.0.0"],
        ["9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"],
        ["100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"],
        ["126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"],
        ["169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"],
        ["172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"],
        ["191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"],
        ["192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"],
        ["192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"],
        ["192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"],
        ["198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"],
        ["198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"],
        ["203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"],
        ["223.255.255.255", "224.0.0.0", "255.255.255.255", ""],
        [
            "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001::",
            "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:200::",
        ],
        [
            "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db9::",
        ],
        [
            "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2002::",
            "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2003::",
        ],
        [
            "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3fff::",
            "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3fff:1000::",
        ],
    ];

    #[test]
    fn ranges_that_are_kept_begin_and_end_where_the_registries_say() {
        for [before, first, last, after] in RANGES {
            for (text, public) in [(before, true), (first, false), (last, false), (after, true)] {
                if !text.is_empty() {
                    assert_eq!(is_public(text.parse().unwrap()), public, "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_given_out_of_ipv6_is_nobodys() {
        for kept in
            ["::1", "::ffff:1.1.1.1", "64:ff9b::1", "4000::", "5f00::1", "fc00::1", "fe80::1", "ff02::1"]
        {
            assert!(!is_public(kept.parse().unwrap()), "{kept}");
        }
        for public in ["2000::", "2a00::1", "2a10:1::2", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
