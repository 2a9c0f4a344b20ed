//! What is known without a server: which one may be asked, and what a lost answer means.

use std::borrow::Cow;

use sqlx::error::{DatabaseError, ErrorKind};

use super::*;
use crate::credentials::CredentialStore;
use crate::private_file::write_private;

const TABLE: &str = include_str!("../../../../../tests/systems/table.toml");

/// An error of the server by its code.
#[derive(Debug, thiserror::Error)]
#[error("said {0}")]
struct Said(&'static str);

impl DatabaseError for Said {
    fn message(&self) -> &str {
        self.0
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.0.into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

#[test]
fn only_a_word_of_the_server_that_nothing_was_committed_is_no_doubt() {
    let became = |error| instead_of_commit(error, Some("7".to_owned()));
    for (code, expected) in [
        ("40001", NotDone::Stale),
        ("40P01", NotDone::Stale),
        ("23505", NotDone::Refused),
        ("25P02", NotDone::Refused),
        ("P0001", NotDone::Refused),
    ] {
        let ended = became(Said(code).into());
        assert_eq!(ended, Applied::Not(expected, code.to_owned()), "{code}");
    }
    let doubts = ["57P01", "57014", "08006", "42501", "XX000"].map(|code| Said(code).into());
    let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let lost = [
        sqlx::Error::Io(reset),
        sqlx::Error::Protocol("odd".to_owned()),
        sqlx::Error::WorkerCrashed,
        sqlx::Error::PoolTimedOut,
    ];
    for error in doubts.into_iter().chain(lost) {
        let ended = became(error);
        let known =
            matches!(&ended, Applied::Unknown { version: Some(version), .. } if version == "7");
        assert!(known, "{ended:?}");
    }
}

fn credential() -> Credential {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("seal.key");
    write_private(&key, hex::encode([7; 32]).as_bytes()).unwrap();
    let store = CredentialStore::new(folder.path().join("credentials.json"), key);
    store.put("db/main", "pw-of-a-test", 5).unwrap();
    store.open("db/main").unwrap()
}

#[tokio::test]
async fn a_staged_row_that_may_be_taken_away_settles_nothing() {
    let staged = "settle = \"key\"";
    assert!(TABLE.contains(staged));
    // Nobody listens there: who looks is told so, and who does not look cannot tell.
    for (settle, looks) in [(staged, true), ("settle = \"none\"", false)] {
        let bound = Arc::new(Bound::compile(&TABLE.replace(staged, settle)).unwrap());
        let system = Postgres::new(bound, "postgres://u@127.0.0.1:1/x", &credential()).unwrap();
        let mut plan = Plan::nowhere("intake".into(), "-".into(), Map::new());
        plan.verb = "insert_staging".into();
        let settled = system.settle(&plan, &Doubt::default()).await;
        assert_eq!(matches!(settled, Happened::Away(_)), looks, "{settled:?}");
        assert_eq!(
            matches!(settled, Happened::CannotTell(_)),
            !looks,
            "{settled:?}"
        );
    }
}

#[tokio::test]
async fn a_database_on_another_machine_proves_its_name() {
    let credential = credential();
    let bound = Arc::new(Bound::compile(TABLE).unwrap());
    for (base, good) in [
        ("postgres://u@db.example/x", false),
        ("postgres://u@db.example/x?sslmode=require", false),
        ("postgres://u@db.example/x?sslmode=verify-ca", false),
        ("postgres://u@10.0.0.1/x", false),
        ("postgres://u@localhost/x?host=db.example", false),
        ("postgres://u@db.example/x?sslmode=verify-full", true),
        ("postgres://u@localhost/x", true),
        ("postgres://u@127.0.0.1/x", true),
    ] {
        let opened = Postgres::new(Arc::clone(&bound), base, &credential);
        assert_eq!(opened.is_ok(), good, "{base}");
        let told = opened.err().is_none_or(|why| why.contains("verify-full"));
        assert!(told, "{base}");
    }
}
