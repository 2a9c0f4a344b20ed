//! Readings: what an agent sees of records, what it does not, how much, and that halts do not stop
//! them; and drafts, which are the only new records.

use e2e::{Actor, Asked, Wish, World, code, stage};
use serde_json::{Value as Json, json};
use writ_proto::pb;

fn wish(action: &str, id: &str, args: &str) -> Wish {
    Wish {
        action: action.into(),
        target: ("contact".into(), id.into()),
        args: args.into(),
        mode: pb::Mode::DryRun,
        ..stage("", "")
    }
}

fn see(id: &str) -> Wish {
    wish("see_contact", id, "{}")
}

fn request(asked: &Asked, run: &str) -> pb::ReadRequest {
    let pb::ExecuteRequest {
        parent,
        request_id,
        token,
        call,
        run_id: _,
    } = Actor::execute_request(asked);
    pb::ReadRequest {
        parent,
        request_id,
        token,
        call,
        run_id: run.into(),
    }
}

async fn ask(agent: &mut Actor, wish: &Wish, run: &str) -> Asked {
    let request = pb::AuthorizeRequest {
        run_id: run.into(),
        ..Actor::request(wish)
    };
    agent.ask_for(request).await
}

async fn read(agent: &mut Actor, asked: &Asked, run: &str) -> Result<pb::ReadResponse, String> {
    let answer = agent.execute.read(request(asked, run)).await;
    answer
        .map(tonic::Response::into_inner)
        .map_err(|status| code(&status))
}

