//! Slack: a message is sent once, as plain text, and what Slack says with 200 is believed only where it says `ok`.

use e2e::World;
use e2e::vendors::slack::{Slack, TOKEN};
use serde_json::json;

use super::super::rollout::present;
use super::super::servers::conform::{adds, conforms};
use super::super::servers::{wish, world};
use super::{client, spec};

const CARDS: [(&str, &str); 1] = [(
    "tell_channel",
    "verb = \"notify\"\ntarget = \"channel\"\n[caps]\nrecords_per_day = 500\n[args.text]\ntype = \"text\"\nmax_chars = 500\n",
)];

async fn started() -> (World, Slack) {
    let slack = Slack::start().await;
    let base = slack.served.base();
    (world("chat/main", "slack", base, TOKEN, &CARDS), slack)
}

fn tell(channel: &str, text: &str) -> e2e::Wish {
    wish(
        "chat/main",
        "tell_channel",
        ("channel", channel),
        json!({ "text": text }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn slacks_own_client_sees_what_slack_would_show() {
    let slack = Slack::start().await;
    let saw = client("slack_client", &[&slack.served.base(), TOKEN]).await;
    let wanted = json!({
        "read": "sales", "wrote": true, "seen": {"key": "1"}, "archived": "200 is_archived",
        "missing": "200 channel_not_found", "empty": "200 no_text", "stranger": "200 invalid_auth",
    });
    assert_eq!(saw, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_plain_text_and_a_200_that_says_no_is_no() {
    let (world, slack) = started().await;
    let mut agent = world.agent().await;
    let text = "<!channel> see <https://evil.example|the bank>";
    let done = present(&mut agent, &tell("C0000SALES", text))
        .await
        .unwrap();
    assert!(done.wrote && !done.created_id.is_empty(), "{done:?}");
    let message = slack.held().messages["C0000SALES"][0].clone();
    let block = &message["blocks"][0]["text"];
    assert_eq!(
        (&block["type"], &block["text"]),
        (&json!("plain_text"), &json!(text))
    );
    assert_eq!(
        message["text"], "This content can't be displayed.",
        "nothing of it is read as markup"
    );
    for (channel, said) in [
        ("C0000GONE1", "is_archived"),
        ("C0000NOONE", "channel_not_found"),
    ] {
        let refused = present(&mut agent, &tell(channel, "hello")).await.unwrap();
        assert!(
            !refused.wrote && refused.message.contains(said),
            "{refused:?}"
        );
    }
    slack.held().limited = 1;
    let limited = present(&mut agent, &tell("C0000SALES", "again"))
        .await
        .unwrap();
    assert_eq!(limited.reason_code, "SYSTEM_RATE_LIMITED", "{limited:?}");
    assert!(limited.message.contains("30"), "{limited:?}");
    assert_eq!(slack.held().messages["C0000SALES"].len(), 1);
    spec::holds(&slack.served, "slack-chat-trimmed.swagger2.json", 1);
    world.settle().await;
}

pub(in super::super) async fn conforms_here() {
    let (world, _slack) = started().await;
    let text = adds(
        "tell_channel",
        "channel/C0000SALES",
        "C0000NOONE",
        &json!({"text": "hello"}),
    );
    conforms(&world, text).await;
}
