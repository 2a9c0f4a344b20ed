//! Files that change, break and come back, and whose they are.

use super::*;
use crate::config::Layers;
use crate::private_file::write_private;

const SANDBOX: &str = include_str!("../../../../deploy/systems/sandbox.toml");
const STAGE: &str = include_str!("../../../../policies/acme/actions/set_stage.toml");

struct Desk {
    folder: tempfile::TempDir,
    files: Files,
}

impl Desk {
    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn load(&mut self, before: &Catalog, now_ms: i64) -> Catalog {
        self.files.load(before, now_ms).unwrap()
    }
}

/// acme and globex with a connection each, over the same kind of system.
fn desk() -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let text = include_str!("../../../../deploy/connectord.example.toml");
    let own = "tenants = [\"acme\", \"globex\"]";
    assert!(text.contains(own));
    let other = "[[connection]]\nname = \"crm/other\"\nsystem = \"other\"\n\
                 base_url = \"http://127.0.0.1:2\"\ntenants = [\"globex\"]\n";
    let text = format!("{}\n{other}", text.replace(own, "tenants = [\"acme\"]"));
    let file = folder.path().join("connectord.toml");
    std::fs::write(&file, text).unwrap();
    let layers = Layers::read(&file, std::iter::empty(), "X_", &[]).unwrap();
    let config = Config::from_layers(&layers, &file).unwrap();
    std::fs::create_dir_all(folder.path().join("keys")).unwrap();
    write_private(
        &config.credentials.key_file,
        hex::encode([7; 32]).as_bytes(),
    )
    .unwrap();
    let sealed = CredentialStore::new(
        config.credentials.file.clone(),
        config.credentials.key_file.clone(),
    );
    for name in ["crm/main", "crm/other"] {
        sealed.put(name, "a-secret-of-some-length", 5).unwrap();
    }
    let desk = Desk {
        files: Files::new(config),
        folder,
    };
    desk.write("systems/sandbox.toml", SANDBOX);
    desk.write("systems/other.toml", SANDBOX);
    desk.write("policies/acme/actions/set_stage.toml", STAGE);
    desk.write(
        "policies/globex/actions/set_stage.toml",
        &STAGE.replace("crm/main", "crm/other"),
    );
    desk
}

fn key(tenant: &str) -> (String, String) {
    (tenant.to_owned(), "set_stage".to_owned())
}

#[test]
fn a_file_that_is_refused_keeps_what_it_said_and_is_told_to_its_own_tenant() {
    let mut desk = desk();
    let good = desk.load(&Catalog::default(), 0);
    assert_eq!(good.problems, vec![]);
    for (file, text) in [
        ("policies/globex/actions/set_stage.toml", "name = "),
        ("systems/other.toml", "kind = 1"),
        ("policies/globex/actions/second.toml", "nothing"),
    ] {
        let before = std::fs::read_to_string(desk.folder.path().join(file)).ok();
        desk.write(file, text);
        let now = desk.load(&good, 1);
        assert_eq!(now.problems_of("acme").count(), 0, "{file}");
        assert_eq!(
            now.problems_of("globex").count(),
            1,
            "{file}: {:?}",
            now.problems
        );
        assert!(now.problems[0].what.contains(file), "{:?}", now.problems);
        assert_eq!(now.cards.len(), 2, "{file}: both cards are in force");
        assert!(
            now.connections
                .values()
                .all(|connection| connection.system.is_ok()),
            "{file}"
        );
        match before {
            Some(text) => desk.write(file, &text),
            None => std::fs::remove_file(desk.folder.path().join(file)).unwrap(),
        }
        assert_eq!(desk.load(&now, 2).problems, vec![], "{file}: mended");
    }
}

#[test]
fn a_connection_of_a_tenant_that_has_no_card_names_who_was_meant() {
    let mut desk = desk();
    for connection in &mut desk.files.config.connection {
        for tenant in &mut connection.tenants {
            *tenant = tenant.replace("acme", "acmee");
        }
    }
    let found = desk.load(&Catalog::default(), 0);
    let told = desk.files.unnamed(&found);
    assert!(
        told.len() == 1 && told[0].contains("`acmee`") && told[0].contains("Did you mean `acme`?"),
        "{told:?}"
    );
    assert_eq!(found.problems, vec![], "no tenant learns of another");
}

#[test]
fn a_card_names_no_connection_of_another_tenant() {
    let mut desk = desk();
    desk.write("policies/globex/actions/set_stage.toml", STAGE);
    let catalog = desk.load(&Catalog::default(), 0);
    let refused = catalog.system("globex", "crm/main").unwrap_err();
    assert_eq!(refused.reason, Reason::UnknownConnection);
    let nowhere = catalog.system("globex", "crm/nowhere").unwrap_err();
    assert_eq!(
        nowhere.detail.replace("nowhere", "main"),
        refused.detail,
        "another's is told like none"
    );
    assert!(catalog.system("acme", "crm/main").is_ok());
}

#[test]
fn the_card_of_a_writ_is_held_for_a_while_and_no_longer() {
    let mut desk = desk();
    let first = desk.load(&Catalog::default(), 0);
    let old = first.cards[&key("acme")].card.digest();
    desk.write(
        "policies/acme/actions/set_stage.toml",
        &STAGE.replace("\"lost\"]", "\"lost\", \"paused\"]"),
    );
    let second = desk.load(&first, 1_000);
    let held = &second.cards[&key("acme")];
    assert_ne!(held.card.digest(), old);
    assert_eq!(held.of_digest(&old, 2_000).unwrap().digest(), old);
    assert!(held.of_digest(&old, 1_000 + HELD_MS).is_none());
    assert!(held.of_digest(&[9; 32], 2_000).is_none());
    let third = desk.load(&second, 1_000 + HELD_MS);
    assert!(third.cards[&key("acme")].earlier.is_empty(), "forgotten");
}

