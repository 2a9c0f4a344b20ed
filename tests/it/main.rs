//! The end-to-end tests: one file a subject.

mod attack;
mod bad_input;
mod budget;
mod codegen;
mod crash;
mod docs;
mod halt;
mod halt_browser;
mod halt_page;
mod halt_redis;
mod matrix;
mod python;
mod replicas;
mod roundup;
mod story;
mod tidy;
