//! What a description becomes, and what it is refused for.

use super::*;

/// A shop: records in a member, a version, an idempotency key, and a key in a header.
const SHOP: &str = r##"{
  "openapi": "3.1.0",
  "servers": [{"url": "https://shop.example/api/v2"}],
  "paths": {
    "/shops/{shop}/orders/{orderId}": {
      "parameters": [{"$ref": "#/components/parameters/order"}],
      "get": {"responses": {"200": {
        "headers": {"ETag": {"schema": {"type": "string"}}},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}}}},
      "put": {
        "parameters": [{"in": "header", "name": "X-Idempotency-Key", "schema": {"type": "string"}}],
        "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}},
        "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}}}}
    },
    "/notes/{id}": {"get": {"responses": {"200": {"content": {"application/json": {"schema": {"type": "object"}}}}}}}
  },
  "components": {
    "parameters": {"order": {"in": "path", "name": "orderId", "schema": {"type": "integer"}}},
    "schemas": {
      "Answer": {"type": "object", "properties": {"order": {"$ref": "#/components/schemas/Order"}}},
      "Order": {"allOf": [{"$ref": "#/components/schemas/Own"}, {"type": "object", "properties": {
        "id": {"type": "integer", "readOnly": true},
        "status": {"type": "string", "enum": ["open", "on hold", "done"]}}}]},
      "Rounds": {"type": "array", "items": {"$ref": "#/components/schemas/Rounds"}},
      "Code": {"enum": ["A", "B"]},
      "Free": {"anyOf": [{"type": "string"}, {"type": "string", "enum": [""]}]},
      "Own": {"type": "object", "properties": {
        "customerNote": {"type": ["string", "null"], "maxLength": 80},
        "shipBy": {"type": "string", "format": "date"},
        "seats": {"type": "integer", "minimum": 1, "maximum": 9},
        "weight": {"type": "number"},
        "gift": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "owner": {"$ref": "#/components/schemas/Own"},
        "rounds": {"$ref": "#/components/schemas/Rounds"},
        "locked": {"$ref": "#/components/schemas/Free", "readOnly": true},
        "free": {"$ref": "#/components/schemas/Free"},
        "few": {"type": "integer", "minimum": 5, "exclusiveMinimum": 0, "maximum": 9, "exclusiveMaximum": 8},
        "code": {"type": "string", "maxLength": 3, "pattern": "^[A-Z]+$", "allOf": [{"$ref": "#/components/schemas/Code"}]},
        "shut": {"type": "object", "readOnly": true, "properties": {"inner": {"type": "string"}}},

        "parent": {"$ref": "#/components/schemas/Nowhere"}}}
    },
    "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Shop-Key"}}
  }
}"##;

const ORDER: &str = "/shops/main/orders/{id}";

/// Both drafts, or what is said instead.
fn both(text: &str, path: &str, fields: &str) -> Result<(String, String), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.json");
    std::fs::write(&file, text).unwrap();
    let args = ScaffoldArgs {
        openapi: file,
        path: path.to_owned(),
        fields: fields.split(',').map(str::to_owned).collect(),
        connection: "shop/main".to_owned(),
        object: None,
        action: None,
        out: folder.path().join("out"),
    };
    let drafts = drafts(&args).map_err(|error| error.public)?;
    Ok((drafts.system.1.text(), drafts.card.1.text()))
}

