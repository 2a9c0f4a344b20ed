//! A notice as a Slack message, and what Slack's answer means.
//!
//! Names in a notice may be hostile: everything is plain text, nothing is a mention, a link or a
//! format, and a URL in a value is not clickable.

use serde_json::{Value as Json, json};

use super::http::Answer;
use crate::domain::incident::notice::Notice;

/// Slack's three control characters as entities, and no working URL.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace("://", "[:]//")
}

fn block(text: &str) -> Json {
    json!({"type": "plain_text", "emoji": false, "text": text})
}

/// The body of `chat.postMessage` or of an incoming webhook.
pub(super) fn message(notice: &Notice, channel: Option<&str>) -> Json {
    let title = format!("[{}] {}", notice.tenant, plain(&notice.title));
    let mut blocks = vec![json!({"type": "section", "text": block(&title)})];
    let field =
        |(name, value): &(String, String)| block(&format!("{}: {}", plain(name), plain(value)));
    let fields: Vec<Json> = notice.fields.iter().map(field).collect();
    if !fields.is_empty() {
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    if !notice.link.is_empty() {
        let look = block(&plain(&notice.link));
        blocks.push(json!({"type": "context", "elements": [look]}));
    }
    let mut body = json!({
        "text": title,
        "blocks": blocks,
        "mrkdwn": false,
        "link_names": false,
        "parse": "none",
        "unfurl_links": false,
        "unfurl_media": false,
    });
    if let (Some(channel), Some(object)) = (channel, body.as_object_mut()) {
        object.insert("channel".to_owned(), json!(channel));
    }
    body
}

/// Whether Slack took it: status 200 alone says nothing, the body must say so too.
pub(super) fn took(answer: &Answer) -> Result<(), String> {
    let said: Option<Json> = serde_json::from_slice(&answer.body).ok();
    let ok = said.as_ref().and_then(|said| said.get("ok"));
    let plain_ok = answer.body.trim_ascii() == b"ok";
    if answer.status == 200 && (plain_ok || ok == Some(&Json::Bool(true))) {
        return Ok(());
    }
    let code = said.as_ref().and_then(|said| said.get("error")?.as_str());
    let known = |code: &&str| {
        code.len() <= 64
            && code
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let code = code.filter(known).unwrap_or("not ok");
    Err(format!("status {}, {code}", answer.status))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use writ_proto::ids::TenantId;

    use super::*;
    use crate::domain::incident::notice::NoticeKind;

    #[test]
    fn a_hostile_name_is_text_and_nothing_else() {
        let evil = "<!channel> <@U1> <https://evil.example|bank> *b* & https://evil.example";
        let notice = Notice {
            id: Uuid::from_u128(1),
            tenant: TenantId::parse("acme").unwrap(),
            kind: NoticeKind::Incident,
            title: evil.to_owned(),
            fields: vec![(evil.to_owned(), evil.to_owned())],
            link: evil.to_owned(),
            dedup_key: String::new(),
            time_ms: 0,
        };
        let body = message(&notice, Some("#ops"));
        let text = body.to_string();
        assert!(!text.contains(['<', '>']), "{text}");
        assert!(!text.contains("://"), "{text}");
        assert!(text.contains("&lt;!channel&gt;"), "{text}");
        assert!(!text.contains("\"type\":\"mrkdwn\""), "{text}");
        for (key, value) in [
            ("mrkdwn", false),
            ("link_names", false),
            ("unfurl_links", false),
        ] {
            assert_eq!(body[key], value, "{key}");
        }
        assert_eq!(body["channel"], "#ops");
        assert!(message(&notice, None).get("channel").is_none());
    }

    #[test]
    fn only_an_ok_is_ok() {
        let table: [(u16, &str, bool); 8] = [
            (200, "ok", true),
            (200, "{\"ok\":true}", true),
            (200, "{\"ok\":false,\"error\":\"channel_not_found\"}", false),
            (200, "{\"ok\":\"true\"}", false),
            (200, "", false),
            (200, "<html>ok</html>", false),
            (500, "ok", false),
            (302, "{\"ok\":true}", false),
        ];
        for (status, body, good) in table {
            let answer = Answer {
                status,
                retry_after: None,
                body: body.into(),
            };
            assert_eq!(took(&answer).is_ok(), good, "{status} {body}");
        }
        let answer = Answer {
            status: 200,
            retry_after: None,
            body: b"{\"ok\":false,\"error\":\"see xoxb-SECRET\"}".to_vec(),
        };
        assert_eq!(took(&answer).unwrap_err(), "status 200, not ok");
    }
}
