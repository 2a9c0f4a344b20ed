//! The committed gRPC code is what the protos generate, without protoc.
//!
//! `UPDATE=1` rewrites the files; otherwise the test compares and fails on any difference.

use std::path::{Path, PathBuf};

use prost::Message;

const PROTOS: [&str; 11] = [
    "common",
    "authorize",
    "record",
    "key",
    "connector",
    "halt",
    "budget",
    "incident",
    "notice",
    "facts",
    "plugin",
];

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files: Vec<PathBuf> = PROTOS
        .iter()
        .map(|name| root.join(format!("proto/writ/v1/{name}.proto")))
        .collect();
    let descriptors = protox::compile(&files, [root.join("proto")]).expect("the protos compile");
    let out = tempfile::tempdir().expect("a temporary directory");
    let descriptor_bytes = descriptors.encode_to_vec();
    let mut names = tonic_prost_build::Config::new();
    names.enable_type_names();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .codec_path("crate::pb::exact::ExactCodec")
        .compile_fds_with_config(descriptors, names)
        .expect("code is generated");
    let generated = std::fs::read_to_string(out.path().join("writ.v1.rs")).expect("one package");
    let folder = root.join("crates/proto/src/pb");
    let (code, descriptor) = (folder.join("writ.v1.rs"), folder.join("descriptor.bin"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(&folder).expect("the folder is there");
        std::fs::write(&code, generated).expect("the code is written");
        std::fs::write(&descriptor, descriptor_bytes).expect("the descriptors are written");
        return;
    }
    let committed = std::fs::read_to_string(&code).expect("the committed code is there");
    assert!(
        committed == generated,
        "run `UPDATE=1 cargo test -p e2e generated_code` and commit"
    );
    let committed = std::fs::read(&descriptor).expect("the committed descriptors are there");
    assert!(
        committed == descriptor_bytes,
        "run `UPDATE=1 cargo test -p e2e generated_code`"
    );
}
