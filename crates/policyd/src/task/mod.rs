//! What runs beside the calls: reloading policies, following halts.

pub mod halt_watch;
pub mod reload;
