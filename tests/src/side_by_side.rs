//! The same agent and the same rule before several vendors' systems: what policyd said of each step, and what each system
//! held after it.

use std::time::Instant;

use serde_json::json;
use writ_proto::pb;
use writ_proto::value::args_from_json;

use crate::vendors::hubspot::{HubSpot, TOKEN};
use crate::vendors::salesforce::{CLIENT, OPPORTUNITY, SECRET, Salesforce};
use crate::vendors::shopify::{self, Shopify};
use crate::vendors::stripe::{self, Stripe};
use crate::vendors::zendesk::{self, Zendesk};
use crate::wish::{Asked, Wish, stage};
use crate::{Actor, PATIENCE, World, code, program};

/// The systems that can be named.
pub const NAMES: [&str; 5] = ["hubspot", "salesforce", "zendesk", "shopify", "stripe"];
const CONNECTION: &str = "crm/side";
const ACTION: &str = "move_stage";
const CARD: &str = r#"
name = "move_stage"
connection = "crm/side"
sentence = "Move one record to another stage."
owner = "ops@acme.example"
risk = "medium"
tier = "reversible"
undo = "restores the previous stage if nobody changed it since"
rollback_minutes = 1
approver = "role:sales-ops"
rollout = "dry_run"
rollout_max = "live"
rollback_window = "24h"
[caps]
records_per_day = 500
"#;
const RULE: &str = r#"
@id("move-stage")
@reason("sales agents may move what is open")
@owner("ops@acme.example")
@approved_by("kim@acme.example")
@approved_on("2026-11-02")
permit (principal in Role::"sales-agent", action == Action::"move_stage", resource)
when { resource.tenant == principal.tenant };
"#;

/// A vendor's system that listens in this process.
struct Vendor {
    system: &'static str,
    base: String,
    secret: String,
    verb: &'static str,
    record: (&'static str, &'static str),
    /// The field of the system file, and its values: as it is, as the agent sets it, as a person does.
    field: &'static str,
    values: [&'static str; 3],
    look: Box<dyn Fn() -> String + Send + Sync>,
    edit: Box<dyn Fn(&str) + Send + Sync>,
}

async fn hubspot() -> Vendor {
    let own = HubSpot::start().await;
    let (base, seen) = (own.served.base(), own.clone());
    let look = move || {
        let held = seen.held();
        let stage = held.property("deals", "512", "dealstage");
        stage.unwrap_or_default().to_owned()
    };
    Vendor {
        system: "hubspot",
        base,
        secret: TOKEN.to_owned(),
        verb: "set_status",
        record: ("deal", "512"),
        field: "stage",
        values: ["appointmentscheduled", "qualifiedtobuy", "contractsent"],
        look: Box::new(look),
        edit: Box::new(move |value| own.held().edit("512", "dealstage", value)),
    }
}

async fn salesforce() -> Vendor {
    let own = Salesforce::start().await;
    let (base, seen) = (own.served.base(), own.clone());
    let look = move || {
        let held = seen.held();
        let stage = held.opportunity["StageName"].as_str();
        stage.unwrap_or_default().to_owned()
    };
    Vendor {
        system: "salesforce",
        base,
        secret: json!({"client_id": CLIENT, "client_secret": SECRET}).to_string(),
        verb: "set_status",
        record: ("opportunity", OPPORTUNITY),
        field: "stage",
        values: ["Prospecting", "Qualification", "Closed Won"],
        look: Box::new(look),
        edit: Box::new(move |value| own.held().edit("StageName", value.into())),
    }
}

async fn zendesk() -> Vendor {
    let own = Zendesk::start().await;
    let (base, seen) = (own.served.base(), own.clone());
    let look = move || {
        let held = seen.held();
        let status = held.tickets.get(&35).and_then(|own| own["status"].as_str());
        status.unwrap_or_default().to_owned()
    };
    Vendor {
        system: "zendesk",
        base,
        secret: zendesk::SECRET.to_owned(),
        verb: "set_status",
        record: ("ticket", "35"),
        field: "status",
        values: ["open", "pending", "hold"],
        look: Box::new(look),
        edit: Box::new(move |value| own.held().edit(35, "status", value.into())),
    }
}

async fn shopify() -> Vendor {
    let own = Shopify::start().await;
    let (base, seen) = (own.served.base(), own.clone());
    let look = move || {
        let held = seen.held();
        let kept = held.orders["1001"]["metafield"]["value"].as_str();
        kept.unwrap_or_default().to_owned()
    };
    let edit = move |value: &str| {
        let mut held = own.held();
        let order = held.orders.get_mut("1001").expect("it is there");
        order["metafield"]["value"] = value.into();
        order["metafield"]["compareDigest"] = "of a person".into();
    };
    Vendor {
        system: "shopify",
        base,
        secret: shopify::TOKEN.to_owned(),
        verb: "set_status",
        record: ("order_status", "1001"),
        field: "status",
        values: ["new", "seen", "done"],
        look: Box::new(look),
        edit: Box::new(edit),
    }
}

async fn stripe() -> Vendor {
    let own = Stripe::start().await;
    let (base, seen) = (own.served.base(), own.clone());
    let look = move || {
        let held = seen.held();
        let kept = held.customers["cus_1"]["description"].as_str();
        kept.unwrap_or_default().to_owned()
    };
    let edit = move |value: &str| {
        let mut held = own.held();
        let customer = held.customers.get_mut("cus_1").expect("it is there");
        customer["description"] = value.into();
    };
    Vendor {
        system: "stripe",
        base,
        secret: stripe::KEY.to_owned(),
        verb: "update_fields",
        record: ("customer", "cus_1"),
        field: "description",
        values: ["old", "wholesale", "retail"],
        look: Box::new(look),
        edit: Box::new(edit),
    }
}

/// One step of the story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub asks: &'static str,
    /// What policyd or connectord said.
    pub said: String,
    /// What the system held after it.
    pub held: String,
    pub expected: bool,
}

