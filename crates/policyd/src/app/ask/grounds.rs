//! Whether the values of a request stand where its evidence says: connectord looks, and what it finds counts for this one request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use writ_proto::ids::{ActionName, TenantId};
use writ_proto::value::Value;

use crate::app::App;
use crate::domain::decide::grounds::{Ground, Grounds};
use crate::domain::policy::TenantPolicies;
use crate::domain::request::{Cites, Request};
use crate::error::AppError;

/// One item of evidence, and the value that is to be found.
#[derive(Debug, Clone)]
pub(crate) struct Cited {
    /// Whose.
    pub(crate) tenant: TenantId,
    /// Name of the card.
    pub(crate) action: ActionName,
    /// Argument, text and extractor.
    pub(crate) cites: Cites,
    /// The value of the argument.
    pub(crate) value: Value,
    /// What stands there.
    pub(crate) quote: String,
    /// SHA-256 of the text as the agent read it.
    pub(crate) sha256: Option<[u8; 32]>,
}

/// What connectord found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// Whether the value stands there.
    pub(crate) grounded: bool,
    /// What is missing, for people.
    pub(crate) why: String,
    /// SHA-256 of the text, if it was read.
    pub(crate) sha256: Option<[u8; 32]>,
}

/// Looks at connectord.
pub(crate) type Check = Arc<
    dyn Fn(Cited) -> Pin<Box<dyn Future<Output = Result<Found, AppError>> + Send>> + Send + Sync,
>;

impl App {
    /// What is found of the evidence of a request.
    ///
    /// # Errors
    /// When a text could not be looked at.
    pub(super) async fn grounds(
        &self,
        request: &Request,
        policies: &TenantPolicies,
    ) -> Result<Grounds, AppError> {
        let mut found = Vec::new();
        for (item, cites) in request.cited() {
            let value = request.args.get(&cites.argument).cloned();
            let value = value.unwrap_or(Value::Null);
            let cited = Cited {
                tenant: request.caller_tenant.clone(),
                action: request.action.clone(),
                cites: cites.clone(),
                value: value.clone(),
                quote: item.quote.clone(),
                sha256: item.sha256,
            };
            let [connection, ..] = &cites.source;
            let mut cards = policies.cards();
            // A name that an agent makes up becomes no place of its own.
            let looked = if cards.any(|card| card.connection.as_str() == connection) {
                self.systems.look(&request.caller_tenant, cited).await?
            } else {
                Found {
                    why: "no card is on that connection".to_owned(),
                    ..Found::default()
                }
            };
            found.push(Ground {
                argument: cites.argument.clone(),
                value,
                grounded: looked.grounded,
                sha256: looked.sha256,
                why: looked.why,
            });
        }
        Ok(if found.is_empty() {
            Grounds::NotLooked
        } else {
            Grounds::Looked(found)
        })
    }
}
