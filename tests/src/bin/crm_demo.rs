//! Plays the same story before the systems that are named: `crm_demo hubspot,salesforce`. They listen in this process and
//! answer as their vendors document it; policyd and connectord are the real programs.

use std::process::ExitCode;

use e2e::side_by_side::{NAMES, Step, play};

const ASKS: usize = 38;
const CELL: usize = 44;

#[tokio::main]
async fn main() -> ExitCode {
    let named = std::env::args().nth(1).unwrap_or_default();
    let names: Vec<&str> = named.split(',').collect();
    if let Some(unknown) = names.iter().find(|name| !NAMES.contains(name)) {
        eprintln!(
            "`{unknown}`: name some of {}, with commas between them",
            NAMES.join(", ")
        );
        return ExitCode::from(2);
    }
    let mut stories: Vec<Vec<Step>> = Vec::new();
    for name in &names {
        stories.push(play(name).await);
    }
    let row = |asks: &str, cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:<CELL$}")).collect();
        println!("{asks:<ASKS$} {}", cells.join(" ").trim_end());
    };
    row(
        "the same agent, the same rule",
        &names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>(),
    );
    let mut odd = 0;
    for at in 0..stories.first().map_or(0, Vec::len) {
        let steps: Vec<&Step> = stories.iter().filter_map(|story| story.get(at)).collect();
        let cell = |step: &&Step| {
            let mark = if step.expected { "" } else { "! " };
            format!("{mark}{}, it holds {}", step.said, step.held)
        };
        odd += steps.iter().filter(|step| !step.expected).count();
        row(steps[0].asks, &steps.iter().map(cell).collect::<Vec<_>>());
    }
    println!("{odd} came out otherwise than expected");
    ExitCode::from(u8::from(odd > 0))
}
