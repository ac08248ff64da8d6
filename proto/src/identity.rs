//! Who somebody is: `spiffe://<trust-domain>/node/<id>` and its kin, in a certificate.

use std::fmt;
use std::str::FromStr;

use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

use crate::ids::{CoordinatorId, NameError, NodeId, OperatorName};
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    Node(NodeId),
    Operator(OperatorName),
    Coordinator(CoordinatorId),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node/{id}"),
            Self::Operator(name) => write!(f, "operator/{name}"),
            Self::Coordinator(id) => write!(f, "coordinator/{id}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    pub trust_domain: String,
    pub who: Who,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "`{0}` is not a Fleet identity; expected spiffe://<trust-domain>/node|operator|coordinator/<name>"
    )]
    Shape(String),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    #[error("the certificate names {0} identities; it must name exactly one")]
    Count(usize),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}", self.trust_domain, self.who)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;
    fn from_str(uri: &str) -> Result<Self, IdentityError> {
        let shape = || IdentityError::Shape(uri.chars().take(200).collect());
        let rest = uri.strip_prefix("spiffe://").ok_or_else(shape)?;
        let mut parts = rest.split('/');
        let (Some(domain), Some(kind), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(shape());
        };
        if domain.is_empty() {
            return Err(shape());
        }
        let who = match kind {
            "node" => Who::Node(name.parse()?),
            "operator" => Who::Operator(name.parse()?),
            "coordinator" => Who::Coordinator(name.parse()?),
            _ => return Err(shape()),
        };
        Ok(Self {
            trust_domain: domain.to_owned(),
            who,
        })
    }
}

/// What a verified certificate says of its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub identity: Identity,
    /// Hex, as the authority wrote it.
    pub serial: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// When a certificate ends, whoever's it is.
pub fn not_after(der: &[u8]) -> Result<Timestamp, IdentityError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| IdentityError::Certificate(error.to_string()))?;
    Ok(at(certificate.validity().not_after))
}

fn at(time: ASN1Time) -> Timestamp {
    Timestamp(u64::try_from(time.timestamp()).unwrap_or(0) * 1000)
}

impl Peer {
    /// Reads a certificate that TLS has already verified.
    pub fn of_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let unreadable = |error: &dyn fmt::Display| IdentityError::Certificate(error.to_string());
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| unreadable(&error))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| unreadable(&error))?
            .map(|extension| extension.value.general_names.as_slice())
            .unwrap_or_default();
        let uris: Vec<&str> = names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        let [uri] = uris.as_slice() else {
            return Err(IdentityError::Count(uris.len()));
        };
        let validity = certificate.validity();
        Ok(Self {
            identity: uri.parse()?,
            serial: certificate.raw_serial_as_string().replace(':', ""),
            not_before: at(validity.not_before),
            not_after: at(validity.not_after),
        })
    }

    /// When this certificate should be replaced: after two thirds of its life, so that
    /// a coordinator may be away for the last third and nothing is lost.
    pub fn renew_at(&self) -> Timestamp {
        let life = self.not_after.since(self.not_before).as_millis();
        Timestamp(self.not_before.0 + life / 3 * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_read_back_and_nothing_else_passes() {
        for uri in [
            "spiffe://fleet.local/node/n01",
            "spiffe://fleet.local/operator/admin",
            "spiffe://fleet.local/coordinator/c1",
        ] {
            assert_eq!(uri.parse::<Identity>().map(|i| i.to_string()).as_deref(), Ok(uri));
        }
        for bad in [
            "",
            "https://fleet.local/node/n01",
            "spiffe://fleet.local/node",
            "spiffe://fleet.local/node/n01/x",
            "spiffe://fleet.local/root/n01",
            "spiffe:///node/n01",
            "spiffe://fleet.local/node/../x",
            "spiffe://fleet.local/node/N01",
        ] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }
}
