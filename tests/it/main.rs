//! The end-to-end tests: one file a subject.

mod attack;
mod bad_input;
mod budget;
mod budget_race;
mod budget_trip;
mod codegen;
mod crash;
mod docs;
mod halt;
mod halt_browser;
mod halt_page;
mod halt_reach;
mod halt_redis;
mod incidents;
mod matrix;
mod notify;
mod offers;
mod python;
mod replicas;
mod rollout;
mod roundup;
mod safety;
mod story;
mod tidy;
mod usage;
