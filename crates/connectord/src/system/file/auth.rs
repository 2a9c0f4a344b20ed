//! How the credential of a connection is shown, and the named parts it has.

use std::time::Duration;

use serde::Deserialize;
use toml::Value as Toml;
use writ_proto::toml_flaw::flaw;

use super::exchange::{header_name, plain_path};
use super::field::pointer;
use super::{Driver, FileError, span};
use crate::credentials::auth::{Auth, Piece, Secret};
use crate::credentials::oauth::{Grant, LIVES_MAX, OAuth2};

/// Most parts of a credential.
const PARTS_MAX: usize = 8;

const CHOICES: &str = "auth = { bearer = \"{secret.token}\" }, { basic = \"{secret.user}:{secret.password}\" }, \
    { header = { name = \"X-Api-Key\", value = \"{secret.key}\" } }, { oauth2 = { grant = \"client_credentials\", token = \"/oauth/token\" } }, \
    or \"password\" for a database";
const GRANTS: &str =
    "grant = \"client_credentials\", \"jwt_bearer\" (with `audience`) or \"refresh_token\"";
/// How long a token is used where neither its issuer nor the file says.
const LIVES: Duration = Duration::from_secs(15 * 60);

/// `oauth2` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOAuth2 {
    grant: String,
    token: String,
    /// `form` or `basic`.
    client: Option<String>,
    audience: Option<String>,
    #[serde(default)]
    scope: String,
    origin: Option<String>,
    lives: Option<String>,
    header: Option<String>,
}

fn oauth2(raw: &Toml, parts: &[String]) -> Result<OAuth2, FileError> {
    let raw: RawOAuth2 = raw
        .clone()
        .try_into()
        .map_err(|error| FileError::new(flaw(&error).message))?;
    let grant = match (raw.grant.as_str(), raw.audience) {
        ("client_credentials", None) => Grant::ClientCredentials,
        ("refresh_token", None) => Grant::RefreshToken,
        ("jwt_bearer", Some(audience)) => Grant::JwtBearer(audience),
        _ => return Err(FileError::new(GRANTS)),
    };
    let wanted = grant.parts();
    let same = parts.len() == wanted.len()
        && wanted
            .iter()
            .all(|name| parts.iter().any(|part| part == name));
    if !same {
        let names = wanted.join("\", \"");
        return Err(FileError::new(format!(
            "this grant wants secret = [\"{names}\"]"
        )));
    }
    let basic = match raw.client.as_deref() {
        Some("basic") => true,
        Some("form") | None => false,
        Some(_) => return Err(FileError::new("client = \"form\" or \"basic\"")),
    };
    let lives = span(raw.lives.as_ref(), "lives", LIVES, LIVES_MAX)?;
    Ok(OAuth2 {
        path: plain_path(&raw.token)?,
        grant,
        basic,
        scope: raw.scope,
        origin_at: raw.origin.as_deref().map(pointer).transpose()?,
        lives,
        header: raw.header.as_deref().map(header_name).transpose()?,
        parts: parts.to_vec(),
    })
}

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
        parts: parts.to_vec(),
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
        (Driver::Postgres, Some("password"), _) if parts.len() == 1 => {
            Ok(Auth::Password(parts.concat()))
        }
        (Driver::Postgres, _, _) => Err(FileError::new(
            "auth = \"password\" and secret = [\"password\"] for a database",
        )),
        (Driver::Http | Driver::Remote, None, Some((key, value))) => match key.as_str() {
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
            "oauth2" => {
                let compiled = oauth2(value, parts).map_err(|error| error.within("oauth2"))?;
                Ok(Auth::OAuth2(Box::new(compiled)))
            }
            _ => Err(FileError::new(CHOICES)),
        },
        (Driver::Http | Driver::Remote, _, _) => Err(FileError::new(CHOICES)),
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
