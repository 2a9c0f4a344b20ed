//! The writs of decisions, kept from the model: it gets decision ids, and this table turns an id
//! into the call and its token while the token lives.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;
use writ_proto::pb;
use zeroize::Zeroizing;

/// Most handles at once. policyd gives a token again while it lives, so one that had to go is not lost.
pub(crate) const HANDLES_MAX: usize = 1_024;

/// A call and what allows it.
#[derive(Clone)]
pub(crate) struct Handle {
    /// The call, with the arguments that policyd made canonical.
    pub(crate) call: pb::ActionCall,
    /// The run that the writ names: that of an earlier bridge if the request was asked there.
    pub(crate) run: String,
    /// The writ. It goes to connectord and nowhere else.
    pub(crate) token: Zeroizing<Vec<u8>>,
    /// Unix seconds.
    pub(crate) expires: i64,
}

impl core::fmt::Debug for Handle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Handle")
            .field("action", &self.call.action)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Handles(Mutex<BTreeMap<Uuid, Handle>>);

impl Handles {
    /// Keeps a handle. What has expired goes, and if need be what expires first.
    pub(crate) fn put(&self, id: Uuid, handle: Handle, now: i64) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, handle| handle.expires >= now);
        if table.len() >= HANDLES_MAX && !table.contains_key(&id) {
            let first = table.iter().min_by_key(|(_, handle)| handle.expires);
            if let Some(first) = first.map(|(id, _)| *id) {
                table.remove(&first);
            }
        }
        table.insert(id, handle);
    }

    /// The handle of a decision, if it lives.
    pub(crate) fn get(&self, id: Uuid, now: i64) -> Option<Handle> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table
            .get(&id)
            .filter(|handle| handle.expires >= now)
            .cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(expires: i64) -> Handle {
        Handle {
            run: "r-1".into(),
            call: pb::ActionCall::default(),
            token: Zeroizing::new(b"canary-of-a-token".to_vec()),
            expires,
        }
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_has_expired() {
        let handles = Handles::default();
        for at in 0..HANDLES_MAX + 10 {
            let expires = i64::try_from(at).unwrap() + 100;
            handles.put(
                Uuid::from_u128(u128::try_from(at).unwrap()),
                handle(expires),
                50,
            );
        }
        assert_eq!(handles.0.lock().unwrap().len(), HANDLES_MAX);
        assert!(handles.get(Uuid::from_u128(3), 50).is_none(), "it went");
        assert!(handles.get(Uuid::from_u128(500), 600).is_some());
        assert!(
            handles.get(Uuid::from_u128(500), 601).is_none(),
            "it expired"
        );
        handles.put(Uuid::from_u128(9_999), handle(10_000), 9_000);
        assert_eq!(handles.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_handle_does_not_print_its_token() {
        let text = format!("{:?}", handle(1));
        assert!(
            !text.contains("canary") && !text.contains("99, 97, 110"),
            "{text}"
        );
    }
}
