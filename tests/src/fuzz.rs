//! Everything that reads bytes from outside, one function each. Whatever the bytes are, they
//! may be refused, or mean something that holds; more they may not do. `make fuzz` looks for
//! bytes that break one of these, and the tests try some thousands of them every time.

use std::fmt::{Debug, Display};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use fleet_agent::ledger;
use fleet_agent::process::pm2;
use fleet_proto::digest::Digest;
use fleet_proto::fence::{Fence, Freshness};
use fleet_proto::identity::Identity;
use fleet_proto::ids::{AppName, ComponentName, NodeId, RolloutNumber};
use fleet_proto::jwt::Keys;
use fleet_proto::labels::Selector;
use fleet_proto::quantity::{Amount, Bytes, Span};
use fleet_proto::release::{Platform, SignedManifest};
use fleet_proto::service_account::{Claims, Expected, ProofError, ServiceAccount, verify};
use fleet_proto::session::{FromAgent, ToAgent};
use fleet_proto::signing::{Pinned, SecretKey};
use fleet_proto::time::Timestamp;
use fleet_proto::token::JoinToken;
use fleet_proto::tree::{Entry, Tree};
use fleet_proto::version::Version;
use fleet_proto::waves::WaveSpec;
use fleet_proto::wire;
use prost::Message;

/// Whether the bytes mean anything.
pub type Target = fn(&[u8]) -> bool;

/// By name, as the fuzz targets and the directories of their seeds are called.
pub const TARGETS: [(&str, Target); 13] = [
    ("manifest", manifest),
    ("signed_release", signed_release),
    ("tree", tree),
    ("ledger", ledger),
    ("pm2_list", pm2_list),
    ("join_token", join_token),
    ("service_account_token", service_account_token),
    ("cluster_keys", cluster_keys),
    ("app_file", app_file),
    ("words", words),
    ("from_agent", from_agent),
    ("to_agent", to_agent),
    ("question", question),
];

pub fn manifest(bytes: &[u8]) -> bool {
    let signed = SignedManifest {
        bytes: bytes.to_vec(),
        signatures: vec![],
    };
    let Ok(manifest) = signed.read() else {
        return false;
    };
    // What makes no sense is not let in; asking must not be dangerous.
    let _makes_sense = manifest.check();
    let again = serde_json::to_vec(&manifest).unwrap_or_default();
    let again = SignedManifest {
        bytes: again,
        signatures: vec![],
    };
    assert_eq!(again.read().as_ref(), Ok(&manifest));
    true
}

/// As it comes over the wire. Nobody has the key that is pinned.
pub fn signed_release(bytes: &[u8]) -> bool {
    let Ok(message) = wire::SignedRelease::decode(bytes) else {
        return false;
    };
    let Ok(signed) = SignedManifest::try_from(message) else {
        return false;
    };
    let Ok(key) = SecretKey::generate() else {
        return false;
    };
    let pinned = Pinned {
        release_keys: [key.public()].into(),
        threshold: 1,
    };
    assert!(signed.verify(&pinned).is_err(), "taken without a signature");
    true
}

pub fn tree(bytes: &[u8]) -> bool {
    let Ok(tree) = Tree::decode(bytes) else {
        return false;
    };
    assert_eq!(
        tree.encode().ok().as_deref(),
        Some(bytes),
        "read from another encoding"
    );
    for (path, entry) in tree.entries() {
        let path = Path::new(path.as_str());
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        assert!(is_plain, "{} may leave its directory", path.display());
        for above in path.ancestors().skip(1) {
            let listed = tree
                .entries()
                .iter()
                .find(|(listed, _)| Path::new(listed.as_str()) == above);
            assert!(
                matches!(listed, None | Some((_, Entry::Directory))),
                "{} lies beneath {}",
                path.display(),
                above.display()
            );
        }
        if let Entry::Link { target } = entry {
            must_stay_inside(path, Path::new(target));
        }
    }
    true
}

/// An own walk, step by step: at no step above the top.
fn must_stay_inside(link: &Path, target: &Path) {
    assert!(!target.is_absolute(), "{} is absolute", target.display());
    let mut at: PathBuf = link.parent().unwrap_or(Path::new("")).to_owned();
    for part in target.components() {
        match part {
            Component::ParentDir => assert!(at.pop(), "{} leads out by {}", link.display(), target.display()),
            other => at.push(other),
        }
    }
}

pub fn ledger(bytes: &[u8]) -> bool {
    let mut is_read = false;
    for bytes in [bytes.to_vec(), ledger::seal(bytes)] {
        if let Ok(read) = ledger::decode(&bytes) {
            let written = ledger::encode(&read).unwrap_or_default();
            assert_eq!(ledger::decode(&written).ok(), Some(read));
            is_read = true;
        }
    }
    is_read
}

pub fn pm2_list(bytes: &[u8]) -> bool {
    pm2::list::parse(bytes).is_ok()
}

pub fn join_token(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let Ok(token) = text.parse::<JoinToken>() else {
        return false;
    };
    reads_back(&token);
    assert!(!format!("{token:?}").contains('.'), "the secret shows");
    true
}

