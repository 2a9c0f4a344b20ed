//! End-to-end tests.
mod codegen;
