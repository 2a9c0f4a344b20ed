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
struct Stripe {
    world: World,
    port: u16,
    _server: Process,
    _folder: tempfile::TempDir,
}

impl Stripe {
    fn start() -> Self {
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

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Json {
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
