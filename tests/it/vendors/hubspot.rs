//! HubSpot: texts only, the stages that its pipeline has now, no versions, and searches that lag.

use std::time::Duration;

use e2e::World;
use e2e::vendors::hubspot::{HubSpot, TOKEN};
use serde_json::{Value as Json, json};
use writ_proto::pb::ExecutionState as State;

use super::super::answers::settled;
use super::super::rollout::present;
use super::super::servers::conform::{adds, conforms, fields};
use super::super::servers::{undone, wish, world};
use super::{client, in_days, spec, writes};

const CARDS: [(&str, &str); 4] = [
    (
        "deal_stage",
        "verb = \"set_status\"\ntarget = \"deal\"\n[caps]\nrecords_per_day = 500\n[args.stage]\ntype = \"choice\"\nvalues = [\"appointmentscheduled\", \"qualifiedtobuy\", \"contractsent\", \"retired\"]\n",
    ),
    (
        "deal_fields",
        "verb = \"update_fields\"\ntarget = \"deal\"\n[caps]\nrecords_per_day = 500\n[args.amount]\ntype = \"decimal\"\ndecimals = 2\nmin = \"0\"\nmax = \"100000\"\n[args.next_step]\ntype = \"text\"\nmax_chars = 100\noptional = true\n",
    ),
    (
        "deal_note",
        "verb = \"append_note\"\ntarget = \"deal\"\n[caps]\nrecords_per_day = 500\n[args.text]\ntype = \"text\"\nmax_chars = 500\n",
    ),
    (
        "deal_task",
        "verb = \"create_task\"\ntarget = \"deal\"\n[caps]\nrecords_per_day = 500\n[args.subject]\ntype = \"text\"\nmax_chars = 100\n[args.due]\ntype = \"timestamp\"\nmin = \"today\"\nmax = \"today+90d\"\n",
    ),
];

async fn started() -> (World, HubSpot) {
    let hubspot = HubSpot::start().await;
    let base = hubspot.served.base();
    (world("hub/main", "hubspot", base, TOKEN, &CARDS), hubspot)
}

fn deal(action: &str, args: Json) -> e2e::Wish {
    wish("hub/main", action, ("deal", "512"), args)
}

#[tokio::test(flavor = "multi_thread")]
async fn hubspots_own_client_sees_what_hubspot_would_show() {
    let hubspot = HubSpot::start().await;
    let saw = client("hubspot_client", &[&hubspot.served.base(), TOKEN]).await;
    let wanted = json!({
        "read": "appointmentscheduled", "unknown": null, "wrote": "qualifiedtobuy", "cleared": null, "noted": "called", "stages": 5,
        "stage": "400 VALIDATION_ERROR", "property": "400 VALIDATION_ERROR", "missing": "404 OBJECT_NOT_FOUND",
        "orphan": "404 OBJECT_NOT_FOUND", "stranger": "401 INVALID_AUTHENTICATION",
    });
    spec::holds(&hubspot.served, "hubspot-crm-v3-trimmed.json", 5);
    assert_eq!(saw, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_is_one_that_the_pipeline_has_now() {
    let (world, hubspot) = started().await;
    let mut agent = world.agent().await;
    let done = present(
        &mut agent,
        &deal("deal_stage", json!({"stage": "qualifiedtobuy"})),
    )
    .await
    .unwrap();
    assert!(done.wrote && done.unprotected_ms > 0, "{done:?}");
    assert_eq!(
        hubspot.held().property("deals", "512", "dealstage"),
        Some("qualifiedtobuy")
    );
    // The card still names a stage that somebody took out of the pipeline.
    let mut dry = deal("deal_stage", json!({"stage": "retired"}));
    dry.mode = writ_proto::pb::Mode::DryRun;
    let dry = present(&mut agent, &dry).await.unwrap();
    assert_eq!(dry.reason_code, "SYSTEM_REFUSED", "{dry:?}");
    assert!(
        dry.message.contains("it has appointmentscheduled"),
        "{dry:?}"
    );
    assert_eq!(writes(&hubspot.served).len(), 1);
    let back = undone(&world, &mut agent, &done).await;
    assert!(back.undone, "{back:?}");
    assert_eq!(
        hubspot.held().property("deals", "512", "dealstage"),
        Some("appointmentscheduled")
    );
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_texts_and_an_edit_of_a_person_stays() {
    let (world, hubspot) = started().await;
    let mut agent = world.agent().await;
    let args = json!({"amount": 2000.5, "next_step": "call Ada"});
    let done = present(&mut agent, &deal("deal_fields", args))
        .await
        .unwrap();
    assert!(done.wrote, "{done:?}");
    let sent = &writes(&hubspot.served)[0].body;
    assert!(sent.contains("\"amount\":\"2000.50\""), "{sent}");
    hubspot.held().edit("512", "amount", "1");
    let back = undone(&world, &mut agent, &done).await;
    assert!(!back.undone, "{back:?}");
    assert_eq!(hubspot.held().property("deals", "512", "amount"), Some("1"));
    spec::holds(&hubspot.served, "hubspot-crm-v3-trimmed.json", 4);
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_is_text_and_a_doubt_about_one_makes_no_second_note() {
    let (world, hubspot) = started().await;
    let mut agent = world.agent().await;
    let done = present(&mut agent, &deal("deal_note", json!({"text": "called"})))
        .await
        .unwrap();
    assert!(done.wrote, "{done:?}");
    let due = json!({"subject": "call again", "due": format!("{}T09:00:00Z", in_days(3))});
    let task = present(&mut agent, &deal("deal_task", due)).await.unwrap();
    assert!(task.wrote, "{task:?}");
    let made = |kind: &str| hubspot.held().count(kind);
    let (notes, tasks) = (made("notes"), made("tasks"));
    assert_eq!((notes, tasks), (1, 1));
    let note = hubspot.held().texts("notes");
    assert!(
        note[0].starts_with("[writ ") && note[0].ends_with("] called"),
        "{note:?}"
    );
    hubspot.held().fails_after = 1;
    let markup = deal("deal_note", json!({"text": "<a href=x>bank</a><!--"}));
    let doubt = present(&mut agent, &markup).await.unwrap();
    settled(&mut agent, &doubt.name, State::ReconciledApplied).await;
    let notes = hubspot.held().texts("notes");
    assert!(
        notes.len() == 2
            && notes
                .iter()
                .any(|text| text.ends_with("] &lt;a href=x&gt;bank&lt;/a&gt;&lt;!--")),
        "{notes:?}"
    );
    hubspot.held().limited = 1;
    let limited = present(&mut agent, &deal("deal_note", json!({"text": "again"})))
        .await
        .unwrap();
    assert_eq!(limited.reason_code, "SYSTEM_RATE_LIMITED", "{limited:?}");
    assert_eq!(hubspot.held().count("notes"), 2);
    spec::holds(&hubspot.served, "hubspot-crm-v3-trimmed.json", 4);
    world.settle().await;
}

pub(in super::super) async fn conforms_here() {
    let (world, hubspot) = started().await;
    hubspot.held().lag = Duration::from_millis(300);
    let values = ["qualifiedtobuy", "appointmentscheduled", "contractsent"]
        .map(|stage| json!({ "stage": stage }));
    conforms(&world, fields("deal_stage", "deal/512", "999", values)).await;
    let note = adds("deal_note", "deal/512", "999", &json!({"text": "called"}));
    conforms(&world, note).await;
}