#[test]
fn a_description_becomes_a_system_file_and_a_card_that_fit() {
    let all = "status,customerNote,shipBy,seats,weight,gift,tags,free,few,code";
    let (system, card) = both(SHOP, ORDER, all).unwrap();
    assert_eq!(flaw(&system, &card), None, "{system}\n{card}");
    for line in [
        "[object.order]",
        "id = \"[1-9][0-9]{0,17}\"",
        "auth = { header = { name = \"X-Shop-Key\", value = \"{secret.key}\" } }",
        "# base_url of the connection: https://shop.example",
        "read = { request = \"GET /api/v2/shops/main/orders/{id}\", version = \"header:ETag\", id_at = \"/order/id\" }",
        "customer_note = { at = \"/order/customerNote\", as = \"text\", absent = \"empty\" }",
        "ship_by = { at = \"/order/shipBy\", as = \"date\" }",
        "guard = { header = \"If-Match\" }",
        "once = { header = \"X-Idempotency-Key\" }",
        "# DECIDE: whether PUT leaves what it does not name as it is",
        "# DECIDE: whether PUT leaves what else stands in \"/order\" as it is",
        "step = [{ request = \"PUT /api/v2/shops/main/orders/{id}\", body = { order = \"{fields}\" }, expect = \"/order/id\" }]",
    ] {
        assert!(system.lines().any(|own| own == line), "{line}\n{system}");
    }
    for line in [
        "name = \"update_order\"",
        "risk = \"high\"",
        "rollout_max = \"dry_run\"",
        "values = [\"open\", \"on hold\", \"done\"]",
        "max_chars = 80",
        "min = 1",
        "min = 5",
        "max = 7",
        "values = [\"A\", \"B\"]",
        "# DECIDE: `code` is also held to pattern, maxLength by the description, and not by this card",
        "[args.free]",
        "max_chars = 200",
    ] {
        assert!(card.lines().any(|own| own == line), "{line}\n{card}");
    }
    let (_, one) = both(SHOP, ORDER, "status").unwrap();
    assert!(
        one.starts_with("name = \"set_status\"") && !one.contains("optional"),
        "{one}"
    );
}

#[test]
fn what_a_description_does_not_say_is_told_and_nothing_is_drafted() {
    for (text, path, fields, told) in [
        (SHOP, "/shops/main/orders/7", "status", "in braces"),
        (SHOP, "/shops/{a}/orders/{b}", "status", "in braces"),
        (
            SHOP,
            "/orders/{id}",
            "status",
            "it has no path /orders/{id}",
        ),
        (SHOP, "/notes/{id}", "text", "has no PATCH, PUT or POST"),
        (SHOP, ORDER, "id", "only read"),
        (
            SHOP,
            ORDER,
            "stauts",
            "`stauts` stands nowhere in the answer; there is order",
        ),
        (SHOP, ORDER, "owner", "of type object"),
        (SHOP, ORDER, "parent", "does not say what it is"),
        (SHOP, ORDER, "status,,gift", "names of letters"),
        (SHOP, ORDER, "a/b", "names of letters"),
        (SHOP, ORDER, "rounds", "a list of something else than texts"),
        (SHOP, ORDER, "locked", "only read"),
        (SHOP, ORDER, "inner", "stands nowhere in what is sent"),
        ("openapi: 3.1.0", ORDER, "status", "no JSON"),
        (
            "{\"swagger\": \"2.0\"}",
            ORDER,
            "status",
            "convert it to OpenAPI 3",
        ),
        (
            "{\"openapi\": \"4.0.0\"}",
            ORDER,
            "status",
            "3.0 and 3.1 are read",
        ),
        ("{\"openapi\": \"3.0.0\"}", ORDER, "status", "no `paths`"),
    ] {
        let error = both(text, path, fields).unwrap_err();
        assert!(error.contains(told), "{told}: {error}");
    }
}

/// Any member may stand there, in the answer and in what is sent.
#[test]
fn a_field_that_no_description_names_is_a_text_that_is_marked() {
    let open = r#"{"openapi": "3.0.1", "paths": {"/deals/{dealId}": {
      "get": {
        "parameters": [{"in": "query", "name": "properties", "schema": {"type": "array"}},
          {"in": "path", "name": "dealId", "schema": {"type": "string", "pattern": ".+"}}],
        "responses": {"200": {"content": {"application/json": {"schema": {"type": "object", "properties": {
          "id": {"type": "string"}, "links": {"type": "object", "additionalProperties": {"type": "object"}},
          "properties": {"type": "object", "additionalProperties": {"type": "string"}}}}}}}}},
      "patch": {"requestBody": {"content": {"application/json": {"schema": {"type": "object", "properties": {
          "properties": {"type": "object", "additionalProperties": {"type": "string"}}}}}}}}}}}"#;
    let (system, card) = both(open, "/deals/{id}", "dealstage").unwrap();
    assert_eq!(flaw(&system, &card), None, "{system}\n{card}");
    for line in [
        "read = { request = \"GET /deals/{id}?properties=dealstage\", id_at = \"/id\" }",
        "# DECIDE: `dealstage` is in no description: is it a text?",
        "dealstage = { at = \"/properties/dealstage\", as = \"text\", absent = \"empty\" }",
        "guard = \"compare\"",
        "id = \"[A-Za-z0-9_-]{1,64}\"",
    ] {
        assert!(system.lines().any(|own| own == line), "{line}\n{system}");
    }
}

