//! The same agent and the same rule before several vendors' systems, as `deploy/demo --crm` plays it.

use e2e::side_by_side::{NAMES, play};

#[tokio::test(flavor = "multi_thread")]
async fn every_step_comes_out_the_same_before_every_system() {
    let mut said: Vec<Vec<String>> = Vec::new();
    for name in NAMES {
        let steps = play(name).await;
        assert_eq!(steps.len(), 9, "{name}");
        for step in &steps {
            assert!(step.expected, "{name}: {step:?}");
        }
        said.push(steps.into_iter().map(|step| step.said).collect());
    }
    assert!(said.iter().all(|own| *own == said[0]), "{said:?}");
}
