//! What a credential may do, as answers and files say it.

use serde_json::json;

use super::*;

const FILE: &str = "kind = \"x\"\ndriver = \"http\"\nencode = \"json\"\nauth = { bearer = \"{secret.t}\" }\nsecret = [\"t\"]\n\
    probe = { request = \"GET /me\", PROBE }\n[object.a]\nOBJECT\nid = \"[0-9]+\"\nread = { request = \"GET /a/{id}\", id_at = \"/id\" }\n\
    [object.a.field]\nname = { at = \"/name\", as = \"text\" }\n[object.a.verb.update_fields]\nVERB\nguard = \"compare\"\nonce = \"none\"\n\
    undo = \"restore\"\nsettle = \"after_image\"\nstep = [{ request = \"PUT /a/{id}\", body = \"{fields}\", expect = \"/id\" }]\n";

fn file(probe: &str, object: &str, verb: &str) -> Result<Bound, FileError> {
    let text = FILE.replace("PROBE", probe).replace("OBJECT", object);
    Bound::compile(&text.replace("VERB", verb))
}

fn answer(headers: &[(&str, &str)], body: &Json) -> Answer {
    let headers = headers.iter();
    Answer {
        status: 200,
        headers: headers
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        wait: None,
        body: Some(body.clone()),
        media: String::new(),
    }
}

#[test]
fn what_a_credential_may_do_is_read_or_nothing_is_known() {
    let body = json!({"scopes": ["a", "b"], "role": "agent", "odd": [1], "none": [], "part": [{"n": "a"}, {}]});
    let answer = answer(
        &[("x-oauth-scopes", "a, b"), ("X-OAuth-Scopes", "c d")],
        &body,
    );
    let header = ScopesAt::Header("x-oauth-scopes".into());
    for (at, wanted) in [
        (header, Some(vec!["a", "b", "c", "d"])),
        (ScopesAt::Header("other".into()), None),
        (ScopesAt::Pointer("/scopes/*".into()), Some(vec!["a", "b"])),
        (ScopesAt::Pointer("/role".into()), Some(vec!["agent"])),
        (ScopesAt::Pointer("/odd/*".into()), None),
        (ScopesAt::Pointer("/none/*".into()), None),
        (ScopesAt::Pointer("/part/*/n".into()), None),
        (ScopesAt::Pointer("/gone".into()), None),
    ] {
        let read = at.read(&answer).ok();
        let wanted = wanted.map(|names| names.into_iter().map(str::to_owned).collect());
        assert_eq!(read, wanted, "{at:?}");
    }
}

#[test]
fn who_names_scopes_says_where_a_credential_shows_them_and_the_other_way_about() {
    let shown = "scopes = \"/scopes/*\"";
    let bound = file(shown, "scopes = [\"read\"]", "scopes = [\"write\"]").unwrap();
    assert_eq!(bound.needs("a", "update_fields").len(), 2);
    assert_eq!(bound.needs("a", "refund").len(), 1, "the object is read");
    assert!(bound.needs("b", "update_fields").is_empty());
    for (probe, object, verb, why) in [
        (shown, "", "", "objects and verbs say which"),
        (
            "expect = \"/id\"",
            "scopes = [\"read\"]",
            "",
            "where the answer to the probe",
        ),
        (
            "expect = \"/id\"",
            "",
            "scopes = [\"write\"]",
            "where the answer to the probe",
        ),
        (shown, "scopes = [\"a b\"]", "", "without spaces and commas"),
        (shown, "scopes = [\"\"]", "", "without spaces and commas"),
        (
            "scopes = \"scopes\"",
            "scopes = [\"a\"]",
            "",
            "probe.scopes",
        ),
    ] {
        let error = file(probe, object, verb).unwrap_err().to_string();
        assert!(error.contains(why), "{probe} {object} {verb}: {error}");
    }
    // What a credential is called changes nothing that is sent.
    let (plain, other) = (file("expect = \"/id\"", "", "").unwrap(), &bound);
    let digest = |bound: &Bound| bound.objects["a"].verbs["update_fields"].digest;
    assert_eq!(digest(&plain), digest(other));
}
