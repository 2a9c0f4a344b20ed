//! A notice as signed JSON, in the manner of Standard Webhooks 1.0: `webhook-id`,
//! `webhook-timestamp` and `webhook-signature`, HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::domain::incident::notice::Notice;
use crate::store::notice::NoticeRow;

const SECRET_BYTES_MIN: usize = 24;
const SECRET_BYTES_MAX: usize = 64;

/// A signing secret.
pub(super) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Reads `whsec_` and base64.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let refuse = "the secret is `whsec_` and base64 of 24 to 64 bytes";
        let coded = text.trim().strip_prefix("whsec_").ok_or(refuse)?;
        let bytes = Zeroizing::new(STANDARD.decode(coded).map_err(|_| refuse)?);
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            return Err(refuse);
        }
        Ok(Self(bytes))
    }

    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signed = format!("{id}.{timestamp}.");
        let code: [u8; 32] = match Hmac::<Sha256>::new_from_slice(&self.0) {
            Ok(mac) => mac
                .chain_update(signed.as_bytes())
                .chain_update(body)
                .finalize()
                .into_bytes()
                .into(),
            // INVARIANT: HMAC takes keys of every length, so this arm is never reached.
            Err(_) => [0; 32],
        };
        format!("v1,{}", STANDARD.encode(code))
    }
}

/// The body.
pub(super) fn body(row: &NoticeRow) -> Vec<u8> {
    let Notice {
        id,
        tenant,
        kind,
        title,
        fields,
        link,
        dedup_key: _,
        time_ms,
    } = &row.notice;
    let time = chrono::DateTime::from_timestamp_millis(*time_ms).unwrap_or_default();
    let fields = fields
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}));
    json!({
        "type": format!("writ.{}", kind.name()),
        "timestamp": time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "data": {
            "id": id.to_string(),
            "tenant": tenant.as_str(),
            "title": title,
            "fields": fields.collect::<Vec<_>>(),
            "link": link,
        },
    })
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_standard() {
        // The example of the Standard Webhooks libraries.
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let signed = secret.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_short_or_bare_secret_is_refused() {
        for bad in [
            "",
            "whsec_",
            "whsec_AAAA",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_!",
        ] {
            assert!(Secret::parse(bad).is_err(), "{bad}");
        }
    }
}
