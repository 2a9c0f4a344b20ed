//! Where the secret of a connection comes from: sealed beside the configuration, or a file that somebody else keeps,
//! such as a mounted Kubernetes secret, what a Vault agent renders, or a credential of systemd.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use writ_proto::Reason;
use zeroize::Zeroizing;

use super::SECRET_BYTES_MAX;
use crate::domain::gate::Refusal;
use crate::private_file::check_private;

/// What systemd calls the folder of a service's credentials (systemd.exec, LoadCredential).
const SYSTEMD: &str = "CREDENTIALS_DIRECTORY";

/// Where the secret of a connection is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// In the sealed file, by the name of the connection.
    #[default]
    Sealed,
    /// In a file that only its owner may use.
    File(PathBuf),
    /// In the credential of this name that systemd gives to the service.
    Systemd(String),
}

fn missing(why: String) -> Refusal {
    Refusal::new(Reason::CredentialMissing, why)
}

impl Source {
    /// Reads `sealed`, `file:PATH` (within a folder, if it is not absolute) or `systemd:NAME`.
    ///
    /// # Errors
    /// What may be written instead.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let plain = |name: &str| {
            let first = name
                .chars()
                .next()
                .is_some_and(|c| c.is_ascii_alphanumeric());
            first
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        match text.split_once(':') {
            None if text == "sealed" => Ok(Self::Sealed),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(folder.join(path))),
            Some(("systemd", name)) if plain(name) => Ok(Self::Systemd(name.to_owned())),
            _ => Err(format!(
                "credential = {text:?}: write \"sealed\", \"file:PATH\" or \"systemd:NAME\""
            )),
        }
    }

    /// The file that it is in, unless it is sealed; `variable` is the environment.
    ///
    /// # Errors
    /// `CREDENTIAL_MISSING` where systemd has given none.
    pub fn path(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<PathBuf>, Refusal> {
        match self {
            Self::Sealed => Ok(None),
            Self::File(path) => Ok(Some(path.clone())),
            Self::Systemd(name) => match variable(SYSTEMD) {
                Some(folder) => Ok(Some(Path::new(&folder).join(name))),
                None => Err(missing(format!(
                    "credential systemd:{name}: {SYSTEMD} is not set, so no systemd runs this: put LoadCredential={name}:FILE \
                     into the unit of connectord, or name a file with \"file:PATH\""
                ))),
            },
        }
    }

    /// The secret in a file: one line, or an object of JSON with the parts.
    ///
    /// # Errors
    /// `CREDENTIAL_MISSING` where there is none, `KEY_FILE_MODE` where others can use the file.
    pub(super) fn read(&self, path: &Path) -> Result<Zeroizing<String>, Refusal> {
        let wrong = |why: &dyn core::fmt::Display| missing(format!("{}: {why}", path.display()));
        let about = std::fs::metadata(path).map_err(|error| wrong(&error))?;
        // A pipe would be waited for.
        if !about.is_file() {
            return Err(wrong(&"no plain file"));
        }
        // systemd keeps its own from others by the folder, and shows modes that stand for access lists.
        if matches!(self, Self::File(_)) {
            check_private(path)?;
        }
        let mut text = Zeroizing::new(String::new());
        let most = u64::try_from(SECRET_BYTES_MAX).unwrap_or(u64::MAX);
        let file = File::open(path).map_err(|error| wrong(&error))?;
        let read = file.take(most.saturating_add(1)).read_to_string(&mut text);
        let read = read.map_err(|error| wrong(&error))?;
        if read > SECRET_BYTES_MAX {
            return Err(wrong(&format!("more than {SECRET_BYTES_MAX} bytes")));
        }
        let secret = text.strip_suffix('\n').unwrap_or(&text);
        let secret = secret.strip_suffix('\r').unwrap_or(secret);
        let is_object = serde_json::from_str::<serde::de::IgnoredAny>(secret).is_ok()
            && secret.starts_with('{');
        if secret.is_empty() || !is_object && secret.chars().any(char::is_control) {
            return Err(wrong(
                &"a secret is one line of text, or an object of JSON with its parts",
            ));
        }
        Ok(Zeroizing::new(secret.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const FOLDER: &str = "/etc/writ";

    #[test]
    fn a_source_is_sealed_a_file_or_a_credential_of_systemd() {
        let read = |text: &str| Source::parse(text, Path::new(FOLDER));
        assert_eq!(read("sealed").unwrap(), Source::Sealed);
        let file = |path: &str| Ok(Source::File(path.into()));
        assert_eq!(read("file:keys/crm"), file("/etc/writ/keys/crm"));
        assert_eq!(read("file:/run/secrets/crm"), file("/run/secrets/crm"));
        assert_eq!(
            read("systemd:crm-main"),
            Ok(Source::Systemd("crm-main".into()))
        );
        for wrong in [
            "",
            "file:",
            "systemd:",
            "systemd:../x",
            "systemd:.x",
            "systemd:a/b",
            "vault:x",
            "Sealed",
            "keys/crm",
        ] {
            assert!(
                read(wrong).unwrap_err().contains("\"file:PATH\""),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_credential_of_systemd_is_in_the_folder_of_the_service() {
        let source = Source::Systemd("crm".into());
        let given = |name: &str| {
            (name == SYSTEMD).then(|| "/run/credentials/connectord.service".to_owned())
        };
        let path = source.path(given).unwrap().unwrap();
        assert_eq!(path, Path::new("/run/credentials/connectord.service/crm"));
        let refused = source.path(|_| None).unwrap_err();
        assert_eq!(refused.reason, Reason::CredentialMissing);
        assert!(refused.detail.contains("LoadCredential=crm:FILE"));
        assert_eq!(Source::Sealed.path(given).unwrap(), None);
    }

    #[test]
    fn a_secret_in_a_file_is_one_line_that_only_its_owner_can_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crm");
        let source = Source::File(path.clone());
        let write = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let code = |source: &Source| source.read(&path).unwrap_err().reason;
        assert_eq!(code(&source), Reason::CredentialMissing);
        for (text, secret) in [
            ("abc", "abc"),
            ("a b\n", "a b"),
            ("abc\r\n", "abc"),
            ("{\"a\":\n\"b\"}\n", "{\"a\":\n\"b\"}"),
        ] {
            write(text, 0o400);
            assert_eq!(source.read(&path).unwrap().as_str(), secret, "{text:?}");
        }
        let long = "x".repeat(SECRET_BYTES_MAX + 2);
        for wrong in ["", "\n", "a\nb\n", "a\tb", "\n{}", long.as_str()] {
            write(wrong, 0o600);
            assert_eq!(code(&source), Reason::CredentialMissing, "{wrong:.20?}");
        }
        write("abc", 0o640);
        assert_eq!(code(&source), Reason::KeyFileMode);
        let systemd = Source::Systemd("crm".into());
        assert_eq!(
            systemd.read(&path).unwrap().as_str(),
            "abc",
            "its folder is private"
        );
        let folder = Source::File(folder.path().into());
        assert_eq!(
            folder.read(path.parent().unwrap()).unwrap_err().reason,
            Reason::CredentialMissing
        );
    }
}
