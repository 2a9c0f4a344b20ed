//! The notifier of policyd connects only where it may.

use super::*;

#[test]
fn a_name_that_resolves_into_our_own_network_is_no_receiver() {
    let table = [
        ("hooks.example", "93.184.216.34", true),
        ("hooks.example", "10.0.0.1", false),
        ("hooks.example", "127.0.0.1", false),
        ("hooks.example", "169.254.169.254", false),
        ("hooks.example", "::1", false),
        ("hooks.example", "::ffff:127.0.0.1", false),
        ("hooks.example", "::ffff:192.168.0.1", false),
        ("hooks.example", "fd00::1", false),
        ("localhost", "127.0.0.1", true),
        ("localhost", "::1", true),
        ("localhost", "10.0.0.1", false),
        ("localhost", "93.184.216.34", false),
    ];
    for (name, address, good) in table {
        let found = [SocketAddr::new(address.parse().unwrap(), 0)];
        let kept = usable(name, found.into_iter()).len() == 1;
        assert_eq!(kept, good, "{name} {address}");
    }
}

#[test]
fn what_is_wrong_with_a_url_is_told_without_it() {
    for bad in [
        "http://hooks.example/secret",
        "https://10.0.0.1/secret",
        "https://u:secret@hooks.example",
        "https://hooks.example/#secret",
        "secret",
    ] {
        let why = target(bad).unwrap_err();
        assert!(!why.contains("secret"), "{why}");
    }
    assert!(target("https://hooks.slack.com/services/T/B/x").is_ok());
    assert!(target("http://127.0.0.1:9/x").is_ok());
}