/// Plays the story before one system.
///
/// # Panics
/// When the daemons do not start, or the name is none of [`NAMES`].
pub async fn play(name: &str) -> Vec<Step> {
    let vendor = match name {
        "hubspot" => hubspot().await,
        "salesforce" => salesforce().await,
        "zendesk" => zendesk().await,
        "shopify" => shopify().await,
        "stripe" => stripe().await,
        other => panic!("{other} is none of {NAMES:?}"),
    };
    let world = started(&vendor);
    Story {
        agent: world.agent().await,
        operator: world.operator().await,
        world: &world,
        vendor: &vendor,
        steps: Vec::new(),
    }
    .told()
    .await
}

fn started(vendor: &Vendor) -> World {
    let mut world = World::prepare(&[]);
    let values = vendor.values.map(|value| format!("\"{value}\"")).join(", ");
    let (target, field) = (vendor.record.0, vendor.field);
    let card = format!(
        "target = \"{target}\"\nverb = \"{}\"{CARD}[args.stage]\ntype = \"choice\"\nfield = \"{field}\"\nvalues = [{values}]\n",
        vendor.verb
    );
    let rule = RULE.trim_start().to_owned();
    let system = (CONNECTION, vendor.system, vendor.base.clone());
    world.beside(system, &vendor.secret, &[(ACTION, card)], &rule);
    world.start_policyd();
    world.start_connectord(&program("connectord"), &[]);
    world
}

struct Story<'a> {
    agent: Actor,
    operator: Actor,
    world: &'a World,
    vendor: &'a Vendor,
    steps: Vec<Step>,
}

