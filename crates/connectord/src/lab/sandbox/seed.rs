//! What a fresh sandbox holds: a small, realistically messy CRM.

use serde_json::{Value as Json, json};

/// Kind, id and fields of each record.
pub(crate) fn records() -> Vec<(&'static str, &'static str, Json)> {
    let of = |kind, part: Vec<(&'static str, Json)>| {
        part.into_iter().map(move |(id, fields)| (kind, id, fields))
    };
    of("contacts", contacts())
        .chain(of("deals", deals()))
        .chain(of("orders", orders()))
        .chain(of("tickets", tickets()))
        .collect()
}

fn contacts() -> Vec<(&'static str, Json)> {
    vec![
        (
            "C-1",
            json!({"name": "Ada Berg", "email": "ada@example.com", "phone": "", "street": "12 Main st", "tier": "standard"}),
        ),
        (
            "C-2",
            json!({"name": "Ben Okoye", "email": "ben@example.com", "phone": null, "tier": "gold"}),
        ),
        (
            "C-3",
            json!({"name": "Ada Berg", "email": "a.berg@example.org", "phone": "+31 6 0000"}),
        ),
    ]
}

fn deals() -> Vec<(&'static str, Json)> {
    vec![
        (
            "D-104",
            json!({"name": "Acme renewal", "stage": "new", "amount": {"currency": "EUR", "value": 12000}, "owner": "U-1", "customer": "C-1", "close_date": "2026-12-31", "log": ""}),
        ),
        (
            "D-88",
            json!({"name": "Acme  Renewal ", "stage": "won", "amount": null, "owner": "U-2", "customer": "C-2", "close_date": "31-12-2026"}),
        ),
        (
            "D-105",
            json!({"name": "Pilot", "stage": "qualified", "amount": {"currency": "EUR", "value": 950.5}, "owner": "", "customer": "C-3", "close_date": "", "locked": true}),
        ),
    ]
}

fn orders() -> Vec<(&'static str, Json)> {
    vec![
        (
            "O-6",
            json!({"number": "2026-0006", "status": "paid", "customer": "C-1", "total_minor": 60000, "refunded_minor": 0, "currency": "EUR", "email": "orders@example.com", "hold": ""}),
        ),
        (
            "O-7",
            json!({"number": "2026-0007", "status": "paid", "customer": "C-1", "total_minor": 12000, "refunded_minor": 0, "currency": "EUR", "email": "ada@example.com", "hold": ""}),
        ),
        (
            "O-8",
            json!({"number": "2026-0007", "status": "paid", "customer": "C-2", "total_minor": 45000, "refunded_minor": 0, "currency": "EUR", "email": "ben@example.com", "hold": ""}),
        ),
        (
            "O-9",
            json!({"number": "2026-0009", "status": "paid", "customer": "C-2", "total_minor": 120_000, "refunded_minor": 0, "currency": "EUR", "email": "ben@example.com", "hold": ""}),
        ),
        (
            "O-10",
            json!({"number": "", "status": "cancelled", "customer": "C-2", "total_minor": 100, "refunded_minor": 0, "currency": "EUR", "email": "ben@example.com", "hold": ""}),
        ),
        (
            "O-11",
            json!({"number": "2026-0011", "status": "paid", "customer": "C-1", "total_minor": 3000, "refunded_minor": 0, "currency": "EUR", "email": "ada@example.com", "hold": ""}),
        ),
        (
            "O-12",
            json!({"number": "2026-0011", "status": "paid", "customer": "C-1", "total_minor": 3000, "refunded_minor": 0, "currency": "EUR", "email": "ada@example.com", "hold": ""}),
        ),
    ]
}

fn tickets() -> Vec<(&'static str, Json)> {
    vec![
        (
            "T-1",
            json!({"subject": "arrived broken", "message": "My order O-7 arrived broken on 28 November 2026. Please pay back EUR 49.00 of it.", "status": "new", "customer": "C-1"}),
        ),
        (
            "T-2",
            json!({"subject": "", "status": "closed", "customer": "C-9"}),
        ),
    ]
}
