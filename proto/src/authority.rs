//! The certificate authority: made once by `fleet-coordinator init`, and asked for
//! every certificate after that.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};

use crate::digest::Digest;
use crate::identity::{Identity, IdentityError, Who, not_after};
use crate::quantity::Span;
use crate::time::Timestamp;

/// Clocks differ; a certificate is valid from a little before it was made.
const BACKDATED: Span = Span::from_secs(300);
/// The authority outlives what it signs by far; renewing it is a ceremony of its own.
const AUTHORITY_LIFE: Span = Span::from_secs(10 * 365 * 86_400);

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("cannot {what}")]
    Make {
        what: &'static str,
        #[source]
        source: rcgen::Error,
    },
    #[error("the machine gave no randomness for a serial number")]
    Randomness,
    #[error("the authority's certificate cannot be read")]
    Pem(#[source] rustls::pki_types::pem::Error),
    #[error("a time is out of range")]
    Time,
    #[error("the authority's certificate cannot be read")]
    Certificate(#[from] IdentityError),
}

fn failed(what: &'static str) -> impl FnOnce(rcgen::Error) -> AuthorityError {
    move |source| AuthorityError::Make { what, source }
}

/// The authority's certificate and key.
pub struct Authority {
    trust_domain: String,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its authority's behind it, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    pub chain_pem: String,
    pub serial: String,
    /// Of the public key that was certified: the same key again is the same machine.
    pub key: Digest,
    /// As the certificate has it, in whole seconds.
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// A new key, and the request to certify it. The key never leaves its machine.
pub struct KeyAndRequest {
    pub key_pem: String,
    pub request_der: Vec<u8>,
}

impl KeyAndRequest {
    pub fn generate() -> Result<Self, AuthorityError> {
        Self::of(&KeyPair::generate().map_err(failed("make a key"))?)
    }

    /// For a key that was made before.
    pub fn again(key_pem: &str) -> Result<Self, AuthorityError> {
        Self::of(&KeyPair::from_pem(key_pem).map_err(failed("read the key"))?)
    }

    fn of(key: &KeyPair) -> Result<Self, AuthorityError> {
        let request = CertificateParams::default()
            .serialize_request(key)
            .map_err(failed("make a certificate request"))?;
        Ok(Self {
            key_pem: key.serialize_pem(),
            request_der: request.der().to_vec(),
        })
    }
}

fn date(at: Timestamp) -> Result<time::OffsetDateTime, AuthorityError> {
    i64::try_from(at.0 / 1000)
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or(AuthorityError::Time)
}

fn random_serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AuthorityError::Randomness)?;
    // A positive number of full length, so that its hex form is always the same.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

impl Authority {
    /// A new authority: its certificate and its key, both in PEM.
    pub fn create(trust_domain: &str, now: Timestamp) -> Result<(String, String), AuthorityError> {
        let key = KeyPair::generate().map_err(failed("make the authority's key"))?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Fleet authority of {trust_domain}"));
        params.serial_number = Some(random_serial()?);
        params.not_before = date(Timestamp(now.0.saturating_sub(BACKDATED.as_millis())))?;
        params.not_after = date(now.plus(AUTHORITY_LIFE))?;
        let certificate = params
            .self_signed(&key)
            .map_err(failed("sign the authority's certificate"))?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    pub fn load(trust_domain: &str, certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem).map_err(failed("read the authority's key"))?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key)
            .map_err(failed("read the authority's certificate"))?;
        Ok(Self {
            trust_domain: trust_domain.to_owned(),
            certificate_pem: certificate_pem.to_owned(),
            issuer,
        })
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// When all that it has signed ends with it.
    pub fn expires_at(&self) -> Result<Timestamp, AuthorityError> {
        let der =
            CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).map_err(AuthorityError::Pem)?;
        Ok(not_after(&der)?)
    }

    /// Certifies the request's public key as `who`. Whatever else the request asks for
    /// is ignored: the caller of this function says who that is, not the requester.
    pub fn issue(
        &self,
        request_der: &[u8],
        who: &Who,
        life: Span,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        let request = CertificateSigningRequestDer::from(request_der.to_vec());
        let mut request = CertificateSigningRequestParams::from_der(&request)
            .map_err(failed("read the certificate request"))?;
        let serial = random_serial()?;
        let key = Digest::of(request.public_key.der_bytes());
        request.params = self.params(who, life, now, serial.clone())?;
        let (not_before, not_after) = (request.params.not_before, request.params.not_after);
        let certificate = request
            .signed_by(&self.issuer)
            .map_err(failed("sign the certificate"))?;
        let at =
            |date: time::OffsetDateTime| Timestamp(u64::try_from(date.unix_timestamp()).unwrap_or(0) * 1000);
        Ok(Issued {
            chain_pem: format!("{}{}", certificate.pem(), self.certificate_pem),
            serial: serial
                .to_bytes()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            key,
            not_before: at(not_before),
            not_after: at(not_after),
        })
    }

    /// A certificate for a site by these names, and its key: for browsers, which go by names
    /// and know nothing of identities.
    pub fn issue_site(
        &self,
        names: &[String],
        life: Span,
        now: Timestamp,
    ) -> Result<(String, String), AuthorityError> {
        let key = KeyPair::generate().map_err(failed("make a key"))?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(failed("write the site's names"))?;
        let first = names.first().cloned().unwrap_or_default();
        params.distinguished_name.push(DnType::CommonName, first);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(random_serial()?);
        params.not_before = date(Timestamp(now.0.saturating_sub(BACKDATED.as_millis())))?;
        params.not_after = date(now.plus(life))?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(failed("sign the certificate"))?;
        let chain = format!("{}{}", certificate.pem(), self.certificate_pem);
        Ok((chain, key.serialize_pem()))
    }

    fn params(
        &self,
        who: &Who,
        life: Span,
        now: Timestamp,
        serial: SerialNumber,
    ) -> Result<CertificateParams, AuthorityError> {
        let identity = Identity {
            trust_domain: self.trust_domain.clone(),
            who: who.clone(),
        };
        let uri = identity
            .to_string()
            .try_into()
            .map_err(failed("write the identity"))?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri)];
        params
            .distinguished_name
            .push(DnType::CommonName, who.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match who {
            Who::Coordinator(_) => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            Who::Node(_) | Who::Operator(_) => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial);
        // Short lives, as tests have, are backdated less: renewal counts from there.
        let backdated = BACKDATED.as_millis().min(life.as_millis() / 10);
        params.not_before = date(Timestamp(now.0.saturating_sub(backdated)))?;
        params.not_after = date(now.plus(life))?;
        Ok(params)
    }
}

