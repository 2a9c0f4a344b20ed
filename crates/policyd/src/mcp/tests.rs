//! What a bridge logs.

use super::*;

#[test]
fn libraries_that_print_messages_stay_quiet_whatever_is_asked() {
    let filter = log_filter("trace,rmcp=trace,rmcp::service=trace,policyd=debug,h2=debug");
    let quiet = "rmcp=error,h2=error,hyper=error,tonic=error,tower=error,rustls=error";
    assert_eq!(filter, format!("trace,policyd=debug,{quiet}"));
    assert_eq!(log_filter("[serve_inner]=trace"), format!("info,{quiet}"));
}
