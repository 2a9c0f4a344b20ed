//! Documents in both stores.

use super::*;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

async fn put(documents: &Documents, text: &str) {
    let change = |list: &mut Vec<String>| {
        list.push(text.to_owned());
        Ok(())
    };
    documents.edit(Document::Devices, change).await.unwrap();
}

async fn list(documents: &Documents) -> Result<Vec<String>, AccessError> {
    documents.read(Document::Devices).await
}

#[tokio::test]
async fn a_document_is_replaced_whole_and_is_its_owners_only() {
    let folder = tempfile::tempdir().unwrap();
    let documents = Documents::new(&Place::Folder(folder.path().to_owned())).unwrap();
    assert!(list(&documents).await.unwrap().is_empty());
    std::fs::write(folder.path().join(".devices.json.new"), "left by a crash").unwrap();
    put(&documents, "a").await;
    put(&documents, "b").await;
    let failing = |_: &mut Vec<String>| Err::<(), _>(AccessError::Missing("x".into()));
    assert!(documents.edit(Document::Devices, failing).await.is_err());
    assert_eq!(list(&documents).await.unwrap(), ["a", "b"]);
    let path = folder.path().join(".devices.json");
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let open = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(&path, open).unwrap();
    assert!(
        list(&documents)
            .await
            .unwrap_err()
            .to_string()
            .contains("chmod 600")
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let absent = Documents::new(&Place::Folder(folder.path().join("absent"))).unwrap();
    assert!(list(&absent).await.is_err(), "a folder that is gone");
    let documents = Documents::new(&Place::Folder(folder.path().to_owned())).unwrap();
    put(&documents, "a").await;
    std::fs::write(folder.path().join(".devices.json"), "[\"a\"").unwrap();
    assert!(list(&documents).await.is_err(), "a torn file");
    let failing = |list: &mut Vec<String>| {
        list.clear();
        Ok(())
    };
    assert!(
        documents.edit(Document::Devices, failing).await.is_err(),
        "nor is it overwritten"
    );
}

#[tokio::test]
async fn changes_of_many_at_once_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let documents = Documents::new(&Place::Folder(folder.path().to_owned())).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let documents = documents.clone();
        tasks.spawn(async move { put(&documents, "x").await });
    }
    tasks.join_all().await;
    assert_eq!(list(&documents).await.unwrap().len(), 16);
}
