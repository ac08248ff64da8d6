//! A real coordinator on free ports in a temporary directory, and its clients.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fleet_coordinator::config::Config;
use fleet_coordinator::init::{self, Options};
use fleet_coordinator::rollout::event::PushRelease;
use fleet_coordinator::rollout::input::{Author, Intent, Request};
use fleet_coordinator::serve::{self, Running};
use fleet_proto::authority::{Authority, KeyAndRequest};
use fleet_proto::digest::Digest;
use fleet_proto::identity::Who;
use fleet_proto::quantity::Span;
use fleet_proto::release::{Platform, ReleaseRef, Strategy};
use fleet_proto::time::Timestamp;
use fleet_proto::tls::{Credentials, channel, enrolment_client_config};
use fleet_proto::token::JoinToken;
use fleet_proto::wire;
use fleet_proto::wire::agent_client::AgentClient;
use fleet_proto::wire::enrolment_client::EnrolmentClient;
use fleet_proto::wire::operator_client::OperatorClient;
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

pub const TRUST_DOMAIN: &str = "fleet.test";

pub struct Coordinator {
    pub directory: tempfile::TempDir,
    pub running: Running,
}

/// The whole chain: TLS alerts hide at its end.
pub fn said(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

async fn run(directory: &Path) -> Running {
    let config = Config::read(&directory.join("coordinator.toml")).unwrap();
    serve::start(&config).await.unwrap()
}

impl Coordinator {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            directory: directory.path().to_owned(),
            trust_domain: TRUST_DOMAIN.into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            http: "127.0.0.1:0".parse().unwrap(),
            operator: "admin".parse().unwrap(),
            environment: "default".parse().unwrap(),
            select: "".parse().unwrap(),
        };
        init::init(&options, Timestamp::now()).unwrap();
        let running = run(directory.path()).await;
        Self { directory, running }
    }

    /// With more in its configuration.
    pub async fn start_with(more: &str) -> Self {
        Self::start().await.restart_with(more).await
    }

    pub async fn restart_with(self, more: &str) -> Self {
        let Self { directory, running } = self;
        running.stop().await.unwrap();
        let file = directory.path().join("coordinator.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{text}\n{more}")).unwrap();
        let running = run(directory.path()).await;
        Self { directory, running }
    }

    pub async fn restart(self) -> Self {
        let Self { directory, running } = self;
        running.stop().await.unwrap();
        let running = run(directory.path()).await;
        Self { directory, running }
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(path)).unwrap()
    }

    pub fn channel(&self, config: ClientConfig) -> Channel {
        let address = format!("https://{}", self.running.grpc);
        channel(&address, Arc::new(ArcSwap::from_pointee(config))).unwrap()
    }

    pub fn member(&self, credentials: &Credentials) -> Channel {
        self.channel(credentials.client_config().unwrap())
    }

    pub fn operator(&self) -> OperatorClient<Channel> {
        let admin = Credentials::read(&self.directory.path().join("operators/admin")).unwrap();
        OperatorClient::new(self.member(&admin))
    }

    /// A certificate straight from the authority, as nobody should be able to get it.
    pub fn issue(&self, trust_domain: &str, who: &Who, now: Timestamp) -> Credentials {
        let (chain, key) = self.issue_pem(trust_domain, who, now);
        Credentials::from_pem(&chain, &key, &self.read("authority/ca.pem")).unwrap()
    }

    /// Its chain and its key.
    pub fn issue_pem(&self, trust_domain: &str, who: &Who, now: Timestamp) -> (String, String) {
        let authority = self.read("authority/ca.pem");
        let key = self.read("authority/ca-key.pem");
        let issuer = Authority::load(trust_domain, &authority, &key).unwrap();
        let made = KeyAndRequest::generate().unwrap();
        let issued = issuer
            .issue(&made.request_der, who, Span::from_secs(3600), now)
            .unwrap();
        (issued.chain_pem, made.key_pem)
    }

    /// Rollout 1 of a release, to a node that does nothing for as long as its session is kept.
    pub async fn rollout(&self) -> Session {
        let mut client = self.node("n1").await;
        let session = Session::welcomed(&mut client).await;
        let push = PushRelease {
            app: "shop".parse().unwrap(),
            release: ReleaseRef {
                version: "v1.0.0".parse().unwrap(),
                digest: Digest::of(b"v1.0.0"),
            },
            counter: 1,
            components: vec!["web".parse().unwrap()],
            platforms: vec![Platform::any()],
            strategy: Strategy::default(),
            healthy_deadline: Span::from_secs(300),
            migration: None,
            signed_by: vec![],
        };
        let handle = self.running.handle();
        let admin = || Author::Operator("admin".parse().unwrap());
        let pushed = handle.submit(admin(), Request::PushRelease(push)).await;
        pushed.unwrap();
        let intent = Intent {
            version: Some("v1.0.0".parse().unwrap()),
            ..Intent::default()
        };
        let started = handle.submit(admin(), Request::StartRollout(intent));
        started.await.unwrap();
        session
    }

    pub async fn token(&self, uses: u32, valid_for: &str) -> wire::TokenCreated {
        let request = wire::CreateTokenRequest {
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            uses,
            valid_for: valid_for.to_owned(),
            node: String::new(),
            ephemeral: false,
        };
        self.operator().create_token(request).await.unwrap().into_inner()
    }

    pub async fn token_for(&self, node: &str) -> wire::TokenCreated {
        let request = wire::CreateTokenRequest {
            node: node.to_owned(),
            ..wire::CreateTokenRequest::default()
        };
        self.operator().create_token(request).await.unwrap().into_inner()
    }

    pub async fn enrol(&self, token: &str, node: &str) -> Result<Credentials, Status> {
        self.enrol_key(token, node, KeyAndRequest::generate().unwrap())
            .await
    }

    pub async fn enrol_key(
        &self,
        token: &str,
        node: &str,
        made: KeyAndRequest,
    ) -> Result<Credentials, Status> {
        let parsed: JoinToken = token.parse().unwrap();
        let config = enrolment_client_config(parsed.authority).unwrap();
        let request = wire::EnrolRequest {
            token: token.to_owned(),
            node: node.to_owned(),
            certificate_request: made.request_der,
            platform: "linux/amd64".into(),
            service_account_token: String::new(),
        };
        let granted = EnrolmentClient::new(self.channel(config)).enrol(request).await?;
        let granted = granted.into_inner();
        Ok(Credentials::from_pem(&granted.certificate_chain, &made.key_pem, &granted.authority).unwrap())
    }

    /// A node with a fresh token, and its client.
    pub async fn node(&self, name: &str) -> AgentClient<Channel> {
        let token = self.token(1, "1h").await;
        let credentials = self.enrol(&token.token, name).await.unwrap();
        AgentClient::new(self.member(&credentials))
    }

    pub fn connection_of(&self, node: &str) -> String {
        let node = node.parse().unwrap();
        self.running.handle().read(|state| {
            let connection = state.nodes.get(&node).unwrap().connection;
            format!("{connection:?}")
                .split_whitespace()
                .next()
                .unwrap()
                .to_owned()
        })
    }

    /// Waits for a state, never for a moment.
    pub async fn until_connection_is(&self, node: &str, word: &str) {
        let mut changes = self.running.handle().changes();
        let waiting = async {
            while self.connection_of(node) != word {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), waiting)
            .await
            .unwrap_or_else(|_| unreachable!("{node} is {}, not {word}", self.connection_of(node)));
    }
}