/// Name to value, and the names of what is masked or not to be trusted.
fn fields(record: &pb::SeenRecord) -> (Json, Vec<&str>, Vec<&str>) {
    let names = |wanted: fn(&pb::SeenField) -> bool| {
        let chosen = record.fields.iter().filter(|field| wanted(field));
        chosen.map(|field| field.name.as_str()).collect()
    };
    let value = |field: &pb::SeenField| serde_json::from_str::<Json>(&field.value_json).unwrap();
    let all = record
        .fields
        .iter()
        .map(|field| (field.name.clone(), value(field)));
    (
        Json::Object(all.collect()),
        names(|field| field.masked),
        names(|field| field.untrusted),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_sees_what_the_card_shows_and_the_values_are_kept_nowhere() {
    let world = World::start();
    let mut agent = world.agent().await;
    let asked = agent.ask(&see("C-3")).await;
    let answer = read(&mut agent, &asked, "test").await.unwrap();
    assert_eq!(answer.records.len(), 1);
    let record = &answer.records[0];
    let (values, masked, untrusted) = fields(record);
    assert_eq!(values["phone"], "***00", "{values}");
    assert_eq!(values["email"], "***@example.org");
    assert_eq!(masked, ["email", "phone", "street"]);
    assert!(untrusted.contains(&"name"), "{untrusted:?}");
    assert_eq!(values.as_object().unwrap().len(), 4, "{values}");
    assert!(record.version.starts_with("\"v"), "{record:?}");
    let name = values["name"].as_str().unwrap().to_owned();

    // That it was read is kept, what was read is not.
    let mut operator = world.operator().await;
    let kept = operator
        .execute
        .get_execution(pb::GetExecutionRequest {
            name: answer.execution.clone(),
        })
        .await
        .unwrap();
    let kept = format!("{:?}", kept.into_inner().execution.unwrap());
    assert!(kept.contains("read contact C-3"), "{kept}");
    let (_, records) = world.settle().await;
    let mut everything = kept + &format!("{records:?}");
    for file in [
        "connectord.db",
        "connectord.db-wal",
        "policyd.db",
        "policyd.db-wal",
    ] {
        let bytes = std::fs::read(world.path(file)).unwrap_or_default();
        everything.push_str(&String::from_utf8_lossy(&bytes));
    }
    for secret in ["+31 6 0000", name.as_str()] {
        assert!(!everything.contains(secret), "{secret} was kept");
    }
    assert!(world.effects().await.is_empty());
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_and_a_write_are_not_taken_for_each_other_and_each_is_spent_once() {
    let world = World::start();
    let mut agent = world.agent().await;
    let asked = agent.ask(&see("C-1")).await;
    assert_eq!(agent.present(&asked).await.unwrap_err(), "VERB_MISMATCH");
    let preview = pb::PreviewRequest {
        parent: "tenants/acme".into(),
        token: asked.decision.token.clone(),
        call: Some(asked.call.clone()),
        run_id: "test".into(),
    };
    let refused = agent.execute.preview(preview).await.unwrap_err();
    assert_eq!(code(&refused), "VERB_MISMATCH");
    let write = agent
        .ask(&Wish {
            mode: pb::Mode::DryRun,
            ..stage("D-104", "qualified")
        })
        .await;
    assert_eq!(
        read(&mut agent, &write, "test").await.unwrap_err(),
        "VERB_MISMATCH"
    );
    let writing = Wish {
        mode: pb::Mode::Execute,
        ..see("C-1")
    };
    let denied = agent.ask(&writing).await.decision;
    assert_eq!(denied.reason_code, "INVALID_ARGUMENTS");
    assert!(denied.message.contains("dry run"), "{}", denied.message);
    let mut executing = request(&asked, "test");
    executing.call.as_mut().unwrap().mode = pb::Mode::Execute.into();
    let refused = agent.execute.read(executing).await.unwrap_err();
    assert_eq!(code(&refused), "DRY_RUN_ONLY");
    // The writ names C-1; the call names another record.
    let mut other = asked.clone();
    other.call.target.as_mut().unwrap().id = "C-2".into();
    assert_eq!(
        read(&mut agent, &other, "test").await.unwrap_err(),
        "TOKEN_SCOPE_MISMATCH"
    );
    let first = request(&asked, "test");
    assert!(agent.execute.read(first.clone()).await.is_ok());
    for again in [first, request(&asked, "test")] {
        let refused = agent.execute.read(again).await.unwrap_err();
        assert_eq!(code(&refused), "TOKEN_REPLAYED");
    }
    // What another agent looked at is not there for this one, nor for an agent at all.
    let (executions, _) = world.settle().await;
    let mut stranger = world.actor("agent-globex-triage").await;
    for execution in executions {
        let name = execution.name.clone();
        let ask = pb::GetExecutionRequest { name };
        let refused = stranger.execute.get_execution(ask).await.unwrap_err();
        assert_eq!(code(&refused), "NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_reads_only_so_much_and_says_which_run_it_is() {
    let world = World::start();
    let mut agent = world.agent().await;
    let find = wish("find_contact", "-", r#"{"email":"ada@example.com"}"#);
    let asked = ask(&mut agent, &find, "").await;
    assert_eq!(
        read(&mut agent, &asked, "").await.unwrap_err(),
        "RUN_REQUIRED"
    );
    let asked = ask(&mut agent, &find, "r-1").await;
    let found = read(&mut agent, &asked, "r-1").await.unwrap().records;
    assert!(!found.is_empty());
    for record in &found {
        let (values, masked, _) = fields(record);
        assert_eq!(masked, ["phone"]);
        assert!(values.get("email").is_none(), "{values}");
    }
    let nobody = wish("find_contact", "-", r#"{"email":"nobody@example.com"}"#);
    let asked = ask(&mut agent, &nobody, "r-1").await;
    assert!(
        read(&mut agent, &asked, "r-1")
            .await
            .unwrap()
            .records
            .is_empty()
    );
    // The card shows at most five records to a run.
    let mut shown = found.len();
    loop {
        let asked = ask(&mut agent, &find, "r-1").await;
        match read(&mut agent, &asked, "r-1").await {
            Ok(answer) => shown += answer.records.len(),
            Err(refused) => {
                assert_eq!(refused, "BUDGET_EXCEEDED");
                break;
            }
        }
        assert!(shown <= 5, "{shown} records were shown");
    }
    // Neither what is there nor what is not is told any more, and the ids that were found are not.
    for wish in [&find, &nobody] {
        let asked = ask(&mut agent, wish, "r-1").await;
        let refused = read(&mut agent, &asked, "r-1").await;
        assert_eq!(refused.unwrap_err(), "BUDGET_EXCEEDED");
    }
    let list = pb::ListExecutionsRequest {
        parent: "tenants/acme".into(),
        run_id: "r-1".into(),
        state: pb::ExecutionState::Failed.into(),
        ..Default::default()
    };
    let failed = agent.execute.list_executions(list).await.unwrap();
    assert!(!format!("{failed:?}").contains("C-1"), "{failed:?}");
    // The run is halted, and what an operator says of it is not written over.
    let mut operator = world.operator().await;
    super::halt::set(&mut operator, "run:r-1").await.unwrap();
    let asked = ask(&mut agent, &find, "r-1").await;
    assert!(read(&mut agent, &asked, "r-1").await.is_err());
    let halts = operator.halt.list_halts(pb::ListHaltsRequest {}).await;
    let halts = halts.unwrap().into_inner().halts;
    assert_eq!(
        (halts.len(), halts[0].by.as_str()),
        (1, "acme/ops"),
        "{halts:?}"
    );
    let asked = ask(&mut agent, &find, "r-2").await;
    assert!(read(&mut agent, &asked, "r-2").await.is_ok(), "another run");
    let record = agent.ask(&wish("find_contact", "C-1", &find.args)).await;
    assert_eq!(record.decision.reason_code, "INVALID_ARGUMENTS");
    let search = agent.ask(&see("-")).await;
    assert_eq!(search.decision.reason_code, "INVALID_ARGUMENTS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_or_a_halt_store_that_is_gone_stops_writes_and_not_readings() {
    let world = World::start();
    world.promote(&["set_stage"]).await;
    let (mut agent, mut operator) = (world.agent().await, world.operator().await);
    let write = agent.ask(&stage("D-104", "qualified")).await;
    super::halt::set(&mut operator, "tenant:acme")
        .await
        .unwrap();
    let started = std::time::Instant::now();
    while agent
        .ask(&stage("D-104", "qualified"))
        .await
        .decision
        .reason_code
        != "HALTED"
    {
        assert!(started.elapsed() < e2e::PATIENCE);
    }
    let asked = agent.ask(&see("C-1")).await;
    assert!(read(&mut agent, &asked, "test").await.is_ok());
    assert_eq!(agent.present(&write).await.unwrap_err(), "HALTED");
    let asked = agent.ask(&see("C-1")).await;
    std::fs::rename(world.path("state/halt"), world.path("state/gone")).unwrap();
    assert!(read(&mut agent, &asked, "test").await.is_ok());
    assert_eq!(agent.present(&write).await.unwrap_err(), "HALT_UNKNOWN");
    assert!(world.effects().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_made_once_where_nobody_is_and_nothing_else_is_new() {
    let world = World::start();
    world.promote(&["draft_contact"]).await;
    let mut agent = world.agent().await;
    let draft = |args: &str| Wish {
        mode: pb::Mode::Execute,
        ..wish("draft_contact", "-", args)
    };
    let known = draft(r#"{"name":"Ada Berg","email":"ada@example.com"}"#);
    let asked = agent.ask(&known).await;
    let refused = agent.present(&asked).await.unwrap();
    assert_eq!(refused.reason_code, "ALREADY_EXISTS", "{}", refused.message);
    assert!(!refused.wrote && world.effects().await.is_empty());
    let asked = agent
        .ask(&draft(r#"{"name":"Cleo Vos","email":"cleo@example.com"}"#))
        .await;
    let request = Actor::execute_request(&asked);
    let made = agent
        .send(request.clone())
        .await
        .unwrap()
        .execution
        .unwrap();
    assert!(made.wrote && !made.created_id.is_empty(), "{made:?}");
    assert_eq!(made.undo_expire_time, None);
    assert!(agent.send(request).await.unwrap().replayed);
    let effects = world.effects().await;
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0]["kind"], "drafts", "{effects:?}");
    let mut operator = world.operator().await;
    assert_eq!(operator.undo(&made).await.reason_code, "UNDO_IMPOSSIBLE");
    let wrong = Wish {
        target: ("contact".into(), "C-1".into()),
        ..known
    };
    let asked = agent.ask(&wrong).await;
    assert_eq!(asked.decision.reason_code, "INVALID_ARGUMENTS");
    world.check_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_card_hides_is_in_no_refusal_no_plan_and_no_execution_that_an_agent_sees() {
    let mut world = World::prepare(&[]);
    let path = world.path("policies/acme/actions/fill_phone.toml");
    let card = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, card + "\n[read]\nmask = { phone = \"last2\" }\n").unwrap();
    world = super::halt::up(world);
    world.promote(&["fill_phone"]).await;
    let mut agent = world.agent().await;
    let fill = |id: &str| Wish {
        mode: pb::Mode::Execute,
        ..wish("fill_phone", id, r#"{"phone":"+31 6 1234"}"#)
    };
    let asked = agent.ask(&fill("C-3")).await;
    let refused = agent.present(&asked).await.unwrap();
    assert_eq!(refused.reason_code, "FIELD_NOT_EMPTY");
    let told = format!("{refused:?}");
    assert!(told.contains("***00") && !told.contains("+31"), "{told}");
    let asked = agent.ask(&fill("C-2")).await;
    let done = agent.present(&asked).await.unwrap();
    assert_eq!(done.changes[0].after_json.as_deref(), Some("\"***34\""));
    let mut operator = world.operator().await;
    let ask = pb::GetExecutionRequest {
        name: done.name.clone(),
    };
    let whole = operator.execute.get_execution(ask.clone()).await.unwrap();
    let whole = whole.into_inner().execution.unwrap();
    assert_eq!(
        whole.changes[0].after_json.as_deref(),
        Some("\"+31 6 1234\"")
    );
    let own = agent.execute.get_execution(ask).await.unwrap().into_inner();
    // policyd signs the undo some moments after the write.
    let own = pb::Execution {
        undo_signed: done.undo_signed,
        ..own.execution.unwrap()
    };
    assert_eq!(own, done);
    let list = pb::ListExecutionsRequest {
        parent: "tenants/acme".into(),
        ..Default::default()
    };
    let list = agent.execute.list_executions(list).await.unwrap();
    assert!(!format!("{list:?}").contains("+31 6"), "{list:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_gets_masked_records_marked_as_data() {
    let world = World::start();
    let mut bridge = world.mcp_of("agent-acme-triage", "2025-06-18", &["--tools", "per-card"]);
    let seen = bridge.ok("see_contact", json!({"target_id": "C-3"}));
    assert_eq!(seen["untrusted"], true);
    assert_eq!(seen["records"][0]["fields"]["phone"], "***00", "{seen}");
    assert_eq!(
        seen["records"][0]["masked"],
        json!(["email", "phone", "street"])
    );
    let found = bridge.ok(
        "find_contact",
        json!({"arguments": {"email": "ada@example.com"}}),
    );
    assert_eq!(found["records"][0]["type"], "contact", "{found}");
}
