//! Files that somebody else keeps, and what a Vault said last.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

const SECRET: &str = "canary-of-a-file";

fn file(folder: &tempfile::TempDir, text: &str, mode: u32) -> Source {
    let path = folder.path().join("secret");
    drop(std::fs::remove_file(&path));
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    Source::File(path)
}

fn read(source: &Source) -> Result<String, Reason> {
    let secret = source.secret().map_err(|refusal| refusal.reason);
    secret.map(|secret| secret.expose_secret().to_owned())
}

#[test]
fn a_file_is_read_as_systemd_and_kubernetes_leave_it_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let long = "a".repeat(SECRET_BYTES_MAX + 1);
    for (text, mode, wanted) in [
        ("canary-of-a-file\n", 0o400, Ok(SECRET.to_owned())),
        (SECRET, 0o440, Ok(SECRET.to_owned())),
        (SECRET, 0o600, Ok(SECRET.to_owned())),
        (
            "{\n \"user\": \"a\" }\n",
            0o400,
            Ok("{\n \"user\": \"a\" }".to_owned()),
        ),
        (SECRET, 0o444, Err(Reason::KeyFileMode)),
        (SECRET, 0o460, Err(Reason::KeyFileMode)),
        (SECRET, 0o601, Err(Reason::KeyFileMode)),
        ("", 0o400, Err(Reason::CredentialMissing)),
        ("a\nb", 0o400, Err(Reason::KeyInvalid)),
        (&long, 0o400, Err(Reason::KeyInvalid)),
    ] {
        assert_eq!(read(&file(&folder, text, mode)), wanted, "{mode:o}");
    }
    std::fs::remove_file(folder.path().join("secret")).unwrap();
    let gone = Source::File(folder.path().join("secret"));
    assert_eq!(
        read(&gone),
        Err(Reason::CredentialMissing),
        "it was taken away"
    );
    let fifo = folder.path().join("fifo");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    for odd in [fifo, folder.path().to_owned()] {
        assert_eq!(
            read(&Source::File(odd)),
            Err(Reason::KeyInvalid),
            "nobody knows"
        );
    }
}

#[test]
fn another_secret_or_another_right_is_another_mark_and_no_mark_tells_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    let marks: Vec<Vec<u8>> = [("one", 0o400), ("two", 0o400), ("two", 0o444)]
        .map(|(text, mode)| file(&folder, text, mode).mark())
        .to_vec();
    assert!(marks[0] != marks[1] && marks[1] != marks[2], "{marks:?}");
    assert!(!marks.concat().windows(3).any(|bytes| bytes == b"two"));
}

#[test]
fn what_a_vault_said_holds_until_it_says_otherwise_or_is_silent_for_long() {
    let long = Duration::from_secs(3_600);
    let slot = Arc::new(Slot::new("secret/data/crm", long));
    let source = Source::Vault(Arc::clone(&slot));
    let put = |text: &str, asked: Instant| slot.put(SecretString::from(text), asked);
    assert_eq!(read(&source), Err(Reason::CredentialMissing), "never asked");
    slot.away("down");
    assert_eq!(read(&source), Err(Reason::CredentialMissing));
    put("one", Instant::now());
    let first = source.mark();
    put("one", Instant::now());
    assert_eq!(source.mark(), first, "the same one is no change");
    slot.away("down");
    assert_eq!(read(&source).as_deref(), Ok("one"));
    put("two", Instant::now());
    assert_ne!(source.mark(), first);
    // Nobody has to look for it to be old: what asks may have stood still.
    let before = source.mark();
    put("two", Instant::now().checked_sub(long).unwrap());
    assert_ne!(source.mark(), before);
    assert_eq!(
        read(&source),
        Err(Reason::CredentialMissing),
        "too long ago"
    );
    put("three", Instant::now());
    slot.gone("HTTP 404".to_owned());
    let refusal = source.secret().unwrap_err();
    assert_eq!(refusal.detail, "secret/data/crm: HTTP 404");
}
