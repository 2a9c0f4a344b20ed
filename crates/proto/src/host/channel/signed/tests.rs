//! Who may have written a row.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd,
};

use super::*;

const CONTEXT: &str = "writ.test.v1";
/// In 2026, while the certificates are good.
const NOW: u64 = 1_780_000_000;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// What has a certificate of this id, and looks for rows of `connectord`.
    fn signed(&self, id: &str) -> Signed {
        self.made(id, Signed::unproven).unwrap()
    }

    fn made(
        &self,
        id: &str,
        make: fn(&str, &Pems<'_>) -> Result<Signed, ChannelError>,
    ) -> Result<Signed, ChannelError> {
        self.issued(id, (&self.0.pem(), ""), make)
    }

    /// With a certificate of this authority, which another may stand over.
    fn issued(
        &self,
        id: &str,
        (ca, over): (&str, &str),
        make: fn(&str, &Pems<'_>) -> Result<Signed, ChannelError>,
    ) -> Result<Signed, ChannelError> {
        let mut params = CertificateParams::default();
        let id = format!("spiffe://writ.test/{id}");
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().unwrap())];
        params.not_before = date_time_ymd(2026, 1, 1);
        // One that ends before it begins is good at no time.
        let ends = if id.ends_with("/backwards") {
            2025
        } else {
            2027
        };
        params.not_after = date_time_ymd(ends, 1, 1);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        let (cert, key) = (leaf.pem() + over, key.serialize_pem());
        let pems = Pems {
            ca: ("ca", ca.as_bytes()),
            cert: ("cert", cert.as_bytes()),
            key: ("key", key.as_bytes()),
            now: 0,
        };
        make("connectord", &pems)
    }
}

#[test]
fn what_is_signed_after_a_certificate_in_the_middle_ended_can_still_be_read() {
    let root = Authority::new();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2026, 2, 1);
    params.not_after = date_time_ymd(2026, 3, 1);
    let key = KeyPair::generate().unwrap();
    let middle = CertifiedIssuer::signed_by(params, key, &root.0).unwrap();
    let middle = Authority(middle);
    // The leaf is good for all of 2026.
    let (ca, over) = (root.0.pem(), middle.0.pem());
    let signed = middle.issued("service/connectord/a", (&ca, &over), Signed::new);
    let signed = signed.unwrap();
    for at in [0, NOW, u64::MAX] {
        let sealed = signed.seal(CONTEXT, ([7; 16], at), b"body".to_vec());
        assert_eq!(
            signed.open(CONTEXT, [7; 16], &sealed.unwrap()).unwrap(),
            b"body",
            "{at}"
        );
    }
}

#[test]
fn instances_of_a_service_read_what_each_other_signed_and_nothing_that_anybody_else_did() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let own = ours.signed("service/connectord/a");
    let id = [7; 16];
    let sealed_by = |signed: &Signed, at: u64| signed.seal(CONTEXT, (id, at), b"body".to_vec());
    for (signer, at, read) in [
        (ours.signed("service/connectord/a"), NOW, true),
        (ours.signed("service/connectord/b"), NOW, true),
        (ours.signed("service/connectordx/a"), NOW, false),
        (ours.signed("service/policyd"), NOW, false),
        (ours.signed("tenant/acme/agent/triage"), NOW, false),
        (ours.signed("tenant/acme/operator/ops"), NOW, false),
        (theirs.signed("service/connectord/a"), NOW, false),
        // What is signed when it is not yet good, or no more, is signed for when it was.
        (ours.signed("service/connectord/a"), 1_700_000_000, true),
        (ours.signed("service/connectord/a"), 1_900_000_000, true),
    ] {
        let sealed = sealed_by(&signer, at).unwrap();
        let opened = own.open(CONTEXT, id, &sealed);
        assert_eq!(
            opened.is_ok(),
            read,
            "{} at {at}: {opened:?}",
            signer.chain.len()
        );
        if read {
            assert_eq!(opened.unwrap(), b"body");
        }
    }
}

#[test]
fn a_row_that_was_changed_moved_or_never_signed_is_not_read() {
    let own = Authority::new().signed("service/connectord/a");
    let id = [7; 16];
    let sealed = own.seal(CONTEXT, (id, NOW), b"body".to_vec()).unwrap();
    assert!(own.open(CONTEXT, id, &sealed).is_ok());
    assert!(
        own.open(CONTEXT, [8; 16], &sealed).is_err(),
        "of another row"
    );
    assert!(
        own.open("writ.other.v1", id, &sealed).is_err(),
        "for something else"
    );
    assert!(own.open(CONTEXT, id, b"").is_err(), "nothing");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(own.open(CONTEXT, id, &changed).is_err(), "byte {at}");
    }
    let whole = Envelope::decode(sealed.as_slice()).unwrap();
    let many = Envelope {
        chain: vec![whole.chain[0].clone(); CHAIN_MAX + 1],
        ..whole
    };
    assert!(own.open(CONTEXT, id, &many.encode_to_vec()).is_err());
}

#[test]
fn a_time_at_which_the_certificate_was_not_good_is_not_believed() {
    let own = Authority::new().signed("service/connectord/a");
    let id = [7; 16];
    for at in [1_700_000_000, 1_900_000_000] {
        let sealed = own.seal(CONTEXT, (id, NOW), b"body".to_vec()).unwrap();
        let mut whole = Envelope::decode(sealed.as_slice()).unwrap();
        whole.at = at;
        let scheme = own
            .key
            .choose_scheme(&own.algorithms.supported_schemes())
            .unwrap();
        whole.signature = scheme.sign(&message(CONTEXT, id, at, b"body")).unwrap();
        whole.scheme = u16::from(scheme.scheme()).into();
        let sealed = whole.encode_to_vec();
        assert!(own.open(CONTEXT, id, &sealed).is_err(), "at {at}");
    }
}

#[test]
fn who_could_not_read_it_again_signs_nothing() {
    let ours = Authority::new();
    for (id, made) in [
        ("service/connectord/a", true),
        ("service/connectord/backwards", false),
        ("service/policyd", false),
        ("tenant/acme/agent/triage", false),
    ] {
        assert_eq!(ours.made(id, Signed::new).is_ok(), made, "{id}");
    }
}
