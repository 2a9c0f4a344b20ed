//! What an export proves: every decision is made again from it, whatever version of the policies made
//! it, and no leaf holds what a person wrote.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::{Actor, PATIENCE, World, note, refund, stage};
use writ_proto::pb;

const ROUNDS: u64 = 10;
const ASKERS: u64 = 8;
const EACH: u64 = 125;

/// Small numbers that look random and are the same at every run.
struct Dice(u64);

impl Dice {
    fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        items[usize::try_from(self.0 >> 33).unwrap() % items.len()]
    }
}

fn random_wish(dice: &mut Dice) -> pb::AuthorizeRequest {
    let mut wish = match dice.pick(&["refund", "stage", "note", "other"]) {
        "refund" => refund(
            dice.pick(&["O-7", "O-8", "O-9", "O-404"]),
            dice.pick(&["0.01", "49.00", "300.00", "450.00", "700.00"]),
        ),
        "stage" => stage(
            dice.pick(&["D-104", "D-105"]),
            dice.pick(&["qualified", "won", "nonsense"]),
        ),
        "note" => note("D-104"),
        _ => e2e::Wish {
            action: "no_such_action".into(),
            ..note("D-104")
        },
    };
    wish.reason = dice.pick(&["", "the customer asked"]).into();
    wish.tenant = dice.pick(&["acme", "acme", "acme", "globex"]).into();
    if dice.pick(&["a", "b", "c"]) == "a" {
        wish.mode = pb::Mode::DryRun;
    }
    let mut request = Actor::request(&wish);
    request.run_id = dice.pick(&["", "run-1", "run-2"]).into();
    request.again = dice.pick(&["yes", "no"]) == "yes";
    if dice.pick(&["a", "b", "c"]) == "a" {
        request.confidence_percent = Some(70);
    }
    request
}

