//! How a token is asked for, and what a guard by date means for the write.

use super::*;

#[test]
fn a_grant_is_written_whole_or_refused_with_what_it_wants() {
    let with = |secret: &str, oauth2: &str| {
        let text = SANDBOX.replace(
            "auth = { bearer = \"{secret.token}\" }",
            &format!("auth = {{ oauth2 = {{ {oauth2} }} }}"),
        );
        Bound::compile(&text.replace("secret = [\"token\"]", &format!("secret = [{secret}]")))
    };
    let two = "\"client_id\", \"client_secret\"";
    let grant = "grant = \"client_credentials\"";
    assert!(with(two, &format!("{grant}, token = \"/t\"")).is_ok());
    for (secret, oauth2, why) in [
        (
            "\"client_id\"",
            format!("{grant}, token = \"/t\""),
            "this grant wants secret",
        ),
        (
            two,
            format!("{grant}, token = \"/t\", client = \"header\""),
            "client = ",
        ),
        (
            two,
            format!("{grant}, token = \"/t\", audience = \"x\""),
            "grant = ",
        ),
        (
            two,
            "grant = \"jwt_bearer\", token = \"/t\"".to_owned(),
            "grant = ",
        ),
        (
            two,
            "grant = \"password\", token = \"/t\"".to_owned(),
            "grant = ",
        ),
        (two, format!("{grant}, token = \"/t?x=1\""), "no plain path"),
        (
            two,
            format!("{grant}, token = \"/t/{{id}}\""),
            "no plain path",
        ),
        (
            two,
            format!("{grant}, token = \"/t\", lives = \"25h\""),
            "lives",
        ),
    ] {
        let refused = with(secret, &oauth2).unwrap_err().to_string();
        assert!(refused.contains(why), "{oauth2}: {refused}");
    }
}

#[test]
fn what_has_only_seconds_is_compared_and_a_date_needs_a_version() {
    let head = "[object.deal.verb.update_fields]";
    let guard = |guard: &str| {
        let at = SANDBOX.find(head).unwrap();
        let (before, verb) = SANDBOX.split_at(at);
        let own = verb
            .lines()
            .find(|line| line.starts_with("guard ="))
            .unwrap();
        let text = format!("{before}{}", verb.replacen(own, guard, 1));
        let bound = Bound::compile(&text).unwrap();
        bound.objects["deal"].verbs["update_fields"].compares()
    };
    for (written, compares) in [
        ("guard = { header = \"If-Match\" }", false),
        ("guard = { header = \"If-Unmodified-Since\" }", true),
        ("guard = { header = \"if-unmodified-since\" }", true),
    ] {
        assert_eq!(guard(written), compares, "{written}");
    }
    let read = "read = { request = \"GET /deals/{id}\"";
    assert!(SANDBOX.contains(read));
    let dated = SANDBOX.replacen(
        read,
        "read = { request = \"GET /deals/{id}?since={version as http_date}\"",
        1,
    );
    assert!(Bound::compile(&dated).is_err());
}
