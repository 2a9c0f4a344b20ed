//! Who is on the other end of an authenticated channel: one SPIFFE-style URI in the client
//! certificate. Nothing in a message can change it.

use serde::Deserialize;

use crate::ids::{AgentId, IdError, TenantId};

/// `[limits]` of a daemon: calls a second of one agent, of all agents of one tenant together, and of one
/// operator. Twice as many may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallRates {
    /// Of one agent; default 500.
    pub agent_per_second: u32,
    /// Of the agents of one tenant; default 2000.
    pub tenant_per_second: u32,
    /// Of one operator; default 50. None of them waits for another.
    pub operator_per_second: u32,
}

impl Default for CallRates {
    fn default() -> Self {
        Self {
            agent_per_second: 500,
            tenant_per_second: 2_000,
            operator_per_second: 50,
        }
    }
}

impl CallRates {
    /// Whether a batch of the largest size still fits, and no agent has more than its tenant.
    ///
    /// # Errors
    /// Which key is out of range.
    pub fn check(&self) -> Result<(), String> {
        for (key, value, least) in [
            ("agent_per_second", self.agent_per_second, 100),
            ("tenant_per_second", self.tenant_per_second, 100),
            ("operator_per_second", self.operator_per_second, 10),
        ] {
            if !(least..=1_000_000).contains(&value) {
                return Err(format!("limits.{key} is {least} to 1000000, not {value}"));
            }
        }
        if self.agent_per_second > self.tenant_per_second {
            return Err("limits.agent_per_second is more than limits.tenant_per_second".to_owned());
        }
        Ok(())
    }
}

/// An authenticated peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// A workload that asks for actions: `spiffe://<td>/tenant/<t>/agent/<a>`.
    Agent {
        /// Its tenant.
        tenant: TenantId,
        /// Its name inside the tenant.
        agent: AgentId,
    },
    /// A person or tool that owns limits, halts and undo: `spiffe://<td>/tenant/<t>/operator/<o>`.
    Operator {
        /// Its tenant.
        tenant: TenantId,
        /// Its name inside the tenant.
        name: AgentId,
    },
    /// One of our own daemons: `spiffe://<td>/service/<name>`.
    Service {
        /// `policyd` or `connectord/<instance>`.
        name: AgentId,
    },
}

impl Caller {
    /// Reads the one URI of a certificate.
    ///
    /// # Errors
    /// When the URI is not one of the three forms, byte for byte, or is of another trust domain.
    pub fn from_spiffe(uri: &str, trust_domain: &str) -> Result<Self, IdError> {
        let refuse = || {
            IdError::new(
                "caller URI",
                uri,
                "spiffe://<trust domain>/tenant/<t>/agent/<a>",
            )
        };
        let path = uri
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.strip_prefix(trust_domain))
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(refuse)?;
        if let Some(name) = path.strip_prefix("service/") {
            return Ok(Self::Service {
                name: AgentId::parse(name)?,
            });
        }
        let rest = path.strip_prefix("tenant/").ok_or_else(refuse)?;
        let (tenant, rest) = rest.split_once('/').ok_or_else(refuse)?;
        let (kind, name) = rest.split_once('/').ok_or_else(refuse)?;
        let (tenant, name) = (TenantId::parse(tenant)?, AgentId::parse(name)?);
        match kind {
            "agent" => Ok(Self::Agent {
                tenant,
                agent: name,
            }),
            "operator" => Ok(Self::Operator { tenant, name }),
            _ => Err(refuse()),
        }
    }

    /// Who this is, for a refusal that it is told: `operator ops of acme`.
    #[must_use]
    pub fn described(&self) -> String {
        match self {
            Self::Agent { tenant, agent } => format!("agent {agent} of {tenant}"),
            Self::Operator { tenant, name } => format!("operator {name} of {tenant}"),
            Self::Service { name } => format!("service {name}"),
        }
    }

    /// What its connections to one daemon count as, and how many of each there may be. Agents leave places
    /// to operators and daemons, and the agents of one tenant to those of others.
    #[must_use]
    pub fn connection_shares(&self) -> Vec<(String, usize)> {
        match self {
            Self::Agent { tenant, agent } => vec![
                (format!("agent {tenant}/{agent}"), 64),
                (format!("agents of {tenant}"), 256),
                ("agents".to_owned(), 768),
            ],
            Self::Operator { tenant, name } => vec![
                (format!("operator {tenant}/{name}"), 16),
                (format!("operators of {tenant}"), 32),
                ("operators".to_owned(), 128),
            ],
            Self::Service { name } => {
                vec![(format!("service {name}"), 64), ("services".to_owned(), 96)]
            }
        }
    }

    /// How many calls a second it may make: its own number, then the one that it shares. Daemons are not
    /// counted, and no operator waits for another: a halt must not.
    #[must_use]
    pub fn call_rates(&self, rates: &CallRates) -> Vec<(String, u32)> {
        match self {
            Self::Agent { tenant, agent } => vec![
                (format!("agent {tenant}/{agent}"), rates.agent_per_second),
                (format!("agents of {tenant}"), rates.tenant_per_second),
            ],
            Self::Operator { tenant, name } => {
                let own = format!("operator {tenant}/{name}");
                vec![(own, rates.operator_per_second)]
            }
            Self::Service { .. } => Vec::new(),
        }
    }

    /// The URI that names this caller inside a trust domain.
    #[must_use]
    pub fn spiffe(&self, trust_domain: &str) -> String {
        match self {
            Self::Agent { tenant, agent } => {
                format!("spiffe://{trust_domain}/tenant/{tenant}/agent/{agent}")
            }
            Self::Operator { tenant, name } => {
                format!("spiffe://{trust_domain}/tenant/{tenant}/operator/{name}")
            }
            Self::Service { name } => format!("spiffe://{trust_domain}/service/{name}"),
        }
    }

    /// The tenant the caller belongs to; services belong to none.
    #[must_use]
    pub const fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Agent { tenant, .. } | Self::Operator { tenant, .. } => Some(tenant),
            Self::Service { .. } => None,
        }
    }

    /// Agent, operator or service name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Agent { agent, .. } => agent.as_str(),
            Self::Operator { name, .. } | Self::Service { name } => name.as_str(),
        }
    }
}

#[cfg(test)]
mod tests;
