//! What `connectord halt` says of the halts that one word does not end.

use e2e::World;

/// Exit code and what was said.
fn halt(world: &World, args: &[&str], more: &[&str]) -> (Option<i32>, String) {
    let args = [&["halt"], args, &["--reason", "a test"], more].concat();
    let output = world.run("connectord", &args);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// What is typed, how connectord is reached, the exit code, and words of the answer.
type Said<'a> = (&'a [&'a str], &'a [&'a str], i32, &'a [&'a str]);

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_halt_says_what_halts_still() {
    let world = super::halt::up(World::prepare(&[]));
    let addr = format!("https://localhost:{}", world.connectord_port);
    // By its name, as `policyd use` takes it.
    let asked = ["--addr", &addr, "--cert", "acme-ops"];
    let (part, all) = ("tenant:acme/agent:triage", "tenant:acme");
    for scope in [part, all] {
        let (code, said) = halt(&world, &["on", "--scope", scope], &[]);
        assert_eq!(code, Some(0), "{said}");
    }
    let table: [Said<'_>; 6] = [
        (
            &["off", "--scope", part],
            &[],
            0,
            &["STILL_HALTED", "tenant:acme covers it too"],
        ),
        (
            &["off", "--scope", all],
            &asked,
            0,
            &["RUNNING tenant:acme", "policyd allows it again"],
        ),
        (
            &["off", "--scope", all],
            &[],
            1,
            &["NOT_SET", "nothing is halted"],
        ),
        // Without a certificate an agent is that of every tenant, with one it is his own.
        (&["on", "--scope", "agent:triage"], &[], 0, &[]),
        (
            &["off", "--scope", "agent:triage"],
            &asked,
            1,
            &["NOT_SET", "leave --cert out, with --scope agent:triage"],
        ),
        (
            &["off", "--scope", "agent:triage"],
            &[],
            0,
            &["RUNNING agent:triage"],
        ),
    ];
    for (args, more, expected, words) in table {
        let (code, said) = halt(&world, args, more);
        assert_eq!(code, Some(expected), "{args:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{args:?}: no {word:?} in {said}");
        }
    }
}

#[test]
fn a_halt_without_its_daemon_says_that_the_store_takes_it() {
    let world = World::prepare(&[]);
    let addr = format!("https://127.0.0.1:{}", world.connectord_port);
    let asked = ["--addr", &addr, "--cert", "certs/operator-acme-ops.pem"];
    let (code, said) = halt(&world, &["on", "--scope", "tenant:acme"], &asked);
    assert!(code != Some(0) && said.contains("without --cert"), "{said}");
}
