//! Amounts that are money, and amounts that are not.

use super::*;
use crate::value::value_from_json;

#[test]
fn money_has_the_decimals_of_its_currency() {
    let table = [
        (
            r#"{"currency":"EUR","value":49.00}"#,
            Ok(("49.00 EUR", 4900)),
        ),
        (r#"{"currency":"EUR","value":0.5}"#, Ok(("0.50 EUR", 50))),
        (r#"{"currency":"JPY","value":490}"#, Ok(("490 JPY", 490))),
        (
            r#"{"currency":"KWD","value":1.234}"#,
            Ok(("1.234 KWD", 1234)),
        ),
        (r#"{"currency":"EUR","value":1.234}"#, Err("precision")),
        (r#"{"currency":"JPY","value":1.5}"#, Err("precision")),
        (
            r#"{"currency":"EUR","value":92233720368547758.08}"#,
            Err("range"),
        ),
        (r#"{"currency":"eur","value":1}"#, Err("currency")),
        (r#"{"currency":"XYZ","value":1}"#, Err("currency")),
        (r#"{"currency":"EUR","value":"1"}"#, Err("shape")),
        (r#"{"currency":"EUR","value":1,"x":1}"#, Err("shape")),
        (r#"{"currency":"EUR"}"#, Err("shape")),
    ];
    for (json, want) in table {
        let got = value_from_json(json)
            .ok()
            .map(|value| Money::from_value(&value));
        match (want, got) {
            (Ok((text, minor)), Some(Ok(money))) => {
                assert_eq!((money.to_string().as_str(), money.minor()), (text, minor));
                assert_eq!(Money::from_value(&money.to_value()), Ok(money));
            }
            (Err("range"), None) | (Err(_), Some(Err(_))) => {}
            (want, got) => panic!("{json}: want {want:?}, got {got:?}"),
        }
    }
}
