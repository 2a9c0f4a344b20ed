//! What runs beside the calls: delivering reports, settling doubts, telling of halts.

pub mod alike;
pub mod halt_watch;
pub mod marks;
pub mod member;
pub mod outbox;
pub mod probe;
pub mod reload;
pub mod settle;
pub mod vault;
