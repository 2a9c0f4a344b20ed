//! What an agent may have instead is allowed as it is offered, and not offered often.

use e2e::{Actor, refund};
use writ_proto::pb;

use crate::incidents::{PROBING, world};

const OFFERS: &str = "\n[counter_offer]\nactions = [\"refund\"]\nper_hour = 2\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_is_allowed_as_it_stands_and_given_so_often() {
    let world = world(OFFERS);
    let mut agent = world.agent().await;
    for amount in ["300.00", "600.00"] {
        let asked = agent.ask(&refund("O-6", amount)).await;
        let offer = asked.decision.counter_offer.clone().unwrap();
        assert_eq!(offer.sentence, "amount up to 250.00 EUR is allowed");
        let again = pb::AuthorizeRequest {
            call: offer.call,
            ..Actor::request(&refund("O-6", amount))
        };
        let answer = agent.authorize.authorize(again).await.unwrap();
        let decision = answer.into_inner().decision.unwrap();
        assert_eq!(decision.verdict(), pb::Verdict::Allow, "{decision:?}");
    }
    let third = agent.ask(&refund("O-6", "300.00")).await.decision;
    assert_eq!(third.counter_offer, None, "two an hour");
    assert_eq!(third.retry(), pb::Retry::Changed);
    let forbidden = agent.ask(&refund("O-7", "300.00")).await.decision;
    assert_eq!(forbidden.reason_code, "FORBIDDEN");
    assert_eq!(forbidden.counter_offer, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_offer_is_given_while_an_incident_is_open() {
    let set = PROBING.replace("\"agent\"", "\"none\"") + &OFFERS.replace("= 2", "= 60");
    let world = world(&set);
    let mut agent = world.agent().await;
    for step in 0..7 {
        let decision = agent.ask(&refund("O-6", "300.00")).await.decision;
        assert_eq!(decision.counter_offer.is_some(), step < 5, "step {step}");
    }
}
