//! Tests of `test_review.rs`.

use super::*;
use crate::domain::policy::tests::shipped;

const STORY: &str = include_str!("../../../../../../policies/acme/tests/story.json");

fn messages(story: &str) -> Vec<Finding> {
    let set = TenantPolicies::build(&shipped("acme")).unwrap();
    review(&set, &[("story.json".into(), story.into())])
}

#[test]
fn the_shipped_tests_name_only_what_is_there() {
    assert_eq!(messages(STORY), []);
}

#[test]
fn a_slip_in_a_test_is_named_with_its_place() {
    let case = |agent: &str, action: &str, verdict: &str, more: &str| {
        format!(
            "[\n{{ \"name\": \"first\", \"agent\": \"{agent}\", \"action\": \"{action}\",\n\"target\": [\"order\", \"O-7\"], \"args\": {{}},\n\"verdict\": \"{verdict}\"{more} }}\n]"
        )
    };
    let table = [
        (
            case("triage", "refnd", "DENY", ""),
            "no card is named `refnd`. Did you mean `refund`?",
            2,
        ),
        (
            case("trige", "refund", "DENY", ""),
            "no agent `trige`. Did you mean `triage`?",
            2,
        ),
        (
            case("triage", "refund", "DENNY", ""),
            "no verdict DENNY. Did you mean `DENY`?",
            4,
        ),
        (
            case("triage", "refund", "DENY", ", \"rule\": \"refund-smal\""),
            "no rule is named `refund-smal`. Did you mean `refund-small`?",
            4,
        ),
        (
            case(
                "triage",
                "refund",
                "DENY",
                ", \"reason_code\": \"FORBIDEN\"",
            ),
            "no reason code FORBIDEN",
            4,
        ),
        (
            case("triage", "refund", "DENY", ", \"verdikt\": 1"),
            "unknown field `verdikt`",
            4,
        ),
    ];
    for (story, expected, line) in table {
        let found = messages(&story);
        let one = found.iter().find(|one| one.message.contains(expected));
        let one = one.unwrap_or_else(|| panic!("{expected}: {found:?}"));
        assert_eq!(one.at.as_ref().map(|at| at.line), Some(line), "{expected}");
    }
}

#[test]
fn a_tenant_without_tests_and_an_amount_that_nothing_speaks_of_are_named() {
    let found = messages("[]");
    let has = |text: &str| found.iter().any(|one| one.message.contains(text));
    assert!(has("no policy tests"), "{found:?}");
    assert!(
        has("from 40001 to 50000 in the smallest unit of the currency EUR"),
        "{found:?}"
    );
}

#[test]
fn a_slip_of_many_cases_is_told_once_with_their_number() {
    let case = |name: &str| {
        format!(
            "{{ \"name\": \"{name}\", \"agent\": \"trige\", \"action\": \"refund\", \"target\": [\"order\", \"O-7\"], \"args\": {{}}, \"verdict\": \"DENY\" }}"
        )
    };
    let story = format!("[{},{},{}]", case("one"), case("two"), case("three"));
    let found = messages(&story);
    let told: Vec<&Finding> = found
        .iter()
        .filter(|one| one.message.contains("`trige`"))
        .collect();
    let [told] = told.as_slice() else {
        panic!("{found:?}")
    };
    assert!(
        told.message.starts_with("`one`") && told.message.contains("(and 2 more of this file; "),
        "{told:?}"
    );
}
