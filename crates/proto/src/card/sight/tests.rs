//! What a mask shows.

use super::*;

#[test]
fn a_mask_shows_a_part_and_nothing_of_what_is_short() {
    let text = |text: &str| Value::Text(text.into());
    for (mask, value, shown) in [
        (Mask::Last2, text("+31 6 1234"), text("***34")),
        (Mask::Last2, text("12345"), text("***")),
        (Mask::Last4, text("NL91ABNA0417164300"), text("***4300")),
        (
            Mask::Last4,
            Value::Int(4_111_111_111_111_111),
            text("***1111"),
        ),
        (
            Mask::Last2,
            text("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{df}"),
            text("***\u{e9}\u{df}"),
        ),
        (
            Mask::Domain,
            text("ada@example.com"),
            text("***@example.com"),
        ),
        (Mask::Domain, text("no address"), text("***")),
        (Mask::Hidden, text("secret"), text("***")),
        (Mask::Hidden, Value::Bool(true), text("***")),
        (Mask::Last4, Value::List(vec![text("x")]), text("***")),
        (Mask::Hidden, Value::Null, Value::Null),
        (Mask::Hidden, text(""), text("")),
    ] {
        assert_eq!(mask.over(&value), shown, "{mask:?} {value:?}");
    }
}

#[test]
fn a_field_that_is_not_named_is_not_shown() {
    let text = SightText {
        fields: vec!["name".into()],
        mask: [("phone".to_owned(), "last2".to_owned())].into(),
    };
    let sight = text.check().unwrap();
    let secret = Value::Text("a long secret".into());
    assert_eq!(sight.show("name", &secret), secret);
    assert_eq!(sight.show("phone", &secret), Value::Text("***et".into()));
    assert_eq!(sight.show("iban", &secret), Value::Text("***".into()));
    assert_eq!(sight.fields().collect::<Vec<_>>(), ["name", "phone"]);
}
