//! What runs beside the calls: reloading policies, following halts, asking for halts, giving back
//! holds, telling people, taking keys into use.

pub mod alike;
pub mod escalate;
pub mod halt_orders;
pub mod halt_watch;
pub mod holds;
pub mod keys;
pub mod marks;
pub mod notify;
pub mod reload;
pub mod trips;
