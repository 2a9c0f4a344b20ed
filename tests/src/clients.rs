//! Connections of each identity to the daemons of a world.

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use writ_proto::pb;
use writ_proto::pb::authorization_service_client::AuthorizationServiceClient;
use writ_proto::pb::budget_service_client::BudgetServiceClient;
use writ_proto::pb::connector_service_client::ConnectorServiceClient;
use writ_proto::pb::halt_service_client::HaltServiceClient;
use writ_proto::pb::record_service_client::RecordServiceClient;

use crate::{Actor, PATIENCE, World};

impl World {
    fn endpoint(&self, name: &str, port: u16) -> Endpoint {
        let read = |path: String| std::fs::read_to_string(self.path(&path)).unwrap();
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read("certs/ca.pem".into())))
            .identity(Identity::from_pem(
                read(format!("certs/{name}.pem")),
                read(format!("keys/{name}-tls.pem")),
            ));
        let endpoint = Endpoint::from_shared(format!("https://localhost:{port}")).unwrap();
        endpoint.tls_config(tls).unwrap().timeout(PATIENCE)
    }

    pub async fn channel(&self, name: &str, port: u16) -> Result<Channel, tonic::transport::Error> {
        self.endpoint(name, port).connect().await
    }

    fn lazy_channel(&self, name: &str, port: u16) -> Channel {
        self.endpoint(name, port).connect_lazy()
    }

    /// Whether a daemon lets an identity as far as a first call.
    pub async fn knock(&self, name: &str, port: u16) -> Result<(), String> {
        let channel = self.channel(name, port).await.map_err(|e| e.to_string())?;
        // TLS 1.3 tells a client that it is refused only after its own handshake.
        let mut client = HaltServiceClient::new(channel);
        match client
            .get_halt_state(pb::GetHaltStateRequest::default())
            .await
        {
            Err(status) if status.code() != tonic::Code::Unimplemented => Err(status.to_string()),
            _ => Ok(()),
        }
    }

    /// A connection to policyd.
    pub async fn policyd_channel(&self, name: &str) -> Channel {
        self.channel(name, self.policyd_port).await.unwrap()
    }

    /// The clients of a certificate that `init` made, such as `agent-acme-triage`.
    pub async fn actor(&self, name: &str) -> Actor {
        self.actor_at(name, self.connectord_port).await
    }

    /// The same, at the connectord of a port.
    pub async fn actor_at(&self, name: &str, connectord_port: u16) -> Actor {
        self.clients(name, (self.policyd_port, connectord_port))
            .await
    }

    /// The same, at the policyd of a port.
    pub async fn actor_of(&self, name: &str, policyd_port: u16) -> Actor {
        self.clients(name, (policyd_port, self.connectord_port))
            .await
    }

    async fn clients(&self, name: &str, (policyd, connectord): (u16, u16)) -> Actor {
        let started = std::time::Instant::now();
        let policyd = loop {
            match self.channel(name, policyd).await {
                Ok(channel) => break channel,
                // On a busy machine a handshake may be given up.
                Err(error) => assert!(started.elapsed() < crate::PATIENCE, "{error}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        };
        // Some tests run policyd alone.
        let connectord = self.lazy_channel(name, connectord);
        Actor {
            authorize: AuthorizationServiceClient::new(policyd.clone()),
            budgets: BudgetServiceClient::new(policyd.clone()),
            records: RecordServiceClient::new(policyd),
            execute: ConnectorServiceClient::new(connectord.clone()),
            halt: HaltServiceClient::new(connectord),
        }
    }

    pub async fn agent(&self) -> Actor {
        self.actor("agent-acme-triage").await
    }

    pub async fn operator(&self) -> Actor {
        self.actor("operator-acme-ops").await
    }
}
