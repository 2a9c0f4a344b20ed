//! A request that comes again: what its id decided before is its answer, whatever time has changed since.

use writ_proto::Reason;

use crate::app::App;
use crate::app::ask::authorize::Answer;
use crate::app::ask::decided::Decided;
use crate::app::containment::alike::DenialKind;
use crate::app::containment::denials::Denied;
use crate::domain::request::Request;
use crate::error::AppError;
use crate::store::DecisionRow;

impl App {
    /// What a request id decided before.
    pub(super) async fn repeated(
        &self,
        request: &Request,
        row: &DecisionRow,
    ) -> Result<Answer, AppError> {
        let mut earlier = Decided::decode(&row.body)?;
        if row.fingerprint == request.fingerprint() {
            earlier.bind(request.cert_sha256)?;
            return self.as_it_stands(earlier).await;
        }
        let (was, is) = (
            hex::encode(&earlier.request_hash),
            hex::encode(request.hash()),
        );
        let message = format!("this request id decided another request: {was}, not {is}");
        Err(AppError::new(Reason::RequestIdReused, message))
    }

    /// What this very request decided before, or else one more denial that is only counted.
    pub(super) async fn counted(
        &self,
        request: &Request,
        denied: &Denied<'_>,
        kind: DenialKind,
    ) -> Result<Answer, AppError> {
        let id = request.stored_id();
        if let Some(row) = self.ledger.decided(&request.caller_tenant, id).await? {
            return self.repeated(request, &row).await;
        }
        let about = request.target.as_ref();
        let about = about.map_or_else(String::new, |(kind, id)| format!("{kind}/{id}"));
        self.only_count(denied, kind, &about)
            .await
            .map(|never| match never {})
    }

    /// What this very request decided before its answer was lost, or else why it is not decided now.
    pub(super) async fn earlier_or(
        &self,
        request: &Request,
        refused: AppError,
    ) -> Result<Answer, AppError> {
        let id = request.stored_id();
        match self.ledger.decided(&request.caller_tenant, id).await? {
            Some(row) => self.repeated(request, &row).await,
            None => Err(refused),
        }
    }
}
