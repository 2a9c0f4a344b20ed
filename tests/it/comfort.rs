//! What makes everyday work short: one command that starts everything, the story of a record, defaults
//! that are found, pages and completions.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use e2e::{World, free_ports, program, stage};

/// Runs a program in the folder of a world with nothing but its own environment.
fn plain(world: &World, name: &str, args: &[&str], cert: &str) -> (bool, String) {
    let output = Command::new(program(name))
        .current_dir(world.folder.path())
        .args(args)
        .env("WRIT_CERT", cert)
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(told).unwrap())
}

/// Starts all three, and waits until that is said.
fn dev(args: &[&str], within: &std::path::Path) -> (std::process::Child, String) {
    let mut child = Command::new(program("policyd"))
        .arg("dev")
        .args(args)
        .current_dir(within)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = String::new();
    for line in lines.by_ref() {
        said.push_str(&line.unwrap());
        said.push('\n');
        if said.contains("Ctrl-C ends") {
            break;
        }
    }
    (child, said)
}

fn terminate(mut child: std::process::Child) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(sent.success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn dev_starts_everything_and_ends_it_with_a_signal() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("my-writ");
    let base = free_ports(31);
    let (child, said) = dev(
        &[folder.to_str().unwrap(), "--port-base", &base.to_string()],
        temp.path(),
    );
    assert!(
        said.contains(&format!("https://127.0.0.1:{base}")),
        "{said}"
    );
    // What it prints works as pasted.
    let commands: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| {
            line.starts_with("cd ")
                || line.starts_with("policyd authorize")
                || line.starts_with("connectord execute")
        })
        .collect();
    assert_eq!(commands.len(), 3, "{said}");
    let binaries = program("policyd").parent().unwrap().to_owned();
    let path = format!("{}:{}", binaries.display(), e2e::search_path());
    let pasted = Command::new("bash")
        .args(["-ec", &commands.join("\n")])
        .env("PATH", path)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&pasted.stdout).into_owned();
    assert!(
        pasted.status.success() && told.contains("would change"),
        "{told} {pasted:?}"
    );
    terminate(child);
    for port in [base, base + 10, base + 30] {
        assert!(
            std::net::TcpListener::bind(("127.0.0.1", port)).is_ok(),
            "{port} is still taken"
        );
    }
    // In the folder itself no name is needed, nor what `init` alone would leave to do.
    std::fs::remove_file(folder.join("keys/credentials.json")).unwrap();
    let (child, said) = dev(&[], &folder);
    let found = format!("found {}", folder.canonicalize().unwrap().display());
    assert!(said.starts_with(&found), "{said}");
    terminate(child);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_a_record_is_one_answer_and_defaults_are_found() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let mut agent = world.agent().await;
    let done = agent.carry(&stage("D-104", "qualified")).await;
    agent.signed(&done).await;
    agent.undo(&done).await;
    let (_, records) = world.settle().await;
    assert!(records.len() > 2);
    // The address and the tenant are those of the folder and of the certificate.
    for (file, port) in [
        ("policyd.toml", world.policyd_port),
        ("connectord.toml", world.connectord_port),
    ] {
        let path = world.path(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let usual = if file == "policyd.toml" {
            "127.0.0.1:7350"
        } else {
            "127.0.0.1:7360"
        };
        std::fs::write(&path, text.replace(usual, &format!("127.0.0.1:{port}"))).unwrap();
    }
    let operator = "certs/operator-acme-ops.pem";
    let started = std::time::Instant::now();
    let story = loop {
        let (good, said) = plain(&world, "policyd", &["story", "deal/D-104"], operator);
        assert!(good, "{said}");
        if said.contains("undid set_stage, because \"test\": it was put back: {\"stage\":\"qualified\"} became {\"stage\":\"new\"}") {
            break said;
        }
        assert!(started.elapsed() < e2e::PATIENCE, "{said}");
    };
    for words in [
        "triage asked for set_stage {\"stage\":\"qualified\"}, because \"the customer asked\": ALLOW by rule set-stage under the policies acme-2026-11",
        "ops moved set_stage: dry_run -> live, under its card sha256:",
        "set_stage DONE: {\"stage\":\"new\"} became {\"stage\":\"qualified\"}",
        "Prove it: policyd records export",
    ] {
        assert!(story.contains(words), "{words}: {story}");
    }
    let (good, said) = plain(&world, "policyd", &["records", "ls"], operator);
    assert!(
        good && said.contains("live     triage  deal/D-104  ALLOW"),
        "{said}"
    );
    let (good, said) = plain(&world, "connectord", &["actions", "ls"], operator);
    let undo = |action: &str, by: &str| {
        let line = said
            .lines()
            .find(|line| line.starts_with(&format!("{action} ")));
        line.is_some_and(|line| line.contains(&format!("undo: {by}")))
    };
    for (action, by) in [
        ("set_stage", "by Writ"),
        ("refund", "by a person"),
        ("see_contact", "- "),
    ] {
        assert!(good && undo(action, by), "{action}: {said}");
    }
    let (good, said) = plain(&world, "policyd", &["story", "D-104"], operator);
    assert!(!good && said.contains("such as deal/D-104"), "{said}");
    let (good, said) = plain(&world, "policyd", &["story", "deal/D-999"], operator);
    assert!(
        !good && said.contains("NOT_FOUND") && said.contains("acme"),
        "{said}"
    );
    let (good, said) = plain(
        &world,
        "policyd",
        &["decisions", "ls", "--verdict", "denied"],
        operator,
    );
    assert!(!good && said.contains("REQUIRE_APPROVAL"), "{said}");
    let (good, said) = plain(
        &world,
        "policyd",
        &["decisions", "ls", "--target", "deal/D-104"],
        operator,
    );
    assert!(
        good && said.contains("deal/D-104") && said.contains("ALLOW"),
        "{said}"
    );
    // An operator of another tenant asks about his own.
    let (good, said) = plain(
        &world,
        "policyd",
        &["records", "ls"],
        "certs/operator-globex-ops.pem",
    );
    assert!(good && said.contains("policy_published"), "{said}");
    let (good, said) = plain(
        &world,
        "connectord",
        &["actions", "ls"],
        "certs/operator-globex-ops.pem",
    );
    assert!(good, "{said}");
}

