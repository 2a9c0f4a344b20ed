//! What is sent to an issuer, what of its answer is taken, and refresh tokens that are replaced.

use serde_json::json;
use writ_proto::Reason;

use super::super::{CredentialStore, write_private};
use super::*;

/// A store in a folder that lasts as long as the test.
fn store() -> (tempfile::TempDir, CredentialStore) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("seal.key");
    write_private(&key, hex::encode([7; 32]).as_bytes()).unwrap();
    let store = CredentialStore::new(folder.path().join("credentials.json"), key);
    (folder, store)
}

fn oauth(grant: Grant, basic: bool) -> OAuth2 {
    OAuth2 {
        path: "/token".to_owned(),
        parts: grant
            .parts()
            .iter()
            .map(|part| (*part).to_owned())
            .collect(),
        grant,
        basic,
        scope: "crm read".to_owned(),
        origin_at: Some("/instance_url".to_owned()),
        lives: Duration::from_secs(60),
        header: None,
    }
}

/// Header and form of a request for a token.
fn asked(secret: &str, oauth: &OAuth2, refresh: Option<&str>) -> Result<(String, String), String> {
    let (_folder, store) = store();
    store.put("crm/main", secret, 5).unwrap();
    let credential = store.open("crm/main").unwrap();
    let request = reqwest::Client::new().post("http://127.0.0.1/token");
    let refresh = refresh.map(|text| SecretString::from(text.to_owned()));
    let request = credential.ask(request, oauth, (1_000, refresh.as_ref()))?;
    let request = request.build().unwrap();
    assert!(!format!("{:?}", request.headers()).contains("Basic "));
    let header = request.headers().get(AUTHORIZATION);
    let header = header
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    let body = request.body().and_then(reqwest::Body::as_bytes).unwrap();
    Ok((header, String::from_utf8(body.to_vec()).unwrap()))
}

#[test]
fn client_and_secret_go_where_the_file_says() {
    // As RFC 6749 2.3.1 wants it: each encoded, then joined; a colon of a secret divides nothing.
    let named = json!({"client_id": "a b", "client_secret": "c:d/ä"}).to_string();
    let (header, form) = asked(&named, &oauth(Grant::ClientCredentials, true), None).unwrap();
    use base64::Engine as _;
    let expected = base64::engine::general_purpose::STANDARD.encode("a%20b:c%3Ad%2F%C3%A4");
    assert_eq!(header, format!("Basic {expected}"));
    assert_eq!(form, "grant_type=client%5Fcredentials&scope=crm%20read");
    let (header, form) = asked("a:b:c", &oauth(Grant::ClientCredentials, false), None).unwrap();
    assert_eq!(header, "");
    assert!(form.ends_with("&client_id=a&client_secret=b%3Ac"), "{form}");
    let sealed = &oauth(Grant::RefreshToken, false);
    let (_, form) = asked("a:b:old", sealed, None).unwrap();
    assert!(form.contains("&refresh_token=old&"), "{form}");
    let (_, form) = asked("a:b:old", sealed, Some("new")).unwrap();
    assert!(
        form.contains("&refresh_token=new&") && !form.contains("old"),
        "{form}"
    );
    for short in ["a", "{\"client_id\":\"a\"}"] {
        let refused = asked(short, &oauth(Grant::ClientCredentials, true), None);
        assert!(refused.unwrap_err().contains("no part client_secret"));
    }
}

