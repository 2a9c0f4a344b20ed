//! The shipped sets load and pass their tests; a set with any flaw is refused whole.

use std::path::Path;

use super::*;
use crate::domain::policy::case;

/// Orders and customers of acme as its CRM has them, for tests that have none.
const AT_HAND: &str = r#"
  { "uid": { "type": "Customer", "id": "C-1" }, "attrs": { "tenant": "acme", "tier": "standard" }, "parents": [] },
  { "uid": { "type": "Customer", "id": "C-2" }, "attrs": { "tenant": "acme", "tier": "gold" }, "parents": [] },
  ORDER(O-6, C-1, 60000), ORDER(O-7, C-1, 12000), ORDER(O-8, C-2, 45000), ORDER(O-9, C-2, 120000),"#;

/// A shipped set whose facts all stand in entities.json: nobody has to be asked.
pub(crate) fn shipped(tenant: &str) -> Sources {
    let mut sources = as_shipped(tenant);
    let asks = [
        "from =",
        "fields =",
        "object =",
        "max_age = \"5s\"",
        "max_age = \"60s\"",
    ];
    let lines = sources.set_toml.split_inclusive('\n');
    sources.set_toml = lines
        .filter(|line| !asks.iter().any(|ask| line.starts_with(ask)))
        .collect();
    if tenant == "acme" {
        let order = |text: &str| {
            let parts: Vec<&str> = text.split(", ").collect();
            let (id, customer, total) = (parts[0], parts[1], parts[2]);
            format!(
                "{{\"uid\":{{\"type\":\"Order\",\"id\":\"{id}\"}},\"attrs\":{{\"tenant\":\"acme\",\"status\":\"paid\",\
                 \"customer\":{{\"type\":\"Customer\",\"id\":\"{customer}\"}},\
                 \"refunded\":{{\"currency\":\"EUR\",\"minor\":0}},\
                 \"total\":{{\"currency\":\"EUR\",\"minor\": {total}}}}},\"parents\":[]}}"
            )
        };
        let mut more = String::new();
        for part in AT_HAND.split("ORDER(") {
            match part.split_once(')') {
                Some((inside, rest)) if inside.starts_with('O') => more += &(order(inside) + rest),
                _ => more += part,
            }
        }
        sources.entities_json = sources.entities_json.replacen('[', &format!("[{more}"), 1);
    }
    sources
}

/// Reads a shipped tenant folder; the product does this in `app/policies/folder.rs`.
pub(crate) fn as_shipped(tenant: &str) -> Sources {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../policies")
        .join(tenant);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let all = |folder: &Path, ending: &str| {
        let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|found| found == ending))
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, std::fs::read_to_string(&path).unwrap())
            })
            .collect();
        files.sort();
        files
    };
    Sources {
        tenant: TenantId::parse(tenant).unwrap(),
        set_toml: read("set.toml"),
        policies: all(&folder, "cedar"),
        cards: all(&folder.join("actions"), "toml"),
        entities_json: read("entities.json"),
        lock: None,
    }
}

#[test]
fn the_shipped_sets_pass_their_tests() {
    for (tenant, least) in [("acme", 30), ("globex", 2)] {
        let set = Arc::new(TenantPolicies::build(&as_shipped(tenant)).unwrap());
        let file = format!("../../policies/{tenant}/tests/story.json");
        let json =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let results = case::run(&set, &json).unwrap();
        let failed: Vec<_> = results
            .iter()
            .filter(|result| result.failure.is_some())
            .collect();
        assert!(failed.is_empty(), "{failed:#?}");
        assert!(results.len() >= least);
    }
}

#[test]
fn a_card_may_act_on_a_customer() {
    let mut sources = shipped("acme");
    let (_, card) = sources
        .cards
        .iter()
        .find(|(name, _)| name == "add_note.toml")
        .unwrap();
    let card = card
        .replace("add_note", "note_customer")
        .replace("target = \"deal\"", "target = \"customer\"");
    assert!(card.contains("\"customer\""));
    sources.cards.push(("note_customer.toml".into(), card));
    let set = TenantPolicies::build(&sources).unwrap();
    assert!(set.schema_text.contains("resource: [Customer]"));
}

