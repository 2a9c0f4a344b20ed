//! localstripe, which speaks like Stripe and keeps no promise, behind its system file.

use e2e::{Process, Wish, World, free_port};
use reqwest::{Client, Method};
use serde_json::{Value as Json, json};
use writ_proto::pb;

use super::super::rollout::present;
use super::{served, undone, wish, world};

const PAYMENTS: [(&str, &str); 2] = [
    (
        "pay_back",
        "verb = \"refund\"\ntarget = \"charge\"\n[caps]\nrecords_per_day = 50\n[args.amount]\ntype = \"money\"\ncurrencies = [\"EUR\"]\nmin = \"0.01\"\nmax = \"1000.00\"\n",
    ),
    (
        "describe",
        "verb = \"update_fields\"\ntarget = \"customer\"\n[caps]\nrecords_per_day = 50\n[args.description]\ntype = \"text\"\nmax_chars = 100\n",
    ),
];

/// A localstripe, and a world with it behind.
pub(super) struct Stripe {
    pub(super) world: World,
    port: u16,
    _server: Process,
    _folder: tempfile::TempDir,
}

impl Stripe {
    pub(super) fn start() -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let server = served(&folder, "localstripe", &["serve", &port.to_string()]);
        let base = format!("http://127.0.0.1:{port}");
        Self {
            world: world("pay/main", "localstripe", base, "sk_test_12345", &PAYMENTS),
            port,
            _server: server,
            _folder: folder,
        }
    }

    async fn call(&self, method: Method, path: &str, form: &[(&str, &str)]) -> Json {
        let url = format!("http://127.0.0.1:{}/v1/{path}", self.port);
        let call = Client::new()
            .request(method, url)
            .bearer_auth("sk_test_12345");
        let sent = call.form(form).send().await.unwrap();
        sent.json().await.unwrap()
    }

    pub(super) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Json {
        self.call(Method::POST, path, form).await
    }

    async fn get(&self, path: &str) -> Json {
        self.call(Method::GET, path, &[]).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn localstripe_pays_back_no_more_than_is_left_and_in_the_right_unit() {
    let stripe = Stripe::start();
    let mut agent = stripe.world.agent().await;
    let charge = stripe
        .post(
            "charges",
            &[
                ("amount", "5000"),
                ("currency", "eur"),
                ("source", "pm_card_visa"),
            ],
        )
        .await;
    let id = charge["id"].as_str().unwrap().to_owned();
    let pay = |value: &str| {
        wish(
            "pay/main",
            "pay_back",
            ("charge", &id),
            json!({"amount": {"currency": "EUR", "value": serde_json::from_str::<Json>(value).unwrap()}}),
        )
    };
    let first = present(&mut agent, &pay("1.50")).await.unwrap();
    assert!(
        first.wrote && first.created_id.starts_with("re_"),
        "{first:?}"
    );
    assert_eq!(
        stripe.get(&format!("charges/{id}")).await["amount_refunded"],
        150,
        "1.50 EUR are 150 cents"
    );
    for (value, left) in [
        ("40.00", true),
        ("10.00", false),
        ("8.50", true),
        ("0.01", false),
    ] {
        let paid = present(&mut agent, &pay(value)).await.unwrap();
        assert_eq!(paid.wrote, left, "{value}: {paid:?}");
        if !left {
            assert_eq!(paid.reason_code, "BUDGET_EXCEEDED", "{paid:?}");
        }
    }
    assert_eq!(
        stripe.get(&format!("charges/{id}")).await["amount_refunded"],
        5000
    );
    let dry = Wish {
        mode: pb::Mode::DryRun,
        ..pay("0.01")
    };
    assert_eq!(
        present(&mut agent, &dry).await.unwrap().reason_code,
        "BUDGET_EXCEEDED",
        "a dry run is held to it too"
    );
    stripe.world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn localstripe_keeps_what_a_person_wrote_although_it_has_no_versions() {
    let stripe = Stripe::start();
    let mut agent = stripe.world.agent().await;
    let customer = stripe
        .post(
            "customers",
            &[("email", "a@example.com"), ("description", "old")],
        )
        .await;
    let who = customer["id"].as_str().unwrap().to_owned();
    let describe = wish(
        "pay/main",
        "describe",
        ("customer", &who),
        json!({"description": "new"}),
    );
    let done = present(&mut agent, &describe).await.unwrap();
    assert!(done.wrote, "{done:?}");
    assert_eq!(
        stripe.get(&format!("customers/{who}")).await["description"],
        "new"
    );
    let back = undone(&stripe.world, &mut agent, &done).await;
    assert!(back.undone, "{back:?}");
    assert_eq!(
        stripe.get(&format!("customers/{who}")).await["description"],
        "old"
    );
    let done = present(&mut agent, &describe).await.unwrap();
    stripe
        .post(
            &format!("customers/{who}"),
            &[("description", "by a person")],
        )
        .await;
    let kept = undone(&stripe.world, &mut agent, &done).await;
    assert_eq!(
        (kept.undone, kept.reason_code.as_str()),
        (false, "PRECONDITION_FAILED")
    );
    assert_eq!(
        stripe.get(&format!("customers/{who}")).await["description"],
        "by a person"
    );
    stripe.world.settle().await;
}

/// The process stands still right before the write.
const PAUSE: (&str, &str) = ("CONNECTORD_PAUSE_AT", "after_sending_marked=1500");

/// A call that stands still before its write while a person does something in the system itself.
async fn meanwhile(
    stripe: &mut Stripe,
    wish: &Wish,
    person: impl AsyncFnOnce(&Stripe),
) -> pb::Execution {
    let pauses = |stripe: &Stripe| {
        let process = stripe.world.connectord.as_ref().unwrap();
        process.logged().matches("pause point").count()
    };
    stripe.world.kill_connectord();
    stripe
        .world
        .start_connectord(&e2e::failpoint_connectord(), &[PAUSE]);
    let before = pauses(stripe);
    let mut agent = stripe.world.agent().await;
    let wish = wish.clone();
    let call = tokio::spawn(async move { present(&mut agent, &wish).await.unwrap() });
    let started = std::time::Instant::now();
    while pauses(stripe) == before {
        assert!(started.elapsed() < e2e::PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    person(stripe).await;
    call.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn localstripe_is_looked_at_again_right_before_the_write() {
    let mut stripe = Stripe::start();
    let customer = stripe.post("customers", &[("description", "old")]).await;
    let who = customer["id"].as_str().unwrap().to_owned();
    let describe = wish(
        "pay/main",
        "describe",
        ("customer", &who),
        json!({"description": "new"}),
    );
    let kept = meanwhile(&mut stripe, &describe, async |stripe| {
        let edit = [("description", "by a person")];
        stripe.post(&format!("customers/{who}"), &edit).await;
    });
    let kept = kept.await;
    assert_eq!(
        (kept.wrote, kept.reason_code.as_str()),
        (false, "PRECONDITION_FAILED"),
        "{kept:?}"
    );
    let shown = stripe.get(&format!("customers/{who}")).await;
    assert_eq!(shown["description"], "by a person");

    let source = [
        ("amount", "5000"),
        ("currency", "eur"),
        ("source", "pm_card_visa"),
    ];
    let charge = stripe.post("charges", &source).await;
    let id = charge["id"].as_str().unwrap().to_owned();
    let pay = wish(
        "pay/main",
        "pay_back",
        ("charge", &id),
        json!({"amount": {"currency": "EUR", "value": 1}}),
    );
    let refund = async |stripe: &Stripe| {
        let paid = [("charge", id.as_str()), ("amount", "100")];
        stripe.post("refunds", &paid).await;
    };
    let kept = meanwhile(&mut stripe, &pay, refund).await;
    assert_eq!(
        (kept.wrote, kept.reason_code.as_str()),
        (false, "PRECONDITION_FAILED"),
        "{kept:?}"
    );
    let shown = stripe.get(&format!("charges/{id}")).await;
    assert_eq!(shown["amount_refunded"], 100, "the person's refund alone");
}
