//! Files that are shipped, files that could do more than they should, and cards that do not fit.

mod grants;
mod refunds;

use writ_proto::card::Card;

use super::*;

const SANDBOX: &str = include_str!("../../../../../deploy/systems/sandbox.toml");
const ROUNDUP: &str = include_str!("../../../../../deploy/systems/roundup.toml");
const REFUND: &str = include_str!("../../../../../policies/acme/actions/refund.toml");
const STAGE: &str = include_str!("../../../../../policies/acme/actions/set_stage.toml");

fn refused(text: &str) -> String {
    Bound::compile(text).unwrap_err().to_string()
}

#[test]
fn the_files_that_are_shipped_compile_and_every_sample_card_fits() {
    let (sandbox, roundup) = (
        Bound::compile(SANDBOX).unwrap(),
        Bound::compile(ROUNDUP).unwrap(),
    );
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut seen = 0;
    for tenant in ["acme", "globex"] {
        for file in std::fs::read_dir(folder.join(tenant).join("actions")).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let card = Card::parse(&text).unwrap();
            let bound = if card.connection.as_str() == "crm/main" {
                &sandbox
            } else {
                &roundup
            };
            assert_eq!(bound.fits(&card), Ok(()), "{}", card.name);
            seen += 1;
        }
    }
    assert!(seen >= 16, "{seen}");
}

#[test]
fn what_this_system_cannot_undo_is_not_called_reversible() {
    let bound = Bound::compile(&SANDBOX.replace("undo = \"restore\"", "undo = \"none\"")).unwrap();
    let said = bound.fits(&Card::parse(STAGE).unwrap()).unwrap_err();
    assert!(said.to_string().contains("tier = \"reversible\""), "{said}");
    let compensable = STAGE.replace("\"reversible\"", "\"compensable\"");
    assert_eq!(bound.fits(&Card::parse(&compensable).unwrap()), Ok(()));
}

