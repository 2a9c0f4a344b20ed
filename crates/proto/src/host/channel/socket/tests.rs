//! Whose socket it is.

use std::os::unix::fs::PermissionsExt as _;

use tokio::net::UnixListener;

use super::*;

fn change(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn nobody_is_asked_in_a_folder_that_others_may_write_to() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("run");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("s");
    let _listener = UnixListener::bind(&path).unwrap();
    for (of_above, own, good) in [
        (0o755, 0o700, true),
        (0o755, 0o2750, true),
        (0o1777, 0o755, true),
        (0o755, 0o775, false),
        (0o755, 0o757, false),
        (0o755, 0o1777, false),
        (0o777, 0o700, false),
        (0o775, 0o700, false),
    ] {
        change(above.path(), of_above);
        change(&folder, own);
        let connected = Socket(path.clone())
            .call(Uri::from_static("http://x"))
            .await;
        assert_eq!(
            connected.is_ok(),
            good,
            "{of_above:o} {own:o} {connected:?}"
        );
    }
}

#[tokio::test]
async fn only_the_owner_of_the_folder_is_believed_to_be_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let _listener = UnixListener::bind(&path).unwrap();
    let owner = check_folder(&path).unwrap();
    let stream = UnixStream::connect(&path).await.unwrap();
    assert!(check_peer(&stream, owner).is_ok());
    assert!(check_peer(&stream, owner + 1).is_err());
}
