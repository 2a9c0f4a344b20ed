//! What a daemon leaves where others can write, signed with the key of its own certificate: whoever has none of this
//! service cannot have written it. Instances of a service read each other's.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::SigningKey;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::verify::Expected;
use super::{ChannelError, Pems, chain, told, trust_domain, unusable};

/// Most certificates, the leaf among them.
const CHAIN_MAX: usize = 5;

/// Why a body is not believed whose signature another key made.
const FOREIGN_KEY: &str = "its signature is not that of its certificate";

/// A signed body, as it is stored.
#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(bytes = "vec", tag = "1")]
    body: Vec<u8>,
    /// The leaf first, DER.
    #[prost(bytes = "vec", repeated, tag = "2")]
    chain: Vec<Vec<u8>>,
    /// A scheme of TLS 1.3 (RFC 8446, 4.2.3).
    #[prost(uint32, tag = "3")]
    scheme: u32,
    #[prost(bytes = "vec", tag = "4")]
    signature: Vec<u8>,
    /// Unix seconds: when the certificate had to be good.
    #[prost(uint64, tag = "5")]
    at: u64,
}

/// Signs for one service, and reads what its instances signed.
pub struct Signed {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    algorithms: WebPkiSupportedAlgorithms,
    expected: Expected,
    /// When the own certificates begin and end, Unix seconds. What is signed outside of that is signed for the nearest
    /// moment within: a daemon whose certificate has just ended does not lose what it has done.
    valid: (u64, u64),
}

impl core::fmt::Debug for Signed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Signed").finish_non_exhaustive()
    }
}

/// The bytes that are signed: for what, for which row, when, and the body.
fn message(context: &str, id: [u8; 16], at: u64, body: &[u8]) -> Vec<u8> {
    let at = at.to_be_bytes();
    [context.as_bytes(), &[0], &id, &at, body].concat()
}

/// When all of a chain is good, Unix seconds: those in the middle are looked at as the leaf is.
fn valid(own: &[CertificateDer<'_>]) -> Option<(u64, u64)> {
    let seconds = |seconds: i64| u64::try_from(seconds).ok();
    let (mut from, mut until) = (0, u64::MAX);
    for one in own {
        let (_, one) = X509Certificate::from_der(one).ok()?;
        let times = one.validity();
        from = from.max(seconds(times.not_before.timestamp())?);
        until = until.min(seconds(times.not_after.timestamp())?);
    }
    (from <= until && !own.is_empty()).then_some((from, until))
}

impl Signed {
    /// With the certificate and the key of a daemon, for `service/NAME` in its trust domain.
    ///
    /// # Errors
    /// When a file is unusable, or what it signs could never be read again.
    pub fn new(service: &str, pems: &Pems<'_>) -> Result<Self, ChannelError> {
        let signed = Self::unproven(service, pems)?;
        let probe = signed.seal("", ([0; 16], signed.valid.0), Vec::new());
        let read = probe.and_then(|probe| signed.open("", [0; 16], &probe));
        read.map_err(|why| {
            if why == FOREIGN_KEY {
                let why = format!("it is not the key of {}", pems.cert.0);
                return unusable(pems.key.0, why);
            }
            unusable(pems.cert.0, why)
        })?;
        Ok(signed)
    }

    fn unproven(service: &str, pems: &Pems<'_>) -> Result<Self, ChannelError> {
        let own = chain(pems.cert)?;
        let domain = trust_domain(pems, &own)?;
        let key = PrivateKeyDer::from_pem_slice(pems.key.1);
        let key = key.map_err(|error| unusable(pems.key.0, error))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(key);
        Ok(Self {
            expected: Expected::new(pems.ca, format!("spiffe://{domain}/service/{service}"))?,
            valid: valid(&own).ok_or_else(|| unusable(pems.cert.0, "its time cannot be read"))?,
            chain: own,
            key: key.map_err(|error| unusable(pems.key.0, error))?,
            algorithms: provider.signature_verification_algorithms,
        })
    }

    /// A body with its signature, to be stored under an id. `at` is now, Unix seconds.
    ///
    /// # Errors
    /// When the key signs nothing.
    pub fn seal(
        &self,
        context: &str,
        (id, at): ([u8; 16], u64),
        body: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        let at = at.clamp(self.valid.0, self.valid.1);
        let schemes = self.algorithms.supported_schemes();
        let signer = self.key.choose_scheme(&schemes);
        let signer = signer.ok_or("the key of tls.key_file fits no known signature")?;
        let signature = signer.sign(&message(context, id, at, &body));
        let sealed = Envelope {
            chain: self.chain.iter().map(|one| one.to_vec()).collect(),
            scheme: u16::from(signer.scheme()).into(),
            signature: signature.map_err(|error| error.to_string())?,
            at,
            body,
        };
        Ok(sealed.encode_to_vec())
    }

    /// The body of what was stored under an id.
    ///
    /// # Errors
    /// Why no instance of this service can have written it.
    pub fn open(&self, context: &str, id: [u8; 16], sealed: &[u8]) -> Result<Vec<u8>, String> {
        let sealed = Envelope::decode(sealed).map_err(|_| "it is not signed")?;
        if sealed.chain.len() > CHAIN_MAX {
            return Err(format!("it names more than {CHAIN_MAX} certificates"));
        }
        let chain: Vec<CertificateDer<'_>> = sealed
            .chain
            .iter()
            .map(|one| CertificateDer::from(one.as_slice()))
            .collect();
        let (leaf, others) = chain.split_first().ok_or("it is not signed")?;
        let at = UnixTime::since_unix_epoch(Duration::from_secs(sealed.at));
        let nowhere = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
        self.expected
            .verify_server_cert(leaf, others, &nowhere, &[], at)
            .map_err(|error| told(&error, "it"))?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
        let key = parsed.public_key().subject_public_key.data.as_ref();
        let bytes = message(context, id, sealed.at, &sealed.body);
        let fits = self
            .algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| u32::from(u16::from(*scheme)) == sealed.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter())
            .any(|one| one.verify_signature(key, &bytes, &sealed.signature).is_ok());
        if fits {
            Ok(sealed.body)
        } else {
            Err(FOREIGN_KEY.to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
