//! Each case of the page as a line of a table, and its documents with hostile texts in them.

use askama::Template as _;

use super::*;
use crate::access::Access;
use crate::halt::Act;
use crate::http::page::HaltPage;

const NOW_MS: i64 = 33_247_400;

fn flag(scope: &str, by: &str, reason: &str, since: i64) -> Flag {
    let act = Act {
        by: by.to_owned(),
        reason: reason.to_owned(),
        at: since,
    };
    Flag::new(scope.parse().unwrap(), &act, "1")
}

fn member(seen_ms: i64) -> Member {
    Member {
        seen_ms,
        known: true,
        ..Member::default()
    }
}

fn device(reach: &str) -> Device {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::in_folder(folder.path());
    let reach = Reach::try_from(reach.to_owned()).unwrap();
    let made = async {
        access.add_device("ada", reach, 0).await.unwrap();
        access.devices().await.unwrap().remove(0)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(made)
}

fn state(flags: Vec<Flag>) -> HaltState {
    HaltState {
        flags,
        ..HaltState::default()
    }
}

fn seen<'a>(state: Option<&'a HaltState>, members: Option<&'a [Member]>) -> Seen<'a> {
    Seen {
        state,
        members,
        checked_ms: None,
        now_ms: NOW_MS,
    }
}

fn view(state: Option<&HaltState>, reach: Option<&str>) -> View {
    let device = reach.map(device);
    let device = device.as_ref().map(|device| (device, "5ea1".to_owned()));
    View::of(&seen(state, Some(&[])), device, &Names::default(), 0)
}

fn html(view: &View, live: bool) -> String {
    HaltPage {
        view,
        told: None,
        live,
    }
    .render()
    .unwrap()
}

#[test]
fn the_word_is_that_of_who_looks() {
    for (scope, anybody, all, acme) in [
        ("global", "HALTED", "HALTED", "HALTED"),
        ("tenant:acme", "RUNNING", "RUNNING", "HALTED"),
        ("tenant:globex", "RUNNING", "RUNNING", "RUNNING"),
        ("tenant:acme/agent:x", "RUNNING", "RUNNING", "RUNNING"),
        ("agent:x", "RUNNING", "RUNNING", "RUNNING"),
    ] {
        let state = state(vec![flag(scope, "ada", "", 1)]);
        assert_eq!(view(Some(&state), None).word, anybody, "{scope}");
        assert_eq!(view(Some(&state), Some("global")).word, all, "{scope}");
        assert_eq!(
            view(Some(&state), Some("tenant:acme")).word,
            acme,
            "{scope}"
        );
    }
    assert_eq!(view(None, None).word, "UNKNOWN");
    assert_eq!(view(None, Some("global")).word, "UNKNOWN");
}

#[test]
fn who_has_no_device_reads_the_word_and_nothing_else() {
    let state = state(vec![
        flag("global", "ada", "wrong emails", 1),
        flag("tenant:acme", "ben", "x", 1),
    ]);
    let text = html(&view(Some(&state), None), false);
    for secret in ["ada", "ben", "wrong emails", "acme", "<form", "<button"] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert!(text.contains("HALTED"));
}

#[test]
fn a_device_of_a_tenant_reads_nothing_of_another() {
    let state = state(vec![
        flag("tenant:globex", "ben", "their secret", 1),
        flag("tenant:acme/agent:x", "ada", "", 1),
    ]);
    let seen = view(Some(&state), Some("tenant:acme"));
    assert_eq!(seen.flags.len(), 1);
    let text = html(&seen, false);
    assert!(!text.contains("globex") && !text.contains("their secret"));
    assert!(text.contains("HALT ALL OF acme") && !text.contains("EVERYTHING"));
    assert!(
        !text.contains("name=\"tenant\""),
        "it has no other tenant to type"
    );
}

#[test]
fn a_halt_says_since_when_by_whom_and_why() {
    for (by, reason, since, wanted) in [
        (
            "ada (phone)",
            "wrong emails",
            33_240,
            "since 09:14:00 UTC, by ada (phone): wrong emails",
        ),
        ("", "", 33_240, "since 09:14:00 UTC, set by hand"),
        ("ada", " ", -86_400, "since 1969-12-31 00:00 UTC, by ada"),
        ("ada", "a\nb\u{7}", 0, "since an unknown time, by ada: ab"),
    ] {
        assert_eq!(about(&flag("global", by, reason, since), NOW_MS), wanted);
    }
    let long = about(&flag("global", "ada", &"x".repeat(3_000), 1), NOW_MS);
    assert!(long.chars().count() < 200 && long.ends_with('…'));
}

#[test]
fn scopes_are_told_in_words() {
    for (scope, wanted) in [
        ("global", "Everything"),
        ("tenant:acme", "Everything of tenant acme"),
        ("tenant:acme/customer:c-7", "Customer c-7 of acme"),
        ("action:refund", "Action refund"),
        ("connection:crm/main", "Connection crm/main"),
        ("run:r-1", "Run r-1"),
        ("agent:triage", "Agent triage"),
    ] {
        assert_eq!(label(&scope.parse().unwrap()), wanted);
    }
}

#[test]
fn connectors_answer_or_they_do_not() {
    let state = state(Vec::new());
    let members = [member(NOW_MS - 400), member(NOW_MS - 900)];
    let mut seen = seen(Some(&state), Some(&members));
    assert_eq!(
        answers(&seen),
        (
            "2 of 2 read the halts, last heard 0.9 s ago".to_owned(),
            true
        )
    );
    seen.checked_ms = Some(NOW_MS - 400);
    assert_eq!(
        answers(&seen),
        ("2 of 2 answered a fresh check 0.4 s ago".to_owned(), true)
    );
    seen.checked_ms = None;
    let silent = [member(NOW_MS - 400), member(NOW_MS - 5_000)];
    seen.members = Some(&silent);
    assert_eq!(
        answers(&seen),
        (
            "1 of 2 read the halts, last heard 5.0 s ago".to_owned(),
            false
        )
    );
    let mut lost = [member(NOW_MS)];
    lost[0].known = false;
    seen.members = Some(&lost);
    assert!(!answers(&seen).1, "one that does not know the halts");
    seen.members = Some(&[]);
    assert!(!answers(&seen).1);
    seen.members = None;
    assert!(!answers(&seen).1);
}

#[test]
fn times_and_counts_are_for_people() {
    for (ms, wanted) in [
        (-5, "0.0 s"),
        (410, "0.4 s"),
        (9_999, "9.9 s"),
        (10_000, "10 s"),
        (119_999, "119 s"),
        (180_000, "3 min"),
        (7_200_000, "2 h"),
    ] {
        assert_eq!(ago(ms), wanted);
    }
    let mut one = member(NOW_MS);
    (one.open, one.finished, one.last_write_ms) = (2, 1, NOW_MS - 4_000);
    one.last_action = "set_stage".into();
    let both = [one, member(NOW_MS)];
    assert_eq!(
        flight(&both).unwrap(),
        "2 open, 1 finished since the last change"
    );
    assert_eq!(last_write(&both, NOW_MS).unwrap(), "4.0 s ago (set_stage)");
    assert_eq!(flight(&[member(NOW_MS)]).unwrap(), "0 open");
    assert_eq!(last_write(&[], NOW_MS), None);
}

#[test]
fn nothing_is_offered_to_type_where_the_page_refreshes_itself() {
    let state = state(Vec::new());
    let seen = view(Some(&state), Some("global"));
    let (page, live) = (html(&seen, false), html(&seen, true));
    assert!(page.contains("<input id=\"name\"") && !page.contains("http-equiv"));
    assert!(live.contains("http-equiv=\"refresh\"") && !live.contains("id=\"name\""));
    assert!(live.contains("HALT EVERYTHING"));
}

#[test]
fn no_halt_button_where_the_state_is_unknown() {
    let text = html(&view(None, Some("global")), false);
    assert!(text.contains("UNKNOWN") && !text.contains("<form"));
}

/// Texts that somebody could want to be read as markup, style, script or another line.
fn payloads() -> Vec<String> {
    let plain = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "'><svg onload=alert(1)>",
        "</style><script>alert(1)</script>",
        "</title><b>",
        "<!--",
        "-->",
        "]]>",
        "<![CDATA[",
        "javascript:alert(1)",
        "{{ 7*7 }}",
        "{% raw %}",
        "${7*7}",
        "<%= 7 %>",
        "&lt;script&gt;",
        "&#60;script&#62;",
        "\u{202e}gnitlah",
        "a\u{0}b",
        "a\r\nSet-Cookie: x=y",
        "<meta http-equiv=refresh content=0>",
        "<base href=//evil.example>",
        "<form action=//evil.example>",
        "<button>",
        "</button></form>",
        "<a href=//evil.example>",
    ];
    let mut all = Vec::new();
    for text in plain {
        all.push(text.to_owned());
        all.push(text.to_uppercase());
        all.push(format!("\" {text}"));
        all.push(format!("' {text} `"));
    }
    all
}

