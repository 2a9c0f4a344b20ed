//! When a disk is short.

use super::*;

#[test]
fn a_disk_with_less_room_than_the_reserve_is_short_and_a_server_never_is() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/a.db", folder.path().display());
    let table = [
        (url.as_str(), 1, false),
        (url.as_str(), 0, false),
        (url.as_str(), u32::MAX, true),
        ("sqlite:///there/is/no/such/folder/a.db", 1, true),
        ("sqlite:///there/is/no/such/folder/a.db", 0, false),
        ("postgres://127.0.0.1/writ", u32::MAX, false),
    ];
    for (url, megabytes, short) in table {
        let reserve = Reserve::new(url, megabytes);
        assert_eq!(reserve.is_short(), short, "{url} {megabytes}");
        assert_eq!(reserve.look().is_short(), short, "{url} {megabytes}");
    }
}
