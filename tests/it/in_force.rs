//! Policies come into force however their files are put in place, each tenant's for itself.

use std::time::{Duration, Instant};

use e2e::{Actor, PATIENCE, World, stage};
use writ_proto::pb;

const FREEZE: &str = "@id(\"freeze\")\n@reason(\"frozen\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\n@owner(\"x@acme.example\")\nforbid (principal, action == Action::\"set_stage\", resource);\n";

async fn allowed(agent: &mut Actor) -> bool {
    let asked = agent.ask(&stage("D-104", "qualified")).await;
    asked.decision.verdict == i32::from(pb::Verdict::Allow)
}

/// Waits until policies say so.
async fn until(agent: &mut Actor, wanted: bool, what: &str) {
    let started = Instant::now();
    while allowed(agent).await != wanted {
        assert!(started.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_switched_and_a_folder_that_is_renamed_are_seen() {
    let mut world = World::prepare(&[]);
    let (policies, one, two) = (world.path("policies"), world.path("1"), world.path("2"));
    std::fs::rename(&policies, &one).unwrap();
    copy(&one, &two);
    std::fs::write(two.join("acme/freeze.cedar"), FREEZE).unwrap();
    std::os::unix::fs::symlink("1", &policies).unwrap();
    std::fs::create_dir(one.join(".git")).unwrap();
    std::fs::write(one.join("README"), "for people").unwrap();
    world.start_sandbox();
    world.start_policyd();
    world.start_connectord(&e2e::program("connectord"), &[]);
    let mut agent = world.agent().await;
    until(&mut agent, true, "release 1 allows").await;
    for (release, wanted) in [("2", false), ("1", true), ("2", false)] {
        std::os::unix::fs::symlink(release, world.path("link")).unwrap();
        std::fs::rename(world.path("link"), &policies).unwrap();
        until(&mut agent, wanted, "the link was switched").await;
    }
    // A plain folder takes the place of the link, and then another one its place.
    std::fs::remove_file(&policies).unwrap();
    std::fs::rename(&one, &policies).unwrap();
    until(&mut agent, true, "a plain folder").await;
    std::fs::rename(&policies, world.path("old")).unwrap();
    std::fs::rename(&two, &policies).unwrap();
    until(&mut agent, false, "the folder was renamed").await;
    std::fs::remove_file(policies.join("acme/freeze.cedar")).unwrap();
    until(&mut agent, true, "a file was removed in the new folder").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_broken_file_holds_back_nobody_else_and_ends_no_start() {
    let mut world = World::start();
    let mut agent = world.agent().await;
    let deep = format!(
        "@id(\"deep\")\n@reason(\"x\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\npermit (principal, action, resource) when {{ {}true{} }};",
        "(".repeat(150),
        ")".repeat(150)
    );
    std::fs::write(world.path("policies/globex/deep.cedar"), &deep).unwrap();
    std::fs::write(world.path("policies/acme/freeze.cedar"), FREEZE).unwrap();
    until(&mut agent, false, "acme's own change").await;
    let addr = format!("https://localhost:{}", world.policyd_port);
    let notices = |tenant: &str, addr: &str| {
        let cert = format!("certs/operator-{tenant}-ops.pem");
        let args = [
            "notices", "ls", "--tenant", tenant, "--addr", addr, "--cert", &cert,
        ];
        String::from_utf8_lossy(&world.run("policyd", &args).stdout).into_owned()
    };
    let started = Instant::now();
    while !notices("globex", &addr).contains("policies") {
        assert!(started.elapsed() < PATIENCE, "{}", notices("globex", &addr));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(notices("acme", &addr).trim(), "", "acme is told of nothing");
    // `check` runs the same code: it names the file, the line and the column.
    let output = world.run("policyd", &["check"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        !output.status.success() && said.contains("globex/deep.cedar:3:"),
        "{said}"
    );
    // A start serves the tenant whose set is accepted, and denies the other everything.
    world.policyd.take().unwrap().kill();
    world.start_policyd();
    until(
        &mut world.agent().await,
        false,
        "acme's set is in force after a start",
    )
    .await;
    std::fs::remove_file(world.path("policies/acme/freeze.cedar")).unwrap();
    until(&mut world.agent().await, true, "and its change too").await;
}
