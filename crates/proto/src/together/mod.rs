//! Whether a policyd and a connectord can work together, as their configurations say: what each finds in order alone, and
//! what no writ gets through.

use std::collections::BTreeSet;

use crate::duration::seconds_of;

/// One of the two.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// A text of its configuration by its path, such as `tls.ca`.
    pub text: &'a dyn Fn(&str) -> Option<&'a str>,
    /// What the file of `tls.ca` holds, where it can be read.
    pub authority: Option<&'a [u8]>,
}

impl core::fmt::Debug for Side<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Side").finish_non_exhaustive()
    }
}

/// Two values that must agree, by their keys.
struct Pair {
    policyd: &'static str,
    connectord: &'static str,
    /// What happens otherwise.
    else_what: &'static str,
}

const EQUAL: [Pair; 2] = [
    Pair {
        policyd: "token.audience",
        connectord: "server.audience",
        else_what: "every writ would be refused with TOKEN_WRONG_AUDIENCE",
    },
    Pair {
        policyd: "tls.trust_domain",
        connectord: "tls.trust_domain",
        else_what: "each would take the other for a stranger",
    },
];

/// An address to call, and the one that is listened on.
struct Call {
    caller: &'static str,
    calls: &'static str,
    callee: &'static str,
    else_what: &'static str,
}

const HALTS: Call = Call {
    caller: "policyd.toml",
    calls: "connectord.addr",
    callee: "connectord.toml",
    else_what: "policyd would not hear of halts, and its writs would be refused with TOKEN_REVOKED",
};

const REPORTS: Call = Call {
    caller: "connectord.toml",
    calls: "policyd.addr",
    callee: "policyd.toml",
    else_what: "what was executed would never become a record",
};

const LISTENS: &str = "server.grpc_addr";

/// The port at the end of an address or of a URL; 0 is any.
fn port(text: &str) -> Option<&str> {
    let (_, port) = text.trim_end_matches('/').rsplit_once(':')?;
    (port != "0").then_some(port)
}

fn missed(call: &Call, from: Side<'_>, to: Side<'_>) -> Option<String> {
    let (calls, listens) = ((from.text)(call.calls)?, (to.text)(LISTENS)?);
    let (wanted, open) = (port(calls)?, port(listens)?);
    let Call {
        caller,
        calls: key,
        callee,
        else_what,
    } = call;
    (wanted != open).then(|| {
        format!("{key} in {caller} is {calls}, and {callee} listens on {listens}: {else_what}")
    })
}

fn lives_too_long(policyd: Side<'_>, connectord: Side<'_>) -> Option<String> {
    let (ttl, most) = (
        (policyd.text)("token.ttl")?,
        (connectord.text)("trust.max_ttl")?,
    );
    let longer = seconds_of(ttl).ok()? > seconds_of(most).ok()?;
    longer.then(|| {
        format!(
            "token.ttl in policyd.toml is {ttl}, and trust.max_ttl in connectord.toml is {most}: every writ would be \
             refused with TOKEN_TTL_TOO_LONG"
        )
    })
}

/// The certificates of a PEM file, as their base64 without spaces.
fn certificates(pem: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(pem);
    let blocks = text.split("-----BEGIN CERTIFICATE-----").skip(1);
    let blocks = blocks.filter_map(|block| block.split("-----END").next());
    blocks
        .map(|block| block.split_whitespace().collect())
        .collect()
}

/// Whether both read an authority that is the same, whatever the files are called and whatever else they hold: while
/// one is replaced, a file names both.
fn authorities(policyd: Side<'_>, connectord: Side<'_>) -> Option<String> {
    let (ours, theirs) = ((policyd.text)("tls.ca")?, (connectord.text)("tls.ca")?);
    let (left, right) = (
        certificates(policyd.authority?),
        certificates(connectord.authority?),
    );
    left.is_disjoint(&right).then(|| {
        format!(
            "tls.ca is {ours} in policyd.toml and {theirs} in connectord.toml, and they have no authority in common: \
             neither would let the other in"
        )
    })
}

/// What stands between the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// Both values, and what they do.
    pub what: String,
    /// Whether nothing can be in between, as a proxy can between an address and a port.
    pub certain: bool,
}

