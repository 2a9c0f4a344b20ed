//! How the credential of a connection is shown, and the named parts it has.

use toml::Value as Toml;

use super::exchange::header_name;
use super::{Driver, FileError};
use crate::credentials::auth::{Auth, Piece, Secret};

/// Most parts of a credential.
const PARTS_MAX: usize = 8;

const CHOICES: &str = "auth = { bearer = \"{secret.token}\" }, { basic = \"{secret.user}:{secret.password}\" }, \
    { header = { name = \"X-Api-Key\", value = \"{secret.key}\" } }, or \"password\" for a database";

/// Takes a text with `{secret.part}` in it apart.
fn secret(text: &str, parts: &[String]) -> Result<Secret, FileError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| FileError::new("a brace is open"))?;
        let part = name
            .strip_prefix("secret.")
            .and_then(|name| parts.iter().position(|known| known == name));
        let part = part.ok_or_else(|| {
            FileError::new(format!(
                "`{{{name}}}` is no part of the credential; secret = [..] names them"
            ))
        })?;
        pieces.push(Piece::Part(part));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    if !pieces.iter().any(|piece| matches!(piece, Piece::Part(_))) {
        return Err(FileError::new("it holds no part of the credential"));
    }
    Ok(Secret {
        pieces,
        parts: parts.len(),
    })
}

/// How a system file says that its credential is shown.
pub(super) fn compile(
    raw: Option<&Toml>,
    parts: &[String],
    driver: Driver,
) -> Result<Auth, FileError> {
    let raw = raw.ok_or_else(|| FileError::new(format!("say it aloud: {CHOICES}")))?;
    let text = |value: &Toml| {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| FileError::new(CHOICES))
    };
    let plain = |part: &String| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    };
    if parts.is_empty() || parts.len() > PARTS_MAX || !parts.iter().all(plain) {
        return Err(FileError::new(
            "secret = [\"token\"] names the parts of the credential, a-z and _",
        ));
    }
    let one = raw
        .as_table()
        .filter(|table| table.len() == 1)
        .and_then(|table| table.iter().next());
    match (driver, raw.as_str(), one) {
        (Driver::Postgres, Some("password"), _) if parts.len() == 1 => Ok(Auth::Password),
        (Driver::Postgres, _, _) => Err(FileError::new(
            "auth = \"password\" and secret = [\"password\"] for a database",
        )),
        (Driver::Http, None, Some((key, value))) => match key.as_str() {
            "bearer" => secret(&text(value)?, parts).map(Auth::Bearer),
            "basic" => secret(&text(value)?, parts).map(Auth::Basic),
            "header" => {
                let (name, value) = value
                    .get("name")
                    .zip(value.get("value"))
                    .ok_or_else(|| FileError::new(CHOICES))?;
                Ok(Auth::Header(
                    header_name(&text(name)?)?,
                    secret(&text(value)?, parts)?,
                ))
            }
            "oauth2" => Err(FileError::new("oauth2 is not in this version")),
            _ => Err(FileError::new(CHOICES)),
        },
        (Driver::Http, _, _) => Err(FileError::new(CHOICES)),
    }
}

#[cfg(test)]
impl Auth {
    /// As a file would say it.
    pub(crate) fn test(raw: &Toml, parts: &[&str]) -> Self {
        let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        compile(Some(raw), &parts, Driver::Http).unwrap()
    }
}