fn export(world: &World, file: &str, more: &[&str]) {
    let addr = format!("https://localhost:{}", world.policyd_port);
    let args = [
        &["records", "export", "--out", file, "--addr", &addr],
        &["--cert", "certs/operator-acme-ops.pem"][..],
        more,
    ];
    let output = world.run("policyd", &args.concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Exit code and all that was said.
fn verify(world: &World, file: &str) -> (Option<i32>, String) {
    let args = [
        "records",
        "verify",
        file,
        "--trust",
        "keys/public.json",
        "--replay",
    ];
    let output = world.run("policyd", &args);
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// Writes another version of acme's rules and waits until it decides.
async fn change_policies(world: &World, round: u64) {
    let mut agent = world.agent().await;
    let version = |asked: &e2e::Asked| asked.decision.policy_version.clone();
    let before = version(&agent.ask(&note("D-104")).await);
    let rule = format!(
        "@id(\"round-{round}\")\n@reason(\"x\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\n@owner(\"x@a.example\")\nforbid (principal, action == Action::\"refund\", resource) when {{ context.amount_minor == {round} }};\n"
    );
    std::fs::write(world.path("policies/acme/round.cedar"), rule).unwrap();
    let started = Instant::now();
    while version(&agent.ask(&note("D-104")).await) == before {
        assert!(started.elapsed() < PATIENCE, "the change is not in force");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An agent for each round and asker, with the roles of triage: of one agent alike denials would only be counted.
fn with_askers() -> World {
    let mut world = World::prepare(&[]);
    let names = (0..ROUNDS)
        .flat_map(|round| (0..ASKERS).map(move |asker| format!("asker-{round}-{asker}")));
    let names: Vec<String> = names.collect();
    let path = world.path("policies/acme/entities.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut entities: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let triage = entities
        .iter()
        .find(|entity| entity["uid"]["id"] == "triage");
    let triage = triage.unwrap().clone();
    let mut issue = ["init", ".", "--certs-only"].map(str::to_owned).to_vec();
    for name in names.iter().map(String::as_str).chain(["triage", "seller"]) {
        issue.extend(["--agent".to_owned(), format!("acme/{name}")]);
        if name.starts_with("asker") {
            let mut entity = triage.clone();
            entity["uid"]["id"] = name.into();
            entities.push(entity);
        }
    }
    std::fs::write(&path, serde_json::to_string_pretty(&entities).unwrap()).unwrap();
    let issue: Vec<&str> = issue.iter().map(String::as_str).collect();
    let issued = world.run("policyd", &issue);
    assert!(issued.status.success(), "{issued:?}");
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_is_made_again_over_policy_versions_and_restarts() {
    let mut world = with_askers();
    let mut asked = 0_u64;
    for round in 0..ROUNDS {
        if round > 0 && round % 3 == 0 {
            change_policies(&world, round).await;
        }
        if round == 4 || round == 8 {
            world.policyd.take().unwrap().kill();
            world.start_policyd();
        }
        let mut tasks = Vec::new();
        for asker in 0..ASKERS {
            let mut agent = world
                .actor(&format!("agent-acme-asker-{round}-{asker}"))
                .await;
            tasks.push(tokio::spawn(async move {
                let mut dice = Dice(round * 1_000 + asker);
                for _ in 0..EACH {
                    agent.ask_for(random_wish(&mut dice)).await;
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
            asked += EACH;
        }
    }
    export(&world, "all.jsonl", &["--with-values"]);
    let (code, said) = verify(&world, "all.jsonl");
    assert_eq!(code, Some(0), "{said}");
    let again = said.split("; ").find_map(|part| {
        part.trim_end()
            .strip_suffix(" decisions made again, with the same result")
    });
    let again: u64 = again.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    assert!(again >= asked, "{again} of {asked}: {said}");
    assert!(said.contains(" 4 policy sets"), "{said}");
    tampered(&world);
    unread_exports(&world).await;
}

/// Exports that nobody reads keep their places, and one more is refused.
async fn unread_exports(world: &World) {
    let mut operator = world.operator().await;
    let mut held = Vec::new();
    let refused = loop {
        let request = pb::ExportRecordsRequest {
            parent: "tenants/acme".into(),
            from_seq: 0,
            with_values: true,
        };
        match operator.records.export_records(request).await {
            Ok(answer) => held.push(answer.into_inner()),
            Err(status) => break e2e::code(&status),
        }
        assert!(held.len() < 5, "each takes another page of memory");
    };
    assert_eq!(refused, "RATE_LIMITED");
}

/// One policy byte, one value, one trace entry: each is named.
fn tampered(world: &World) {
    let path = world.path("all.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let policy = text
        .lines()
        .find(|line| line.starts_with("{\"policy_digest\""))
        .unwrap();
    let other = policy.replacen("25000", "25001", 1);
    assert_ne!(policy, other);
    std::fs::write(
        world.path("changed.jsonl"),
        text.replacen(policy, &other, 1),
    )
    .unwrap();
    let (code, said) = verify(world, "changed.jsonl");
    assert!(
        code == Some(1)
            && said.contains("#0: the policy files on the next line are not those that it names"),
        "{said}"
    );
    let line = text
        .lines()
        .find(|line| line.contains("\"kind\":\"evaluated\""))
        .unwrap();
    let values = line
        .split("\"values_b64\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let bytes = STANDARD.decode(values).unwrap();
    for what in [&b"halts"[..], b"request_hash"] {
        let mut windows = bytes.windows(what.len());
        let at = windows.position(|window| window == what).unwrap();
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let text = text.replacen(values, &STANDARD.encode(&changed), 1);
        std::fs::write(world.path("changed.jsonl"), text).unwrap();
        let (code, said) = verify(world, "changed.jsonl");
        assert!(code == Some(1) && said.contains("committed to"), "{said}");
    }
    // Without the values there is nothing to decide again, and that is said.
    export(world, "plain.jsonl", &[]);
    let (code, said) = verify(world, "plain.jsonl");
    assert!(code == Some(3) && said.contains("has no values"), "{said}");
    // What is forged is told as that all the same.
    let plain = std::fs::read_to_string(world.path("plain.jsonl")).unwrap();
    let forged = plain.replacen("\"kind\":\"evaluated\"", "\"kind\":\"evaluatd\"", 1);
    std::fs::write(world.path("forged.jsonl"), forged).unwrap();
    let (code, said) = verify(world, "forged.jsonl");
    assert!(
        code == Some(1) && said.contains("differs from its signed bytes"),
        "{said}"
    );
    // The document of another installation did not sign it, which proves no forgery.
    let other = World::prepare(&[]);
    let other = other.path("keys/public.json");
    let args = [
        "records",
        "verify",
        "plain.jsonl",
        "--trust",
        other.to_str().unwrap(),
    ];
    let output = world.run("policyd", &args);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.code() == Some(1) && said.contains("of another installation"),
        "{said}"
    );
}

/// Names that people and agents write somewhere, each of them once.
fn planted() -> Vec<String> {
    (0..60)
        .map(|index| format!("Planted{index:02}Person"))
        .collect()
}

/// What operators write: halts of customers and runs, a raise, an undo.
async fn operators_write(world: &World, agent: &mut Actor, name: &mut impl FnMut() -> String) {
    let connectord = format!("https://localhost:{}", world.connectord_port);
    let policyd = format!("https://localhost:{}", world.policyd_port);
    let operator = "certs/operator-acme-ops.pem";
    let told = |program: &str, args: &[&str]| world.run(program, args);
    for scope in [format!("customer:{}", name()), format!("run:{}", name())] {
        let reason = name();
        let args = [
            "halt",
            "on",
            "--scope",
            &scope,
            "--reason",
            &reason,
            "--addr",
            &connectord,
            "--cert",
            operator,
        ];
        told("connectord", &args);
        let args = [
            "halt",
            "off",
            "--scope",
            &scope,
            "--reason",
            &reason,
            "--addr",
            &connectord,
            "--cert",
            operator,
        ];
        told("connectord", &args);
    }
    let reason = name();
    let args = [
        "budget",
        "raise",
        "changes-a-day",
        "--by",
        "5",
        "--for",
        "1h",
        "--reason",
        &reason,
        "--addr",
        &policyd,
        "--cert",
        operator,
    ];
    told("policyd", &args);
    let done = agent.carry(&stage("D-104", "qualified")).await;
    agent.signed(&done).await;
    let execution = done.name.rsplit('/').next().unwrap();
    let args = [
        "undo",
        "--execution",
        execution,
        "--reason",
        &reason,
        "--addr",
        &connectord,
        "--cert",
        operator,
    ];
    told("connectord", &args);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_leaf_holds_what_a_person_wrote() {
    let world = World::start();
    let names = planted();
    let mut next = names.iter().cloned();
    let mut name = || next.next().unwrap();
    let mut agent = world.agent().await;
    let policyd = format!("https://localhost:{}", world.policyd_port);
    let operator = "certs/operator-acme-ops.pem";
    let told = |program: &str, args: &[&str]| {
        let output = world.run(program, args);
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    world.promote(&["add_note", "set_stage"]).await;
    // What an agent writes: arguments, reasons, quotes, targets, runs, versions, names of all kinds.
    for _ in 0..4 {
        let mut wish = note("D-104");
        wish.args = format!("{{\"text\":\"{}\"}}", name());
        wish.reason = name();
        agent.carry(&wish).await;
        let mut wish = note(&name());
        wish.action = name();
        let mut request = Actor::request(&wish);
        request.run_id = name();
        let evidence = pb::Evidence {
            r#type: "mail".into(),
            id: name(),
            quote: name(),
            ..pb::Evidence::default()
        };
        request.evidence = vec![evidence];
        agent.authorize.authorize(request).await.ok();
        let mut request = Actor::request(&stage(&name(), "qualified"));
        request.run_id = name();
        if let Some(call) = &mut request.call {
            call.precondition = Some(name());
        }
        agent.authorize.authorize(request).await.ok();
    }
    operators_write(&world, &mut agent, &mut name).await;
    let started = Instant::now();
    loop {
        export(&world, "leaves.jsonl", &[]);
        let text = std::fs::read_to_string(world.path("leaves.jsonl")).unwrap();
        if text.contains("\"kind\":\"halt_cleared\"") && text.contains("\"kind\":\"undo\"") {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "the reports have not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let text = std::fs::read_to_string(world.path("leaves.jsonl")).unwrap();
    let mut leaves = Vec::new();
    for line in text.lines() {
        if let Some(leaf) = line.split("\"leaf_b64\":\"").nth(1) {
            leaves.extend(STANDARD.decode(leaf.split('"').next().unwrap()).unwrap());
        }
    }
    let held = |name: &str| {
        leaves
            .windows(name.len())
            .any(|window| window == name.as_bytes())
    };
    let found: Vec<&String> = names
        .iter()
        .filter(|name| held(name) || text.contains(name.as_str()))
        .collect();
    assert!(found.is_empty(), "{found:?}");
    for own in ["acme-ops", "D-104", "the customer asked"] {
        assert!(!held(own), "{own}");
    }
    // An operator still reads them: they are kept beside the log.
    let listed = told(
        "policyd",
        &[
            "records", "ls", "-o", "jsonl", "--addr", &policyd, "--cert", operator,
        ],
    );
    let kept = names
        .iter()
        .filter(|name| listed.contains(name.as_str()))
        .count();
    assert!(kept > 10, "{kept} of the names are kept");
}
