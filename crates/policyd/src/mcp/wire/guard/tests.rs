//! Who is let in.

use super::*;

fn refused(pairs: &[(&str, &str)]) -> Option<u16> {
    let addr = "127.0.0.1:7370".parse().unwrap();
    let door = Door::of(addr, Zeroizing::new("the-secret".to_owned()));
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: header::HeaderName = name.parse().unwrap();
        headers.append(name, value.parse().unwrap());
    }
    door.refuses(&headers).map(|(status, _)| status.as_u16())
}

#[test]
fn host_origin_and_secret_must_all_be_ours() {
    let (host, key) = (
        ("host", "127.0.0.1:7370"),
        ("authorization", "Bearer the-secret"),
    );
    assert_eq!(refused(&[host, key]), None);
    assert_eq!(
        refused(&[host, key, ("origin", "http://localhost:7370")]),
        None
    );
    for other in [
        "evil.example:7370",
        "127.0.0.1",
        "127.0.0.1:80",
        "localhost:7370.evil.example",
        "",
    ] {
        assert_eq!(refused(&[("host", other), key]), Some(403), "{other}");
    }
    assert_eq!(refused(&[key]), Some(403), "no Host");
    assert_eq!(refused(&[host, ("host", "evil.example"), key]), Some(403));
    for origin in [
        "null",
        "https://127.0.0.1:7370",
        "http://evil.example",
        "http://127.0.0.1:7371",
    ] {
        assert_eq!(
            refused(&[host, key, ("origin", origin)]),
            Some(403),
            "{origin}"
        );
    }
    for wrong in [
        "Bearer other",
        "bearer the-secret",
        "the-secret",
        "Bearer the-secret2",
        "Bearer ",
    ] {
        assert_eq!(
            refused(&[host, ("authorization", wrong)]),
            Some(401),
            "{wrong}"
        );
    }
    assert_eq!(refused(&[host, key, key]), Some(401), "two of them");
    assert_eq!(refused(&[host]), Some(401));
}

#[test]
fn the_secret_is_made_once_and_must_be_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let first = secret(&path).unwrap();
    assert_eq!(*first, *secret(&path).unwrap());
    use std::os::unix::fs::PermissionsExt as _;
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&path, open).unwrap();
    assert_eq!(secret(&path).unwrap_err().reason, Reason::KeyFileMode);
    let path = folder.path().join("other");
    std::fs::write(&path, "password").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(secret(&path).unwrap_err().reason, Reason::KeyInvalid);
}
