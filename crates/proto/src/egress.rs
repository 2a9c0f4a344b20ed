//! Where a daemon may send HTTP: https, or http on loopback; never to a private address.

use std::net::IpAddr;

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
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(
            || {
                v6.is_unspecified()
                    || v6.is_unique_local()
                    || v6.is_unicast_link_local()
                    || v6.is_multicast()
            },
            |v4| is_private(IpAddr::V4(v4)),
        ),
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
            ("ftp", "127.0.0.1", false),
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