#[test]
fn a_card_is_in_force_under_the_name_of_its_file_alone() {
    let mut desk = desk();
    desk.write(
        "policies/acme/actions/again.toml",
        &STAGE.replace("\"lost\"]", "\"lost\", \"paused\"]"),
    );
    let catalog = desk.load(&Catalog::default(), 0);
    let own = catalog.cards[&key("acme")].text.clone();
    assert!(!own.contains("paused"), "{own}");
    let problems: Vec<String> = catalog.problems_of("acme").map(str::to_owned).collect();
    assert!(
        problems.len() == 1 && problems[0].contains("its file must be too"),
        "{problems:?}"
    );
}

#[test]
fn cards_stay_where_their_folder_cannot_be_listed() {
    let mut desk = desk();
    let first = desk.load(&Catalog::default(), 0);
    let (folder, away) = (
        desk.folder.path().join("policies"),
        desk.folder.path().join("away"),
    );
    std::fs::rename(&folder, &away).unwrap();
    let second = desk.load(&first, 1);
    assert!(second.cards.keys().eq(first.cards.keys()) && !second.cards.is_empty());
    assert!(
        second
            .problems_of("acme")
            .any(|what| what.contains("last good cards stay"))
    );
    std::fs::rename(&away, &folder).unwrap();
    assert_eq!(desk.load(&second, 2).problems.len(), first.problems.len());
    // Where none were ever read, there are none to stay.
    std::fs::rename(&folder, &away).unwrap();
    let mut fresh = Files::new(desk.files.config.clone());
    assert!(fresh.load(&Catalog::default(), 0).is_err());
}

#[test]
fn a_connection_is_made_anew_when_its_file_or_its_credential_changes() {
    let mut desk = desk();
    let first = desk.load(&Catalog::default(), 0);
    let of =
        |catalog: &Catalog| Arc::as_ptr(catalog.connections["crm/main"].system.as_ref().unwrap());
    let again = desk.load(&first, 1);
    assert_eq!(
        of(&again),
        of(&first),
        "the pool of its connections is kept"
    );
    let config = desk.files.config.credentials.clone();
    CredentialStore::new(config.file, config.key_file)
        .put("crm/main", "another-secret", 6)
        .unwrap();
    let rotated = desk.load(&again, 2);
    assert_ne!(of(&rotated), of(&first), "creds rotate needs no restart");
}

#[test]
fn a_credential_that_was_removed_or_replaced_is_shown_no_more_whatever_else_is_wrong() {
    for broken in [false, true] {
        for replaced in [false, true] {
            let mut desk = desk();
            let first = desk.load(&Catalog::default(), 0);
            assert!(first.system("acme", "crm/main").is_ok());
            if broken {
                desk.write("systems/sandbox.toml", "kind = 5");
                let second = desk.load(&first, 1);
                assert!(second.system("acme", "crm/main").is_ok(), "the last good");
            }
            let config = desk.files.config.credentials.clone();
            let store = CredentialStore::new(config.file, config.key_file);
            if replaced {
                store.put("crm/main", "another-secret", 6).unwrap();
            } else {
                store.remove("crm/main").unwrap();
            }
            let third = desk.load(&first, 2);
            let usable = third.system("acme", "crm/main").is_ok();
            assert_eq!(usable, replaced && !broken, "{replaced} {broken}");
            assert!(third.system("globex", "crm/other").is_ok());
        }
    }
}

#[test]
fn a_credential_that_is_replaced_in_a_large_file_is_seen() {
    let desk = desk();
    let config = desk.files.config.credentials.clone();
    let store = CredentialStore::new(config.file.clone(), config.key_file);
    for number in 0..10 {
        let secret = "x".repeat(16_000);
        store.put(&format!("crm/{number}"), &secret, 5).unwrap();
    }
    assert!(std::fs::metadata(config.file).unwrap().len() > 300_000);
    let before = desk.files.fingerprint();
    store.put("crm/other", "another-secret", 6).unwrap();
    assert_ne!(desk.files.fingerprint(), before);
}

#[test]
fn however_a_file_is_put_in_place_it_is_seen() {
    let desk = desk();
    let seen = || desk.files.fingerprint();
    let first = seen();
    assert_eq!(seen(), first);
    let actions = desk.folder.path().join("policies/acme/actions");
    std::fs::write(actions.join(".hidden.toml"), "x").unwrap();
    assert_eq!(seen(), first, "what editors leave behind is no card");
    let aside = desk.folder.path().join("aside");
    std::fs::create_dir(&aside).unwrap();
    std::fs::write(
        aside.join("set_stage.toml"),
        STAGE.replace("\"lost\"]", "\"lost\", \"x\"]"),
    )
    .unwrap();
    std::fs::rename(&actions, desk.folder.path().join("old")).unwrap();
    std::os::unix::fs::symlink(&aside, &actions).unwrap();
    let switched = seen();
    assert_ne!(switched, first, "a link that was switched");
    std::fs::rename(actions, desk.folder.path().join("gone")).unwrap();
    assert_ne!(seen(), switched, "a folder that was renamed");
}