#[test]
fn an_assertion_is_signed_by_the_key_and_for_its_audience() {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey,
    };
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let base64 = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
    let oauth = oauth(Grant::JwtBearer("https://login.example".to_owned()), false);
    // What PKCS#8 holds, after its version and the name of the algorithm.
    let (head, pkcs1) = der.as_ref().split_at(26);
    assert_eq!(head[22], 4, "{head:?}");
    let pkcs1 = STANDARD.encode(pkcs1);
    let pkcs1 =
        format!("-----BEGIN RSA PRIVATE KEY-----\n{pkcs1}\n-----END RSA PRIVATE KEY-----\n");
    let named = |pem: &str| {
        json!({"client_id": "id", "username": "ada@acme", "private_key": pem}).to_string()
    };
    for secret in [named(&pem), named(&pkcs1), format!("id:ada@acme:{base64}")] {
        let (header, form) = asked(&secret, &oauth, None).unwrap();
        assert_eq!(header, "");
        let assertion = form
            .split("assertion=")
            .nth(1)
            .unwrap()
            .split('&')
            .next()
            .unwrap();
        let assertion = percent_encoding::percent_decode_str(assertion)
            .decode_utf8()
            .unwrap();
        let (text, signature) = assertion.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        public.verify(text.as_bytes(), &signature).unwrap();
        let claims = URL_SAFE_NO_PAD
            .decode(text.split('.').nth(1).unwrap())
            .unwrap();
        let claims: Json = serde_json::from_slice(&claims).unwrap();
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&json!("id"), &json!("ada@acme"))
        );
        assert_eq!(claims["aud"], "https://login.example");
        assert_eq!(
            (&claims["iat"], &claims["exp"]),
            (&json!(1_000), &json!(1_180))
        );
    }
    for wrong in [
        "id:ada:nonsense",
        "id:ada:-----BEGIN PRIVATE KEY-----",
        "id:ada:",
    ] {
        assert!(
            asked(wrong, &oauth, None)
                .unwrap_err()
                .contains("no RSA key"),
            "{wrong}"
        );
    }
}

#[test]
fn of_an_answer_only_a_bearer_token_for_this_address_is_taken() {
    let oauth = oauth(Grant::ClientCredentials, true);
    let good = json!({"access_token": "t", "token_type": "Bearer", "instance_url": "https://crm.example/"});
    let with = |name: &str, value: Json| {
        let mut answer = good.clone();
        answer[name] = value;
        oauth.given(&answer, "https://crm.example")
    };
    assert_eq!(
        with("token_type", json!("bearer")).unwrap().lives.as_secs(),
        60
    );
    assert_eq!(with("expires_in", json!(7)).unwrap().lives.as_secs(), 7);
    assert_eq!(with("expires_in", json!("7")).unwrap().lives.as_secs(), 7);
    // What is no span of time is taken for none, which is what the file says.
    for (odd, seconds) in [
        (json!("soon"), 60),
        (json!(-5), 60),
        (json!(0), 60),
        (json!("0"), 60),
        (json!(3599.5), 3_599),
        (json!(1e300), LIVES_MAX.as_secs()),
    ] {
        let lives = with("expires_in", odd).unwrap().lives;
        assert_eq!(lives.as_secs(), seconds);
    }
    let named = json!("https://CRM.example:443/services");
    assert!(with("instance_url", named).is_ok());
    let next = |value: Json| next_refresh(&json!({"refresh_token": value}));
    assert!(next(json!("a b")).unwrap().is_some() && next(json!(null)).unwrap().is_none());
    for odd in [json!(""), json!("a\nb"), json!(5), json!("x".repeat(9_000))] {
        assert!(next(odd).is_err());
    }
    for (name, value) in [
        ("token_type", json!("mac")),
        ("token_type", json!(null)),
        ("instance_url", json!("https://crm.example.evil")),
        ("instance_url", json!(null)),
        ("access_token", json!("")),
        ("access_token", json!("a\r\nb")),
        ("access_token", json!("a b")),
        ("access_token", json!("x".repeat(9_000))),
        ("access_token", json!(5)),
    ] {
        let refused = with(name, value.clone()).err();
        let why = refused.unwrap_or_else(|| panic!("{name} {value}"));
        assert!(!why.contains("evil"), "{why}");
    }
}

#[test]
fn a_token_is_used_until_its_end_and_a_worn_one_never_again() {
    let given = |seconds| Given {
        header: None,
        token: SecretString::from("t".to_owned()),
        lives: Duration::from_secs(seconds),
    };
    let mut held = Held::default();
    assert!(held.usable(None).is_none());
    let first = held.take(given(3_600)).number();
    assert_eq!(held.usable(None).map(Token::number), Some(first));
    assert!(held.usable(Some(first)).is_none());
    let second = held.take(given(3_600)).number();
    // Somebody else got it while this call waited with the old one.
    assert_eq!(held.usable(Some(first)).map(Token::number), Some(second));
    assert!(held.replaces(None) && held.replaces(Some(first)));
    // A system that takes no token at all does not make us ask for one at each call.
    assert!(held.replaces(Some(second)));
    let third = held.take(given(3_600)).number();
    assert!(!held.replaces(Some(third)));
    // To be asked in vain does not begin that time anew.
    held.replaced = Instant::now().checked_sub(REFUSED_FOR);
    assert!(held.replaces(Some(third)));
    let asked = held.replaced;
    assert!(!held.replaces(Some(third)) && held.replaced == asked);
    held.refuse("invalid_client", Duration::from_secs(3_600));
    assert_eq!(held.refused(), Some("invalid_client"));
    // Who has a token that is good is not refused with those who had none.
    assert_eq!(held.usable(None).map(Token::number), Some(third));
    held.refuse("away", Duration::ZERO);
    assert_eq!(held.refused(), None);
    held.take(given(0));
    assert!(held.usable(None).is_none());
    held.take(given(20));
    assert!(held.usable(None).is_some());
}

