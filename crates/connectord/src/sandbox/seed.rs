//! What a fresh sandbox holds: a small, realistically messy CRM.

use serde_json::{Value as Json, json};

/// Kind, id and fields of each record.
pub(super) fn records() -> Vec<(&'static str, &'static str, Json)> {
    vec![
        (
            "contacts",
            "C-1",
            json!({"name": "Ada Berg", "email": "ada@example.com", "phone": "", "street": "12 Main st"}),
        ),
        (
            "contacts",
            "C-2",
            json!({"name": "Ben Okoye", "email": "ben@example.com", "phone": null}),
        ),
        (
            "contacts",
            "C-3",
            json!({"name": "Ada Berg", "email": "a.berg@example.org", "phone": "+31 6 0000"}),
        ),
        (
            "deals",
            "D-104",
            json!({"name": "Acme renewal", "stage": "new", "amount": {"currency": "EUR", "value": 12000}, "owner": "U-1", "customer": "C-1", "close_date": "2026-12-31", "log": ""}),
        ),
        (
            "deals",
            "D-88",
            json!({"name": "Acme  Renewal ", "stage": "won", "amount": null, "owner": "U-2", "customer": "C-2", "close_date": "31-12-2026"}),
        ),
        (
            "deals",
            "D-105",
            json!({"name": "Pilot", "stage": "qualified", "amount": {"currency": "EUR", "value": 950.5}, "owner": "", "customer": "C-3", "close_date": "", "locked": true}),
        ),
        (
            "orders",
            "O-7",
            json!({"number": "2026-0007", "status": "paid", "customer": "C-1", "total_minor": 12000, "refunded_minor": 0, "currency": "EUR", "email": "ada@example.com", "hold": ""}),
        ),
        (
            "orders",
            "O-8",
            json!({"number": "2026-0007", "status": "paid", "customer": "C-2", "total_minor": 45000, "refunded_minor": 0, "currency": "EUR", "email": "ben@example.com", "hold": ""}),
        ),
        (
            "orders",
            "O-9",
            json!({"number": "2026-0009", "status": "paid", "customer": "C-2", "total_minor": 120_000, "refunded_minor": 0, "currency": "EUR", "email": "ben@example.com", "hold": ""}),
        ),
        (
            "orders",
            "O-10",
            json!({"number": "", "status": "cancelled", "customer": "C-2", "total_minor": 100, "refunded_minor": 0, "currency": "EUR", "email": "ben@example.com", "hold": ""}),
        ),
        (
            "orders",
            "O-11",
            json!({"number": "2026-0011", "status": "paid", "customer": "C-1", "total_minor": 3000, "refunded_minor": 0, "currency": "EUR", "email": "ada@example.com", "hold": ""}),
        ),
        (
            "orders",
            "O-12",
            json!({"number": "2026-0011", "status": "paid", "customer": "C-1", "total_minor": 3000, "refunded_minor": 0, "currency": "EUR", "email": "ada@example.com", "hold": ""}),
        ),
        (
            "tickets",
            "T-1",
            json!({"subject": "arrived broken", "status": "new", "customer": "C-1"}),
        ),
        (
            "tickets",
            "T-2",
            json!({"subject": "", "status": "closed", "customer": "C-9"}),
        ),
    ]
}
