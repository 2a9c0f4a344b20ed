//! Prints how fast and how large the halt page is: first paint in a headless Chromium with a slow
//! processor and a slow network, size, requests, and the time the server takes.
//!
//! `cargo run --release -p e2e --bin halt_page` (`docs/performance.md`).

use std::io::Write as _;
use std::time::Instant;

use e2e::World;
use e2e::browser::{Browser, Tab, chromium};
use e2e::halt_page::Visitor;
use serde_json::json;

const LOADS: usize = 20;
const REQUESTS: usize = 2_000;
/// The named profile: processor four times slower, 40 ms round trip, 10 Mbit/s each way.
const SLOWER: u32 = 4;
const ROUND_TRIP_MS: u32 = 40;
const BYTES_A_SECOND: u32 = 10_000_000 / 8;

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn figures(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let [p50, p99] = [50, 99].map(|percent| percentile(&times, percent));
    format!(
        "p50 {p50:.1} ms  p99 {p99:.1} ms  worst {:.1} ms",
        times[times.len() - 1]
    )
}

fn compressed(body: &str) -> usize {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body.as_bytes()).unwrap();
    encoder.finish().unwrap().len()
}

#[tokio::main]
async fn main() {
    let world = World::start();
    for (scope, reason) in [
        ("tenant:acme/customer:c-7", "wrong emails"),
        ("agent:triage", ""),
    ] {
        let args = ["halt", "on", "--scope", scope, "--reason", reason];
        assert!(world.run("connectord", &args).status.success());
    }
    let phone = world.phone("connectord", "bench", &["--global"]).await;
    let body = phone.get("/halt").await.body;
    println!(
        "size      {} bytes raw, {} bytes as gzip would have it",
        body.len(),
        compressed(&body)
    );

    let mut times = Vec::new();
    for _ in 0..REQUESTS {
        let start = Instant::now();
        assert!(phone.get("/halt").await.status.is_success());
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "server    {} of {REQUESTS} requests one after another, client included",
        figures(times)
    );

    let browser = Browser::start(&chromium());
    let mut requests = 0;
    // The same for a document of three letters: what a paint costs on this machine at all.
    for (name, path) in [("paint", "/halt"), ("empty", "/livez")] {
        let (mut cold, mut open) = (Vec::new(), Vec::new());
        for _ in 0..LOADS {
            // A new context each time: nothing is cached, the connection is new too.
            let mut tab = slow_tab(&browser, &phone).await;
            cold.push(paint(&mut tab, &format!("{}{path}", phone.base)).await);
            let loaded = "1 + performance.getEntriesByType('resource').length";
            requests = requests.max(tab.value(loaded).await.as_u64().unwrap());
            open.push(paint(&mut tab, &format!("{}{path}", phone.base)).await);
        }
        println!(
            "{name}     {} in a new tab (first contentful paint of {LOADS})",
            figures(cold)
        );
        println!("          {} in a tab of the same site", figures(open));
    }
    println!("requests  {requests} a load, the document included");
    println!(
        "profile   headless Chromium, processor {SLOWER} x slower, {ROUND_TRIP_MS} ms round trip, 10 Mbit/s"
    );
}

async fn slow_tab(browser: &Browser, phone: &Visitor) -> Tab {
    let mut tab = browser.tab().await;
    let cookie = phone.cookie.clone().unwrap();
    let (name, value) = cookie.split_once('=').unwrap();
    let cookie = json!({"name": name, "value": value, "url": phone.base});
    tab.call("Network.setCookie", cookie).await;
    let slow = json!({
        "offline": false, "latency": ROUND_TRIP_MS,
        "downloadThroughput": BYTES_A_SECOND, "uploadThroughput": BYTES_A_SECOND,
    });
    tab.call("Network.emulateNetworkConditions", slow).await;
    tab.call("Network.setCacheDisabled", json!({"cacheDisabled": true}))
        .await;
    tab.call("Emulation.setCPUThrottlingRate", json!({"rate": SLOWER}))
        .await;
    tab
}

/// Milliseconds from the start of the navigation to the first contentful paint.
async fn paint(tab: &mut Tab, url: &str) -> f64 {
    tab.goto(url).await;
    let paint = "new Promise(done => { const look = () => { \
        const paint = performance.getEntriesByName('first-contentful-paint')[0]; \
        if (paint) done(paint.startTime); else setTimeout(look, 5); }; look(); })";
    tab.value(paint).await.as_f64().unwrap()
}
