//! The halt page in a real browser, as large as a phone, with scripts switched off: what a person
//! sees, presses and types. The pictures are in `target/screens`.

use e2e::browser::{Browser, Tab, WIDTH, chromium};
use e2e::halt_page::PASSWORD;
use e2e::{World, program};
use serde_json::json;

/// A phone that is set up by its link, scripts off.
async fn phone(browser: &Browser, world: &World, name: &str, reach: &[&str]) -> (Tab, String) {
    let link = world.device(name, reach);
    let base = format!("http://{}", world.http("connectord"));
    let mut tab = browser.tab().await;
    tab.call(
        "Emulation.setScriptExecutionDisabled",
        json!({"value": true}),
    )
    .await;
    tab.goto(&format!(
        "{base}/halt/d/{}",
        link.rsplit('/').next().unwrap()
    ))
    .await;
    tab.picture(&format!("{name}-set-up")).await;
    tab.follow("button").await;
    assert!(
        tab.text().await.contains("This device is set up"),
        "{}",
        tab.text().await
    );
    (tab, base)
}

fn halted(world: &World) -> String {
    let output = world.run("connectord", &["halt", "status"]);
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thumb_halts_everything_and_only_a_sign_in_with_a_reason_resumes() {
    let world = World::start();
    world.operator_of_halts("ben", &["--global"]);
    let browser = Browser::start(&chromium());
    let (mut tab, base) = phone(&browser, &world, "ada", &["--global"]).await;
    tab.goto(&format!("{base}/")).await;
    let text = tab.text().await;
    assert!(
        text.contains("RUNNING") && text.contains("HALT EVERYTHING"),
        "{text}"
    );
    assert!(text.contains("1 of 1"), "{text}");
    tab.picture("running").await;
    tab.follow("button.stop").await;
    let text = tab.text().await;
    assert!(
        text.contains("HALTED") && text.contains("Acknowledged 1 of 1 in"),
        "{text}"
    );
    assert!(
        text.contains("by ada (phone)") && text.contains("Refreshed every 5 s"),
        "{text}"
    );
    assert!(halted(&world).contains("HALTED global"));
    tab.picture("halted").await;

    // Without a sign-in the browser itself does not send the form, and the server refuses it.
    tab.follow("li .button").await;
    tab.picture("resume").await;
    tab.press("form button").await;
    assert!(tab.text().await.contains("Why it is safe again"));
    tab.call(
        "Emulation.setScriptExecutionDisabled",
        json!({"value": false}),
    )
    .await;
    tab.value("document.forms[0].noValidate = true").await;
    tab.call(
        "Emulation.setScriptExecutionDisabled",
        json!({"value": true}),
    )
    .await;
    tab.follow("form button").await;
    assert!(
        tab.text()
            .await
            .contains("Not resumed: a reason is required"),
        "{}",
        tab.text().await
    );
    tab.fill("#why", "the template was repaired").await;
    tab.fill("#operator", "ben").await;
    tab.fill("#password", "wrong horse battery").await;
    tab.follow("form button").await;
    let text = tab.text().await;
    assert!(text.contains("operator and password do not fit"), "{text}");
    tab.picture("resume-refused").await;
    assert!(halted(&world).contains("HALTED global"));
    // What was typed stays, the password does not.
    assert_eq!(tab.value("document.forms[0].operator.value").await, "ben");
    assert_eq!(tab.value("document.forms[0].password.value").await, "");
    tab.fill("#password", PASSWORD).await;
    tab.follow("form button").await;
    let text = tab.text().await;
    assert!(
        text.contains("RUNNING") && text.contains("Resumed"),
        "{text}"
    );
    tab.picture("resumed").await;
    assert!(halted(&world).starts_with("0 halts"), "{}", halted(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_customer_is_halted_while_others_go_on_and_a_hostile_reason_stays_text() {
    let world = World::start();
    let browser = Browser::start(&chromium());
    let (mut tab, base) = phone(&browser, &world, "ada-acme", &["--tenant", "acme"]).await;
    tab.goto(&format!("{base}/halt")).await;
    assert!(tab.text().await.contains("HALT ALL OF acme"));
    tab.press("summary").await;
    tab.picture("part").await;
    assert_eq!(
        tab.value("document.getElementById('kind').value").await,
        "customer"
    );
    tab.fill("#name", "C-104").await;
    tab.fill("#reason", "<script>document.title='x'</script><b>bold</b>")
        .await;
    tab.follow("button.part").await;
    let text = tab.text().await;
    assert!(
        text.contains("RUNNING") && text.contains("1 part is halted"),
        "{text}"
    );
    assert!(
        text.contains("Customer C-104 of acme") && text.contains("<b>bold</b>"),
        "{text}"
    );
    assert!(!tab.has("li b b").await && !tab.has("script").await);
    tab.picture("customer-halted").await;
    let told = halted(&world);
    assert!(
        told.contains("HALTED tenant:acme/customer:C-104") && told.contains("by ada-acme (phone)"),
        "{told}"
    );
    tab.scheme("dark").await;
    tab.picture("customer-halted-dark").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_is_unknown_and_a_stranger_sees_the_word_only() {
    let world = World::start();
    let browser = Browser::start(&chromium());
    let (mut tab, base) = phone(&browser, &world, "ada-away", &["--global"]).await;
    let mut stranger = browser.tab().await;
    stranger.goto(&format!("{base}/")).await;
    let text = stranger.text().await;
    assert!(
        text.contains("RUNNING") && text.contains("not set up to halt"),
        "{text}"
    );
    assert!(!stranger.has("form").await);
    stranger.picture("stranger").await;
    std::fs::rename(world.path("state/halt"), world.path("state/away")).unwrap();
    for (scheme, name) in [("light", "unknown"), ("dark", "unknown-dark")] {
        tab.scheme(scheme).await;
        tab.goto(&format!("{base}/halt")).await;
        assert!(tab.text().await.contains("UNKNOWN"));
        tab.picture(name).await;
    }
}

/// What a person with poor sight, a screen reader or a large thumb needs. Gives what is wrong.
const AUDIT: &str = r#"(() => {
  const wrong = [];
  const rgb = text => (text.match(/[\d.]+/g) || []).map(Number);
  const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
  const ground = el => { for (; el; el = el.parentElement) { const c = rgb(getComputedStyle(el).backgroundColor); if (c.length === 3 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  if (document.documentElement.lang !== 'en') wrong.push('no language');
  if (!document.title) wrong.push('no title');
  if (!document.querySelector('main')) wrong.push('no main');
  if (document.querySelectorAll('h1').length !== 1) wrong.push('not one h1');
  if (document.documentElement.scrollWidth > innerWidth) wrong.push('wider than the screen');
  const all = [...document.querySelectorAll('*')];
  const ids = all.map(el => el.id).filter(Boolean);
  if (new Set(ids).size !== ids.length) wrong.push('an id twice');
  for (const el of all) {
    const seen = el.checkVisibility();
    const own = [...el.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (own && seen && el.closest('body') && !el.closest('datalist') && el.tagName !== 'OPTION') {
      const style = getComputedStyle(el), size = parseFloat(style.fontSize);
      const [a, b] = [light(rgb(style.color).slice(0, 3)), light(ground(el))].sort((x, y) => y - x);
      const ratio = (a + .05) / (b + .05);
      if (ratio < 4.5) wrong.push(`contrast ${ratio.toFixed(2)} of ${el.tagName} "${el.textContent.trim().slice(0, 30)}"`);
      if (size < 15) wrong.push(`small text ${size} of ${el.tagName}`);
    }
    if (['INPUT', 'SELECT', 'TEXTAREA'].includes(el.tagName) && el.type !== 'hidden') {
      if (!el.labels.length) wrong.push(`no label for ${el.name}`);
      if (parseFloat(getComputedStyle(el).fontSize) < 16) wrong.push(`${el.name} makes a phone zoom`);
    }
    if (seen && el.matches('button, summary, input:not([type=hidden]), select, textarea, a.button, .row a')) {
      const box = el.getBoundingClientRect();
      if (box.height < 44) wrong.push(`${el.tagName} "${el.textContent.slice(0, 20)}" is ${box.height} px high`);
    }
    if (el.tagName === 'BUTTON' && !el.textContent.trim()) wrong.push('a button without a name');
  }
  return { wrong, checked: all.length };
})()"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_page_can_be_read_and_pressed_in_light_and_dark() {
    let world = World::start();
    world.operator_of_halts("ben", &["--global"]);
    let browser = Browser::start(&chromium());
    let (mut tab, base) = phone(&browser, &world, "ada-sees", &["--global"]).await;
    let link = world.device("next", &["--global"]);
    let link = link.split_once("/halt/d/").unwrap().1.to_owned();
    let mut audit = async |name: &str, path: &str| {
        for scheme in ["light", "dark"] {
            tab.scheme(scheme).await;
            tab.goto(&format!("{base}{path}")).await;
            if tab.has("summary").await {
                tab.press("summary").await;
            }
            let found = tab.value(AUDIT).await;
            assert_eq!(found["wrong"], json!([]), "{name} in {scheme}");
            assert!(found["checked"].as_u64().unwrap() > 10, "{found}");
            assert_eq!(tab.value("innerWidth").await, WIDTH);
            tab.picture(&format!("{name}-{scheme}")).await;
        }
    };
    audit("page", "/halt").await;
    audit("link", &format!("/halt/d/{link}")).await;
    audit("absent", "/nowhere").await;
    for scope in ["global", "tenant:acme", "agent:triage"] {
        let args = [
            "halt",
            "on",
            "--scope",
            scope,
            "--reason",
            "wrong emails to customers",
        ];
        assert!(world.run("connectord", &args).status.success());
    }
    audit("page-halted", "/halt").await;
    audit("live", "/halt/live").await;
    audit("form", "/halt/resume?scope=global").await;
    std::fs::rename(world.path("state/halt"), world.path("state/away")).unwrap();
    audit("page-unknown", "/halt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_cookie_is_bound_to_the_host() {
    let world = World::start();
    let args = [
        "halt-server",
        "--addr",
        "127.0.0.1:0",
        "--set",
        "server.http_plaintext=false",
    ];
    let path = world.folder.path();
    let _server = e2e::Process::start(path, "tls", &program("connectord"), &args, &[]);
    let base = format!(
        "https://{}",
        world.http("tls").replace("127.0.0.1", "localhost")
    );
    let link = world.device("ada", &["--global"]);
    let browser = Browser::start(&chromium());
    let mut tab = browser.tab().await;
    tab.goto(&format!(
        "{base}/halt/d/{}",
        link.rsplit('/').next().unwrap()
    ))
    .await;
    tab.follow("button").await;
    assert!(
        tab.text().await.contains("This device is set up"),
        "{}",
        tab.text().await
    );
    let cookies = tab.call("Network.getCookies", json!({})).await;
    let cookie = &cookies["cookies"][0];
    assert_eq!(cookies["cookies"].as_array().unwrap().len(), 1, "{cookies}");
    assert_eq!(cookie["name"], "__Host-halt");
    for (part, wanted) in [
        ("secure", json!(true)),
        ("httpOnly", json!(true)),
        ("sameSite", json!("Strict")),
        ("path", json!("/")),
    ] {
        assert_eq!(cookie[part], wanted, "{cookie}");
    }
    assert_eq!(tab.value("document.cookie").await, "");
    tab.follow("button.stop").await;
    assert!(halted(&world).contains("HALTED global"));
}
