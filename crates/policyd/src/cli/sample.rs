//! The sample policies, cards and system files, compiled in so that `init` works anywhere.

/// Path below the new folder, and text.
pub(super) const FILES: &[(&str, &str)] = &[
    ("policies/acme/actions/add_note.toml", include_str!("../../../../policies/acme/actions/add_note.toml")),
    ("policies/acme/actions/create_follow_up.toml", include_str!("../../../../policies/acme/actions/create_follow_up.toml")),
    ("policies/acme/actions/refund.toml", include_str!("../../../../policies/acme/actions/refund.toml")),
    ("policies/acme/actions/set_deal_amount.toml", include_str!("../../../../policies/acme/actions/set_deal_amount.toml")),
    ("policies/acme/actions/set_owner.toml", include_str!("../../../../policies/acme/actions/set_owner.toml")),
    ("policies/acme/actions/set_stage.toml", include_str!("../../../../policies/acme/actions/set_stage.toml")),
    ("policies/acme/actions/set_ticket_status.toml", include_str!("../../../../policies/acme/actions/set_ticket_status.toml")),
    ("policies/acme/entities.json", include_str!("../../../../policies/acme/entities.json")),
    ("policies/acme/guardrails.cedar", include_str!("../../../../policies/acme/guardrails.cedar")),
    ("policies/acme/refunds.cedar", include_str!("../../../../policies/acme/refunds.cedar")),
    ("policies/acme/sales.cedar", include_str!("../../../../policies/acme/sales.cedar")),
    ("policies/acme/set.toml", include_str!("../../../../policies/acme/set.toml")),
    ("policies/acme/support.cedar", include_str!("../../../../policies/acme/support.cedar")),
    ("policies/acme/tests/story.json", include_str!("../../../../policies/acme/tests/story.json")),
    ("policies/globex/actions/set_stage.toml", include_str!("../../../../policies/globex/actions/set_stage.toml")),
    ("policies/globex/entities.json", include_str!("../../../../policies/globex/entities.json")),
    ("policies/globex/rules.cedar", include_str!("../../../../policies/globex/rules.cedar")),
    ("policies/globex/set.toml", include_str!("../../../../policies/globex/set.toml")),
    ("policies/globex/tests/story.json", include_str!("../../../../policies/globex/tests/story.json")),
    ("systems/sandbox.toml", include_str!("../../../../deploy/systems/sandbox.toml")),
];