/// The fingerprint by which a join token pins the authority.
pub fn fingerprint(certificate_pem: &str) -> Result<crate::digest::Digest, AuthorityError> {
    let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(AuthorityError::Pem)?;
    Ok(crate::digest::Digest::of(&der))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use crate::identity::Peer;

    #[test]
    fn a_certificate_says_what_the_issuer_says_and_not_what_was_asked_for() {
        let now = Timestamp(1_770_897_600_000);
        let (certificate, key) = Authority::create("fleet.test", now).unwrap();
        let authority = Authority::load("fleet.test", &certificate, &key).unwrap();

        let wish = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(
            "spiffe://fleet.test/operator/admin".try_into().unwrap(),
        ));
        let request = params.serialize_request(&wish).unwrap();

        let node = Who::Node("n01".parse().unwrap());
        let issued = authority
            .issue(request.der(), &node, Span::from_secs(3000), now)
            .unwrap();
        let leaf = CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).unwrap();
        let peer = Peer::of_certificate(&leaf).unwrap();
        assert_eq!(peer.identity.to_string(), "spiffe://fleet.test/node/n01");
        assert_eq!(peer.serial, issued.serial);
        assert_eq!(peer.not_after, now.plus(Span::from_secs(3000)));
        assert!(peer.renew_at() < peer.not_after && peer.renew_at() > now);
    }

    #[test]
    fn a_request_that_is_no_request_is_refused() {
        let now = Timestamp(1_770_897_600_000);
        let (certificate, key) = Authority::create("fleet.test", now).unwrap();
        let authority = Authority::load("fleet.test", &certificate, &key).unwrap();
        let node = Who::Node("n01".parse().unwrap());
        assert!(
            authority
                .issue(b"hello", &node, Span::from_secs(60), now)
                .is_err()
        );
    }
}
