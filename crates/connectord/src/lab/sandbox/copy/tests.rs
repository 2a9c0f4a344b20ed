//! Ids, references, what stays, and what is refused.

use serde_json::json;

use super::*;
use crate::lab::sandbox::Store;
use crate::lab::sandbox::export::{Format, parse};

fn scrubber() -> Scrubber {
    Scrubber::new(&[7; 32]).unwrap()
}

fn choice(kind: Kind, keep: &[&str], refs: &[(&str, Kind)]) -> Choice {
    Choice {
        kind,
        id: "id".to_owned(),
        keep: keep.iter().map(|name| (*name).to_owned()).collect(),
        refs: refs
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), *kind))
            .collect(),
    }
}

fn copy_of(records: &Json, choice: &Choice) -> Result<Copied, String> {
    let records = parse(records.to_string().as_bytes(), Format::Json)?;
    copied(&records, choice, &scrubber())
}

#[test]
fn every_field_is_scrubbed_that_is_not_named() {
    let record =
        json!([{"id": 7, "name": "Marjolein", "stage": "new", "amount": {"value": 12000}}]);
    let copy = copy_of(&record, &choice(Kind::Deals, &[], &[])).unwrap();
    assert_eq!(copy.kept, Vec::<String>::new());
    assert_eq!(copy.scrubbed, ["amount", "name", "stage"]);
    let fields = &copy.records[0].1;
    assert_eq!(fields.get("id"), None, "the id is no field");
    for name in ["name", "stage", "amount"] {
        assert_ne!(fields[name], record[0][name]);
    }
    let copy = copy_of(&record, &choice(Kind::Deals, &["stage", "amount"], &[])).unwrap();
    assert_eq!(copy.kept, ["amount", "stage"]);
    assert_eq!(copy.scrubbed, ["name"]);
    let fields = &copy.records[0].1;
    assert_eq!(fields["stage"], "new");
    assert_eq!(fields["amount"], json!({"value": 12000}), "with all below");
}

#[test]
fn references_hold_between_kinds_and_between_texts_and_numbers() {
    let contacts = json!([{"id": "77"}, {"id": "78"}]);
    let contacts = copy_of(&contacts, &choice(Kind::Contacts, &[], &[])).unwrap();
    let ids: Vec<&str> = contacts.records.iter().map(|(id, _)| id.as_str()).collect();
    let orders = json!([
        {"id": 1, "customer": 77},
        {"id": 2, "customer": "78"},
        {"id": 3, "customer": null},
        {"id": 4, "customer": " "},
        {"id": 5, "customer": ["77", 78, ""]}
    ]);
    let to = [("customer", Kind::Contacts)];
    let orders = copy_of(&orders, &choice(Kind::Orders, &[], &to)).unwrap();
    let customers: Vec<&Json> = orders
        .records
        .iter()
        .map(|(_, fields)| &fields["customer"])
        .collect();
    assert_eq!(customers[0], ids[0]);
    assert_eq!(customers[1], ids[1]);
    assert_eq!(customers[2], &Json::Null);
    assert_eq!(customers[3], " ");
    assert_eq!(customers[4], &json!([ids[0], ids[1], ""]));
}

#[test]
fn what_cannot_be_copied_is_refused_as_a_whole() {
    let plain = json!([{"id": 1, "name": "secret", "customer": 7}]);
    let to = [("customer", Kind::Contacts)];
    for (records, choice, why) in [
        (
            json!([{"id": 1}, {"name": "secret"}]),
            choice(Kind::Deals, &[], &[]),
            "record 2: its id is missing",
        ),
        (
            json!([{"id": " "}]),
            choice(Kind::Deals, &[], &[]),
            "record 1: its id is missing",
        ),
        (
            json!([{"id": 1}, {"id": "1"}]),
            choice(Kind::Deals, &[], &[]),
            "record 2: its id is that of an earlier record",
        ),
        (
            json!([{"id": 1, "customer": {"secret": 1}}]),
            choice(Kind::Deals, &[], &to),
            "record 1: `customer` holds no id",
        ),
        (
            json!([{"name": "secret"}]),
            choice(Kind::Deals, &[], &[]),
            "no record has a field `id`; found: name",
        ),
        (
            plain.clone(),
            choice(Kind::Deals, &["stge"], &[]),
            "no record has a field `stge`; found: customer, id, name",
        ),
        (
            plain.clone(),
            choice(Kind::Deals, &[], &[("custmer", Kind::Contacts)]),
            "no record has a field `custmer`; found: customer, id, name",
        ),
        (
            plain.clone(),
            choice(Kind::Deals, &["id"], &[]),
            "`id` is the id, which becomes a new one",
        ),
        (
            plain.clone(),
            choice(Kind::Deals, &[], &[("id", Kind::Contacts)]),
            "`id` is the id, which becomes a new one",
        ),
        (
            plain,
            choice(Kind::Deals, &["customer"], &to),
            "`customer` is a reference and cannot be kept",
        ),
    ] {
        assert_eq!(copy_of(&records, &choice), Err(why.to_owned()));
        assert!(!why.contains("secret"));
    }
}

#[test]
fn of_many_and_of_long_names_only_some_is_told() {
    let mut record = Map::new();
    for index in 10..40 {
        record.insert(format!("{index}{}", "x".repeat(99)), json!(1));
    }
    let records = Json::Array(vec![Json::Object(record)]);
    let why = copy_of(&records, &choice(Kind::Deals, &[], &[])).unwrap_err();
    assert!(why.contains(&format!("29{}, ...", "x".repeat(38))), "{why}");
    assert!(!why.contains("30x"), "{why}");
}

#[tokio::test]
async fn copies_are_added_once_and_leave_no_effect() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("sandbox.db").display());
    let store = Store::open(&url).await.unwrap();
    let before = store.list("contacts", None).await.unwrap().len();
    let records = json!([{"id": 1, "name": "Marjolein"}, {"id": 2, "name": "Marjolein"}]);
    let copy = copy_of(&records, &choice(Kind::Contacts, &[], &[])).unwrap();
    for (is_trial, added, more) in [(true, 2, 0), (false, 2, 2), (true, 0, 2), (false, 0, 2)] {
        let count = store.add("contacts", &copy.records, is_trial).await;
        assert_eq!(count.unwrap(), added);
        let there = store.list("contacts", None).await.unwrap();
        assert_eq!(there.len(), before + more);
    }
    assert!(store.effects().await.unwrap().is_empty());
    let names: Vec<Json> = copy
        .records
        .iter()
        .map(|(_, fields)| fields["name"].clone())
        .collect();
    assert_eq!(names[0], names[1], "duplicates stay duplicates");
}
