//! Keys of the first language of system files, each refused with what replaces it.

use toml::{Table, Value as Toml};

use crate::system::file::FileError;

fn old(path: &[&str], why: &str) -> FileError {
    path.iter()
        .rev()
        .fold(FileError::new(why), |error, key| error.within(key))
}

/// Refuses a key of an object, by its path inside of it.
type Refuse<'a> = dyn Fn(&[&str], &str) -> Result<(), FileError> + 'a;

fn of_object(name: &str, object: &Table) -> Result<(), FileError> {
    let refuse = |rest: &[&str], why: &str| Err(old(&[&["object", name], rest].concat(), why));
    if let Some(Toml::Table(read)) = object.get("read") {
        for (key, why) in [
            (
                "fields",
                "`fields` is gone: each field says where it stands, [object.X.field] stage = { at = \"/stage\", as = \"text\" }",
            ),
            (
                "inside",
                "`inside` is gone: point at the value, status = { at = \"/status/id\", as = \"choice\", name = \"status\" }",
            ),
        ] {
            if read.contains_key(key) {
                return refuse(&["read", key], why);
            }
        }
    }
    if object.contains_key("values") {
        return refuse(
            &["values"],
            "`values` stands in its field: status = { at = \"/status\", as = \"choice\", values = { open = \"1\" } }",
        );
    }
    of_verbs(object, &refuse)
}

fn of_verbs(object: &Table, refuse: &Refuse<'_>) -> Result<(), FileError> {
    let tables = |key: &str| {
        object
            .get(key)
            .and_then(Toml::as_table)
            .into_iter()
            .flatten()
    };
    for (find, value) in tables("find") {
        if value.get("found").is_some() {
            return refuse(
                &["find", find, "found"],
                "`found` is now `items`, and `match` says what a hit must carry",
            );
        }
    }
    for (verb, value) in tables("verb") {
        for (key, why) in [
            (
                "idempotency",
                "`idempotency = \"X\"` is now `once = { header = \"X\" }`, or once = \"none\"",
            ),
            (
                "reconcile",
                "`reconcile` is now `settle`: \"after_image\", or { find = \"GET ..\", items = .., match = .. }",
            ),
            ("found", "`found` is now `items` of `settle`"),
            (
                "created",
                "`created` stands in the step that creates: step = [{ request = .., created = \"/id\" }]",
            ),
        ] {
            if value.get(key).is_some() {
                return refuse(&["verb", verb, key], why);
            }
        }
        let steps = value
            .get("step")
            .and_then(Toml::as_array)
            .into_iter()
            .flatten();
        for (at, step) in steps.enumerate() {
            if step.get("if_match").is_some() {
                let at = at.to_string();
                return refuse(
                    &["verb", verb, "step", &at, "if_match"],
                    "`if_match = true` is now `guard = { header = \"If-Match\" }` of the verb",
                );
            }
        }
    }
    Ok(())
}

/// Refuses a file that is written in the first language.
pub(crate) fn check(table: &Table) -> Result<(), FileError> {
    if table.get("driver").and_then(Toml::as_str) == Some("http_json") {
        return Err(old(
            &["driver"],
            "`http_json` is now driver = \"http\" with encode = \"json\"",
        ));
    }
    if table.get("auth").is_some_and(|auth| {
        auth.as_str()
            .is_some_and(|word| word == "bearer" || word == "basic")
    }) {
        return Err(old(
            &["auth"],
            "auth = { bearer = \"{secret.token}\" } or { basic = \"{secret.user}:{secret.password}\" }, with secret = [..]",
        ));
    }
    if table.contains_key("error_message") {
        return Err(old(&["error_message"], "`error_message` is now `say`"));
    }
    for (name, object) in table
        .get("object")
        .and_then(Toml::as_table)
        .into_iter()
        .flatten()
    {
        if let Toml::Table(object) = object {
            of_object(name, object)?;
        }
    }
    Ok(())
}