#[test]
fn a_refresh_token_that_took_the_place_of_another_is_kept_until_the_credential_is_replaced() {
    let (folder, store) = store();
    store.put("crm/main", "a:b:first", 5).unwrap();
    let credential = store.open("crm/main").unwrap();
    assert!(credential.newer().unwrap().is_none());
    credential
        .renew(&SecretString::from("second".to_owned()))
        .unwrap();
    let shown = |credential: &Credential| {
        let newer = credential.newer().unwrap();
        newer.map(|secret| secret.expose_secret().to_owned())
    };
    // Another process, and this one after its start, see it; the credential is the same.
    let again = store.open("crm/main").unwrap();
    assert_eq!(shown(&again).as_deref(), Some("second"));
    assert_eq!(again.fingerprint(), credential.fingerprint());
    let text = std::fs::read_to_string(folder.path().join("credentials.json")).unwrap();
    assert!(!text.contains("second") && !text.contains("first"));
    store.put("crm/main", "a:b:third", 6).unwrap();
    assert!(shown(&store.open("crm/main").unwrap()).is_none());
    // What was given to the old one has no place any more, and it is shown to nobody.
    let late = credential.renew(&SecretString::from("fourth".to_owned()));
    assert!(late.unwrap_err().detail.contains("replaced meanwhile"));
    assert!(credential.stands().is_err());
    let third = store.open("crm/main").unwrap();
    assert!(shown(&third).is_none() && third.stands().is_ok());
    third
        .renew(&SecretString::from("fifth".to_owned()))
        .unwrap();
    assert_eq!(shown(&third).as_deref(), Some("fifth"));
    store.remove("crm/main").unwrap();
    assert!(third.stands().is_err());
    // Nothing of it stays on the disk, and it is not shown even by who had it before.
    let kept = folder.path().join("credentials.refresh.json");
    assert!(!std::fs::read_to_string(kept).unwrap().contains("crm/main"));
    assert!(third.newer().is_err());
    store.put("crm/main", "a:b:third", 7).unwrap();
    assert!(shown(&store.open("crm/main").unwrap()).is_none());
}

#[test]
fn connections_that_renew_at_once_lose_nothing() {
    let (_folder, store) = store();
    let names: Vec<String> = (0..8).map(|number| format!("crm/{number}")).collect();
    for name in &names {
        store.put(name, &format!("a:b:{name}"), 5).unwrap();
    }
    let all = names.iter().map(|name| store.open(name).unwrap());
    let all: Vec<Credential> = all.collect();
    std::thread::scope(|scope| {
        for (credential, name) in all.iter().zip(&names) {
            scope.spawn(move || credential.renew(&SecretString::from(name.clone())).unwrap());
        }
    });
    for (credential, name) in all.iter().zip(&names) {
        let newer = credential.newer().unwrap();
        let newer = newer.map(|secret| secret.expose_secret().to_owned());
        assert_eq!(newer.as_ref(), Some(name));
    }
}

#[test]
fn two_connections_with_one_secret_are_seen() {
    let (_folder, store) = store();
    store.put("crm/main", "a:b:first", 5).unwrap();
    let shared = |name, secret| store.shared_with(name, secret).unwrap();
    assert_eq!(shared("crm/eu", "a:b:first").as_deref(), Some("crm/main"));
    assert_eq!(shared("crm/eu", "a:b:other"), None);
    assert_eq!(shared("crm/main", "a:b:first"), None);
    let named = r#"{"client_id":"c","client_secret":"d","refresh_token":"first"}"#;
    assert_eq!(shared("crm/eu", named).as_deref(), Some("crm/main"));
}

