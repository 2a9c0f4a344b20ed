//! Bad input: each gets a code, a sentence and a fix, changes nothing, and is a record where the
//! caller is known.

use std::os::unix::fs::PermissionsExt as _;

use e2e::{Actor, World, code, stage};
use writ_proto::limits::{
    EVIDENCE_ITEMS_MAX, EVIDENCE_QUOTE_BYTES_MAX, IDENT_BYTES_MAX, PRECONDITION_BYTES_MAX,
    REASON_BYTES_MAX,
};
use writ_proto::pb;

type Change = fn(&mut pb::AuthorizeRequest);

fn call(request: &mut pb::AuthorizeRequest) -> &mut pb::ActionCall {
    request.call.as_mut().unwrap()
}

fn target(request: &mut pb::AuthorizeRequest) -> &mut pb::Target {
    call(request).target.as_mut().unwrap()
}

fn json(request: &mut pb::AuthorizeRequest, text: &str) {
    call(request).arguments = Some(pb::action_call::Arguments::ArgsJson(text.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_request_of_a_known_caller_is_refused_and_recorded() {
    let world = World::start();
    let mut agent = world.agent().await;
    let table: &[(Change, &str)] = &[
        (|r| r.parent = "acme".into(), "REQUEST_MALFORMED"),
        (|r| r.parent = "tenants/ACME".into(), "REQUEST_MALFORMED"),
        (|r| r.request_id = String::new(), "REQUEST_MALFORMED"),
        (
            |r| r.request_id = "00000000-0000-0000-0000-000000000000".into(),
            "REQUEST_MALFORMED",
        ),
        (|r| r.call = None, "REQUEST_MALFORMED"),
        (|r| call(r).action = "Set-Stage".into(), "REQUEST_MALFORMED"),
        (
            |r| call(r).connection = "CRM main".into(),
            "REQUEST_MALFORMED",
        ),
        (|r| call(r).mode = 7, "REQUEST_MALFORMED"),
        (|r| call(r).arguments = None, "REQUEST_MALFORMED"),
        (|r| target(r).id = "D 104".into(), "REQUEST_MALFORMED"),
        (|r| target(r).id = "D".repeat(129), "REQUEST_TOO_LARGE"),
        (|r| target(r).r#type = "d".repeat(129), "REQUEST_TOO_LARGE"),
        (|r| r.reason = "x".repeat(2_001), "REQUEST_TOO_LARGE"),
        (
            |r| call(r).precondition = Some("x".repeat(257)),
            "REQUEST_TOO_LARGE",
        ),
        (
            |r| json(r, "{\"stage\":\"new\",\"stage\":\"won\"}"),
            "ARGS_DUPLICATE_KEY",
        ),
        (|r| json(r, "{\"stage\":NaN}"), "ARGS_NON_FINITE"),
        (|r| json(r, "[1]"), "ARGS_NOT_OBJECT"),
        (|r| json(r, "{\"stage\":\"new\",}"), "ARGS_BAD_JSON"),
        (
            |r| {
                json(
                    r,
                    &format!("{{\"a\":{}{}}}", "[".repeat(16), "]".repeat(16)),
                )
            },
            "ARGS_TOO_DEEP",
        ),
        (
            |r| json(r, &format!("{{\"a\":\"{}\"}}", "x".repeat(70_000))),
            "ARGS_TOO_LARGE",
        ),
        (
            |r| call(r).arguments = Some(pb::action_call::Arguments::ArgsCbor(vec![0xbf, 0xff])),
            "ARGS_NOT_CANONICAL",
        ),
    ];
    for (index, (change, want)) in table.iter().enumerate() {
        let mut request = Actor::request(&stage("D-104", "qualified"));
        change(&mut request);
        let status = agent.authorize.authorize(request).await.unwrap_err();
        assert_eq!(code(&status), *want, "case {index}");
        assert!(status.message().len() > want.len(), "a sentence");
        let record = world.records().await.pop().unwrap();
        // The first record is that of the policies.
        assert_eq!(record["seq"], index + 1);
        assert_eq!(
            (&record["verdict"], &record["reasons"][0]),
            (&"DENY".into(), &(*want).into())
        );
    }
}

/// Makes a part of a request so large.
type Grow = fn(&mut pb::AuthorizeRequest, usize);

fn quoting(id: usize, quote: usize) -> pb::Evidence {
    pb::Evidence {
        r#type: "ticket".into(),
        id: "x".repeat(id),
        quote: "x".repeat(quote),
        ..pb::Evidence::default()
    }
}

/// Parts of a request and their limits.
const GROWN: &[(&str, usize, Grow)] = &[
    ("reason", REASON_BYTES_MAX, |r, n| r.reason = "x".repeat(n)),
    ("precondition", PRECONDITION_BYTES_MAX, |r, n| {
        call(r).precondition = Some("x".repeat(n));
    }),
    ("evidence items", EVIDENCE_ITEMS_MAX, |r, n| {
        r.evidence = vec![quoting(1, 1); n];
    }),
    ("evidence id", IDENT_BYTES_MAX, |r, n| {
        r.evidence = vec![quoting(n, 1)];
    }),
    ("evidence quote", EVIDENCE_QUOTE_BYTES_MAX, |r, n| {
        r.evidence = vec![quoting(1, n)];
    }),
];

fn batch(items: usize) -> pb::BatchAuthorizeRequest {
    let request = || Actor::request(&stage("D-104", "qualified"));
    pb::BatchAuthorizeRequest {
        parent: "tenants/acme".into(),
        requests: (0..items).map(|_| request()).collect(),
    }
}

/// Sends twenty full batches at the same time; whether some of it was refused because so much waits already.
async fn is_too_much_at_once(agent: &Actor) -> bool {
    use pb::batch_authorize_item::Outcome;
    let sent: Vec<_> = (0..20)
        .map(|_| {
            let mut agent = agent.clone();
            tokio::spawn(async move { agent.authorize.batch_authorize(batch(100)).await })
        })
        .collect();
    let mut refused = false;
    for one in sent {
        let answer = one.await.unwrap();
        let items = answer.map_or_else(|_| Vec::new(), |answer| answer.into_inner().items);
        refused |= items.iter().any(|item| match &item.outcome {
            Some(Outcome::Error(error)) => error.message.contains("wait already"),
            _ => false,
        });
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_are_accepted_up_to_the_limit_and_not_beyond() {
    let world = World::start();
    let mut agent = world.agent().await;
    for (name, limit, grow) in GROWN {
        for (size, accepted) in [(limit - 1, true), (*limit, true), (limit + 1, false)] {
            let mut request = Actor::request(&stage("D-104", "qualified"));
            grow(&mut request, size);
            let answer = agent.authorize.authorize(request).await;
            assert_eq!(answer.is_ok(), accepted, "{name} {size}");
        }
    }
    for (items, accepted) in [(99, true), (100, true), (101, false)] {
        match agent.authorize.batch_authorize(batch(items)).await {
            Ok(answer) => assert!(accepted && answer.into_inner().items.len() == items),
            Err(status) => assert!(!accepted && code(&status) == "REQUEST_TOO_LARGE"),
        }
    }
    let mut huge = Actor::request(&stage("D-104", "qualified"));
    huge.traceparent = "x".repeat(300 * 1_024);
    assert!(
        agent.authorize.authorize(huge).await.is_err(),
        "messages end at 256 KiB"
    );
    assert!(
        agent
            .ask(&stage("D-104", "qualified"))
            .await
            .decision
            .name
            .starts_with("tenants/acme")
    );
    let started = std::time::Instant::now();
    while !is_too_much_at_once(&agent).await {
        assert!(started.elapsed() < e2e::PATIENCE, "anything may wait");
    }
}

/// Starts a daemon that must refuse to, and gives what it said.
fn refuses(world: &World, program: &str, args: &[&str]) -> String {
    let output = world.run(program, args);
    assert!(!output.status.success(), "{args:?} started");
    assert_eq!(output.stdout, b"", "stdout carries results only");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_daemon_that_cannot_run_safely_says_why_and_what_to_do() {
    let world = World::prepare(&[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = format!("server.grpc_addr={}", taken.local_addr().unwrap());
    let free = "server.grpc_addr=127.0.0.1:0";
    for program in ["policyd", "connectord"] {
        let said = refuses(&world, program, &["server", "--set", &addr]);
        assert!(
            said.contains("PORT_IN_USE") && said.contains("Fix:"),
            "{said}"
        );
        let said = refuses(&world, program, &["server", "--set", "sever.grpc_addr=1"]);
        assert!(
            said.contains("CONFIG_UNKNOWN_KEY") && said.contains("did you mean `server`"),
            "{said}"
        );
    }
    let key = world.path("keys/token.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = refuses(&world, "policyd", &["server", "--set", free]);
    assert!(
        said.contains("KEY_FILE_MODE") && said.contains("chmod 600"),
        "{said}"
    );
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    // One tenant whose set is refused keeps nobody else from being served; with it alone there is nothing.
    std::fs::rename(world.path("policies/globex"), world.path("globex")).unwrap();
    let rule = world.path("policies/acme/sales.cedar");
    let good = std::fs::read_to_string(&rule).unwrap();
    std::fs::write(&rule, "permit(principal, action, resource);").unwrap();
    let said = refuses(&world, "policyd", &["server", "--set", free]);
    assert!(
        said.contains("POLICY_INVALID") && said.contains("@id"),
        "{said}"
    );
    std::fs::write(&rule, good).unwrap();
    std::fs::create_dir(world.path("empty")).unwrap();
    let said = refuses(
        &world,
        "policyd",
        &["server", "--set", free, "--set", "policy.dir=empty"],
    );
    assert!(said.contains("POLICY_EMPTY"), "{said}");
    let said = refuses(
        &world,
        "connectord",
        &["server", "--set", free, "--set", "cards.dir=empty"],
    );
    assert!(said.contains("CARD_MISSING"), "{said}");
    std::fs::remove_file(world.path("keys/credentials.json")).unwrap();
    let said = refuses(&world, "connectord", &["server", "--set", free]);
    assert!(said.contains("CREDENTIAL_MISSING"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_reaches_nothing_and_is_named() {
    let world = World::start();
    let args = [
        "init",
        "--certs-only",
        "--agent",
        "acme/late",
        "--cert-days=-1",
    ];
    assert!(world.run("policyd", &args).status.success());
    let policyd = format!("https://localhost:{}", world.policyd_port);
    let (cert, key) = ("certs/agent-acme-late.pem", "keys/agent-acme-late-tls.pem");
    let identity = ["--addr", &policyd, "--cert", cert, "--key", key];
    let wish = [
        "authorize",
        "refund",
        "--target",
        "order/O-7",
        "--reason",
        "x",
    ];
    let said = refuses(&world, "policyd", &[wish.as_slice(), &identity].concat());
    assert!(
        said.contains("CLIENT_CERT_EXPIRED") && said.contains("Fix:"),
        "{said}"
    );
    // A client that does not look is stopped by both daemons before its first call.
    for port in [world.policyd_port, world.connectord_port] {
        assert!(world.knock("agent-acme-late", port).await.is_err());
        assert!(world.knock("agent-acme-triage", port).await.is_ok());
    }
    // The fix of the message.
    let renewed = world.run("policyd", &["init", "--certs-only"]);
    assert!(renewed.status.success());
    assert!(world.records().await.is_empty());
}

#[test]
fn every_reason_code_is_explained_by_both_programs() {
    for reason in writ_proto::Reason::all() {
        for program in ["policyd", "connectord"] {
            let output = std::process::Command::new(e2e::program(program))
                .args(["explain", reason.code(), "-o", "json"])
                .output()
                .unwrap();
            let page: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(page["fix"], reason.fix());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connectord_takes_no_journal_that_is_in_use() {
    let world = World::start();
    // The port is taken too; the journal is looked at first.
    let same = format!("server.grpc_addr=127.0.0.1:{}", world.connectord_port);
    let said = refuses(&world, "connectord", &["server", "--set", &same]);
    assert!(
        said.contains("JOURNAL_IN_USE") && said.contains("another process uses this database"),
        "{said}"
    );
    // A second policyd would count and contain without the first.
    let other = format!("server.grpc_addr=127.0.0.1:{}", e2e::free_port());
    let said = refuses(&world, "policyd", &["server", "--set", &other]);
    assert!(said.contains("STORE_IN_USE"), "{said}");
    let said = refuses(&world, "policyd", &["store", "accept", "--reason", "why"]);
    assert!(said.contains("STORE_IN_USE"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_credential_are_those_of_its_system_file() {
    let world = World::prepare(&[]);
    let file = world.path("connectord.toml");
    let own = std::fs::read_to_string(&file).unwrap();
    let more = ["main", "eu", "us"].map(|name| {
        format!(
            "[[connection]]\nname = \"sf/{name}\"\nsystem = \"salesforce\"\ntenants = [\"acme\"]\n\
             base_url = \"http://127.0.0.1:1\"\n"
        )
    });
    std::fs::write(file, format!("{own}\n{}", more.concat())).unwrap();
    for (name, text) in [("id", "cl"), ("secret", "hush"), ("empty", "")] {
        std::fs::write(world.path(name), text).unwrap();
    }
    std::fs::write(world.path("long"), "x".repeat(20_000)).unwrap();
    let add = |parts: &[&str]| {
        let mut args = vec!["creds", "add", "sf/main"];
        args.extend(parts.iter().flat_map(|part| ["--part", part]));
        let output = world.run("connectord", &args);
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let good = ["client_id=id", "client_secret=secret"];
    for (parts, why) in [
        (
            &["client_id=id", "client_secert=secret"][..],
            "no part `client_secert`",
        ),
        (&["client_id=id"], "`client_secret` is not given"),
        (
            &["client_id=id", "client_secret=secret", "client_id=id"],
            "given twice",
        ),
        (&["client_id=id", "client_secret=empty"], "is empty"),
        (&["client_id=id", "client_secret=nowhere"], "nowhere"),
        (
            &["client_id=id", "client_secret=long"],
            "at most 16384 bytes",
        ),
        (&["client_id", "client_secret"], "NAME=FILE"),
    ] {
        let (done, said) = add(parts);
        assert!(!done && said.contains(why), "{parts:?}: {said}");
    }
    let listed = world.run("connectord", &["creds", "ls"]);
    assert!(
        !String::from_utf8(listed.stdout)
            .unwrap()
            .contains("sf/main")
    );
    assert_eq!(
        add(&good),
        (true, "sf/main  stored, encrypted\n".to_owned())
    );
    no_two_have_one_refresh_token(&world);
}

/// The second one to use it would end both.
fn no_two_have_one_refresh_token(world: &World) {
    let file = world.path("systems/salesforce.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let auth = text.lines().find(|line| line.starts_with("auth ="));
    let renews = "auth = { oauth2 = { token = \"/token\", grant = \"refresh_token\" } }";
    let parts = "secret = [\"client_id\", \"client_secret\"";
    let text = text.replacen(auth.unwrap(), renews, 1);
    let text = text.replacen(parts, &format!("{parts}, \"refresh_token\""), 1);
    std::fs::write(&file, text).unwrap();
    for (connection, token, taken) in [
        ("sf/eu", "refresh-1", true),
        ("sf/us", "refresh-1", false),
        ("sf/us", "refresh-2", true),
    ] {
        std::fs::write(world.path("refresh"), token).unwrap();
        let mut args = vec!["creds", "add", connection];
        let files = [
            "client_id=id",
            "client_secret=secret",
            "refresh_token=refresh",
        ];
        args.extend(files.iter().flat_map(|part| ["--part", part]));
        let output = world.run("connectord", &args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            output.status.success(),
            taken,
            "{connection} {token}: {said}"
        );
        let told = said.contains("sf/eu has the same refresh token");
        assert_eq!(told, !taken, "{said}");
    }
}
