//! Longer than most files, for one table: whoever adds a way to lie sees all the others.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_770_897_600;

/// A cluster with a key of each kind.
struct Cluster {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Cluster {
    fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        }
    }

    fn published(&self) -> Value {
        let public = self.rsa.public_key();
        let point = self.p256.public_key().as_ref();
        json!({"keys": [
            {"kty": "RSA", "kid": "r1", "use": "sig", "alg": "RS256",
             "n": text(public.modulus().big_endian_without_leading_zero()),
             "e": text(public.exponent().big_endian_without_leading_zero())},
            {"kty": "EC", "kid": "e1", "use": "sig", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..])},
            {"kty": "oct", "kid": "o1", "k": text("a secret")},
            {"kty": "RSA", "kid": "r2", "use": "enc", "n": "AQAB", "e": "AQAB"},
        ]})
    }

    fn keys(&self) -> Keys {
        Keys::parse(self.published().to_string().as_bytes()).unwrap()
    }

    fn rs256(&self, signed: &str) -> Vec<u8> {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        let random = SystemRandom::new();
        self.rsa
            .sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)
            .unwrap();
        signature
    }

    fn es256(&self, signed: &str) -> Vec<u8> {
        let signature = self.p256.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        signature.as_ref().to_vec()
    }

    fn token(&self, claims: &Value) -> String {
        let head = json!({"alg": "RS256", "kid": "r1"});
        signed(&head, claims, |signed| self.rs256(signed))
    }
}

fn signed(head: &Value, claims: &Value, sign: impl FnOnce(&str) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", text(head.to_string()), text(claims.to_string()));
    let signature = text(sign(&signed));
    format!("{signed}.{signature}")
}

fn claims() -> Value {
    json!({
        "iss": "https://cluster.example", "aud": ["fleet"], "sub": "system:serviceaccount:shop:web",
        "exp": NOW + 600, "nbf": NOW, "iat": NOW, "jti": "1",
        "kubernetes.io": {
            "namespace": "shop",
            "serviceaccount": {"name": "web", "uid": "5d1e"},
            "pod": {"name": "web-7d4b9-x2x4z", "uid": "8c0e6c1e-0f52-4a26-9c0b-3f1d0c8b7a11"},
            "node": {"name": "worker-1", "uid": "77aa"},
        },
    })
}

fn with(path: &str, value: Value) -> Value {
    let mut claims = claims();
    *claims.pointer_mut(path).unwrap() = value;
    claims
}

fn without(key: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(key);
    claims
}

fn node() -> NodeId {
    Claims::read(claims().to_string().as_bytes())
        .unwrap()
        .node()
        .unwrap()
}

fn shown(cluster: &Cluster, token: &str) -> Result<Claims, String> {
    let accounts = ["shop/web".parse().unwrap()].into();
    let expected = Expected {
        issuer: "https://cluster.example",
        audience: "fleet",
        accounts: &accounts,
    };
    let now = Timestamp(NOW * 1000);
    verify(token, &expected, &cluster.keys(), &node(), now).map_err(|error| error.to_string())
}

#[test]
fn a_sound_token_says_which_pod_it_is() {
    let cluster = Cluster::new();
    let claims_of_rsa = shown(&cluster, &cluster.token(&claims())).unwrap();
    assert_eq!(claims_of_rsa.account.to_string(), "shop/web");
    assert_eq!(claims_of_rsa.pod.unwrap().name, "web-7d4b9-x2x4z");
    let head = json!({"alg": "ES256", "kid": "e1", "typ": "JWT"});
    let by_curve = signed(&head, &claims(), |signed| cluster.es256(signed));
    assert_eq!(shown(&cluster, &by_curve).unwrap().node(), Some(node()));
    for claims in [
        with("/aud", json!("fleet")),
        with("/aud", json!(["other", "fleet"])),
        with("/exp", json!(NOW - 59)),
        with("/nbf", json!(NOW + 60)),
        without("nbf"),
    ] {
        assert_eq!(
            shown(&cluster, &cluster.token(&claims)).map(drop),
            Ok(()),
            "{claims}"
        );
    }
    // Not bound to a pod: it has no name of its own.
    let unbound = shown(&cluster, &cluster.token(&without("kubernetes.io"))).unwrap();
    assert_eq!(unbound.node(), None);
}

/// What each pod is called follows from all that tells it from others.
#[test]
fn no_pod_has_the_name_of_another() {
    assert!(node().as_str().starts_with("web-7d4b9-x2x4z-"), "{}", node());
    let uid = "/kubernetes.io/pod/uid";
    let others = [
        with(uid, json!("8c0e6c1e-0f52-4a26-9c0b-3f1d0c8b7a12")),
        with("/iss", json!("https://other.example")),
    ];
    for other in others {
        let other = Claims::read(other.to_string().as_bytes()).unwrap();
        assert_ne!(other.node().unwrap(), node());
    }
    let long = with("/kubernetes.io/pod/name", json!("a".repeat(253)));
    let long = Claims::read(long.to_string().as_bytes()).unwrap().node().unwrap();
    assert_eq!(long.as_str().len(), NAME_BYTES_MAX);
}