#[test]
fn what_an_issuer_says_shows_no_secret() {
    let (_folder, store) = store();
    store
        .put(
            "crm/main",
            r#"{"client_id":"cl","client_secret":"hush","refresh_token":"r1"}"#,
            5,
        )
        .unwrap();
    let credential = store.open("crm/main").unwrap();
    let oauth = oauth(Grant::RefreshToken, false);
    let newer = SecretString::from("r2".to_owned());
    let told = credential.hidden_from("Invalid r2 or r1 of cl, not hush", &oauth, Some(&newer));
    assert_eq!(told, "Invalid *** or *** of cl, not ***");
}

#[test]
fn a_renewed_token_opens_for_no_other_credential_and_its_place_is_tried_first() {
    let (folder, store) = store();
    store.put("crm/main", "a:b:first", 5).unwrap();
    let first = store.open("crm/main").unwrap();
    first
        .renew(&SecretString::from("second".to_owned()))
        .unwrap();
    store.put("crm/main", "a:b:third", 6).unwrap();
    let third = store.open("crm/main").unwrap();
    let path = folder.path().join("credentials.refresh.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let moved = text.replace(
        &hex::encode(first.fingerprint()),
        &hex::encode(third.fingerprint()),
    );
    assert_ne!(moved, text);
    std::fs::write(&path, moved).unwrap();
    assert_eq!(third.newer().unwrap_err().reason, Reason::CredentialSeal);
    // Where the next one could not be stored, the one that is there is not used up.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(third.newer().is_err());
}

#[test]
fn processes_show_what_is_sealed_one_after_the_other() {
    let (_folder, store) = store();
    store.put("crm/main", "a:b:first", 5).unwrap();
    let credential = store.open("crm/main").unwrap();
    let held = credential.turn().unwrap();
    let (said, heard) = std::sync::mpsc::channel();
    let other = credential.clone();
    let waiter = std::thread::spawn(move || {
        drop(other.turn().unwrap());
        said.send(()).unwrap();
    });
    assert!(heard.recv_timeout(Duration::from_millis(200)).is_err());
    drop(held);
    heard.recv_timeout(Duration::from_secs(20)).unwrap();
    waiter.join().unwrap();
}

#[test]
fn a_token_is_left_before_its_end_and_used_for_a_day_at_most() {
    let lives = |seconds: u64| {
        let mut held = Held::<()>::default();
        let given = Given {
            header: None,
            token: SecretString::from("t".to_owned()),
            lives: Duration::from_secs(seconds),
        };
        let start = Instant::now();
        held.take(given).until.duration_since(start).as_secs()
    };
    assert!((3_569..=3_571).contains(&lives(3_600)));
    assert!((9..=10).contains(&lives(20)));
    assert!(lives(400 * 86_400) <= LIVES_MAX.as_secs());
}

#[test]
fn a_token_goes_into_the_header_that_the_system_takes_it_in() {
    let (own, usual) = (Some("x-shop-token".to_owned()), None);
    let with = |kind: &str| serde_json::from_str(&format!(r#"{{"access_token":"t0"{kind}}}"#));
    for (header, kind, is_given) in [
        (&own, "", true),
        (&own, r#","token_type":"bearer""#, true),
        (&own, r#","token_type":"mac""#, false),
        (&usual, "", false),
        (&usual, r#","token_type":"Bearer""#, true),
    ] {
        let oauth = OAuth2 {
            origin_at: None,
            header: header.clone(),
            ..oauth(Grant::ClientCredentials, false)
        };
        let given = oauth.given(&with(kind).unwrap(), "");
        assert_eq!(given.is_ok(), is_given, "{header:?} {kind}");
        let Ok(given) = given else { continue };
        let mut held = Held::<()>::default();
        let request = reqwest::Client::new().get("http://127.0.0.1/");
        let request = held.take(given).put_on(request).build().unwrap();
        let (name, value) = match header {
            Some(name) => (name.as_str(), "t0"),
            None => ("authorization", "Bearer t0"),
        };
        assert_eq!(request.headers()[name], value);
        assert_eq!(request.headers().len(), 1);
        assert!(request.headers()[name].is_sensitive());
    }
}

#[test]
fn a_scope_that_is_not_said_is_not_sent() {
    let plain = OAuth2 {
        scope: String::new(),
        ..oauth(Grant::ClientCredentials, true)
    };
    let (_, form) = asked("a:b", &plain, None).unwrap();
    assert_eq!(form, "grant_type=client%5Fcredentials");
}