#[test]
fn a_hundred_hostile_texts_are_shown_as_texts() {
    let payloads = payloads();
    assert_eq!(payloads.len(), 100);
    let clean = html(
        &view(
            Some(&state(vec![flag("agent:x", "y", "z", 1)])),
            Some("global"),
        ),
        false,
    );
    for text in payloads {
        let mut state = state(vec![flag("agent:x", &text, &text, 1)]);
        if let Ok(scope) = format!("agent:{text}").parse() {
            state.flags[0].scope = scope;
        }
        let page = html(&view(Some(&state), Some("global")), false);
        for mark in ['<', '>', '"'] {
            let count = |page: &str| page.chars().filter(|c| *c == mark).count();
            assert_eq!(count(&page), count(&clean), "{text:?} brought {mark}");
        }
        assert!(!page.contains('\u{0}') && !page.contains('\r'), "{text:?}");
    }
}

fn size(flags: impl Iterator<Item = Flag>, name: &str) -> usize {
    let state = state(flags.collect());
    let names = Names {
        tenants: (0..200).map(|number| format!("{name}{number}")).collect(),
        ..Names::default()
    };
    let (device, members) = (device("global"), [member(NOW_MS)]);
    let seen = seen(Some(&state), Some(&members));
    let view = View::of(&seen, Some((&device, "f".repeat(64))), &names, 0);
    assert_eq!(
        (view.flags.len(), view.more),
        (FLAGS_SHOWN_MAX, 40 - FLAGS_SHOWN_MAX)
    );
    assert_eq!(view.next.as_deref(), Some("/halt?from=6"));
    html(&view, false).len()
}

#[test]
fn no_page_is_larger_than_ten_kilobytes_and_a_hostile_one_not_much_larger() {
    let usual = (0..40).map(|number| {
        let scope = format!("tenant:acme/customer:c-{number}");
        flag(
            &scope,
            "acme/ada@example.com",
            "it wrote to the wrong customers again",
            1,
        )
    });
    let usual = size(usual, "tenant-of-usual-length-");
    assert!(usual <= 10_000, "{usual}");
    let hostile = "<".repeat(3_000);
    let flags = (0..40).map(|number| {
        let scope = format!("agent:{number:02}{}", "\"".repeat(120));
        flag(&scope, &hostile, &hostile, 1)
    });
    let most = size(flags, &"n".repeat(60));
    assert!(most <= 16_000, "{most}");
}

#[test]
fn every_tone_that_draws_its_sign_has_one() {
    for tone in ["halted", "running", "partly"] {
        let rule = format!(".{tone} h1 i");
        assert!(crate::http::page::CSS.contains(&rule), "{tone}");
    }
}