/// What is changed in a file, and what is said of it.
const TOO_MUCH: &[(&str, &str, &str)] = &[
    ("GET /deals/{id}", "DELETE /deals/{id}", "not allowed here"),
    ("GET /deals/{id}", "POST /deals/{id}", "not allowed here"),
    (
        "PATCH /deals/{id}",
        "DELETE /deals/{id}",
        "not allowed here",
    ),
    ("GET /deals/{id}", "GET https://evil/{id}", "absolute path"),
    ("GET /deals/{id}", "GET //evil/{id}", "absolute path"),
    ("GET /deals/{id}", "GET /deals/../{id}", "absolute path"),
    ("GET /deals/{id}", "GET /deals/%2e%2e/{id}", "absolute path"),
    (
        "GET /deals/{id}",
        "GET /deals/{env.SECRET}",
        "unknown placeholder",
    ),
    (
        "GET /deals/{id}",
        "GET /deals/{target.id}",
        "it is {id} now",
    ),
    ("body = \"{fields}\"", "body = \"{fields\"", "open"),
    (
        "body = \"{fields}\"",
        "body = { a = \"x {fields}\" }",
        "stands alone",
    ),
    (
        "body = \"{fields}\"",
        "body = { a = \"{step.1/id}\" }",
        "no value here",
    ),
    (
        "body = \"{fields}\"",
        "body = { a = \"{before.nothing}\" }",
        "no value here",
    ),
    (
        "{secret.token}",
        "{secret.other}",
        "no part of the credential",
    ),
    ("{secret.token}", "plain", "no part of the credential"),
    ("guard = { header = \"If-Match\" }\n", "", "say it aloud"),
    ("once = \"none\"\n", "", "say it aloud"),
    ("undo = \"restore\"\n", "", "say it aloud"),
    ("undo = \"restore\"", "undo = \"compensate\"", "restore"),
    (", expect = \"/id\" }", " }", "proves it"),
    (
        "guard = { header = \"If-Match\" }",
        "guard = \"commutative\"",
        "not commutative",
    ),
    (
        "guard = { header = \"If-Match\" }",
        "guard = { header = \"Authorization\" }",
        "not the file's",
    ),
    (
        "version = \"header:ETag\", ",
        "",
        "no `version` to guard with",
    ),
    (", id_at = \"/id\" }", " }", "id_at"),
    (
        ", id_at = \"/id\" }",
        ", id_at = \"/id\", expect = \"/id\" }",
        "`expect` belongs to steps and the probe",
    ),
    (
        ", expect = \"/id\" }",
        ", expect = \"/id\", reads = true }",
        "`reads` belongs to requests that only read",
    ),
    (
        ", expect = \"/id\" }",
        ", expect = \"/id\", unchanged = [\"/stage\"] }",
        "`unchanged` belongs to prepare",
    ),
    (
        "guard = { header = \"If-Match\" }",
        "guard = { header = \"If-Match\", weak = true }",
        "guard = { header",
    ),
    (
        "created = \"/id\"",
        "created = \"{decision.key}\"",
        "proves it",
    ),
    (
        "probe = { request = \"GET /",
        "probe = { request = \"GET /{id}/",
        "no value here",
    ),
    (
        "match = { \"/key\" = \"{decision.key}\" }",
        "match = { \"/key\" = \"x\" }",
        "names nothing of this call",
    ),
    (
        "match = { \"/key\" = \"{decision.key}\" }",
        "match = { \"/deal\" = \"{id}\" }",
        "names this very call",
    ),
    (
        "match = { \"/email\" = \"{args.email}\" }\n",
        "",
        "a filter may be ignored",
    ),
    ("as = \"money\"", "as = \"float\"", "no codec"),
    ("as = \"money\"", "as = \"minor\"", "ISO 4217"),
    (
        "as = \"choice\" }",
        "as = \"text\", values = { a = \"1\" } }",
        "means nothing",
    ),
    (
        "watch = [\"status\"]",
        "watch = [\"state\"]",
        "no field of this object",
    ),
    ("settle_after = \"15s\"", "settle_after = \"2h\"", "at most"),
    ("[A-Z]{1,2}-[0-9]{1,12}", "[a-z]+)|(?:.*", "unopened group"),
    ("encode = \"json\"", "encode = \"xml\"", "json"),
    ("driver = \"http\"", "driver = \"shell\"", "no driver"),
    ("refusals = \"plain\"", "refusals = \"all\"", "plain"),
    (
        "{ status = 428, means = \"refused\" }",
        "{ status = 428, means = \"done\" }",
        "only proof",
    ),
];

#[test]
fn a_file_that_could_do_more_than_it_should_is_refused_by_line() {
    for &(from, to, expected) in TOO_MUCH {
        assert!(SANDBOX.contains(from), "{from}");
        let error = refused(&SANDBOX.replacen(from, to, 1));
        assert!(error.contains(expected), "{from} -> {to}: {error}");
        let told = SANDBOX.replacen(from, to, 1);
        let line = error
            .strip_prefix("line ")
            .and_then(|rest| rest.split_once(':'));
        let line = line.and_then(|(number, _)| number.parse::<usize>().ok());
        assert!(
            line.is_some_and(|line| line >= 1 && line <= told.lines().count()),
            "{error}"
        );
    }
}

#[test]
fn keys_of_the_first_language_name_what_replaces_them() {
    for (from, to, expected) in [
        (
            "driver = \"http\"",
            "driver = \"http_json\"",
            "encode = \"json\"",
        ),
        (
            "auth = { bearer = \"{secret.token}\" }",
            "auth = \"bearer\"",
            "secret = [",
        ),
        (
            "say = \"/message\"",
            "error_message = \"/message\"",
            "`say`",
        ),
        (
            "version = \"header:ETag\",",
            "fields = \"\", version = \"header:ETag\",",
            "each field says where",
        ),
        (
            "once = \"none\"",
            "idempotency = \"X\"\nonce = \"none\"",
            "`once = { header",
        ),
        (
            "once = \"none\"",
            "reconcile = \"after_image\"\nonce = \"none\"",
            "is now `settle`",
        ),
        (
            "body = \"{fields}\",",
            "if_match = true, body = \"{fields}\",",
            "`guard = { header",
        ),
        (
            "match = { \"/email\"",
            "found = \"\"\nmatch = { \"/email\"",
            "is now `items`",
        ),
    ] {
        assert!(SANDBOX.contains(from), "{from}");
        let error = refused(&SANDBOX.replacen(from, to, 1));
        assert!(
            error.starts_with("line ") && error.contains(expected),
            "{from}: {error}"
        );
    }
}

