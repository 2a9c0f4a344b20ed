//! Runs conformance vectors through the product's own code: for people who write a client.
//!
//! Formats: `token.json` (all checks), `args.json`, and Wycheproof `eddsa_verify_schema`.

use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value as Json;
use writ_proto::card::Rollout;
use writ_proto::keyset::{KeyEntry, KeySet, KeyStatus, KeyUse, public_key};
use writ_proto::token::{Mode, UnverifiedToken, Verifier};
use writ_proto::value::{args_from_cbor, args_from_json};

use crate::domain::gate::{Call, Refusal, Seen, Standing, admit};

/// How one case went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// What the file expects.
    pub expected: String,
    /// What the product says.
    pub got: String,
}

const CASES_MAX: usize = 100_000;

fn text<'a>(value: &'a Json, key: &str) -> Result<&'a str, String> {
    value
        .get(key)
        .and_then(Json::as_str)
        .ok_or_else(|| format!("`{key}` is missing"))
}

fn bytes(value: &Json, key: &str) -> Result<Vec<u8>, String> {
    hex::decode(text(value, key)?).map_err(|error| format!("`{key}`: {error}"))
}

fn list<'a>(value: &'a Json, key: &str) -> Result<&'a [Json], String> {
    let items = value
        .get(key)
        .and_then(Json::as_array)
        .ok_or_else(|| format!("no `{key}`"))?;
    if items.len() > CASES_MAX {
        Err(format!("more than {CASES_MAX} cases"))
    } else {
        Ok(items)
    }
}

/// Runs a file of any of the three formats.
///
/// # Errors
/// When the file has none of them.
pub fn run(file: &str) -> Result<Vec<CaseResult>, String> {
    let json: Json = serde_json::from_str(file).map_err(|error| error.to_string())?;
    if json.get("vectors").is_some() {
        return list(&json, "vectors")?
            .iter()
            .map(|case| {
                let (name, expected) = (text(case, "name")?, text(case, "expect")?);
                let got = token_case(&json, case)?;
                Ok(CaseResult {
                    name: name.to_owned(),
                    expected: expected.to_owned(),
                    got,
                })
            })
            .collect();
    }
    if json.get("accept").is_some() {
        return args(&json);
    }
    if json.get("testGroups").is_some() {
        return wycheproof(&json);
    }
    Err("neither `vectors`, nor `accept`, nor `testGroups`: not a vector file".to_owned())
}

fn key_set(vectors: &Json) -> Result<KeySet, String> {
    let mut entries = Vec::new();
    for listed in list(vectors, "keys")? {
        let key = public_key(&bytes(listed, "pub_hex")?).ok_or("a weak key")?;
        let usage = match text(listed, "use")? {
            "decision" => KeyUse::Decision,
            "checkpoint" => KeyUse::Checkpoint,
            "manifest" => KeyUse::Manifest,
            _ => KeyUse::Trust,
        };
        let mut entry = KeyEntry::new(key, text(listed, "iss")?, usage);
        entry.status = match text(listed, "status")? {
            "active" => KeyStatus::Active,
            "retiring" => KeyStatus::Retiring,
            _ => KeyStatus::Revoked,
        };
        entries.push(entry);
    }
    KeySet::new(1, entries).map_err(|error| error.to_string())
}

fn call_of(context: &Json) -> Result<Call, String> {
    let target = match context
        .get("target")
        .and_then(Json::as_array)
        .map(Vec::as_slice)
    {
        Some([kind, id]) => kind.as_str().zip(id.as_str()),
        _ => None,
    };
    let precondition = context.get("precondition").and_then(Json::as_str);
    Ok(Call {
        tenant: text(context, "tenant")?.to_owned(),
        caller_tenant: text(context, "tenant")?.to_owned(),
        agent: text(context, "caller_agent")?.to_owned(),
        connection: text(context, "connector")?.to_owned(),
        action: text(context, "action")?.to_owned(),
        target: target.map(|(kind, id)| (kind.to_owned(), id.to_owned())),
        args_cbor: bytes(context, "args_cbor_hex")?,
        precondition: precondition.map(str::to_owned),
        mode: if context.get("want_mode") == Some(&Json::from(1)) {
            Mode::Execute
        } else {
            Mode::DryRun
        },
        request_id: uuid::Uuid::nil(),
        run_id: String::new(),
    })
}

