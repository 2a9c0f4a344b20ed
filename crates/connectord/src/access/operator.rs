//! Operators who may resume: a name and a password, of which only an Argon2id hash is kept.

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::documents::Document;
use super::{Access, AccessError, Reach, check_name};

/// Most operators.
pub const OPERATORS_MAX: usize = 1_000;
/// Fewest characters of a password.
pub const PASSWORD_CHARS_MIN: usize = 12;
/// Longest password in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Name, which stands in the records of what was resumed.
    pub name: String,
    /// What he may resume.
    pub reach: Reach,
    /// Unix seconds.
    pub added: i64,
    /// Argon2id, as a PHC string.
    hash: String,
}

/// Phones compose letters in different ways; the password is the same.
fn normal(password: &str) -> Zeroizing<String> {
    Zeroizing::new(password.nfc().collect())
}

fn hashed(password: &str) -> Result<String, AccessError> {
    // RFC 9106 by the OWASP minimum: Argon2id, 19 MiB, two passes, one lane; a random salt.
    let hash = Argon2::default().hash_password(normal(password).as_bytes());
    hash.map(|hash: PasswordHash| hash.to_string())
        .map_err(|error| AccessError::Unavailable(error.to_string()))
}

/// What an unknown name is compared with, so that it takes as long as a known one.
static NOBODY: LazyLock<String> =
    LazyLock::new(|| hashed("nobody has this password").unwrap_or_default());

fn matches(hash: &str, password: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else {
        return false;
    };
    Argon2::default()
        .verify_password(normal(password).as_bytes(), &parsed)
        .is_ok()
}

type Operators = Vec<Operator>;

impl Access {
    /// Every operator.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub fn operators(&self) -> Result<Operators, AccessError> {
        self.documents.read(Document::Operators)
    }

    /// Adds an operator.
    ///
    /// # Errors
    /// When the name is taken or malformed, the password is too short or too long, or the list is
    /// full or cannot be changed.
    pub fn add_operator(
        &self,
        name: &str,
        reach: Reach,
        password: &str,
        now: i64,
    ) -> Result<(), AccessError> {
        check_name(name)?;
        let long_enough = password.chars().count() >= PASSWORD_CHARS_MIN;
        if !long_enough || password.len() > PASSWORD_BYTES_MAX {
            let text = format!(
                "a password has at least {PASSWORD_CHARS_MIN} characters and at most {PASSWORD_BYTES_MAX} bytes"
            );
            return Err(AccessError::Invalid(text));
        }
        let hash = hashed(password)?;
        self.documents
            .edit(Document::Operators, |operators: &mut Operators| {
                if operators.iter().any(|operator| operator.name == name) {
                    return Err(AccessError::Exists(name.to_owned()));
                }
                if operators.len() >= OPERATORS_MAX {
                    let text = format!("there are {OPERATORS_MAX} operators; remove some");
                    return Err(AccessError::Invalid(text));
                }
                operators.push(Operator {
                    name: name.to_owned(),
                    reach,
                    added: now,
                    hash,
                });
                Ok(())
            })
    }

    /// Forgets an operator.
    ///
    /// # Errors
    /// When there is none of this name, or the list cannot be changed.
    pub fn remove_operator(&self, name: &str) -> Result<(), AccessError> {
        self.documents
            .edit(Document::Operators, |operators: &mut Operators| {
                let before = operators.len();
                operators.retain(|operator| operator.name != name);
                if operators.len() == before {
                    return Err(AccessError::Missing(name.to_owned()));
                }
                Ok(())
            })
    }

    /// The operator of a name and a password. It takes some 20 ms of one core and 19 MiB, also
    /// for a name that nobody has.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub fn sign_in(&self, name: &str, password: &str) -> Result<Option<Operator>, AccessError> {
        let found = self
            .operators()?
            .into_iter()
            .find(|operator| operator.name == name);
        let hash = found
            .as_ref()
            .map_or(NOBODY.as_str(), |operator| operator.hash.as_str());
        let fits = password.len() <= PASSWORD_BYTES_MAX && matches(hash, password);
        Ok(found.filter(|_| fits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_signs_in_and_it_is_nowhere_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::in_folder(folder.path());
        let password = "caf\u{e9} at the corner";
        access
            .add_operator("ben", Reach::GLOBAL, password, 7)
            .unwrap();
        let signed = |name: &str, password: &str| access.sign_in(name, password).unwrap();
        assert_eq!(signed("ben", password).unwrap().name, "ben");
        assert!(
            signed("ben", "cafe\u{301} at the corner").is_some(),
            "composed otherwise"
        );
        for wrong in ["", "cafe at the corner", "Caf\u{e9} at the corner"] {
            assert_eq!(signed("ben", wrong), None, "{wrong}");
        }
        for nobody in ["ada", "", "nobody"] {
            assert_eq!(signed(nobody, password), None, "{nobody}");
            assert_eq!(signed(nobody, "nobody has this password"), None, "{nobody}");
        }
        let text = std::fs::read_to_string(folder.path().join(".operators.json")).unwrap();
        assert!(text.contains("$argon2id$v=19$m=19456,t=2,p=1$") && !text.contains("corner"));
        access.remove_operator("ben").unwrap();
        assert_eq!(signed("ben", password), None);
    }

    #[test]
    fn short_passwords_and_taken_names_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::in_folder(folder.path());
        let add =
            |name: &str, password: &str| access.add_operator(name, Reach::GLOBAL, password, 0);
        assert!(add("ben", "eleven char").is_err());
        assert!(add("ben", &"x".repeat(PASSWORD_BYTES_MAX + 1)).is_err());
        assert!(add("b n", "twelve chars").is_err());
        add("ben", "twelve chars").unwrap();
        let taken = add("ben", "twelve chars").unwrap_err();
        assert_eq!(taken, AccessError::Exists("ben".to_owned()));
    }
}
