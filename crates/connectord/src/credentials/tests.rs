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
fn an_empty_or_many_line_secret_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    for secret in ["", "a\nb", "a\r", "\u{0}"] {
        assert!(store.put("crm/main", secret, 5).is_err());
    }
}
