//! Locked templates: an agent gets a filled copy, once, and never changes the master.

use e2e::{Actor, Wish, World, stage};
use writ_proto::pb;

const RULE: &str = "\n@id(\"letters\")\n@reason(\"sales agents may make letters\") @owner(\"o\") @approved_by(\"p\") @approved_on(\"2026-01-01\")\n\
    permit (principal in Role::\"sales-agent\", action == Action::\"letter\", resource)\n\
    when { resource.tenant == principal.tenant };\n";

fn world() -> World {
    let mut world = World::prepare(&[]);
    let examples = e2e::root().join("deploy/examples/documents");
    let folder = world.path("letters");
    std::fs::create_dir_all(folder.join("templates")).unwrap();
    std::fs::copy(
        examples.join("templates/welcome_letter.md"),
        folder.join("templates/welcome_letter.md"),
    )
    .unwrap();
    let card = world.path("policies/acme/actions/letter.toml");
    std::fs::copy(examples.join("letter.toml"), card).unwrap();
    let path = world.path("policies/acme/sales.cedar");
    let rules = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, rules + RULE).unwrap();
    world
        .connections
        .push(("documents/main", "document", "file://letters".into()));
    super::halt::up(world)
}

fn letter(name: &str) -> Wish {
    Wish {
        connection: "documents/main".into(),
        action: "letter".into(),
        target: ("template".into(), "welcome_letter".into()),
        args: format!(
            "{{\"customer_name\":\"{name}\",\"order_number\":\"2026-0007\",\
             \"amount\":{{\"currency\":\"EUR\",\"value\":12.50}}}}"
        ),
        ..stage("", "")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_gets_one_filled_copy_and_the_master_stays_as_it_was() {
    let world = world();
    let mut agent = world.agent().await;
    let master = world.path("letters/templates/welcome_letter.md");
    let before = std::fs::read(&master).unwrap();
    let dry = Wish {
        mode: pb::Mode::DryRun,
        ..letter("Ada Berg")
    };
    let asked = agent.ask(&dry).await;
    let planned = agent.present(&asked).await.unwrap();
    assert!(
        !planned.wrote && planned.reason_code.is_empty(),
        "{planned:?}"
    );
    let made = || {
        std::fs::read_dir(world.path("letters/documents"))
            .unwrap()
            .count()
    };
    assert_eq!(made(), 0);

    world.promote(&["letter"]).await;
    // A name that looks like a gap is a name.
    let asked = agent.ask(&letter("{{amount}} Berg")).await;
    let request = Actor::execute_request(&asked);
    let done = agent
        .send(request.clone())
        .await
        .unwrap()
        .execution
        .unwrap();
    assert!(done.wrote, "{done:?}");
    let copy = world.path(&format!("letters/documents/{}/1.md", done.created_id));
    let copy = std::fs::read_to_string(copy).unwrap();
    assert!(
        copy.contains("Dear {{amount}} Berg,") && copy.contains("of 12.50 EUR"),
        "{copy}"
    );
    assert!(agent.send(request).await.unwrap().replayed);
    assert_eq!(made(), 1);
    assert_eq!(std::fs::read(&master).unwrap(), before);
    let mut operator = world.operator().await;
    assert_eq!(operator.undo(&done).await.reason_code, "UNDO_IMPOSSIBLE");

    // A template that a person gave another gap is not what the card was written for.
    std::fs::write(&master, [&before[..], b"\n{{discount}}\n"].concat()).unwrap();
    let asked = agent.ask(&letter("Ada Berg")).await;
    let refused = agent.present(&asked).await.unwrap();
    assert_eq!(
        refused.reason_code, "STATE_NOT_ALLOWED",
        "{}",
        refused.message
    );
    assert_eq!(made(), 1);
}
