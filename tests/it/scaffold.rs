//! `connectord scaffold`: drafts from the descriptions that vendors publish.

use e2e::{World, root};
use serde_json::Value as Json;

/// Exit code and rows of a call.
fn scaffold(world: &World, args: &[&str]) -> (i32, Vec<Json>) {
    let ran = world.run("connectord", &[&["scaffold", "-o", "jsonl"], args].concat());
    let rows = String::from_utf8(ran.stdout).unwrap();
    let rows = rows.lines().map(|row| serde_json::from_str(row).unwrap());
    (ran.status.code().unwrap(), rows.collect())
}

#[test]
fn a_draft_of_what_a_vendor_publishes_lints_and_nothing_is_replaced() {
    let specs = root().join("../shared/specs");
    if !specs.is_dir() {
        println!("SKIPPED: the descriptions of the vendors are not here (../shared/specs)");
        return;
    }
    let world = World::prepare(&[]);
    for (file, path, fields, card) in [
        (
            "hubspot-crm-v3-trimmed.json",
            "/crm/v3/objects/deals/{dealId}",
            "dealstage,amount",
            "update_deal",
        ),
        (
            "zendesk-tickets-trimmed.json",
            "/api/v2/tickets/{ticket_id}",
            "status",
            "set_status",
        ),
        (
            "stripe-refunds-trimmed.json",
            "/v1/customers/{customer}",
            "description",
            "set_description",
        ),
    ] {
        let spec = specs.join(file);
        let out = world.path(card);
        let out = out.to_str().unwrap();
        let all = [
            "--openapi",
            spec.to_str().unwrap(),
            "--path",
            path,
            "--fields",
            fields,
        ];
        let all = [&all[..], &["--out", out]].concat();
        let (code, rows) = scaffold(&world, &all);
        assert_eq!(code, 0, "{file}: {rows:?}");
        let decide = rows.iter().filter(|row| row["result"] == "decide");
        assert!(decide.count() > 5, "{file}: {rows:?}");
        let own = format!("{out}/{card}.toml");
        let lint = ["lint", &format!("{out}/crm.toml"), "--card", &own];
        let lint = world.run("connectord", &lint);
        assert!(lint.status.success(), "{file}: {lint:?}");
        let before = std::fs::read(&own).unwrap();
        assert_eq!(scaffold(&world, &all).0, 2, "{file}: written again");
        assert_eq!(std::fs::read(&own).unwrap(), before);
    }
}
