//! What keeps daemons and commands apart is told before it is met: by `doctor`, and by who is refused.

use e2e::World;

#[tokio::test(flavor = "multi_thread")]
async fn doctors_name_what_no_server_takes_and_what_does_not_work_together() {
    let world = World::start();
    let own = |daemon: &str, set: &str| {
        let port = if daemon == "policyd" {
            world.policyd_port
        } else {
            world.connectord_port
        };
        let addr = format!("server.grpc_addr=127.0.0.1:{port}");
        let done = world.run(daemon, &["doctor", "--set", &addr, "--set", set]);
        (
            done.status.success(),
            String::from_utf8(done.stdout).unwrap(),
        )
    };
    for (daemon, set, code) in [
        ("policyd", "tls.trust_domain=other.host", "TLS_INVALID"),
        ("policyd", "tls.cert=certs/connectord.pem", "TLS_INVALID"),
        ("policyd", "token.audience=pool", "TOKEN_WRONG_AUDIENCE"),
        ("policyd", "token.issuer=https://other", "TRUST_INVALID"),
        (
            "policyd",
            "connectord.addr=https://127.0.0.1:1",
            "TOKEN_REVOKED",
        ),
        (
            "connectord",
            "policyd.addr=https://127.0.0.1:1",
            "never become a record",
        ),
        ("connectord", "server.audience=pool", "TOKEN_WRONG_AUDIENCE"),
        ("connectord", "tls.trust_domain=other.host", "TLS_INVALID"),
        ("connectord", "trust.max_ttl=1s", "TOKEN_TTL_TOO_LONG"),
        (
            "connectord",
            "halt.store=file:///dev/null/x",
            "HALT_UNKNOWN",
        ),
    ] {
        let (ok, said) = own(daemon, set);
        assert!(!ok && said.contains(code), "{daemon} {set}: {said}");
        // What comes after is looked at all the same.
        assert!(said.contains("the disk of"), "{daemon} {set}: {said}");
    }
    // A connection that names no tenant of the cards says so once.
    let file = world.path("connectord.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, after) = text.split_once("tenants = [").unwrap();
    let rest = after.split_once(']').unwrap().1;
    std::fs::write(&file, format!("{before}tenants = [\"acne\"]{rest}")).unwrap();
    let (ok, said) = own("connectord", "server.reflection=false");
    let lines = said
        .lines()
        .filter(|line| line.contains("does not name acme"));
    assert!(!ok && lines.count() == 1, "{said}");
}

/// What doctor says of a daemon with the addresses at which all of a world is.
fn at_home(world: &World, daemon: &str, more: &[String]) -> (bool, String) {
    let (policyd, connectord) = (world.policyd_port, world.connectord_port);
    let (own, addr) = match daemon {
        "policyd" => (
            policyd,
            format!("connectord.addr=https://localhost:{connectord}"),
        ),
        _ => (
            connectord,
            format!("policyd.addr=https://localhost:{policyd}"),
        ),
    };
    let own = format!("server.grpc_addr=127.0.0.1:{own}");
    let mut args = vec!["doctor", "--set", &own, "--set", &addr];
    args.extend(more.iter().flat_map(|set| ["--set", set]));
    let done = match daemon {
        "policyd" => world.run(daemon, &args),
        _ => world.connected(&args).output().unwrap(),
    };
    (
        done.status.success(),
        String::from_utf8(done.stdout).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_is_content_with_what_works_and_believes_an_answer_only() {
    let world = World::start();
    // The files name other ports than those that are used: who answers is reached all the same.
    for (daemon, other) in [
        ("policyd", "connectord answers at"),
        ("connectord", "policyd answers at"),
    ] {
        let (ok, said) = at_home(&world, daemon, &[]);
        assert!(ok && said.contains(other), "{daemon}: {said}");
        if daemon == "connectord" {
            assert!(said.contains("(acme 16, globex 1)"), "{said}");
            assert!(said.contains("halts: none is in force"), "{said}");
        }
    }
    // Who would not let us in is connected to all the same, and does not answer.
    let stranger = World::prepare(&[]);
    let of = |name: &str| stranger.path(name).display().to_string();
    let theirs = [
        ["tls.cert", &of("certs/policyd.pem")].join("="),
        ["tls.key_file", &of("keys/policyd-tls.pem")].join("="),
    ];
    let (ok, said) = at_home(&world, "policyd", &theirs);
    assert!(!ok && !said.contains("connectord answers at"), "{said}");
}

#[test]
fn a_certificate_of_another_authority_is_told_whichever_side_has_it() {
    let (ours, theirs) = (World::prepare(&[]), World::prepare(&[]));
    let ca = theirs.path("certs/ca.pem");
    let (ca, cert) = (
        ca.to_str().unwrap(),
        theirs.path("certs/agent-acme-triage.pem"),
    );
    let mut world = ours;
    world.start_policyd();
    let asked = |more: &[&str]| {
        let mut args = vec!["health", "--addr"];
        let addr = format!("https://127.0.0.1:{}", world.policyd_port);
        args.push(&addr);
        args.extend(more);
        let done = world.run("policyd", &args);
        assert!(!done.status.success());
        String::from_utf8(done.stderr).unwrap()
    };
    let own = "certs/agent-acme-triage.pem";
    let said = asked(&["--cert", own, "--cacert", ca]);
    assert!(
        said.contains("the server's certificate is not signed by the authority given for it"),
        "{said}"
    );
    let said = asked(&["--cert", cert.to_str().unwrap()]);
    assert!(said.contains("does not let it in"), "{said}");
    assert!(said.contains("TLS_INVALID"), "{said}");
}

#[test]
fn dev_makes_no_folder_that_it_could_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let base = e2e::free_ports(31);
    let taken = std::net::TcpListener::bind(("127.0.0.1", base + 30)).unwrap();
    let run = std::process::Command::new(e2e::program("policyd"))
        .args(["dev", "fresh", "--port-base", &base.to_string()])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(
        said.contains("PORT_IN_USE") && said.contains(&(base + 30).to_string()),
        "{said}"
    );
    assert!(
        said.contains("--port-base") && !folder.path().join("fresh").exists(),
        "{said}"
    );
    drop(taken);
}
