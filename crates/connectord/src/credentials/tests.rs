//! Sealed credentials.

use super::*;

const SECRET: &str = "canary-8f41c2-crm-secret";

fn store(folder: &tempfile::TempDir) -> CredentialStore {
    let key_file = folder.path().join("seal.key");
    write_private(&key_file, hex::encode([7; 32]).as_bytes()).unwrap();
    CredentialStore::new(folder.path().join("credentials.json"), key_file)
}

#[test]
fn a_secret_is_sealed_and_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.put("crm/main", SECRET, 5).unwrap();
    let file = std::fs::read_to_string(folder.path().join("credentials.json")).unwrap();
    assert!(!file.contains(SECRET) && !file.contains("canary"));
    let credential = store.open("crm/main").unwrap();
    assert!(!format!("{credential:?}").contains("canary"));
    assert_eq!(store.list().unwrap()[0].last_four, "cret");
    let bearer = toml::toml! { bearer = "{secret.token}" };
    let auth = Auth::test(&bearer.into(), &["token"]);
    let request = reqwest::Client::new().get("http://127.0.0.1/");
    let request = credential.put_on(request, &auth).unwrap();
    let request = request.build().unwrap();
    assert!(!format!("{request:?}").contains("canary"));
    assert_eq!(
        request.headers()["authorization"],
        format!("Bearer {SECRET}")
    );
}

#[test]
fn a_secret_opens_only_for_its_connection_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.put("crm/main", SECRET, 5).unwrap();
    assert_eq!(
        store.open("crm/other").unwrap_err().reason,
        Reason::CredentialMissing
    );
    let path = folder.path().join("credentials.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("crm/main", "crm/moved")).unwrap();
    assert_eq!(
        store.open("crm/moved").unwrap_err().reason,
        Reason::CredentialSeal
    );
    std::fs::write(&path, &text).unwrap();
    std::fs::remove_file(folder.path().join("seal.key")).unwrap();
    write_private(
        &folder.path().join("seal.key"),
        hex::encode([8; 32]).as_bytes(),
    )
    .unwrap();
    assert_eq!(
        store.open("crm/main").unwrap_err().reason,
        Reason::CredentialSeal
    );
    store.remove("crm/main").unwrap();
    assert!(store.open("crm/main").is_err());
}

#[test]
fn a_key_of_another_length_is_named_and_tells_no_secrets_apart() {
    for text in [
        "",
        "07",
        &"07".repeat(31),
        &"07".repeat(33),
        &"xy".repeat(32),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("seal.key");
        write_private(&key_file, text.as_bytes()).unwrap();
        let store = CredentialStore::new(folder.path().join("credentials.json"), key_file);
        let refused = store.put("crm/main", SECRET, 5).unwrap_err();
        assert_eq!(refused.reason, Reason::KeyInvalid, "{text:?}");
        // A hash under a short key is one of the secret alone.
        let unkeyed = store.fingerprint(SECRET).unwrap_err();
        assert_eq!(unkeyed.reason, Reason::KeyInvalid, "{text:?}");
    }
}

#[test]
fn an_empty_or_many_line_secret_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    for secret in ["", "a\nb", "a\r", "\u{0}"] {
        assert!(store.put("crm/main", secret, 5).is_err());
    }
}

#[test]
fn no_more_is_sealed_than_is_read_and_two_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..5 {
                    let name = format!("crm/{thread}-{number}");
                    store.put(&name, SECRET, 5).unwrap();
                }
            });
        }
    });
    assert_eq!(store.list().unwrap().len(), 20);
    // A file that is full already, of what nobody reads.
    let path = folder.path().join("credentials.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let beyond = usize::try_from(FILE_BYTES_MAX).unwrap();
    let long = text.replacen(
        "\"nonce\": \"",
        &format!("\"nonce\": \"{}", "0".repeat(beyond)),
        1,
    );
    std::fs::write(&path, &long).unwrap();
    let refused = store.put("crm/more", SECRET, 6).unwrap_err();
    assert_eq!(refused.reason, Reason::RequestTooLarge);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), long);
}

#[test]
fn of_a_password_no_letter_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    for secret in ["user:a-password-of-24-characters", "short-password"] {
        store.put("crm/main", secret, 5).unwrap();
        assert_eq!(store.list().unwrap()[0].last_four, "", "{secret}");
    }
}

#[test]
fn what_lacks_a_part_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.put("crm/main", r#"{"user":"ada"}"#, 5).unwrap();
    let basic = toml::toml! { basic = "{secret.user}:{secret.password}" };
    let auth = Auth::test(&basic.into(), &["user", "password"]);
    let request = reqwest::Client::new().get("http://127.0.0.1/");
    let credential = store.open("crm/main").unwrap();
    assert!(credential.put_on(request, &auth).is_none());
}

#[test]
fn every_file_beside_a_secret_is_for_its_owner_alone() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.put("crm/main", "a:b:first", 5).unwrap();
    // Where this runs as root, the daemon is somebody else.
    let daemon = 65_534;
    let owned = chown(
        folder.path().join("credentials.json"),
        Some(daemon),
        Some(daemon),
    )
    .is_ok();
    let credential = store.open("crm/main").unwrap();
    drop(credential.turn().unwrap());
    credential.newer().unwrap();
    credential
        .renew(&SecretString::from("second".to_owned()))
        .unwrap();
    store.put("crm/other", SECRET, 5).unwrap();
    let mut seen = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let (name, meta) = (file.file_name(), file.metadata().unwrap());
        assert_eq!(meta.mode() & 0o077, 0, "{name:?}");
        let is_key = name == "seal.key";
        assert!(is_key || !owned || meta.uid() == daemon, "{name:?}");
        seen += 1;
    }
    assert_eq!(seen, 5, "key, credentials, renewed, lock, turn");
    // What somebody left where the lock should be is not opened in its place, and not given to anybody.
    let (lock, other) = (
        folder.path().join("credentials.lock"),
        folder.path().join("other"),
    );
    std::fs::write(&other, "").unwrap();
    std::fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink(&other, &lock).unwrap();
    assert!(store.put("crm/main", SECRET, 6).is_err());
    let own = std::fs::metadata(folder.path()).unwrap().uid();
    assert_eq!(std::fs::metadata(&other).unwrap().uid(), own);
}

#[test]
fn what_cannot_be_put_in_its_place_is_not_left_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("credentials.json");
    std::fs::create_dir(&place).unwrap();
    assert!(write_private(&place, b"x").is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_credential_that_is_gone_is_told_by_its_own_name_and_a_file_that_is_away_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = (store(&folder), folder.path().join("credentials.json"));
    store.put("crm/main", SECRET, 5).unwrap();
    let credential = store.open("crm/main").unwrap();
    let mut is_held = false;
    let look = || {
        let lock = std::fs::File::open(folder.path().join("credentials.lock")).unwrap();
        is_held = matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock));
    };
    credential.while_it_stands(look).unwrap();
    assert!(is_held, "nobody replaces it meanwhile");
    store.put("crm/man", SECRET, 5).unwrap();
    store.remove("crm/main").unwrap();
    let gone = credential.stands().unwrap_err();
    let detail = "the credential of `crm/main` was removed meanwhile";
    assert_eq!(
        (gone.reason, gone.detail.as_str()),
        (Reason::CredentialMissing, detail)
    );
    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        credential.stands().unwrap_err().reason,
        Reason::StoreUnavailable
    );
    store.put("crm/main", "another", 5).unwrap();
    let replaced = credential
        .while_it_stands(|| panic!("it is another one"))
        .unwrap_err();
    assert_eq!(replaced.reason, Reason::CredentialMissing);
}
