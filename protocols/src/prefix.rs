//! Address prefixes: what a node declares at registration, and where its records must stay.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// The addresses that a node declared at registration: an IPv4 /24 or an IPv6 /48.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prefix {
    /// The first three bytes of an IPv4 address, as in `127.0.1.0/24`.
    V4([u8; 3]),
    /// The first six bytes of an IPv6 address, as in `2001:db8:1::/48`.
    V6([u8; 6]),
}

/// A text is not a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Neither an IPv4 address with `/24` nor a true IPv6 address with `/48`.
    #[error("expected an IPv4 /24 or an IPv6 /48, such as 127.0.1.0/24 or 2001:db8:1::/48")]
    Form,
    /// The address goes on after the prefix.
    #[error("the address has bits below the prefix, whose first address is {meant}")]
    LowBits {
        /// The prefix that the address lies in.
        meant: Prefix,
    },
}

impl Prefix {
    /// The prefix that an address lies in; an IPv4-mapped IPv6 address counts as IPv4.
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, ..] = address.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }

    /// Whether an address lies in this prefix.
    pub fn covers(&self, address: IpAddr) -> bool {
        Self::of(address) == *self
    }

    /// The lowest address in this prefix.
    fn first(&self) -> IpAddr {
        match *self {
            Self::V4([a, b, c]) => Ipv4Addr::new(a, b, c, 0).into(),
            Self::V6([a, b, c, d, e, f]) => {
                Ipv6Addr::from([a, b, c, d, e, f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).into()
            }
        }
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = text.split_once('/').ok_or(PrefixError::Form)?;
        let address: IpAddr = address.parse().map_err(|_| PrefixError::Form)?;
        let expected = if address.is_ipv4() { "24" } else { "48" };
        // A mapped address belongs to an IPv4 /24, which 48 of its bits do not name.
        if length != expected || address.to_canonical() != address {
            return Err(PrefixError::Form);
        }
        let meant = Self::of(address);
        if meant.first() == address { Ok(meant) } else { Err(PrefixError::LowBits { meant }) }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = match self {
            Self::V4(_) => 24,
            Self::V6(_) => 48,
        };
        write!(f, "{}/{length}", self.first())
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_shown_as_they_are_read() {
        for text in ["127.0.1.0/24", "0.0.0.0/24", "2001:db8:1::/48", "::/48", "2001:db8::/48"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        for wrong in
            ["", "/24", "127.0.1.0", "127.0.1.0/16", "127.0.1.0/024", "2001:db8::/24", "::ffff:1.2.3.0/48"]
        {
            assert_eq!(wrong.parse::<Prefix>(), Err(PrefixError::Form), "{wrong}");
        }
        for (text, meant) in [("127.0.1.7/24", "127.0.1.0/24"), ("2001:db8:1::1/48", "2001:db8:1::/48")] {
            let meant = meant.parse().unwrap();
            assert_eq!(text.parse::<Prefix>(), Err(PrefixError::LowBits { meant }));
        }
    }

    #[test]
    fn a_prefix_covers_mapped_addresses_too() {
        for (prefix, address, covers) in [
            ("127.0.1.0/24", "127.0.1.255", true),
            ("127.0.1.0/24", "127.0.2.1", false),
            ("127.0.1.0/24", "::ffff:127.0.1.9", true),
            ("::/48", "::ffff:127.0.1.9", false),
            ("::/48", "::1", true),
            ("2001:db8:1::/48", "2001:db8:1:ffff::1", true),
            ("2001:db8:1::/48", "2001:db8:2::1", false),
        ] {
            let (prefix, address): (Prefix, IpAddr) = (prefix.parse().unwrap(), address.parse().unwrap());
            assert_eq!(prefix.covers(address), covers, "{prefix} {address}");
        }
    }
}