impl Story<'_> {
    fn wish(&self, value: &str, mode: pb::Mode) -> Wish {
        let (kind, id) = self.vendor.record;
        Wish {
            connection: CONNECTION.into(),
            action: ACTION.into(),
            target: (kind.into(), id.into()),
            args: json!({"stage": value}).to_string(),
            mode,
            ..stage("", "")
        }
    }

    fn step(&mut self, asks: &'static str, said: (&str, &str), held: &str) {
        let own = (self.vendor.look)();
        self.steps.push(Step {
            asks,
            said: said.0.to_owned(),
            expected: said.0 == said.1 && own == held,
            held: own,
        });
    }

    async fn ask(&mut self, value: &str) -> Asked {
        let wish = self.wish(value, pb::Mode::Execute);
        self.agent.ask(&wish).await
    }

    /// What came of presenting a writ.
    async fn present(&mut self, asked: &Asked) -> (String, Option<pb::Execution>) {
        match self.agent.present(asked).await {
            Ok(done) if done.wrote => ("DONE".to_owned(), Some(done)),
            Ok(done) if done.reason_code.is_empty() => ("would be done".to_owned(), None),
            Ok(done) => (done.reason_code, None),
            Err(refused) => (refused, None),
        }
    }

    async fn told(mut self) -> Vec<Step> {
        let [now, next, person] = self.vendor.values;
        let dry = self.wish(next, pb::Mode::DryRun);
        let dry = self.agent.ask(&dry).await;
        let (said, _) = self.present(&dry).await;
        self.step("a dry run", (&said, "would be done"), now);
        let early = self.ask(next).await;
        let (said, _) = self.present(&early).await;
        self.step(
            "a write before anybody promoted it",
            (&said, "DRY_RUN_ONLY"),
            now,
        );
        self.world.promote(&[ACTION]).await;
        let (said, done) = self.write(next).await;
        self.step("the write", (&said, "DONE"), next);
        let done = done.expect("it was written");
        let (said, _) = self.present(&done.0).await;
        self.step("the same writ once more", (&said, "TOKEN_REPLAYED"), next);
        let mut other = self.ask(now).await;
        let forged = args_from_json(&json!({"stage": person}).to_string());
        let forged = forged.expect("they are arguments").encode();
        if let Some(arguments) = other.call.arguments.as_mut() {
            *arguments = pb::action_call::Arguments::ArgsCbor(forged);
        }
        let (said, _) = self.present(&other).await;
        self.step(
            "another value than was allowed",
            (&said, "TOKEN_ARGS_MISMATCH"),
            next,
        );
        let none = self.ask("no such stage").await;
        let said = none.decision.reason_code;
        self.step(
            "a value that the card does not name",
            (&said, "INVALID_ARGUMENTS"),
            next,
        );
        let said = self.undo(&done.1).await;
        self.step("an operator undoes it", (&said, "UNDONE"), now);
        let (_, again) = self.write(next).await;
        (self.vendor.edit)(person);
        let said = self.undo(&again.expect("it was written").1).await;
        self.step(
            "undo after a person's edit",
            (&said, "PRECONDITION_FAILED"),
            person,
        );
        let said = self.halted(next).await;
        self.step(
            "a write while the agent is halted",
            (&said, "HALTED"),
            person,
        );
        self.steps
    }

    async fn write(&mut self, value: &str) -> (String, Option<(Asked, pb::Execution)>) {
        let asked = self.ask(value).await;
        let (said, done) = self.present(&asked).await;
        (said, done.map(|done| (asked, done)))
    }

    async fn undo(&mut self, done: &pb::Execution) -> String {
        self.agent.signed(done).await;
        let item = self.operator.undo(done).await;
        match item.undone {
            true => "UNDONE".to_owned(),
            false => item.reason_code,
        }
    }

    /// policyd hears of a halt within a moment.
    async fn halted(&mut self, value: &str) -> String {
        let halt = pb::SetHaltRequest {
            scope: "agent:triage".into(),
            reason: "looks odd".into(),
            ..pb::SetHaltRequest::default()
        };
        if let Err(status) = self.operator.halt.set_halt(halt).await {
            return code(&status);
        }
        let began = Instant::now();
        loop {
            let asked = self.ask(value).await;
            let said = match asked.decision.token.is_empty() {
                true => asked.decision.reason_code,
                false => self.present(&asked).await.0,
            };
            if said == "HALTED" || began.elapsed() > PATIENCE {
                return said;
            }
        }
    }
}
