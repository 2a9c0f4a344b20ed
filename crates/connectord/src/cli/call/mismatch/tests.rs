//! The part that is not the signed one is named.

use super::*;

fn call(change: impl Fn(&mut pb::ActionCall)) -> pb::ActionCall {
    let mut call = pb::ActionCall {
        connection: "crm/main".to_owned(),
        action: "refund".to_owned(),
        target: Some(pb::Target {
            r#type: "order".to_owned(),
            id: "O-7".to_owned(),
        }),
        mode: pb::Mode::Execute.into(),
        precondition: None,
        arguments: Some(pb::action_call::Arguments::ArgsJson(
            "{\"amount\":{\"currency\":\"EUR\",\"value\":49.00}}".to_owned(),
        )),
    };
    change(&mut call);
    call
}

#[test]
fn the_part_that_is_not_the_signed_one_is_named() {
    let signed = call(|_| {});
    assert_eq!(differs(&signed, &call(|_| {})), None);
    type Change = fn(&mut pb::ActionCall);
    let table: [(Change, &str); 5] = [
        (
            |c| c.action = "note".into(),
            "action: signed refund, got note",
        ),
        (|c| c.target = None, "target: signed order/O-7, got /"),
        (
            |c| c.mode = pb::Mode::DryRun.into(),
            "mode: signed a write, got a dry run",
        ),
        (
            |c| c.precondition = Some("7".into()),
            "precondition: signed nothing, got 7",
        ),
        (
            |c| {
                let text = "{\"amount\":{\"currency\":\"EUR\",\"value\":490.00}}";
                c.arguments = Some(pb::action_call::Arguments::ArgsJson(text.into()));
            },
            "amount: signed 49.00 EUR, got 490.00 EUR",
        ),
    ];
    for (change, want) in table {
        assert_eq!(differs(&signed, &call(change)).as_deref(), Some(want));
    }
}