/// The code of the first failing check of one case of `token.json`, or `OK`.
///
/// # Errors
/// When the file lacks a member.
pub fn token_case(vectors: &Json, case: &Json) -> Result<String, String> {
    let mut context = vectors
        .get("context")
        .cloned()
        .ok_or("`context` is missing")?;
    let overrides = case.get("context_override").and_then(Json::as_object);
    if let Some((members, changes)) = context.as_object_mut().zip(overrides) {
        members.extend(
            changes
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
    }
    let number = |key: &str| {
        context
            .get(key)
            .and_then(Json::as_i64)
            .ok_or(format!("no `{key}`"))
    };
    let certificate = context.get("mtls_x5t_s256_hex").and_then(Json::as_str);
    let certificate = certificate.and_then(|text| hex::decode(text).ok());
    let keys = key_set(vectors)?;
    let verifier = Verifier {
        keys: &keys,
        audience: text(&context, "aud")?,
        now_seconds: number("now")?,
        leeway_seconds: u32::try_from(number("leeway_s")?).map_err(|error| error.to_string())?,
        ttl_seconds_max: u32::try_from(number("max_ttl_s")?).map_err(|error| error.to_string())?,
        client_cert_sha256: certificate.and_then(|bytes| bytes.try_into().ok()),
        require_cnf: false,
    };
    let digest: [u8; 32] = bytes(&context, "card_digest_hex")?
        .try_into()
        .map_err(|_| "`card_digest_hex`")?;
    let seen = Seen {
        now: chrono::DateTime::from_timestamp(number("now")?, 0).ok_or("`now`")?,
        card_digest: &digest,
        rollout: Rollout::Live,
        standing: Some(Standing {
            epoch: u64::try_from(number("current_epoch")?).map_err(|error| error.to_string())?,
            ..Standing::default()
        }),
    };
    let spent = list(&context, "seen_cti_hex")?;
    let token = bytes(case, "token_hex")?;
    let call = call_of(&context)?;
    let admitted = UnverifiedToken::new(&token)
        .verify(&verifier)
        .map_err(Refusal::from)
        .and_then(|token| admit(&token, &call, &seen, None));
    Ok(match admitted {
        Err(refusal) => refusal.reason.code().to_owned(),
        Ok(permit) => {
            let cti = hex::encode(permit.claims().cti.bytes());
            // Vectors write ids in hex, some without the last digit; the store compares ids.
            let is_spent = |seen: &Json| seen.as_str().is_some_and(|seen| cti.starts_with(seen));
            if spent.iter().any(is_spent) {
                "TOKEN_REPLAYED"
            } else {
                "OK"
            }
            .to_owned()
        }
    })
}

fn args(json: &Json) -> Result<Vec<CaseResult>, String> {
    let mut results = Vec::new();
    let mut add = |name: &str, expected: &str, got: String| {
        results.push(CaseResult {
            name: name.to_owned(),
            expected: expected.to_owned(),
            got,
        });
    };
    for case in list(json, "accept")? {
        let got = match args_from_json(text(case, "json")?) {
            Ok(map) => hex::encode(map.encode()),
            Err(error) => error.reason.code().to_owned(),
        };
        add(text(case, "name")?, text(case, "cbor_hex")?, got);
    }
    for case in list(json, "reject_json")? {
        let got = args_from_json(text(case, "json")?).map_err(|error| error.reason.code());
        add(
            text(case, "name")?,
            text(case, "error")?,
            got.err().unwrap_or("OK").to_owned(),
        );
    }
    for case in list(json, "reject_cbor")? {
        let got = args_from_cbor(&bytes(case, "cbor_hex")?).map_err(|error| error.reason.code());
        add(
            text(case, "name")?,
            text(case, "error")?,
            got.err().unwrap_or("OK").to_owned(),
        );
    }
    Ok(results)
}

fn wycheproof(json: &Json) -> Result<Vec<CaseResult>, String> {
    let mut results = Vec::new();
    for group in list(json, "testGroups")? {
        let key = bytes(group.get("publicKey").ok_or("no `publicKey`")?, "pk")?;
        let key = key
            .try_into()
            .ok()
            .and_then(|key| VerifyingKey::from_bytes(&key).ok());
        for case in list(group, "tests")? {
            let (message, signature) = (bytes(case, "msg")?, bytes(case, "sig")?);
            let signature = Signature::from_slice(&signature).ok();
            let holds = key
                .as_ref()
                .zip(signature)
                .is_some_and(|(key, signature)| key.verify_strict(&message, &signature).is_ok());
            let name = case
                .get("tcId")
                .map(ToString::to_string)
                .unwrap_or_default();
            let got = if holds { "valid" } else { "invalid" }.to_owned();
            results.push(CaseResult {
                name,
                expected: text(case, "result")?.to_owned(),
                got,
            });
        }
    }
    Ok(results)
}
