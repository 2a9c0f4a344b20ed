//! Kinds of records. Their numbers and names never change meaning.

/// What a record is about. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request was decided.
    Evaluated,
    /// A token was presented and refused.
    TokenRefused,
    /// An execution reached a state.
    Result,
    /// An execution was undone, or the undo was refused.
    Undo,
    /// An execution in doubt was settled.
    Reconciliation,
    /// A halt was set.
    HaltSet,
    /// A halt was cleared.
    HaltCleared,
    /// A policy set came into force.
    PolicyPublished,
    /// A key was added.
    KeyAdded,
    /// A key stopped signing.
    KeyRetired,
    /// A budget was raised, usage was reported, or what a decision had reserved was given back.
    BudgetChanged,
    /// An action was promoted or demoted.
    RolloutChanged,
    /// Repeated denials became an incident.
    IncidentOpened,
    /// A person closed an incident.
    IncidentClosed,
    /// A decision that waited for a person was taken back by its agent.
    Cancelled,
    /// A decision waited for a person until its time was up.
    ApprovalExpired,
    /// A tenant has no policies any more.
    PolicyRetired,
    /// The log goes on from an older database, which was put back.
    StoreRestored,
    /// Nothing that a key signed is believed any more.
    KeyRevoked,
    /// What policyd decides and signs by was configured otherwise.
    ConfigChanged,
    /// So many denials were like those before them, and are no records of their own.
    DenialsCounted,
}

const KINDS: [(Kind, u64, &str); 21] = [
    (Kind::Evaluated, 1, "evaluated"),
    (Kind::TokenRefused, 5, "token_refused"),
    (Kind::Result, 7, "result"),
    (Kind::Undo, 8, "undo"),
    (Kind::Reconciliation, 9, "reconciliation"),
    (Kind::HaltSet, 10, "halt_set"),
    (Kind::HaltCleared, 11, "halt_cleared"),
    (Kind::PolicyPublished, 13, "policy_published"),
    (Kind::KeyAdded, 15, "key_added"),
    (Kind::KeyRetired, 16, "key_retired"),
    (Kind::BudgetChanged, 18, "budget_changed"),
    (Kind::RolloutChanged, 19, "rollout_changed"),
    (Kind::IncidentOpened, 24, "incident_opened"),
    (Kind::IncidentClosed, 25, "incident_closed"),
    (Kind::Cancelled, 26, "decision_cancelled"),
    (Kind::ApprovalExpired, 27, "approval_expired"),
    (Kind::PolicyRetired, 28, "policy_retired"),
    (Kind::StoreRestored, 29, "store_restored"),
    (Kind::KeyRevoked, 30, "key_revoked"),
    (Kind::ConfigChanged, 31, "config_changed"),
    (Kind::DenialsCounted, 32, "denials_counted"),
];

impl Kind {
    pub(super) fn number(self) -> u64 {
        KINDS
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or(0, |(_, number, _)| *number)
    }

    /// Its name in exports.
    #[must_use]
    pub fn name(self) -> &'static str {
        let known = KINDS.iter().find(|(kind, ..)| *kind == self);
        known.map_or("", |(.., name)| *name)
    }

    pub(super) fn name_of(number: i64) -> Option<&'static str> {
        let number = u64::try_from(number).ok()?;
        KINDS
            .iter()
            .find(|(_, known, _)| *known == number)
            .map(|(.., name)| *name)
    }
}
