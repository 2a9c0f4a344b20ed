//! What runs beside the calls: reloading policies, following halts, asking for halts, giving back holds.

pub mod halt_orders;
pub mod halt_watch;
pub mod holds;
pub mod reload;
