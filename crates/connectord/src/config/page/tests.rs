//! What a configuration of the page must say.

use super::*;

#[test]
fn plaintext_stays_on_the_machine_and_hosts_are_names() {
    let new = |addr: &str, plaintext, hosts: &[&str]| {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        HttpConfig::new(addr.parse().unwrap(), plaintext, hosts).is_ok()
    };
    assert!(new("127.0.0.1:0", true, &[]) && new("[::1]:0", true, &["halt.example"]));
    assert!(new("0.0.0.0:443", false, &["halt.example:443"]));
    assert!(!new("0.0.0.0:80", true, &[]), "plaintext for everybody");
    assert!(!new("192.0.2.1:80", true, &[]));
    for wrong in ["", "https://halt.example", "a b", "a/b"] {
        assert!(!new("127.0.0.1:0", true, &[wrong]), "{wrong}");
    }
}
