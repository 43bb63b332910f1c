//! To which addresses modules may connect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What of IPv4 is not the public internet: the IANA special-purpose registry (RFC 6890 and its updates), multicast,
/// and one address of public space under which a cloud hands out its machines' secrets.
const INSIDE_V4: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),        // "This network": Linux takes 0.0.0.0 for loopback.
    v4([10, 0, 0, 0], 8),       // Private.
    v4([100, 64, 0, 0], 10),    // Shared by carriers; a metadata service of one cloud too.
    v4([127, 0, 0, 0], 8),      // Loopback.
    v4([168, 63, 129, 16], 32), // The wire server of Azure.
    v4([169, 254, 0, 0], 16),   // Link-local; the metadata service of most clouds.
    v4([172, 16, 0, 0], 12),    // Private.
    v4([192, 0, 0, 0], 24),     // Protocol assignments.
    v4([192, 0, 2, 0], 24),     // Documentation.
    v4([192, 88, 99, 0], 24),   // Relays of 6to4.
    v4([192, 168, 0, 0], 16),   // Private.
    v4([198, 18, 0, 0], 15),    // Benchmarks.
    v4([198, 51, 100, 0], 24),  // Documentation.
    v4([203, 0, 113, 0], 24),   // Documentation.
    v4([224, 0, 0, 0], 4),      // Multicast.
    v4([240, 0, 0, 0], 4),      // Reserved, and broadcast.
];

/// All of IPv6 that is given to the public. What is outside is loopback, unspecified, link-local, unique local,
/// multicast, IPv4-mapped, or translated to IPv4 (NAT64): none of it is reached by a module.
const PUBLIC_V6: Ipv6Net = v6([0x2000, 0], 3);

/// What of [`PUBLIC_V6`] is special: protocol assignments with Teredo, documentation twice, and 6to4, behind which
/// stands any address of IPv4.
const INSIDE_V6: [Ipv6Net; 4] =
    [v6([0x2001, 0], 23), v6([0x2001, 0xdb8], 32), v6([0x2002, 0], 16), v6([0x3fff, 0], 20)];

const fn v4([a, b, c, d]: [u8; 4], bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

const fn v6([a, b]: [u16; 2], bits: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), bits)
}

/// To which addresses modules may connect: all public ones, and those that the operator lists.
#[derive(Debug, Clone, Default)]
pub struct AddressRules {
    /// Permitted although they are inside.
    allowed: Vec<IpNet>,
}

impl AddressRules {
    /// Permits these ranges beside the public addresses.
    pub fn allowing(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether a module may connect there.
    pub fn permit(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.iter().any(|range| range.contains(&address))
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !INSIDE_V4.iter().any(|range| range.contains(&address)),
        IpAddr::V6(address) => PUBLIC_V6.contains(&address) && !INSIDE_V6.iter().any(|range| range.contains(&address)),
    }
}
