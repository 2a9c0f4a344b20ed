//! `NoticeService`.

use tonic::{Request, Response, Status};
use writ_proto::pb;
use writ_proto::pb::notice_service_server::NoticeService;

use super::incidents::{Incidents, moment, page};
use super::status::status;
use crate::domain::incident::notice::Delivery;
use crate::store::notice::NoticeRow;

fn notice(row: NoticeRow) -> pb::Notice {
    let state = match row.state {
        Delivery::Waiting => pb::NoticeState::Waiting,
        Delivery::Delivered => pb::NoticeState::Delivered,
        Delivery::Dead => pb::NoticeState::Dead,
    };
    let told = row.notice;
    let fields = told.fields.into_iter();
    pb::Notice {
        name: format!("tenants/{}/notices/{}", told.tenant, told.id),
        kind: told.kind.name().to_owned(),
        title: told.title,
        fields: fields
            .map(|(name, value)| pb::NoticeField { name, value })
            .collect(),
        link: told.link,
        time: Some(moment(told.time_ms)),
        repeats: row.repeats,
        state: state.into(),
        tries: row.tries,
        sinks: row.taken,
        error: row.error,
    }
}

#[tonic::async_trait]
impl NoticeService for Incidents {
    async fn list_notices(
        &self,
        request: Request<pb::ListNoticesRequest>,
    ) -> Result<Response<pb::ListNoticesResponse>, Status> {
        let pb::ListNoticesRequest { parent, page_size } = request.get_ref();
        let tenant = self
            .operator(&request, parent)
            .map_err(|error| status(&error))?;
        let found = self.app.notices(&tenant, page(*page_size)).await;
        let found = found.map_err(|error| status(&error))?;
        Ok(Response::new(pb::ListNoticesResponse {
            notices: found.into_iter().map(notice).collect(),
        }))
    }
}