/// References that go round, schemas without end and names that would break out of their place.
#[test]
fn a_hostile_description_ends_and_stays_in_its_place() {
    let round = r##"{"openapi": "3.0.0", "paths": {"/a/{id}": {"$ref": "#/paths/~1a~1{id}"}}}"##;
    assert!(
        both(round, "/a/{id}", "x")
            .unwrap_err()
            .contains("refers to nothing")
    );
    let own = "#/components/schemas/A";
    let endless = SHOP.replace("#/components/schemas/Nowhere", own).replace(
        "\"schemas\": {",
        &format!("\"schemas\": {{ \"A\": {{\"allOf\": [{{\"$ref\": \"{own}\"}}, {{\"$ref\": \"{own}\"}}], \"properties\": {{\"a\": {{\"$ref\": \"{own}\"}}}}}},"),
    );
    assert!(both(&endless, ORDER, "none").is_err());
    let hostile = SHOP
        .replace("on hold", "on\\nhold\\\"]\\nrollout_max = \\\"live")
        .replace("X-Shop-Key", "X\\\"\\n[object.other]")
        .replace("\"order\": {\"$ref\"", "\"or\\nd\\\"er\": {\"$ref\"");
    let (system, card) = both(&hostile, ORDER, "status").unwrap();
    let parsed: toml::Table = toml::from_str(&card).unwrap();
    assert_eq!(parsed["rollout_max"].as_str(), Some("dry_run"));
    let parsed: toml::Table = toml::from_str(&system).unwrap();
    assert_eq!(parsed["object"].as_table().unwrap().len(), 1);
    let field = &parsed["object"]["order"]["field"]["status"];
    assert_eq!(field["at"].as_str(), Some("/or\nd\"er/status"));
}

/// What an id may be, a server may say, and how a form is sent.
#[test]
fn what_a_description_says_loosely_is_marked_or_refused() {
    for (pattern, drafted) in [
        ("^[a-f0-9]{24}$", "[a-f0-9]{24}"),
        ("^cus_.+$", "[A-Za-z0-9_-]{1,64}"),
        ("^.{36}$", "[A-Za-z0-9_-]{1,64}"),
        ("^cus_", "[A-Za-z0-9_-]{1,64}"),
        ("^[^x]{3}$", "[A-Za-z0-9_-]{1,64}"),
        ("^[ -~]+$", "[A-Za-z0-9_-]{1,64}"),
        ("^[+-9]+$", "[A-Za-z0-9_-]{1,64}"),
    ] {
        let said = format!("{{\"type\": \"string\", \"pattern\": \"{pattern}\"}}");
        let text = SHOP.replace(
            "\"orderId\", \"schema\": {\"type\": \"integer\"}",
            &format!("\"orderId\", \"schema\": {said}"),
        );
        let (system, _) = both(&text, ORDER, "status").unwrap();
        assert!(
            system.contains(&format!("id = \"{drafted}\"")),
            "{pattern}: {system}"
        );
    }
    for (server, drafted) in [
        ("/api/v3", Ok("GET /api/v3/shops")),
        ("https://shop.example:8443/", Ok("GET /shops")),
        ("https://{host}/v2", Err("is no address")),
        ("ftp:", Err("is no address")),
    ] {
        let text = SHOP.replace("https://shop.example/api/v2", server);
        match (both(&text, ORDER, "status"), drafted) {
            (Ok((system, _)), Ok(read)) => assert!(system.contains(read), "{system}"),
            (Err(error), Err(told)) => assert!(error.contains(told), "{error}"),
            (other, _) => panic!("{server}: {other:?}"),
        }
    }
    let form = SHOP
        .replace(
            "\"requestBody\": {\"content\": {\"application/json\"",
            "\"requestBody\": {\"content\": {\"application/x-www-form-urlencoded\"",
        )
        .replace(
            "{\"order\": {\"$ref\": \"#/components/schemas/Order\"}}",
            "{\"status\": {\"type\": \"string\"}}",
        );
    let (system, card) = both(&form, ORDER, "status").unwrap();
    assert!(
        system.contains("body = { \"...\" = \"{fields}\" }"),
        "{system}"
    );
    assert_eq!(flaw(&system, &card), None, "{system}");
}