/// Made by somebody who has the cluster's public keys, or another cluster, or a pod of it.
#[test]
fn hostile_tokens_are_refused() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let head = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
    let rs = |signed: &str| cluster.rs256(signed);
    let sound = cluster.token(&claims());
    let (body, signature) = sound.rsplit_once('.').unwrap();
    let (start, _) = body.split_once('.').unwrap();
    let secret = text(cluster.rsa.public_key().as_ref());
    let wide = |signed: &str| {
        let mut signature = vec![0; cluster.rsa.public_modulus_len()];
        let random = SystemRandom::new();
        cluster
            .rsa
            .sign(&RSA_PKCS1_SHA512, &random, signed.as_bytes(), &mut signature)
            .unwrap();
        signature
    };
    let claims = claims();
    let cases: Vec<(&str, String, &str)> = vec![
        ("nothing", String::new(), "no three parts"),
        ("two parts", body.to_owned(), "no three parts"),
        ("four parts", format!("{sound}.x"), "no three parts"),
        (
            "far too long",
            format!("{sound}{}", "A".repeat(1 << 15)),
            "longer than 16 KiB",
        ),
        (
            "none",
            format!(
                "{}.{}.",
                text(head("none", "r1").to_string()),
                text(claims.to_string())
            ),
            "signed by `none`",
        ),
        (
            "None",
            signed(&head("NonE", "r1"), &claims, rs),
            "signed by `NonE`",
        ),
        ("no signature", format!("{body}."), "not of the cluster's key"),
        (
            "HMAC with the public key",
            signed(&head("HS256", "r1"), &claims, |_| secret.clone().into_bytes()),
            "signed by `HS256`",
        ),
        (
            "HMAC with a key of the set",
            signed(&head("HS256", "o1"), &claims, |_| vec![0; 32]),
            "signed by `HS256`",
        ),
        (
            "RS256 with a secret of the set",
            signed(&head("RS256", "o1"), &claims, rs),
            "none of the cluster's keys",
        ),
        (
            "a longer hash than it says",
            signed(&head("RS256", "r1"), &claims, wide),
            "not of the cluster's key",
        ),
        (
            "RS512",
            signed(&head("RS512", "r1"), &claims, wide),
            "signed by `RS512`",
        ),
        (
            "the other key's algorithm",
            signed(&head("ES256", "r1"), &claims, rs),
            "is for RS256",
        ),
        (
            "the other key",
            signed(&head("RS256", "e1"), &claims, rs),
            "is for ES256",
        ),
        (
            "a curve's signature of nothing",
            signed(&head("ES256", "e1"), &claims, |_| vec![0; 64]),
            "not of the cluster's key",
        ),
        (
            "another cluster's key",
            other.token(&claims),
            "not of the cluster's key",
        ),
        (
            "a key for encryption",
            signed(&head("RS256", "r2"), &claims, rs),
            "none of the cluster's keys",
        ),
        (
            "no key named",
            signed(&json!({"alg": "RS256"}), &claims, rs),
            "its header",
        ),
        (
            "an empty name",
            signed(&head("RS256", ""), &claims, rs),
            "no name",
        ),
        (
            "a path for a name",
            signed(&head("RS256", "../r1\n"), &claims, rs),
            "no name, or an odd one",
        ),
        (
            "its own key",
            signed(&json!({"alg": "RS256", "kid": "r1", "jwk": {}}), &claims, rs),
            "its header",
        ),
        (
            "keys elsewhere",
            signed(
                &json!({"alg": "RS256", "kid": "r1", "jku": "https://evil"}),
                &claims,
                rs,
            ),
            "its header",
        ),
        (
            "an extension",
            signed(
                &json!({"alg": "RS256", "kid": "r1", "crit": ["b64"], "b64": false}),
                &claims,
                rs,
            ),
            "its header",
        ),
        (
            "another type",
            signed(&json!({"alg": "RS256", "kid": "r1", "typ": "JWE"}), &claims, rs),
            "its type",
        ),
        (
            "other claims under its signature",
            format!(
                "{start}.{}.{signature}",
                text(with("/sub", json!("system:serviceaccount:kube-system:admin")).to_string())
            ),
            "not of the cluster's key",
        ),
        ("padding", format!("{body}.{signature}=="), "base64url"),
        ("no claims", cluster.token(&json!([])), "cannot be understood"),
        ("no end", cluster.token(&without("exp")), "cannot be understood"),
        (
            "an end that is text",
            cluster.token(&with("/exp", json!("never"))),
            "cannot be understood",
        ),
        (
            "an end before time",
            cluster.token(&with("/exp", json!(-1))),
            "cannot be understood",
        ),
        (
            "expired",
            cluster.token(&with("/exp", json!(NOW - 60))),
            "expired at",
        ),
        (
            "not yet",
            cluster.token(&with("/nbf", json!(NOW + 61))),
            "not valid before",
        ),
        (
            "made in the far future",
            cluster.token(&with("/iat", json!(u64::MAX))),
            "not valid before",
        ),
        (
            "another issuer",
            cluster.token(&with("/iss", json!("https://cluster.example/"))),
            "another issuer",
        ),
        (
            "another audience",
            cluster.token(&with("/aud", json!(["https://kubernetes.default.svc"]))),
            "not for `fleet`",
        ),
        (
            "no audience",
            cluster.token(&with("/aud", json!([]))),
            "not for `fleet`",
        ),
        (
            "a part of the audience",
            cluster.token(&with("/aud", json!("fleet-other"))),
            "not for `fleet`",
        ),
        (
            "a person",
            cluster.token(&with("/sub", json!("system:admin"))),
            "no service account",
        ),
        (
            "a namespace too many",
            cluster.token(&with("/sub", json!("system:serviceaccount:shop:web:x"))),
            "no service account",
        ),
        (
            "a slash in it",
            cluster.token(&with("/sub", json!("system:serviceaccount:shop/web"))),
            "no service account",
        ),
        (
            "another account",
            cluster.token(&with("/kubernetes.io/serviceaccount/name", json!("db"))),
            "disagree",
        ),
        (
            "another namespace",
            cluster.token(&with("/kubernetes.io/namespace", json!("till"))),
            "disagree",
        ),
        (
            "a pod with a path for a name",
            cluster.token(&with("/kubernetes.io/pod/name", json!("../x"))),
            "odd name",
        ),
        (
            "a pod without a number",
            cluster.token(&with("/kubernetes.io/pod/uid", json!(""))),
            "odd name",
        ),
        (
            "another pod",
            cluster.token(&with("/kubernetes.io/pod/uid", json!("another"))),
            "its pod is node",
        ),
    ];
    for (what, token, expected) in cases {
        let refused = shown(&cluster, &token).unwrap_err();
        assert!(refused.contains(expected), "{what}: {refused}");
        assert!(
            !refused.contains(char::is_control) || refused.contains("\nhint"),
            "{what}: {refused}"
        );
    }
    let mut not_listed = claims;
    not_listed["sub"] = json!("system:serviceaccount:shop:db");
    not_listed["kubernetes.io"]["serviceaccount"]["name"] = json!("db");
    let refused = shown(&cluster, &cluster.token(&not_listed)).unwrap_err();
    assert_eq!(refused, "shop/db is not among the cluster's `service_accounts`");
}

