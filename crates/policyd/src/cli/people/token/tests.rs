//! What is shown of a token.

use super::*;

#[test]
fn a_difference_names_the_argument_and_both_values() {
    let args = |text: &str| args_from_json(text).unwrap();
    let signed = args(r#"{"amount":{"currency":"EUR","value":49.00},"note":"a"}"#);
    let table = [
        (
            r#"{"amount":{"currency":"EUR","value":490.00},"note":"a"}"#,
            Some("amount: signed 49.00 EUR, got 490.00 EUR"),
        ),
        (
            r#"{"amount":{"currency":"EUR","value":49},"note":"b"}"#,
            Some("note: signed \"a\", got \"b\""),
        ),
        (
            r#"{"amount":{"currency":"EUR","value":49}}"#,
            Some("note: signed \"a\", got nothing"),
        ),
        (
            r#"{"amount":{"currency":"EUR","value":49},"note":"a","x":1}"#,
            Some("x: signed nothing, got 1"),
        ),
        (
            r#"{"note":"a","amount":{"currency":"EUR","value":49.0}}"#,
            None,
        ),
    ];
    for (got, expected) in table {
        assert_eq!(
            difference::first(&signed, &args(got)).as_deref(),
            expected,
            "{got}"
        );
    }
}
