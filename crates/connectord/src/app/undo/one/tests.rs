//! What stands on a write, however much was written to the record later.

use super::*;
use crate::domain::execution::Change;
use crate::domain::execution::tests::execution;

fn wrote(id: u128, field: &str) -> Execution {
    let change = Change {
        field: field.to_owned(),
        before_json: None,
        after_json: None,
    };
    Execution {
        state: State::Done,
        wrote: true,
        changes: vec![change],
        ..execution(id)
    }
}

#[tokio::test]
async fn a_later_write_is_found_however_many_pages_away_or_the_undo_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("journal.db").display());
    let journal = Journal::open(&url).await.unwrap();
    let (mut first, mut second) = (wrote(1, "stage"), wrote(2, "stage"));
    let (mut third, mut fourth) = (wrote(3, "note"), wrote(4, "note"));
    let all = &mut [&mut first, &mut second, &mut third, &mut fourth];
    journal.save(all, vec![]).await.unwrap();
    let foreseen = Foreseen::default();
    let check = async |own: &Execution, page: u32| {
        let checked = App::check_last(&journal, (own, &foreseen), (page, Readers::Undos)).await;
        checked.map_err(|refusal| refusal.detail)
    };
    for page in [1, 2, LATER_MAX] {
        let refused = check(&first, page).await.unwrap_err();
        assert!(refused.contains(&second.id), "{page}: {refused}");
        assert_eq!(check(&second, page).await, Ok(()), "{page}");
    }
    let ids = 5..3 + u128::from(LATER_PAGES_MAX);
    let mut more: Vec<Execution> = ids.map(|id| wrote(id, "note")).collect();
    let mut more: Vec<&mut Execution> = more.iter_mut().collect();
    journal.save(&mut more, vec![]).await.unwrap();
    let refused = check(&first, 1).await.unwrap_err();
    assert!(refused.contains("too many"), "{refused}");
}

#[test]
fn an_undo_of_an_operator_waits_for_nobody_who_lists() {
    assert_eq!(readers_of(false), Readers::Undos);
    assert_eq!(readers_of(true), Readers::Lists);
}
