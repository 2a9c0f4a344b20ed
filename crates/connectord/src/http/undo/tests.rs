//! What the form of undoing holds for.

use super::*;
use crate::access::{Access, Reach};
use crate::halt::{HaltStore, Place};
use crate::http::Rules;

fn form(paper: &Paper<'_>, at: i64) -> UndoForm {
    UndoForm {
        at,
        seal: paper.seal(at),
        tenant: "acme".to_owned(),
        minutes: 5,
        reason: String::new(),
        operator: String::new(),
        password: Zeroizing::default(),
    }
}

#[tokio::test]
async fn a_form_holds_for_ten_minutes_and_for_what_was_offered() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Folder(folder.path().to_owned());
    let access = Access::in_folder(folder.path());
    access.add_device("ada", Reach::GLOBAL, 0).await.unwrap();
    let device = access.devices().await.unwrap().remove(0);
    let key = access.seal_key().await.unwrap();
    let halts = HaltStore::open(&place).await.unwrap();
    let mut site = Site::new(halts, access, Rules::default());
    site.names.tenants = vec!["acme".to_owned()];
    let paper = Paper::new(&site, &device, &key);
    let made = 1_000_000;
    for (later, fits) in [(-1, false), (0, true), (600, true), (601, false)] {
        let found = paper.check(&form(&paper, made), (made + later) * 1_000);
        assert_eq!(found.is_ok(), fits, "{later} s later");
    }
    let changed = |change: &dyn Fn(&mut UndoForm)| {
        let mut form = form(&paper, made);
        change(&mut form);
        paper.check(&form, made * 1_000).is_ok()
    };
    assert!(changed(&|form| form.minutes = 240));
    assert!(!changed(&|form| form.minutes = 241));
    assert!(!changed(&|form| form.tenant = "globex".to_owned()));
    assert!(
        !changed(&|form| form.at = made - 1),
        "its seal is of another time"
    );
}