/// What keeps the two from working together, as their files say.
#[must_use]
pub fn disagreements(policyd: Side<'_>, connectord: Side<'_>) -> Vec<Disagreement> {
    let mut found: Vec<String> = EQUAL
        .iter()
        .filter_map(|pair| {
            let (ours, theirs) = (
                (policyd.text)(pair.policyd)?,
                (connectord.text)(pair.connectord)?,
            );
            (ours != theirs).then(|| {
                format!(
                    "{} in policyd.toml is `{ours}`, and {} in connectord.toml is `{theirs}`: {}",
                    pair.policyd, pair.connectord, pair.else_what
                )
            })
        })
        .collect();
    found.extend(lives_too_long(policyd, connectord));
    found.extend(authorities(policyd, connectord));
    let of = |certain| move |what| Disagreement { what, certain };
    let calls = missed(&HALTS, policyd, connectord).into_iter();
    let calls = calls.chain(missed(&REPORTS, connectord, policyd));
    found
        .into_iter()
        .map(of(true))
        .chain(calls.map(of(false)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"-----BEGIN CERTIFICATE-----\nb25l\n-----END CERTIFICATE-----\n";
    const TWO: &[u8] = b"-----BEGIN CERTIFICATE-----\ndHdv\n-----END CERTIFICATE-----\n";

    const POLICYD: [(&str, &str); 6] = [
        ("server.grpc_addr", "127.0.0.1:7350"),
        ("tls.ca", "a.pem"),
        ("tls.trust_domain", "writ.localhost"),
        ("token.audience", "connectord"),
        ("token.ttl", "60s"),
        ("connectord.addr", "https://127.0.0.1:7360"),
    ];
    const CONNECTORD: [(&str, &str); 6] = [
        ("server.grpc_addr", "127.0.0.1:7360"),
        ("server.audience", "connectord"),
        ("tls.ca", "b.pem"),
        ("tls.trust_domain", "writ.localhost"),
        ("trust.max_ttl", "5m"),
        ("policyd.addr", "https://localhost:7350"),
    ];

    /// With one value of connectord another one; an empty one is not said.
    fn found(change: (&'static str, &'static str), authority: &[u8]) -> Vec<String> {
        all(change, authority)
            .into_iter()
            .map(|one| one.what)
            .collect()
    }

    fn all(change: (&'static str, &'static str), authority: &[u8]) -> Vec<Disagreement> {
        let of = |pairs: &[(&'static str, &'static str)], path: &str| {
            pairs
                .iter()
                .find(|(key, _)| *key == path)
                .map(|(_, value)| *value)
        };
        let ours = |path: &str| of(&POLICYD, path);
        let theirs = |path: &str| {
            let value = of(&CONNECTORD, path);
            let changed = if change.0 == path {
                Some(change.1)
            } else {
                value
            };
            changed.filter(|value| !value.is_empty())
        };
        disagreements(
            Side {
                text: &ours,
                authority: Some(ONE),
            },
            Side {
                text: &theirs,
                authority: Some(authority),
            },
        )
    }

    #[test]
    fn daemons_that_agree_are_told_nothing_and_each_disagreement_is_named_with_what_it_does() {
        assert_eq!(found(("", ""), ONE), [""; 0]);
        // While an authority is replaced, a file names both, in any order.
        assert_eq!(found(("", ""), &[TWO, ONE].concat()), [""; 0]);
        for (change, what) in [
            (("server.audience", "pool"), "TOKEN_WRONG_AUDIENCE"),
            (("tls.trust_domain", "other.host"), "a stranger"),
            (("server.grpc_addr", "127.0.0.1:7361"), "TOKEN_REVOKED"),
            (
                ("policyd.addr", "https://localhost:7351"),
                "never become a record",
            ),
            (("trust.max_ttl", "30s"), "TOKEN_TTL_TOO_LONG"),
        ] {
            let said = found(change, ONE);
            assert_eq!(said.len(), 1, "{change:?}: {said:?}");
            assert!(said.iter().all(|text| text.contains(what)), "{said:?}");
        }
        let said = found(("", ""), TWO);
        assert!(
            said.len() == 1
                && said
                    .iter()
                    .all(|text| text.contains("no authority in common")),
            "{said:?}"
        );
        let proxied = all(("server.grpc_addr", "127.0.0.1:7361"), ONE);
        assert!(proxied.iter().all(|one| !one.certain), "{proxied:?}");
        // What is not said, or means any, disagrees with nothing.
        assert_eq!(found(("server.grpc_addr", "127.0.0.1:0"), ONE), [""; 0]);
        assert_eq!(found(("trust.max_ttl", ""), ONE), [""; 0]);
    }
}
