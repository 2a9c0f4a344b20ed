//! The assertion of a JWT bearer grant (RFC 7523 3), signed with RS256 (RFC 7518 3.3): the one place
//! where a text that somebody else's standard demands is signed.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use zeroize::Zeroizing;

/// How long an assertion is good, in seconds; issuers take three to five minutes.
const LIVES_SECONDS: i64 = 180;

/// Who asks for whom, and whom.
pub(super) struct Names<'a> {
    pub(super) issuer: &'a str,
    pub(super) subject: &'a str,
    pub(super) audience: &'a str,
}

/// A private key as PEM files have it, PKCS#8 or PKCS#1, or the base64 of PKCS#8 alone.
fn key(text: &str) -> Result<RsaKeyPair, String> {
    let wrong = || "private_key is no RSA key: a PEM file (PKCS#8 or PKCS#1) is wanted".to_owned();
    let pkcs1 = text.contains("BEGIN RSA PRIVATE KEY");
    let body = text
        .split("-----")
        .find(|part| !part.trim().is_empty() && !part.contains("PRIVATE KEY"));
    let body: Zeroizing<String> = Zeroizing::new(
        body.ok_or_else(wrong)?
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect(),
    );
    let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).map_err(|_| wrong())?);
    let key = if pkcs1 {
        RsaKeyPair::from_der(&der)
    } else {
        RsaKeyPair::from_pkcs8(&der)
    };
    key.map_err(|_| wrong())
}

/// The signed assertion, good for three minutes from `now` in Unix seconds.
pub(super) fn signed(names: &Names<'_>, private_key: &str, now: i64) -> Result<String, String> {
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let head = part(json!({"alg": "RS256", "typ": "JWT"}));
    let claims = part(json!({
        "iss": names.issuer,
        "sub": names.subject,
        "aud": names.audience,
        "iat": now,
        "exp": now.saturating_add(LIVES_SECONDS),
        "jti": crate::ids::new_id().to_string(),
    }));
    let text = format!("{head}.{claims}");
    let key = key(private_key)?;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .map_err(|_| "the assertion cannot be signed".to_owned())?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
