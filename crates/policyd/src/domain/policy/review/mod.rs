//! What policy tests name that is not there, and what they leave out.

use std::collections::BTreeMap;

use writ_proto::Reason;
use writ_proto::ids::ActionName;
use writ_proto::money::Money;
use writ_proto::value::{Map, args_from_json};

use crate::domain::decide::Verdict;
use crate::domain::policy::case::{Case, cases};
use crate::domain::policy::{Finding, Gap, Place, TenantPolicies, hint, near};

const VERDICTS: [Verdict; 3] = [Verdict::Allow, Verdict::Deny, Verdict::RequireApproval];

/// Looks through the test files of a tenant: name and text of each.
#[must_use]
pub fn review(set: &TenantPolicies, files: &[(String, String)]) -> Vec<Finding> {
    let (mut found, mut all) = (Vec::new(), Vec::new());
    for (file, text) in files {
        let file = format!("tests/{file}");
        match cases(text) {
            Ok(cases) => {
                found.extend(slips(set, &file, text, &cases));
                all.extend(cases);
            }
            Err((message, byte)) => found.push(Finding {
                reason: Reason::PolicyInvalid,
                file,
                message,
                at: Some(Place::at(text, byte)),
            }),
        }
    }
    let mut of_set = |message: String| {
        found.push(Finding {
            reason: Reason::PolicyInvalid,
            file: "tests".to_owned(),
            message,
            at: None,
        });
    };
    if all.is_empty() {
        of_set("this tenant has no policy tests".to_owned());
    }
    for gap in set
        .gaps()
        .iter()
        .filter(|gap| !all.iter().any(|case| falls_in(case, gap)))
    {
        of_set(describe(gap));
    }
    found
}

/// What the cases of a file name that is not there. What many of them name is told once, of the first.
fn slips(set: &TenantPolicies, file: &str, text: &str, cases: &[Case]) -> Vec<Finding> {
    let (mut told, mut known): (Vec<(Finding, usize)>, BTreeMap<String, usize>) =
        Default::default();
    for case in cases {
        for (message, at) in one(set, text, case) {
            if let Some((_, more)) = known.get(&message).and_then(|at| told.get_mut(*at)) {
                *more = more.saturating_add(1);
                continue;
            }
            let finding = Finding {
                reason: Reason::PolicyInvalid,
                file: file.to_owned(),
                message: format!("`{}`: {message}", case.name),
                at,
            };
            known.insert(message, told.len());
            told.push((finding, 0));
        }
    }
    let counted = told.into_iter().map(|(mut finding, more)| {
        if more > 0 {
            let others = format!(" (and {more} more of this file; if they are right, the slip is where it is declared)");
            finding.message.push_str(&others);
        }
        finding
    });
    counted.collect()
}

/// What is wrong with one case, and where.
fn one(set: &TenantPolicies, text: &str, case: &Case) -> Vec<(String, Option<Place>)> {
    let mut found = Vec::new();
    let mut warn = |word: &str, message: String| {
        // Behind the name of the case, so that the right one of many is shown.
        let start = text.find(&format!("\"{}\"", case.name)).unwrap_or_default();
        let rest = text.get(start..).unwrap_or_default();
        let at = rest
            .find(&format!("\"{word}\""))
            .map(|at| start.saturating_add(at));
        found.push((message, at.map(|at| Place::at(text, at))));
    };
    let verdicts = VERDICTS.map(Verdict::name);
    if !verdicts.contains(&case.verdict.as_str()) {
        let near = near(&case.verdict, verdicts);
        let message = format!("there is no verdict {}{}", case.verdict, hint(near));
        warn(&case.verdict, message);
    }
    let own = case.tenant.is_none();
    let action = ActionName::parse(&case.action).ok();
    let unknown = case.reason_code.as_deref() != Some(Reason::UnknownAction.code());
    if unknown && action.is_none_or(|action| set.card(&action).is_none()) {
        let near = near(&case.action, set.cards().map(|card| card.name.as_str()));
        let message = format!("no card is named `{}`{}", case.action, hint(near));
        warn(&case.action, message);
    }
    let agents: Vec<String> = set.agents().collect();
    let is_known = agents.contains(&case.agent);
    if let Some(near) =
        near(&case.agent, agents.iter().map(String::as_str)).filter(|_| own && !is_known)
    {
        let message = format!(
            "entities.json has no agent `{}`{}",
            case.agent,
            hint(Some(near))
        );
        warn(&case.agent, message);
    }
    if let Some(code) = &case.reason_code
        && Reason::from_code(code).is_none()
    {
        warn(code, format!("there is no reason code {code}"));
    }
    if let Some(rule) = &case.rule
        && set.rule(rule).is_none()
    {
        let near = near(rule, set.rules().map(|(id, _)| id));
        warn(rule, format!("no rule is named `{rule}`{}", hint(near)));
    }
    found
}

/// The amount of a case, where it has one.
fn amount(args: &Map) -> Option<Money> {
    Money::from_value(args.get("amount")?).ok()
}

/// Whether a case asks for an amount in a gap: then somebody knows of it.
fn falls_in(case: &Case, gap: &Gap) -> bool {
    let args = args_from_json(&case.args.to_string()).ok();
    let money = args.as_ref().and_then(amount);
    case.action == gap.action.as_str()
        && money.is_some_and(|money| {
            let same = gap.currency.is_empty() || gap.currency == money.currency();
            same && (gap.from..=gap.to).contains(&money.minor())
        })
}

fn describe(gap: &Gap) -> String {
    let named = if gap.currency.is_empty() {
        String::new()
    } else {
        format!(" {}", gap.currency)
    };
    let Gap {
        action, from, to, ..
    } = gap;
    format!(
        "`{action}`: no rule speaks of amounts from {from} to {to} in the smallest unit of the currency{named}, so they are \
         denied; add a rule, or a test that says so"
    )
}

#[cfg(test)]
mod tests;
