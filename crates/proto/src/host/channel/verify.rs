//! The check of a server's certificate: signed by the authority, in time, and of the service that is meant.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use super::{ChannelError, chain, unusable, uri};
use crate::host::serve::connections::is_authority;

/// The server that is expected, whatever its address.
#[derive(Debug)]
pub(super) struct Expected {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
    id: String,
}

impl Expected {
    pub(super) fn new(ca: (&str, &[u8]), id: String) -> Result<Self, ChannelError> {
        let mut roots = RootCertStore::empty();
        for root in chain(ca)? {
            if !is_authority(&root) {
                return Err(unusable(ca.0, "it is no certificate of an authority"));
            }
            roots.add(root).map_err(|error| unusable(ca.0, error))?;
        }
        let algorithms =
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        Ok(Self {
            roots,
            algorithms,
            id,
        })
    }

    /// `service/NAME` itself, or an instance of it.
    fn fits(&self, named: &str) -> bool {
        named
            .strip_prefix(self.id.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let all = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, all)?;
        let named = uri(end_entity).unwrap_or_default();
        if self.fits(&named) {
            return Ok(ServerCertVerified::assertion());
        }
        let why = format!("names `{named}`, not `{}`", self.id);
        let why = rustls::OtherError(Arc::new(io::Error::other(why)));
        Err(TlsError::InvalidCertificate(CertificateError::Other(why)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_itself_or_an_instance_of_it() {
        let expected = Expected {
            roots: RootCertStore::empty(),
            algorithms: rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms,
            id: "spiffe://writ.test/service/hand".to_owned(),
        };
        for (named, fits) in [
            ("spiffe://writ.test/service/hand", true),
            ("spiffe://writ.test/service/hand/eu-1", true),
            ("spiffe://writ.test/service/handy", false),
            ("spiffe://writ.test.evil/service/hand", false),
            ("spiffe://other/service/hand", false),
            ("", false),
        ] {
            assert_eq!(expected.fits(named), fits, "{named}");
        }
    }
}