#[test]
fn a_rule_says_who_answers_for_it() {
    for (said, told) in [
        (
            "@id(\"x\")",
            "rule `x` lacks annotations that every rule needs, for example `@reason(",
        ),
        (
            "@id(\"x\") @reason(\"y\")",
            "for example `@owner(\"ops@acme.example\")` `@approved_by(\"kim@acme.example\")` `@approved_on(\"2026-11-02\")`",
        ),
        (
            "@id(\"x\") @reason(\"y\") @owner(\"o\") @approved_on(\"2026-01-01\")",
            "for example `@approved_by(\"kim@acme.example\")`",
        ),
        (
            "@id(\"x\") @reason(\"y\") @owner(\"o\") @approved_by(\"p\")",
            "for example `@approved_on(\"2026-11-02\")`",
        ),
        (
            "@id(\"x\") @reason(\"y\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"yesterday\")",
            "`@approved_on(\"yesterday\")` is not a date; write it as 2026-11-02",
        ),
    ] {
        let mut sources = shipped("acme");
        let text = format!("{said} permit(principal, action, resource);");
        sources.policies.push(("extra.cedar".into(), text));
        let refused = format!("{:?}", TenantPolicies::build(&sources).unwrap_err());
        assert!(
            refused.contains(&told.replace('"', "\\\"")),
            "{told}: {refused}"
        );
    }
}

#[test]
fn what_a_rule_lacks_is_told_at_that_rule() {
    let rest = "@reason(\"y\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\npermit(principal, action, resource);\n";
    let mut sources = shipped("acme");
    let text = format!("@id(\"a\") {rest}@id(\"b\") @owner(\"ops@acme.example\") {rest}");
    sources.policies.push(("extra.cedar".into(), text));
    let refused = TenantPolicies::build(&sources).unwrap_err().to_string();
    assert!(
        refused.contains("extra.cedar:1:1: POLICY_INVALID rule `a` lacks"),
        "{refused}"
    );
}

#[test]
fn a_set_with_a_flaw_is_refused_and_says_what() {
    type Break = fn(&mut Sources);
    fn policy(sources: &mut Sources, text: &str) {
        sources.policies.push(("extra.cedar".into(), text.into()));
    }
    let table: [(&str, Break); 11] = [
        ("POLICY_EMPTY", |s| s.policies.clear()),
        (
            "this rule lacks annotations that every rule needs, for example `@id(",
            |s| {
                policy(s, "permit(principal, action, resource);");
            },
        ),
        ("did you mean `@owner`", |s| {
            policy(
                s,
                "@id(\"x\") @reason(\"y\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") @onwer(\"z\") permit(principal, action, resource);",
            );
        }),
        ("there twice", |s| {
            policy(
                s,
                "@id(\"set-stage\") @reason(\"y\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") permit(principal, action, resource);",
            );
        }),
        ("template", |s| {
            policy(
                s,
                "@id(\"t\") @reason(\"y\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") permit(principal == ?principal, action, resource);",
            );
        }),
        ("attribute", |s| {
            let text = "@id(\"x\") @reason(\"y\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") forbid(principal, action == Action::\"refund\", \
                        resource) when { resource.totl_minor > 1 };";
            policy(s, text);
        }),
        ("unexpected", |s| policy(s, "@id(\"x\") permit(principal")),
        ("only a permit", |s| {
            let text = "@id(\"x\") @reason(\"y\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") @approval(\"role:a;quorum:1;ttl:1h\") \
                        forbid(principal, action, resource);";
            policy(s, text);
        }),
        ("entities.json", |s| {
            s.entities_json =
                "[{\"uid\":{\"type\":\"Wizard\",\"id\":\"1\"},\"attrs\":{},\"parents\":[]}]".into();
        }),
        (
            "Agent::\"rogue\" has the tenant `globex`, and this is the folder of `acme`",
            |s| {
                s.entities_json = s.entities_json.replace("\"acme\"", "\"globex\"");
            },
        ),
        ("zone", |s| {
            s.set_toml = s.set_toml.replace("Europe/Amsterdam", "Europe/Atlantis");
        }),
    ];
    for (expected, break_it) in table {
        let mut sources = shipped("acme");
        break_it(&mut sources);
        let errors = TenantPolicies::build(&sources)
            .expect_err(expected)
            .to_string();
        assert!(errors.contains(expected), "{expected}: {errors}");
    }
}