/// What is changed in a file, and what is said of it.
const CARDS: &[(&str, &str, &str, &str, &str, &str)] = &[
    // File, from, to, card, from, to, expected
    (
        REFUND,
        "{args.amount.value}",
        "{args.amuont.value}",
        "",
        "",
        "no argument of the card",
    ),
    (
        REFUND,
        "{args.amount.value}",
        "{args.amount}",
        "",
        "",
        "is an amount",
    ),
    (
        REFUND,
        "currency = \"{args.amount.currency}\", ",
        "",
        "",
        "",
        "nothing sends or compares the currency of `amount`",
    ),
    (
        REFUND,
        "",
        "",
        "verb = \"refund\"",
        "verb = \"create_task\"",
        "no verb `create_task`",
    ),
    (
        REFUND,
        "",
        "",
        "target = \"order\"",
        "target = \"invoice\"",
        "no object `invoice`",
    ),
    (
        REFUND,
        "",
        "",
        "when = { status",
        "when = { state",
        "no field `state`",
    ),
    (
        STAGE,
        "",
        "",
        "[args.stage]",
        "[args.phase]",
        "no field `phase`",
    ),
    (
        STAGE,
        "stage = { at = \"/stage\", as = \"choice\" }",
        "stage = { at = \"/stage\", as = \"opaque\" }",
        "",
        "",
        "only read",
    ),
    (
        STAGE,
        "stage = { at = \"/stage\", as = \"choice\" }",
        "stage = { at = \"/stage\", as = \"integer\" }",
        "",
        "",
        "does not fit",
    ),
    (
        STAGE,
        "stage = { at = \"/stage\", as = \"choice\" }",
        "stage = { at = \"/stage\", as = \"choice\", values = { new = \"1\", won = \"2\" } }",
        "",
        "",
        "no value of `stage`",
    ),
];

#[test]
fn a_card_that_could_never_run_live_is_found_before_any_dry_run() {
    for &(card, file_from, file_to, from, to, expected) in CARDS {
        let text = SANDBOX.replacen(file_from, file_to, usize::from(!file_from.is_empty()));
        let bound = Bound::compile(&text).unwrap();
        let card = Card::parse(&card.replacen(from, to, usize::from(!from.is_empty()))).unwrap();
        match bound.fits(&card) {
            Ok(()) => assert!(expected.is_empty(), "{expected}"),
            Err(error) => assert!(
                !expected.is_empty() && error.to_string().contains(expected),
                "{expected}: {error}"
            ),
        }
    }
}

#[test]
fn an_amount_under_a_ceiling_is_given_and_its_currency_compared() {
    let under = |ceiling: &str| {
        let refund = SANDBOX.find("[object.order.verb.refund]").unwrap();
        let (before, verb) = SANDBOX.split_at(refund);
        let (head, rest) = verb.split_once('\n').unwrap();
        format!(
            "{before}{head}\nprepare = [{{ request = \"GET /orders/{{id}}\", ceiling = {ceiling} }}]\n{rest}"
        )
    };
    let whole =
        "{ arg = \"amount\", at = \"/total_minor\", as = \"minor\", currency = \"/currency\" }";
    let bound = Bound::compile(&under(whole)).unwrap();
    let card = Card::parse(REFUND).unwrap();
    bound.fits(&card).unwrap();
    let mut optional = card.clone();
    optional.args.get_mut("amount").unwrap().optional = true;
    let refused = bound.fits(&optional).unwrap_err().to_string();
    assert!(refused.contains("cannot be optional"), "{refused}");
    // Minor units of which currency, and major ones of money likewise.
    let unsaid = whole.replace(", currency = \"/currency\"", "");
    let error = Bound::compile(&under(&unsaid)).unwrap_err().to_string();
    assert!(error.contains("currency ="), "{error}");
    let major = Bound::compile(&under(
        &unsaid
            .replace("minor\"", "decimal\"")
            .replace("total_decimal", "total_minor"),
    ));
    let refused = major.unwrap().fits(&card).unwrap_err().to_string();
    assert!(refused.contains("its ceiling says `currency`"), "{refused}");
}

