//! A sandbox that runs is not reset under it.

use e2e::World;

#[tokio::test(flavor = "multi_thread")]
async fn only_a_stopped_sandbox_starts_over() {
    let mut world = World::prepare(&[]);
    world.start_sandbox();
    world.person_edits("deals/D-104", "stage=won");
    let reset = |world: &World| world.run("connectord", &["sandbox", "reset"]);
    let refused = reset(&world);
    let told = String::from_utf8(refused.stderr).unwrap();
    let why = "sandbox.db is in use: stop the sandbox first";
    assert!(!refused.status.success() && told.contains(why), "{told}");
    assert_eq!(world.effects().await.len(), 1, "nothing was lost");

    world.sandbox.take().unwrap().kill();
    let done = reset(&world);
    let told = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{told}");
    world.start_sandbox();
    assert!(world.effects().await.is_empty(), "it started over");
}
