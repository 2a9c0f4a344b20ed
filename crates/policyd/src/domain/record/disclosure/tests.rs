//! Values are read as they were kept.

use super::*;

#[test]
fn values_are_read_as_they_were_kept() {
    let items = [("a", 1), ("b", 2)].map(|(name, number)| Disclosure {
        name,
        salt: [number; 32],
        value: Value::Int(number.into()),
    });
    let bytes = encode_disclosed(&items);
    let opened = read_disclosed(&bytes).unwrap();
    assert_eq!(opened.len(), 2);
    for (item, opened) in items.iter().zip(&opened) {
        assert_eq!(item.commitment(), opened.commitment());
    }
    assert_eq!(read_disclosed(&[]), Some(Vec::new()));
    assert_eq!(read_disclosed(&bytes[..bytes.len() - 1]), None);
}

#[test]
fn whatever_may_be_a_value_is_read_again_and_the_rest_is_marked() {
    let deep = (1..writ_proto::limits::ARGS_DEPTH_MAX)
        .fold(Value::List(vec![]), |inner, _| Value::List(vec![inner]));
    let many = Value::List(vec![Value::List(vec![Value::Null; 999]); 9]);
    let table = [
        (deep.clone(), true),
        (Value::List(vec![deep]), false),
        (many, true),
        (Value::List(vec![Value::Null; 1_001]), false),
        (Value::Text("a\0b".into()), false),
        (Value::Text("x".repeat(40_000)), false),
    ];
    for (value, kept) in table {
        let shown: String = value.to_json().chars().take(60).collect();
        let readable = readable(value.clone());
        assert_eq!(readable == value, kept, "{shown}");
        let item = Disclosure {
            name: "args",
            salt: [1; 32],
            value: readable,
        };
        let bytes = encode_disclosed(std::slice::from_ref(&item));
        let opened = read_disclosed(&bytes).unwrap_or_else(|| panic!("{shown}"));
        assert_eq!(opened[0].commitment(), item.commitment(), "{shown}");
    }
}