#[test]
fn what_an_undo_cannot_prepare_is_not_restored() {
    let head = "[object.deal.verb.update_fields]";
    let by_args = "request = \"GET /deals/{args.stage}\"";
    let ceiling = "request = \"GET /deals/{id}\", ceiling = { arg = \"size\", at = \"/size\", as = \"decimal\" }";
    for prepare in [by_args, ceiling] {
        let text = SANDBOX.replacen(head, &format!("{head}\nprepare = [{{ {prepare} }}]"), 1);
        let error = Bound::compile(&text).unwrap_err().to_string();
        assert!(error.contains("which an undo does not have"), "{error}");
        let text = text.replacen("undo = \"restore\"", "undo = \"none\"", 1);
        Bound::compile(&text).unwrap();
    }
}

#[test]
fn what_a_verb_sends_proves_or_guards_is_its_digest_and_nothing_else_is() {
    let of = |text: &str| {
        let bound = Bound::compile(text).unwrap();
        let verb = |object: &str, verb: &str| bound.objects[object].verbs[verb].digest;
        (verb("deal", "update_fields"), verb("order", "refund"))
    };
    let (deal, order) = of(SANDBOX);
    let (same, other) = of(&SANDBOX.replacen(
        "body = { order = \"{id}\"",
        "body = { order_id = \"{id}\"",
        1,
    ));
    assert!(
        same == deal && other != order,
        "another verb of another object is not touched"
    );
    let comment = of(&format!("# a comment\n{SANDBOX}"));
    assert_eq!(comment, (deal, order));
    let all = of(&SANDBOX.replacen("means = \"refused\"", "means = \"unknown\"", 1));
    assert!(
        all.0 != deal && all.1 != order,
        "what answers mean is part of every verb"
    );
}

#[test]
fn only_a_whole_id_is_one() {
    let bound = Bound::compile(&SANDBOX.replacen(
        "[A-Z]{1,2}-[0-9]{1,12}",
        "(?<a>[a-z.]+)(/(?<b>[a-z]+))?",
        1,
    ))
    .unwrap();
    let deal = &bound.objects["deal"];
    assert_eq!(deal.parts("x/y").unwrap()["b"], "y");
    for bad in [".", "..", "X", "x/", "x/y\n", ""] {
        assert!(deal.parts(bad).is_none(), "{bad:?}");
    }
    // What matches first need not be the whole.
    let text = SANDBOX.replacen("[A-Z]{1,2}-[0-9]{1,12}", "D|D-[0-9]+", 1);
    let bound = Bound::compile(&text).unwrap();
    assert!(bound.objects["deal"].parts("D-7").is_some());
}

/// A record of this id.
struct Id(&'static str);

impl slot::Scope for Id {
    fn get(&self, slot: &slot::Slot) -> Option<serde_json::Value> {
        matches!(slot, slot::Slot::Id).then(|| self.0.into())
    }
}

#[test]
fn an_id_is_one_segment_of_the_path_or_nothing() {
    let bound = Bound::compile(SANDBOX).unwrap();
    let read = bound.objects["deal"].read.clone().unwrap();
    for (id, path) in [
        ("a/b", Some("/deals/a%2Fb")),
        ("%2e%2e", Some("/deals/%252e%252e")),
        ("a?b#c", Some("/deals/a%3Fb%23c")),
        ("..", None),
        (".", None),
        ("", None),
    ] {
        let built = read.build(&Id(id)).ok().map(|request| request.path);
        assert_eq!(built.as_deref(), path, "{id}");
    }
}
