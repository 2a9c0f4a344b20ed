//! What a halt covers. Both daemons read scopes, and two readings that differ would let through
//! what was halted, so there is one.
//!
//! The text is `global`, `tenant:T`, `tenant:T/KIND:NAME` for one tenant, or `KIND:NAME` for every
//! tenant; kinds are `connection`, `action`, `agent`, `customer` and `run`. A tenant id holds no
//! `/`, so no text can be read in two ways.

use core::fmt;
use core::str::FromStr;

use crate::ids::{IdError, TenantId};
use crate::limits::IDENT_BYTES_MAX;

/// What is told of a text that is no scope.
pub const SCOPES: &str =
    "global, tenant:T, connection:C, action:A, agent:G, customer:N, run:R or tenant:T/KIND:NAME";

/// How an operator spells "of every tenant" where a plain scope means his own.
const EVERY_TENANT: &str = "tenant:*/";

/// What of a tenant, or of all, is covered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Everything.
    All,
    /// One connection.
    Connection(String),
    /// One action.
    Action(String),
    /// One agent.
    Agent(String),
    /// What belongs to one customer.
    Customer(String),
    /// One run of an agent.
    Run(String),
}

/// What a halt covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    tenant: Option<TenantId>,
    part: Part,
}

/// What is known of the customer whose record a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Customer<'a> {
    /// The record was not looked at yet; the caller asks again when it was.
    NotYet,
    /// The record belongs to no customer.
    Nobody,
    /// The record belongs to this one.
    Is(&'a str),
    /// The record was looked at, and nobody can tell: every customer's halt covers it.
    Unknown,
}

/// What is asked about: a call, or what an agent is about to do.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Tenant.
    pub tenant: &'a str,
    /// Connection id.
    pub connection: &'a str,
    /// Action.
    pub action: &'a str,
    /// Agent.
    pub agent: &'a str,
    /// Run, or empty.
    pub run: &'a str,
    /// Customer.
    pub customer: Customer<'a>,
}

impl Scope {
    /// Everything of every tenant.
    #[must_use]
    pub const fn global() -> Self {
        Self {
            tenant: None,
            part: Part::All,
        }
    }

    /// A part of one tenant, or of all.
    #[must_use]
    pub const fn new(tenant: Option<TenantId>, part: Part) -> Self {
        Self { tenant, part }
    }

    /// The only tenant it covers; none if it covers every tenant.
    #[must_use]
    pub const fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// What it covers of that.
    #[must_use]
    pub const fn part(&self) -> &Part {
        &self.part
    }

    /// Whether it covers everything of every tenant.
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.tenant.is_none() && self.part == Part::All
    }

    /// Whether somebody of a tenant may know of it: it covers the tenant.
    #[must_use]
    pub fn concerns(&self, tenant: &str) -> bool {
        self.tenant
            .as_ref()
            .is_none_or(|own| own.as_str() == tenant)
    }

    /// The scope that somebody of a tenant means by a text: `agent:triage` is his own agent,
    /// `tenant:*/agent:triage` that agent of every tenant.
    ///
    /// # Errors
    /// When the text is no scope.
    pub fn typed(text: &str, own: &TenantId) -> Result<Self, IdError> {
        if let Some(rest) = text.strip_prefix(EVERY_TENANT) {
            let scope: Self = rest.parse()?;
            return match (&scope.tenant, &scope.part) {
                (None, part) if *part != Part::All => Ok(scope),
                _ => Err(refuse(text)),
            };
        }
        let scope: Self = text.parse()?;
        Ok(match scope {
            Self { tenant: None, part } if part != Part::All => Self::new(Some(own.clone()), part),
            other => other,
        })
    }

    /// Whether it covers everything that another one covers.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        let tenant = self.tenant.is_none() || self.tenant == other.tenant;
        tenant && (self.part == Part::All || self.part == other.part)
    }

    /// Whether it covers a call. A customer that nobody can tell is covered by every customer's
    /// halt; one that was not looked for yet, by none.
    #[must_use]
    pub fn covers(&self, subject: &Subject<'_>) -> bool {
        if !self.concerns(subject.tenant) {
            return false;
        }
        match &self.part {
            Part::All => true,
            Part::Connection(name) => name == subject.connection,
            Part::Action(name) => name == subject.action,
            Part::Agent(name) => name == subject.agent,
            Part::Run(name) => name == subject.run,
            Part::Customer(name) => match subject.customer {
                Customer::NotYet | Customer::Nobody => false,
                Customer::Is(customer) => name == customer,
                Customer::Unknown => true,
            },
        }
    }
}

fn refuse(text: &str) -> IdError {
    IdError::new("scope", text, SCOPES)
}

fn part(text: &str) -> Option<Part> {
    let (kind, name) = text.split_once(':')?;
    let fits =
        !name.is_empty() && name.len() <= IDENT_BYTES_MAX && !name.contains(char::is_control);
    let name = fits.then(|| name.to_owned())?;
    match kind {
        "connection" => Some(Part::Connection(name)),
        "action" => Some(Part::Action(name)),
        "agent" => Some(Part::Agent(name)),
        "customer" => Some(Part::Customer(name)),
        "run" => Some(Part::Run(name)),
        _ => None,
    }
}