pub fn hello() -> wire::FromAgent {
    hello_of(fleet_proto::PROTOCOL.major, fleet_proto::PROTOCOL.minor)
}

pub fn hello_of(protocol_major: u32, protocol_minor: u32) -> wire::FromAgent {
    wire::FromAgent {
        message: Some(wire::from_agent::Message::Hello(wire::Hello {
            protocol_major,
            protocol_minor,
            agent_version: "0.9.0".into(),
            facts: Some(wire::Facts {
                platform: "linux/amd64".into(),
                hostname: "h".into(),
                ..wire::Facts::default()
            }),
            apps: vec![],
            service: None,
        })),
    }
}

/// An agent's side of a session.
pub struct Session {
    pub outbox: mpsc::Sender<wire::FromAgent>,
    pub inbox: Streaming<wire::ToAgent>,
}

impl Session {
    pub async fn open(client: &mut AgentClient<Channel>, hello: wire::FromAgent) -> Result<Self, Status> {
        let (outbox, messages) = mpsc::channel(8);
        outbox.send(hello).await.unwrap();
        let inbox = client.session(ReceiverStream::new(messages)).await?.into_inner();
        Ok(Self { outbox, inbox })
    }

    pub async fn welcomed(client: &mut AgentClient<Channel>) -> Self {
        let mut session = Self::open(client, hello()).await.unwrap();
        let first = session.inbox.message().await.unwrap().unwrap().message;
        assert!(
            matches!(first, Some(wire::to_agent::Message::Welcome(_))),
            "{first:?}"
        );
        session
    }
}
