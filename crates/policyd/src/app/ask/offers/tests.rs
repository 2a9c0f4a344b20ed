//! Tests of `offers.rs`.

use super::*;

#[test]
fn an_agent_is_told_no_rule_and_none_of_its_words() {
    let told = |code: &str| {
        let mut decided = Decided {
            reason_code: code.into(),
            message: "up to 250 EUR".into(),
            rules: vec!["refund-small".into()],
            ..Decided::default()
        };
        coarse(&mut decided);
        assert!(decided.rules.is_empty(), "{code}");
        decided.message
    };
    assert_eq!(told(""), "", "an ALLOW");
    for reason in [Reason::Forbidden, Reason::ApprovalRequired, Reason::Halted] {
        assert_eq!(told(reason.code()), reason.sentence());
    }
    assert_eq!(told(Reason::NotPermitted.code()), "up to 250 EUR");
}
