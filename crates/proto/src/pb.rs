//! Generated gRPC types of package `writ.v1`.

pub mod exact;

include!("pb/writ.v1.rs");

/// The compiled protos, for reflection and for tests that walk every field.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("pb/descriptor.bin");
