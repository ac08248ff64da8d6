//! A coordinator that says what it was told to say: for what is hard to provoke with a
//! real one, such as a stream that breaks at a given view.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use fleet_proto::authority::Authority;
use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use fleet_proto::wire::operator_server::{Operator, OperatorServer};
use fleet_proto::wire::*;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::support::admin;

/// What one call of `WatchRollout` sends before its stream ends or breaks.
pub type Watched = (Vec<serde_json::Value>, Option<Status>);

#[derive(Default)]
pub struct Script {
    pub plan: serde_json::Value,
    pub started: serde_json::Value,
    pub watches: Vec<Watched>,
    /// What `Logs` tells, and how its stream ends.
    pub logs: (Vec<LogLines>, Option<Status>),
    /// What each node says of itself.
    pub drift: Vec<serde_json::Value>,
    /// Renews the operator's certificate, where there is one.
    pub authority: Option<Authority>,
}

struct Scripted {
    script: Script,
    watches: Mutex<VecDeque<Watched>>,
    asked: Arc<Mutex<Vec<u64>>>,
}

pub struct Coordinator {
    pub address: String,
    /// The numbers that were watched, in order.
    pub asked: Arc<Mutex<Vec<u64>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Coordinator {
    pub fn start(credentials: &fleet_proto::tls::Credentials, mut script: Script) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(credentials.server_config().unwrap()));
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let asked = Arc::default();
        let scripted = Scripted {
            watches: Mutex::new(std::mem::take(&mut script.watches).into()),
            script,
            asked: Arc::clone(&asked),
        };
        let incoming = TcpListenerStream::new(listener).then(move |stream| {
            let acceptor = acceptor.clone();
            async move { acceptor.accept(stream?).await }
        });
        let server = tonic::transport::Server::builder().add_service(OperatorServer::new(scripted));
        runtime.spawn(server.serve_with_incoming(incoming));
        Self {
            address,
            asked,
            _runtime: runtime,
        }
    }
}

fn document(json: &serde_json::Value) -> Document {
    Document {
        json: json.to_string(),
    }
}

type Documents = Pin<Box<dyn Stream<Item = Result<Document, Status>> + Send>>;

macro_rules! not_scripted {
    ($($name:ident: $request:ty => $answer:ty;)*) => {$(
        fn $name<'a: 'b, 'b>(
            &'a self,
            _: Request<$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<$answer>, Status>> + Send + 'b>>
        where
            Self: 'b,
        {
            Box::pin(async { Err(Status::not_found("not in the script")) })
        }
    )*};
}

#[tonic::async_trait]
impl Operator for Scripted {
    type WatchRolloutStream = Documents;
    type EventsStream = Documents;
    type FetchBackupStream = Pin<Box<dyn Stream<Item = Result<BlobPiece, Status>> + Send>>;
    type DriftStream = Documents;
    type LogsStream = Pin<Box<dyn Stream<Item = Result<LogLines, Status>> + Send>>;

    async fn plan(&self, _: Request<RolloutIntent>) -> Result<Response<Document>, Status> {
        Ok(Response::new(document(&self.script.plan)))
    }

    async fn start_rollout(&self, _: Request<RolloutIntent>) -> Result<Response<Document>, Status> {
        Ok(Response::new(document(&self.script.started)))
    }

    async fn watch_rollout(&self, request: Request<RolloutQuery>) -> Result<Response<Documents>, Status> {
        self.asked.lock().unwrap().push(request.into_inner().number);
        let next = self.watches.lock().unwrap().pop_front();
        let (views, end) = next.ok_or_else(|| Status::internal("nothing more in the script"))?;
        let views = views.into_iter().map(|view| Ok(document(&view)));
        let end = end.into_iter().map(Err);
        Ok(Response::new(Box::pin(tokio_stream::iter(
            views.chain(end).collect::<Vec<_>>(),
        ))))
    }

    async fn logs(&self, _: Request<LogsQuery>) -> Result<Response<Self::LogsStream>, Status> {
        let (lines, end) = self.script.logs.clone();
        let said = lines.into_iter().map(Ok).chain(end.map(Err));
        Ok(Response::new(Box::pin(tokio_stream::iter(
            said.collect::<Vec<_>>(),
        ))))
    }

    async fn drift(&self, _: Request<DriftQuery>) -> Result<Response<Documents>, Status> {
        let nodes: Vec<_> = self.script.drift.iter().map(|node| Ok(document(node))).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(nodes))))
    }

    async fn renew_operator(&self, request: Request<RenewRequest>) -> Result<Response<Credentials>, Status> {
        let authority = self.script.authority.as_ref();
        let authority = authority.ok_or_else(|| Status::unavailable("not in the script"))?;
        let request = request.into_inner().certificate_request;
        let issued = authority.issue(&request, &admin(), Span::from_secs(3600), Timestamp::now());
        Ok(Response::new(Credentials {
            certificate_chain: issued.unwrap().chain_pem,
            authority: authority.certificate_pem().to_owned(),
        }))
    }

    not_scripted! {
        act: ActRequest => Document;
        status: StatusQuery => Document;
        rollout: RolloutQuery => Document;
        events: EventsQuery => Documents;
        nodes: NodesQuery => Document;
        node: NodeQuery => Document;
        revoke_node: NodeQuery => Document;
        label_node: LabelNodeRequest => Document;
        cordon_node: NodeQuery => Document;
        uncordon_node: NodeQuery => Document;
        drain_node: DrainNodeRequest => Document;
        undrain_node: NodeQuery => Document;
        halt: HaltRequest => Document;
        unhalt: HaltRequest => Document;
        create_token: CreateTokenRequest => TokenCreated;
        list_tokens: Nothing => Document;
        revoke_token: TokenQuery => Document;
        add_operator: AddOperatorRequest => OperatorAdded;
        remove_operator: RemoveOperatorRequest => Document;
        list_operators: Nothing => Document;
        create_access_token: AccessTokenRequest => TokenCreated;
        revoke_access_token: TokenQuery => Document;
        open_dashboard: Nothing => DashboardOpened;
        missing_blobs: Streaming<BlobList> => BlobList;
        upload_blobs: Streaming<BlobPiece> => Uploaded;
        push_release: SignedRelease => Document;
        list_releases: ReleasesQuery => Document;
        read_release: ReleaseQuery => SignedRelease;
        backups: BackupsQuery => Document;
        fetch_backup: BackupQuery => Self::FetchBackupStream;
    }
}
