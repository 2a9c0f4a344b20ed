//! Which requests of a browser are ours.

use super::*;

fn asked(rules: &Rules, method: &Method, headers: &[(&str, &str)]) -> bool {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    check(rules, method, &map).is_ok()
}

#[test]
fn a_form_comes_from_our_own_page() {
    let tls = Rules::default();
    let host = ("host", "halt.example:7361");
    for (headers, fine) in [
        (vec![host, ("origin", "https://halt.example:7361")], true),
        (
            vec![
                host,
                ("origin", "https://halt.example:7361"),
                ("sec-fetch-site", "same-origin"),
            ],
            true,
        ),
        (vec![host, ("sec-fetch-site", "same-origin")], true),
        (vec![host], false),
        (vec![host, ("origin", "null")], false),
        (vec![host, ("origin", "http://halt.example:7361")], false),
        (vec![host, ("origin", "https://halt.example")], false),
        (vec![host, ("origin", "https://evil.example")], false),
        (
            vec![
                host,
                ("origin", "https://halt.example:7361"),
                ("sec-fetch-site", "same-site"),
            ],
            false,
        ),
        (vec![host, ("sec-fetch-site", "cross-site")], false),
        (vec![host, ("sec-fetch-site", "none")], false),
        (vec![("origin", "https://halt.example:7361")], false),
    ] {
        assert_eq!(asked(&tls, &Method::POST, &headers), fine, "{headers:?}");
    }
    assert!(
        asked(
            &tls,
            &Method::GET,
            &[host, ("sec-fetch-site", "cross-site")]
        ),
        "a link"
    );
}

#[test]
fn only_our_own_names_are_answered_for() {
    let plain = Rules {
        plaintext: true,
        hosts: vec![],
    };
    let named = Rules {
        plaintext: true,
        hosts: vec!["halt.example".into()],
    };
    for (rules, host, fine) in [
        (&plain, "localhost:7361", true),
        (&plain, "127.0.0.1:7361", true),
        (&plain, "[::1]:7361", true),
        (&plain, "halt.example", false),
        (&plain, "127.0.0.1.evil.example", false),
        (&named, "HALT.example", true),
        (&named, "halt.example:443", true),
        (&named, "localhost", false),
        (&Rules::default(), "any.example", true),
        (&Rules::default(), "a b", false),
    ] {
        assert_eq!(
            asked(rules, &Method::GET, &[("host", host)]),
            fine,
            "{host}"
        );
    }
    let behind = [("host", "halt.example"), ("origin", "https://halt.example")];
    assert!(asked(&named, &Method::POST, &behind));
}
