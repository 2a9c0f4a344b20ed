//! What `init` writes.

use super::*;
use crate::config::{Config, Layers};

#[test]
fn a_new_folder_has_a_configuration_that_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let args = InitArgs::new(dir.path(), 20_000);
    let output = Output::new(crate::output::Format::Json).silenced();
    assert_eq!(run(&args, output).unwrap(), 0);
    let file = dir.path().join("policyd.toml");
    let layers = Layers::read(&file, std::iter::empty(), "POLICYD_", &[]).unwrap();
    let config = Config::from_layers(&layers, &file).unwrap();
    assert_eq!(config.server.grpc_addr.port(), 20_000);
    assert_eq!(config.connectord.unwrap().addr, "https://127.0.0.1:20010");
    let other = std::fs::read_to_string(dir.path().join("connectord.toml")).unwrap();
    assert!(other.contains("http://127.0.0.1:20030") && !other.contains(NO_ROOT));
    assert!(run(&args, output).is_err(), "nothing is overwritten");
}

#[test]
fn only_certificates_are_replaced_when_only_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut args = InitArgs::new(dir.path(), PORT_BASE);
    let output = Output::new(crate::output::Format::Json).silenced();
    run(&args, output).unwrap();
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    let kept = [
        "keys/token.pem",
        "keys/public.json",
        "policyd.toml",
        "certs/ca.pem",
    ]
    .map(read);
    let before = read("certs/policyd.pem");
    args.certs_only = true;
    run(&args, output).unwrap();
    assert_ne!(before, read("certs/policyd.pem"));
    let after = [
        "keys/token.pem",
        "keys/public.json",
        "policyd.toml",
        "certs/ca.pem",
    ]
    .map(read);
    assert_eq!(kept, after);
}
