//! What is kept beside the log, each value under a salt of its own.

use writ_proto::Reason;
use writ_proto::value::Value;

use crate::domain::record::{Disclosure, readable, request_values};
use crate::domain::request::Request;
use crate::error::AppError;
use crate::ids;

/// The personal or guessable values of a request, each with its own salt.
pub(crate) fn disclosures(request: &Request) -> Result<Vec<Disclosure>, AppError> {
    let values = request_values(request).into_iter();
    values
        .map(|(name, value)| disclosure(name, value))
        .collect()
}

/// One value with a fresh salt.
pub(crate) fn disclosure(name: &'static str, value: Value) -> Result<Disclosure, AppError> {
    let salt = ids::salt().ok_or_else(|| AppError::of(Reason::Internal))?;
    let value = readable(value);
    Ok(Disclosure { name, salt, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_value_has_another_salt_each_time() {
        let salt = || disclosure("target_id", Value::Int(1)).unwrap().salt;
        assert_ne!(salt(), salt());
    }
}