/// Nobody has a key of this cluster.
pub fn service_account_token(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let nobodys: Keys = match Keys::parse(NOBODYS_KEYS) {
        Ok(keys) => keys,
        Err(_) => return false,
    };
    let own = Claims::of_own(text);
    if let Ok(claims) = &own {
        let accounts = [claims.account.clone()].into();
        let expected = Expected {
            issuer: &claims.issuer,
            audience: "fleet",
            accounts: &accounts,
        };
        // As far as the claims go everything is as it should be.
        let asked = claims.node().or_else(|| "n1".parse().ok());
        let verified = asked.map(|asked| verify(text, &expected, &nobodys, &asked, Timestamp(0)));
        let is_unsigned = matches!(verified, Some(Err(ProofError::Token(_))));
        assert!(is_unsigned, "believed without a signature");
        reads_back(&claims.account);
    }
    own.is_ok()
}

/// One of each kind, from the standards that describe them: their owners signed nothing here.
const NOBODYS_KEYS: &[u8] = include_bytes!("../fuzz/seeds/cluster_keys/sound.json");

pub fn cluster_keys(bytes: &[u8]) -> bool {
    let read = Keys::parse(bytes);
    assert_eq!(read, Keys::parse(bytes));
    if let Ok(keys) = &read {
        assert!(!keys.is_empty() && keys.len() <= 64);
    }
    read.is_ok()
}

pub fn app_file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let read = || fleetctl::app_file::parse("fleet.toml", text, Path::new("app"));
    match (read(), read()) {
        (Ok(one), Ok(other)) => assert_eq!(one, other),
        (one, other) => {
            let why = one.err().map(|error| error.to_string());
            assert_eq!(why, other.err().map(|error| error.to_string()));
            return false;
        }
    }
    true
}

/// Words that people type and machines send.
pub fn words(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    [
        word::<WaveSpec>,
        word::<Selector>,
        word::<Span>,
        size,
        word::<Amount>,
        word::<Version>,
        word::<Digest>,
        word::<AppName>,
        word::<ComponentName>,
        word::<NodeId>,
        word::<RolloutNumber>,
        word::<Platform>,
        word::<Identity>,
        word::<ServiceAccount>,
    ]
    .map(|word| word(text))
    .contains(&true)
}

/// People read sizes rounded; machines write them so that they can be read back.
fn size(text: &str) -> bool {
    let size = text.parse::<Bytes>().ok();
    if let Some(size) = size {
        assert_eq!(String::from(size).parse(), Ok(size));
    }
    size.is_some()
}

fn word<T: FromStr + Display + PartialEq + Debug>(text: &str) -> bool {
    let word = text.parse::<T>().ok();
    word.iter().for_each(reads_back);
    word.is_some()
}

fn reads_back<T: FromStr + Display + PartialEq + Debug>(value: &T) {
    let text = value.to_string();
    let again = text.parse::<T>().ok();
    assert_eq!(again.as_ref(), Some(value), "written as `{text}`");
}

/// What an agent says, from its bytes to what the coordinator makes of it.
pub fn from_agent(bytes: &[u8]) -> bool {
    let Ok(message) = wire::FromAgent::decode(bytes) else {
        return false;
    };
    let Ok(said) = FromAgent::try_from(message) else {
        return false;
    };
    let encoded = wire::FromAgent::from(said.clone()).encode_to_vec();
    let again = wire::FromAgent::decode(&*encoded).map(FromAgent::try_from);
    // By how it shows: a share that is no number is not even equal to itself.
    let again = again.ok().and_then(Result::ok).map(|again| format!("{again:?}"));
    let said = format!("{said:?}");
    assert!(!said.contains("\\u{1b}"), "escape codes: {said}");
    assert_eq!(again, Some(said));
    true
}

/// What a coordinator says, from its bytes to what the agent makes of it.
pub fn to_agent(bytes: &[u8]) -> bool {
    let Ok(message) = wire::ToAgent::decode(bytes) else {
        return false;
    };
    let Ok(told) = ToAgent::try_from(message) else {
        return false;
    };
    if let ToAgent::Command(command) = &told {
        let after = command.fence.freshness_after(command.fence);
        assert_eq!(after, Freshness::Duplicate);
        let _is_seen_first = command.fence.freshness_after(Fence::ZERO);
    }
    let encoded = wire::ToAgent::from(told.clone()).encode_to_vec();
    let again = wire::ToAgent::decode(&*encoded).map(ToAgent::try_from);
    assert_eq!(again.ok().and_then(Result::ok), Some(told));
    true
}

/// At the agent's own socket.
pub fn question(bytes: &[u8]) -> bool {
    let Ok(question) = serde_json::from_slice::<fleet_agent::local::Question>(bytes) else {
        return false;
    };
    let text = serde_json::to_vec(&question).unwrap_or_default();
    assert_eq!(serde_json::from_slice(&text).ok(), Some(question));
    true
}