#[test]
fn rules_are_laid_out_and_pages_and_completions_are_written() {
    let world = World::prepare(&[]);
    let run = |args: &[&str]| {
        let output = world.run("policyd", args);
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let rule = world.path("policies/acme/extra.cedar");
    let text = "// Why.\n@id(\"extra\")\n@reason(\"x\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\n@owner(\"x@a.example\")\nforbid(principal,action,resource)when{context.hour<3};\n";
    std::fs::write(&rule, text).unwrap();
    let digest = |said: &str| {
        said.lines()
            .find(|line| line.starts_with("acme: "))
            .unwrap()
            .to_owned()
    };
    assert!(run(&["check"]).0 == Some(0));
    let (code, said) = run(&["fmt", "--check"]);
    assert!(code == Some(3) && said.contains("extra.cedar"), "{said}");
    assert_eq!(std::fs::read_to_string(&rule).unwrap(), text);
    assert_eq!(run(&["fmt"]).0, Some(0));
    let laid_out = std::fs::read_to_string(&rule).unwrap();
    assert!(
        laid_out.contains("// Why.") && laid_out.contains("forbid (principal, action, resource)"),
        "{laid_out}"
    );
    assert_eq!(run(&["fmt", "--check"]), (Some(0), String::new()));
    assert!(!digest(&run(&["check"]).1).is_empty());
    // Sealed, changed, and sealed again.
    assert_eq!(run(&["seal", "policies/acme"]).0, Some(0));
    assert_eq!(run(&["seal", "policies/acme", "--check"]).0, Some(0));
    let listed = Command::new("sha256sum")
        .args(["--quiet", "-c", "set.lock"])
        .current_dir(world.path("policies/acme"))
        .status()
        .unwrap();
    assert!(listed.success(), "set.lock is what sha256sum reads");
    std::fs::write(&rule, text).unwrap();
    assert_eq!(run(&["seal", "policies/acme", "--check"]).0, Some(3));
    let (code, said) = run(&["check"]);
    assert!(
        code == Some(3) && said.contains("extra.cedar") && said.contains("set.lock"),
        "{said}"
    );
    // A slip is a warning that CI may refuse.
    std::fs::remove_file(world.path("policies/acme/set.lock")).unwrap();
    std::fs::write(
        &rule,
        text.replace("principal,", "principal in Role::\"suspendd\","),
    )
    .unwrap();
    let (code, said) = run(&["check"]);
    assert!(
        code == Some(0) && said.contains("Did you mean `suspended`?"),
        "{said}"
    );
    assert_eq!(run(&["check", "--deny-warnings"]).0, Some(3));
    // Results of tests as CI reads them, with the rule that no test hit.
    let (code, said) = run(&["test", "--junit", "junit.xml"]);
    assert!(
        code == Some(0) && said.contains("never: ") && said.contains("extra"),
        "{said}"
    );
    let xml = std::fs::read_to_string(world.path("junit.xml")).unwrap();
    assert!(
        xml.contains("<testsuite name=\"acme/tests/story.json\""),
        "{xml}"
    );
    for name in ["policyd", "connectord"] {
        let output = world.run(name, &["man", "man"]);
        assert!(output.status.success());
        assert!(world.path(&format!("man/{name}.1")).exists());
        let output = world.run(name, &["completions", "bash"]);
        assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("_{name}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_written_does_not_serve() {
    // With a connectord: policyd serves nobody who does not know which halts are set.
    let world = World::start();
    let health = |world: &World| {
        let addr = format!("https://localhost:{}", world.policyd_port);
        let args = [
            "health",
            "--addr",
            &addr,
            "--cert",
            "certs/agent-acme-triage.pem",
        ];
        let output = world.run("policyd", &args);
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
    };
    assert_eq!(health(&world), (Some(0), "SERVING".to_owned()));
    // Nobody can write while somebody else holds the lock of the file.
    let url = format!("sqlite://{}", world.path("policyd.db").display());
    let pool = sqlx::sqlite::SqlitePool::connect(&url).await.unwrap();
    let mut held = pool.acquire().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE")
        .execute(&mut *held)
        .await
        .unwrap();
    let started = std::time::Instant::now();
    while health(&world) != (Some(5), "NOT_SERVING".to_owned()) {
        assert!(started.elapsed() < e2e::PATIENCE, "{:?}", health(&world));
    }
    let doctor = world.run("policyd", &["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        !doctor.status.success() && said.contains("cannot be written"),
        "{said}"
    );
    assert!(
        !whole_serves(&world).await,
        "who names no service hears it too"
    );
    sqlx::query("ROLLBACK").execute(&mut *held).await.unwrap();
    let started = std::time::Instant::now();
    while health(&world) != (Some(0), "SERVING".to_owned()) {
        assert!(started.elapsed() < e2e::PATIENCE, "{:?}", health(&world));
    }
    assert!(whole_serves(&world).await);
    // Nor does one that cannot write down how far its log is.
    let lock = world.path("state/policyd-marks.lock");
    let started = std::time::Instant::now();
    while std::fs::create_dir(&lock).is_err() {
        assert!(started.elapsed() < e2e::PATIENCE);
        let _gone = std::fs::remove_file(&lock);
    }
    world.agent().await.ask(&stage("D-104", "qualified")).await;
    let started = std::time::Instant::now();
    while whole_serves(&world).await {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(started.elapsed() < e2e::PATIENCE, "it serves");
    }
    std::fs::remove_dir(&lock).unwrap();
    let started = std::time::Instant::now();
    while !whole_serves(&world).await {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(started.elapsed() < e2e::PATIENCE, "it does not serve again");
    }
}

/// What policyd says of itself to who names no service, such as a probe of Kubernetes.
async fn whole_serves(world: &World) -> bool {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let mut client = HealthClient::new(world.policyd_channel("agent-acme-triage").await);
    let answer = client.check(HealthCheckRequest::default()).await.unwrap();
    answer.into_inner().status == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn who_commands_act_as_is_chosen_once_for_a_folder() {
    let world = World::start();
    let run = |name: &str, args: &[&str]| {
        let output = world.run(name, args);
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let addr = format!("https://localhost:{}", world.policyd_port);
    let list = ["decisions", "ls", "--addr", &addr];
    let (code, said) = run("policyd", &list);
    assert!(
        code == Some(2) && said.contains("policyd use NAME"),
        "{said}"
    );
    let (code, said) = run("policyd", &["use", "acme-nobody"]);
    assert!(
        code != Some(0) && said.contains("agent-acme-triage"),
        "{said}"
    );
    let (code, said) = run("policyd", &["use", "acme-ops"]);
    assert!(
        code == Some(0) && said.contains("/tenant/acme/operator/ops"),
        "{said}"
    );
    let (code, said) = run("policyd", &list);
    assert_eq!(code, Some(0), "{said}");
    let connectord = format!("https://localhost:{}", world.connectord_port);
    let (code, said) = run("connectord", &["executions", "ls", "--addr", &connectord]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run("policyd", &[&list[..], &["--tenant", "acm"]].concat());
    assert!(
        code == Some(2)
            && said.contains("--tenant acm, but certs/operator-acme-ops.pem is of tenant acme"),
        "{said}"
    );
    let (code, said) = run(
        "policyd",
        &[&list[..], &["--config", "nofile.toml"]].concat(),
    );
    assert!(
        code == Some(2) && said.contains("there is no file nofile.toml"),
        "{said}"
    );
    // What is given goes first.
    let agent = ["--cert", "certs/agent-acme-triage.pem"];
    let (code, said) = run("policyd", &[&list[..], &agent].concat());
    assert!(
        code != Some(0) && said.contains("OPERATOR_REQUIRED"),
        "{said}"
    );
    let asks = [
        "authorize",
        "set_stage",
        "stage=qualified",
        "--target",
        "deal/D-104",
        "--reason",
        "x",
        "--addr",
        &addr,
        "--cert",
        "certs/agent-acme-triage.pem",
        "--token-out",
        "nowhere/writ.bin",
    ];
    let (code, said) = run("policyd", &asks);
    assert!(
        code == Some(2) && said.contains("--token-out: there is no folder nowhere"),
        "{said}"
    );
    let decided = world.records().await;
    assert!(
        decided.iter().all(|record| record["kind"] != "evaluated"),
        "nothing was asked"
    );
    assert_eq!(run("policyd", &["use", "--nobody"]).0, Some(0));
    assert_eq!(run("policyd", &list).0, Some(2));
}

#[test]
fn a_certificate_that_is_given_goes_before_the_environment() {
    let world = World::start();
    let addr = format!("https://localhost:{}", world.policyd_port);
    let list = ["decisions", "ls", "--addr", &addr];
    let operator = [&list[..], &["--cert", "acme-ops"]].concat();
    let (good, said) = plain(&world, "policyd", &operator, "certs/nobody.pem");
    assert!(good, "{said}");
    let (good, said) = plain(&world, "policyd", &list, "certs/nobody.pem");
    assert!(!good && said.contains("certs/nobody.pem"), "{said}");
}

#[test]
fn an_action_is_shown_whole_and_for_one_agent() {
    let run = |args: &[&str]| {
        let output = std::process::Command::new(e2e::program("policyd"))
            .current_dir(e2e::root())
            .args(args)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let show = ["actions", "show", "refund", "--tenant", "acme"];
    let (code, all) = run(&show);
    assert_eq!(code, Some(0), "{all}");
    for part in [
        "owner finance@acme.example",
        "compensable",
        "caps.records_per_day",
        "refund-small",
        "approved by",
        "args.amount.type",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let (_, seller) = run(&[&show[..], &["--agent", "seller"]].concat());
    assert!(
        !seller.contains("refund-small") && seller.contains("refund-over-total"),
        "{seller}"
    );
    let (code, nobody) = run(&[&show[..], &["--agent", "trige"]].concat());
    assert!(code != Some(0) && nobody.contains("triage"), "{nobody}");
    let (_, listed) = run(&["actions", "ls", "--tenant", "acme", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert!(listed.as_array().unwrap().len() > 10);
    let (code, unknown) = run(&["actions", "show", "refnd", "--tenant", "acme"]);
    assert!(
        code != Some(0) && unknown.contains("it has") && unknown.contains("refund"),
        "{unknown}"
    );
}