impl FromStr for Scope {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == "global" {
            return Ok(Self::global());
        }
        let Some(rest) = text.strip_prefix("tenant:") else {
            let part = part(text).ok_or_else(|| refuse(text))?;
            return Ok(Self { tenant: None, part });
        };
        let (tenant, part) = match rest.split_once('/') {
            Some((tenant, rest)) => (tenant, part(rest).ok_or_else(|| refuse(text))?),
            None => (rest, Part::All),
        };
        let tenant = TenantId::parse(tenant).map_err(|_| refuse(text))?;
        Ok(Self {
            tenant: Some(tenant),
            part,
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match &self.part {
            Part::All => {
                return match &self.tenant {
                    Some(tenant) => write!(f, "tenant:{}", tenant.as_str()),
                    None => f.write_str("global"),
                };
            }
            Part::Connection(name) => ("connection", name),
            Part::Action(name) => ("action", name),
            Part::Agent(name) => ("agent", name),
            Part::Customer(name) => ("customer", name),
            Part::Run(name) => ("run", name),
        };
        if let Some(tenant) = &self.tenant {
            write!(f, "tenant:{}/", tenant.as_str())?;
        }
        write!(f, "{kind}:{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    const CALL: Subject<'_> = Subject {
        tenant: "acme",
        connection: "crm/main",
        action: "refund",
        agent: "triage",
        run: "r-1",
        customer: Customer::Is("c-7"),
    };

    #[test]
    fn a_scope_covers_what_it_names_and_nothing_else() {
        for (text, covers) in [
            ("global", true),
            ("tenant:acme", true),
            ("tenant:globex", false),
            ("connection:crm/main", true),
            ("connection:crm", false),
            ("action:refund", true),
            ("agent:triage", true),
            ("customer:c-7", true),
            ("customer:c-8", false),
            ("run:r-1", true),
            ("run:r-2", false),
            ("tenant:acme/agent:triage", true),
            ("tenant:acme/agent:other", false),
            ("tenant:globex/agent:triage", false),
            ("agent:tenant:acme", false),
        ] {
            assert_eq!(scope(text).covers(&CALL), covers, "{text}");
            assert_eq!(scope(text).to_string(), text);
        }
    }

    #[test]
    fn a_wider_scope_includes_what_it_covers_and_not_the_other_way_round() {
        for (wide, narrow) in [
            ("global", "tenant:acme/agent:triage"),
            ("tenant:acme", "tenant:acme/agent:triage"),
            ("agent:triage", "tenant:acme/agent:triage"),
            ("global", "agent:triage"),
        ] {
            assert!(scope(wide).includes(&scope(narrow)), "{wide} {narrow}");
            assert!(!scope(narrow).includes(&scope(wide)), "{narrow} {wide}");
        }
        for (one, other) in [
            ("tenant:globex", "tenant:acme/agent:triage"),
            ("tenant:acme", "agent:triage"),
            ("agent:seller", "tenant:acme/agent:triage"),
        ] {
            assert!(!scope(one).includes(&scope(other)), "{one} {other}");
        }
        assert!(scope("tenant:acme").includes(&scope("tenant:acme")));
    }

    #[test]
    fn a_customer_that_nobody_can_tell_is_covered_and_one_not_looked_for_is_not() {
        let halt = scope("tenant:acme/customer:c-7");
        let with = |customer| halt.covers(&Subject { customer, ..CALL });
        assert!(with(Customer::Is("c-7")) && with(Customer::Unknown));
        assert!(!with(Customer::NotYet) && !with(Customer::Nobody));
    }

    #[test]
    fn what_somebody_types_is_his_own_tenants() {
        let own = TenantId::parse("acme").unwrap();
        for (typed, means) in [
            ("agent:triage", "tenant:acme/agent:triage"),
            ("connection:crm/main", "tenant:acme/connection:crm/main"),
            ("tenant:globex/agent:triage", "tenant:globex/agent:triage"),
            ("tenant:*/agent:triage", "agent:triage"),
            ("tenant:acme", "tenant:acme"),
            ("global", "global"),
        ] {
            assert_eq!(Scope::typed(typed, &own).unwrap(), scope(means), "{typed}");
        }
        for wrong in [
            "tenant:*",
            "tenant:*/global",
            "tenant:*/tenant:acme/agent:x",
            "tenant:*/x",
        ] {
            assert!(Scope::typed(wrong, &own).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_text_of_another_form_is_no_scope() {
        for text in [
            "",
            "everything",
            "tenant:",
            "tenant:ACME",
            "planet:earth",
            "agent:",
            "tenant:acme/",
            "tenant:acme/global",
            "tenant:acme/tenant:globex",
            "tenant:*/agent:x",
            "run:a\nb",
        ] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        assert!(
            format!("agent:{}", "x".repeat(129))
                .parse::<Scope>()
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn what_parses_is_its_own_text(text in "(tenant:[a-z]{1,3})?/?(agent|run|tenant)?:?[a-z/:]{0,6}") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string(), text);
            }
        }
    }
}