#[test]
fn any_changed_source_changes_the_digest() {
    let digest = |sources: &Sources| TenantPolicies::build(sources).unwrap().digest;
    let whole = shipped("acme");
    let before = digest(&whole);
    assert_eq!(before, digest(&shipped("acme")));
    let mut changed = whole.clone();
    changed.policies[0].1.push('\n');
    assert_ne!(before, digest(&changed));
    let mut changed = whole;
    changed.set_toml.push('\n');
    assert_ne!(before, digest(&changed));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_set_beyond_its_bounds_is_refused_and_says_what() {
    fn add(sources: &mut Sources, annotations: &str) {
        let text = format!("{annotations} permit(principal, action, resource);");
        sources.policies.push(("extra.cedar".into(), text));
    }
    fn incident(id: usize) -> String {
        format!("[[incident]]\nid = \"i{id}\"\ndenials = 5\nwindow = \"10m\"\nhalt = \"none\"\n")
    }
    type Break = fn(&mut Sources);
    let table: [(&str, Break); 15] = [
        ("an id has at most 256 bytes and no control", |s| {
            s.entities_json = s.entities_json.replace("O-7", &"x".repeat(257));
        }),
        ("an id has at most 256 bytes and no control", |s| {
            s.entities_json = s.entities_json.replace("O-7", "O\\n7");
        }),
        ("at most 500 facts", |s| {
            let facts: String = (0..501).map(|n| format!("f{n} = \"Long\"\n")).collect();
            s.set_toml.push_str(&format!("\n[facts.extra]\n{facts}"));
        }),
        ("nested at most 4 deep", |s| {
            let deep = "\n[facts.extra]\nx = \"Set<Set<Set<Set<Set<Long>>>>>\"\n";
            s.set_toml.push_str(deep);
        }),
        ("at most 64 bytes", |s| {
            let long = format!("\n[facts.extra]\n{} = \"Long\"\n", "x".repeat(65));
            s.set_toml.push_str(&long);
        }),
        ("id: 1 to 500 bytes", |s| {
            s.set_toml = s.set_toml.replace("acme-2026-11", "a\\nb");
        }),
        ("its file must be too", |s| {
            s.cards[0].0 = "other.toml".into();
        }),
        ("at most 16 incidents", |s| {
            s.set_toml.extend((0..17).map(incident));
        }),
        ("two incidents are named", |s| {
            s.set_toml.extend([0, 0].map(incident));
        }),
        ("at most 65 moments", |s| {
            let dated = |n: usize| {
                format!(
                    "@id(\"d{n}\") @reason(\"x\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") @effective_from(\"2026-11-02T11:00:{:02}Z\") \
                     @effective_until(\"2027-11-02T11:00:{:02}Z\") \
                     permit(principal, action, resource);\n",
                    n, n
                )
            };
            s.policies
                .push(("extra.cedar".into(), (0..40).map(dated).collect()));
        }),
        ("no control characters", |s| {
            add(
                s,
                "@id(\"x\") @reason(\"a\\nb\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\")",
            );
        }),
        (
            "rule `x` lacks annotations that every rule needs, for example `@reason(",
            |s| {
                add(
                    s,
                    "@id(\"x\") @reason(\" \") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\")",
                );
            },
        ),
        ("more than 300 s", |s| {
            add(
                s,
                "@id(\"x\") @reason(\"y\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") @ttl(\"301s\")",
            );
        }),
        ("is not like", |s| {
            add(
                s,
                "@id(\"x\") @reason(\"y\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") @approval(\"role:a;quorum:17;ttl:1h\")",
            );
        }),
        ("is not like", |s| {
            add(
                s,
                "@id(\"x\") @reason(\"y\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\") @approval(\"role:a;role:b;quorum:1;ttl:1h\")",
            );
        }),
    ];
    for (expected, break_it) in table {
        let mut sources = shipped("acme");
        break_it(&mut sources);
        let errors = TenantPolicies::build(&sources)
            .expect_err(expected)
            .to_string();
        assert!(errors.contains(expected), "{expected}: {errors}");
    }
}

#[test]
fn the_digest_is_of_every_source() {
    type Change = fn(&mut Sources);
    let changes: [Change; 5] = [
        |s| s.tenant = TenantId::parse("globex").unwrap(),
        |s| s.set_toml.push('\n'),
        |s| s.policies[0].1.push('\n'),
        |s| s.cards[0].1.push('\n'),
        |s| s.entities_json.push('\n'),
    ];
    let whole = shipped("acme");
    for (place, change) in changes.iter().enumerate() {
        let mut changed = whole.clone();
        change(&mut changed);
        assert_ne!(changed.digest(), whole.digest(), "{place}");
    }
}
