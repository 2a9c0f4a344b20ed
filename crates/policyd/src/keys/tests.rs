//! Keys that others can read are refused.

use super::*;

#[test]
fn a_key_others_can_read_is_refused_with_the_command_that_repairs_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token.pem");
    let key = create(&path).unwrap();
    assert_eq!(load(&path).unwrap().to_bytes(), key.to_bytes());
    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = load(&path).unwrap_err();
        assert_eq!(error.reason, Reason::KeyFileMode);
        assert!(error.detail.contains("chmod 600"), "{error}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let taken = create(&path).unwrap_err();
    assert_eq!(taken.reason, Reason::KeyInvalid, "it is never overwritten");
    assert_eq!(load(&path).unwrap().to_bytes(), key.to_bytes());
    // Nor is what a link leads to, be it there or not.
    for to in [&path, &folder.path().join("elsewhere")] {
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(to, &link).unwrap();
        assert!(create(&link).is_err());
        std::fs::remove_file(&link).unwrap();
    }
    assert_eq!(load(&path).unwrap().to_bytes(), key.to_bytes());
    std::fs::write(&path, "nonsense").unwrap();
    assert_eq!(load(&path).unwrap_err().reason, Reason::KeyInvalid);
}
