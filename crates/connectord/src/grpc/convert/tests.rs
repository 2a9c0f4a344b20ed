//! What a batch of undos is read over.

use super::*;

#[test]
fn a_batch_of_undos_is_read_for_undos_and_a_list_for_those_who_look() {
    let batch = pb::BatchUndoRequest {
        run_id: "r-1".into(),
        ..pb::BatchUndoRequest::default()
    };
    assert_eq!(selection(batch).unwrap().readers, Readers::Undos);
    let list = filter(pb::ListExecutionsRequest::default());
    assert_eq!(list.unwrap().readers, Readers::Lists);
}

#[test]
fn undos_that_wait_for_others_are_no_trouble_of_the_database() {
    let error = AppError::from(crate::store::JournalError::Busy);
    assert_eq!(error.reason, Reason::RateLimited);
}