/// One name twice in an object: whoever reads the first means something else than who reads
/// the last.
#[test]
fn what_is_said_twice_is_not_understood() {
    let cluster = Cluster::new();
    let twice = claims()
        .to_string()
        .replacen('{', "{\"iss\":\"https://cluster.example\",", 1);
    let signed = format!(
        "{}.{}",
        text(json!({"alg": "RS256", "kid": "r1"}).to_string()),
        text(twice)
    );
    let token = format!("{signed}.{}", text(cluster.rs256(&signed)));
    let refused = shown(&cluster, &token).unwrap_err();
    assert!(refused.contains("cannot be understood"), "{refused}");
}

#[test]
fn a_set_of_keys_is_read_or_refused_with_the_reason() {
    let refused = |set: Value| Keys::parse(set.to_string().as_bytes()).unwrap_err().to_string();
    let point = text([1; 32]);
    let curve = json!({"kty": "EC", "kid": "e", "crv": "P-256", "x": point, "y": point});
    for (set, expected) in [
        (json!([]), "not a set of keys"),
        (json!({"keys": []}), "no key in it"),
        (
            json!({"keys": [{"kty": "oct", "kid": "o", "k": "AAAA"}]}),
            "no key in it",
        ),
        (
            json!({"keys": [{"kty": "EC", "kid": "e", "crv": "P-384", "x": "AA", "y": "AA"}]}),
            "no key in it",
        ),
        (json!({"keys": [curve, curve]}), "two keys have the name `e`"),
        (
            json!({"keys": [{"kty": "EC", "kid": "e", "crv": "P-256", "x": "AA", "y": "AA"}]}),
            "no point",
        ),
        (
            json!({"keys": [{"kty": "RSA", "kid": "r", "e": "AQAB"}]}),
            "it has no `n`",
        ),
        (
            json!({"keys": [{"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB", "d": "AQAB"}]}),
            "a private one",
        ),
        (json!({"keys": vec![curve; 65]}), "65 keys, the limit is 64"),
    ] {
        let why = refused(set);
        assert!(why.contains(expected), "{why}");
    }
}
