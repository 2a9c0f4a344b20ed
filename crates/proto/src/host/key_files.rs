//! Where a client finds the key of its certificate.

use std::path::{Path, PathBuf};

/// `keys/NAME-tls.pem` beside `certs/NAME.pem`, as `init` makes them.
#[must_use]
pub fn key_beside(cert: &Path) -> PathBuf {
    let name = cert.file_stem().and_then(|name| name.to_str());
    let beside = cert.parent().unwrap_or(Path::new(""));
    // A bare name lies in the folder one is in.
    let folder = beside.parent().unwrap_or(Path::new(".."));
    folder.join(format!("keys/{}-tls.pem", name.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_looked_for_where_init_puts_it() {
        for (cert, key) in [
            ("certs/agent-a-b.pem", "keys/agent-a-b-tls.pem"),
            ("ops.pem", "../keys/ops-tls.pem"),
            ("/w/certs/ops.pem", "/w/keys/ops-tls.pem"),
        ] {
            assert_eq!(key_beside(Path::new(cert)), Path::new(key));
        }
    }
}
