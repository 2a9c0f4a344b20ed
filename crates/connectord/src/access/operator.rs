//! Operators who may resume, and undo if they were given that: a name and a password, of which only an Argon2id hash is kept.

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
    /// Whether he may also undo there.
    #[serde(default)]
    pub undo: bool,
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
    pub async fn operators(&self) -> Result<Operators, AccessError> {
        self.documents.read(Document::Operators).await
    }

    /// Adds an operator with a reach, who may also undo there or not.
    ///
    /// # Errors
    /// When the name is taken or malformed, the password is too short or too long, or the list is
    /// full or cannot be changed.
    pub async fn add_operator(
        &self,
        name: &str,
        (reach, undo): (Reach, bool),
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
                    reach: reach.clone(),
                    undo,
                    added: now,
                    hash: hash.clone(),
                });
                Ok(())
            })
            .await
    }

    /// Forgets an operator.
    ///
    /// # Errors
    /// When there is none of this name, or the list cannot be changed.
    pub async fn remove_operator(&self, name: &str) -> Result<(), AccessError> {
        self.documents
            .edit(Document::Operators, |operators: &mut Operators| {
                let before = operators.len();
                operators.retain(|operator| operator.name != name);
                if operators.len() == before {
                    return Err(AccessError::Missing(name.to_owned()));
                }
                Ok(())
            })
            .await
    }

    /// The operator of a name and a password. It takes some 20 ms of one core and 19 MiB, also
    /// for a name that nobody has.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub async fn sign_in(
        &self,
        name: &str,
        password: Zeroizing<String>,
    ) -> Result<Option<Operator>, AccessError> {
        let operators = self.operators().await?;
        let found = operators.into_iter().find(|operator| operator.name == name);
        let hash = found.as_ref().map(|operator| operator.hash.clone());
        let work = move || {
            // Made by whoever comes first, known or not.
            let nobody = NOBODY.as_str();
            let hash = hash.as_deref().unwrap_or(nobody);
            password.len() <= PASSWORD_BYTES_MAX && matches(hash, &password)
        };
        let fits = tokio::task::spawn_blocking(work).await;
        let fits = fits.map_err(|error| AccessError::Unavailable(error.to_string()))?;
        Ok(found.filter(|_| fits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_signs_in_and_it_is_nowhere_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::in_folder(folder.path());
        let password = "caf\u{e9} at the corner";
        access
            .add_operator("ben", (Reach::GLOBAL, false), password, 7)
            .await
            .unwrap();
        let signed = async |name: &str, password: &str| {
            let password = Zeroizing::new(password.to_owned());
            access.sign_in(name, password).await.unwrap()
        };
        assert_eq!(signed("ben", password).await.unwrap().name, "ben");
        assert!(
            signed("ben", "cafe\u{301} at the corner").await.is_some(),
            "composed otherwise"
        );
        for wrong in ["", "cafe at the corner", "Caf\u{e9} at the corner"] {
            assert_eq!(signed("ben", wrong).await, None, "{wrong}");
        }
        for nobody in ["ada", "", "nobody"] {
            assert_eq!(signed(nobody, password).await, None, "{nobody}");
            assert_eq!(
                signed(nobody, "nobody has this password").await,
                None,
                "{nobody}"
            );
        }
        let text = std::fs::read_to_string(folder.path().join(".operators.json")).unwrap();
        assert!(text.contains("$argon2id$v=19$m=19456,t=2,p=1$") && !text.contains("corner"));
        access.remove_operator("ben").await.unwrap();
        assert_eq!(signed("ben", password).await, None);
    }

    #[tokio::test]
    async fn short_passwords_and_taken_names_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::in_folder(folder.path());
        let add = async |name: &str, password: &str| {
            let rights = (Reach::GLOBAL, false);
            access.add_operator(name, rights, password, 0).await
        };
        assert!(add("ben", "eleven char").await.is_err());
        assert!(
            add("ben", &"x".repeat(PASSWORD_BYTES_MAX + 1))
                .await
                .is_err()
        );
        assert!(add("b n", "twelve chars").await.is_err());
        add("ben", "twelve chars").await.unwrap();
        let taken = add("ben", "twelve chars").await.unwrap_err();
        assert_eq!(taken, AccessError::Exists("ben".to_owned()));
    }
}
