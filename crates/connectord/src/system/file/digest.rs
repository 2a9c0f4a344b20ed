//! The hash of what a file says of one verb.

use writ_proto::digest::sha256;

/// What a verb sends, proves and guards: a change of it is another verb under the same name.
pub(super) fn of_verb(table: &toml::Table, object: &str, verb: &str) -> [u8; 32] {
    let mut kept = toml::Table::new();
    for key in [
        "kind",
        "driver",
        "encode",
        "plugin",
        "read_as",
        "auth",
        "secret",
        "headers",
        "answers",
        "refusals",
        "settle_after",
    ] {
        kept.extend(table.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    let own = table.get("object").and_then(|all| all.get(object));
    for key in ["id", "read", "table", "key", "field", "find", "watch"] {
        kept.extend(
            own.and_then(|own| own.get(key))
                .map(|value| (key.to_owned(), value.clone())),
        );
    }
    let own = own
        .and_then(|own| own.get("verb"))
        .and_then(|all| all.get(verb));
    let mut own = own.cloned();
    // What a credential is called changes nothing that is sent.
    if let Some(own) = own.as_mut().and_then(toml::Value::as_table_mut) {
        own.remove("scopes");
    }
    kept.extend(own.map(|value| ("verb".to_owned(), value)));
    sha256(toml::to_string(&kept).unwrap_or_default().as_bytes())
}
