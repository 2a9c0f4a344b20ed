//! What a daemon says of its health, by the protocol of gRPC health checking.

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Says of every service, and of the daemon as a whole (the empty name), whether it serves.
pub async fn say(reporter: &HealthReporter, services: &[&str], is_serving: bool) {
    let status = if is_serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    for service in [""].iter().chain(services) {
        reporter.set_service_status(service, status).await;
    }
}
