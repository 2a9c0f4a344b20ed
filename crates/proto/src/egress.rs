//! Where a daemon may send HTTP: https, or http on loopback; never to a private address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an URL names, as its parser split it.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// `https` and so on, in lower case.
    pub scheme: &'a str,
    /// Name or address; an IPv6 address may stand in brackets.
    pub host: &'a str,
}

/// Checks scheme and host.
///
/// # Errors
/// What is wrong, for the operator who wrote the URL.
pub fn check(named: Named<'_>) -> Result<(), &'static str> {
    // The parser has turned decimal, octal and hex spellings into one, so this reads them all.
    let address: Option<IpAddr> = named.host.trim_matches(['[', ']']).parse().ok();
    let loopback =
        named.host == "localhost" || address.is_some_and(|address| address.is_loopback());
    match named.scheme {
        "http" if loopback => Ok(()),
        "http" => Err("plain http is for loopback only"),
        "https" if address.is_some_and(is_private) => Err("a private address"),
        "https" => Ok(()),
        _ => Err("only https, or http on loopback"),
    }
}

/// Addresses that a public service never has. Loopback is not one of them: an operator names it
/// as such.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_multicast()
                || a == 0
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b))
        }
        IpAddr::V6(v6) if v6.is_loopback() => false,
        IpAddr::V6(v6) => {
            // fec0::/10 was for sites (RFC 3879).
            // 64:ff9b:1::/48 is translated to wherever an operator says (RFC 8215).
            let is_of_site = matches!(v6.segments(), [0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..]);
            v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || is_of_site
                || within(v6).is_some_and(|v4| v4.is_loopback() || is_private(IpAddr::V4(v4)))
        }
    }
}

/// The address of IPv4 that one of IPv6 leads to: mapped and compatible ones (RFC 4291), those of 6to4 (RFC 3056)
/// and of NAT64 (RFC 6052).
fn within(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(of(high, low))
        }
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_to_public_hosts_or_http_on_loopback() {
        let table = [
            ("https", "hooks.example", true),
            ("http", "127.0.0.1", true),
            ("http", "[::1]", true),
            ("http", "localhost", true),
            ("http", "hooks.example", false),
            ("http", "10.0.0.1", false),
            ("https", "10.0.0.1", false),
            ("https", "169.254.169.254", false),
            ("https", "[fd00::1]", false),
            ("https", "[::ffff:10.0.0.1]", false),
            ("https", "100.64.0.1", false),
            ("https", "0.0.0.0", false),
            ("https", "[64:ff9b::a00:1]", false),
            ("https", "[64:ff9b::808:808]", true),
            ("https", "[::10.0.0.1]", false),
            ("https", "[2002:a00:1::]", false),
            ("https", "[2002:808:808::]", true),
            ("https", "[fec0::1]", false),
            ("https", "[64:ff9b:1::1]", false),
            ("https", "198.19.0.1", false),
            ("https", "0.1.2.3", false),
            ("https", "[2a00::1]", true),
            ("ftp", "127.0.0.1", false),
            ("https", "[fe80::1]", false),
            ("https", "[::]", false),
            ("https", "[ff02::1]", false),
            ("https", "224.0.0.1", false),
            ("https", "255.255.255.255", false),
            ("https", "[::ffff:169.254.169.254]", false),
        ];
        for (scheme, host, good) in table {
            assert_eq!(
                check(Named { scheme, host }).is_ok(),
                good,
                "{scheme} {host}"
            );
        }
    }
}
