//! The coordinator, as an operator sees it: typed questions, typed answers, and every
//! refusal turned into an [`Error`].

mod people;
mod refusal;

use fleet_proto::digest::Hasher;
use fleet_proto::release::SignedManifest;
use fleet_proto::session::question::LogLine;
use fleet_proto::time::Timestamp;
use fleet_proto::view::{
    BackupView, EventView, NodeDriftView, NodeView, PlanView, ReleaseView, RolloutView, StatusView, TokenView,
};
use fleet_proto::wire::operator_client::OperatorClient;
use fleet_proto::wire::{self, Document};
use serde::de::DeserializeOwned;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::error::Error;
use crate::identity::Identity;

/// A plan for a hundred thousand nodes is some ten megabytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;

#[derive(Clone)]
pub struct Operator {
    client: OperatorClient<Channel>,
    address: String,
}

/// A document as the coordinator wrote it, and what it says.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    pub json: String,
    pub view: T,
}

impl<T: DeserializeOwned> Answer<T> {
    fn read(document: Document) -> Result<Self, Error> {
        let view = serde_json::from_str(&document.json).map_err(|error| Error::Answer(error.to_string()))?;
        Ok(Self {
            json: document.json,
            view,
        })
    }
}

/// Documents that keep coming.
pub struct Answers<T> {
    stream: Streaming<Document>,
    operator: Operator,
    kind: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Answers<T> {
    pub async fn next(&mut self) -> Result<Option<Answer<T>>, Error> {
        let document = self
            .stream
            .message()
            .await
            .map_err(|status| self.operator.refusal(&status))?;
        document.map(Answer::read).transpose()
    }
}

/// Lines of a log that keep coming.
pub struct Logs {
    stream: Streaming<wire::LogLines>,
    operator: Operator,
}

impl Logs {
    pub async fn next(&mut self) -> Result<Option<Vec<LogLine>>, Error> {
        let lines = self.stream.message().await;
        let lines = lines.map_err(|status| self.operator.refusal(&status))?;
        let read = lines.map(fleet_proto::session::lines_from_wire).transpose();
        read.map_err(|error| Error::Answer(error.to_string()))
    }
}

impl Operator {
    /// Nothing is sent yet, except to renew a certificate that is near its end; the
    /// answer's second part is what to tell the operator about that.
    pub async fn connect(address: &str, identity: &Identity) -> Result<(Self, Option<String>), Error> {
        let channel = identity.channel(address)?;
        let mut client = OperatorClient::new(channel)
            .max_decoding_message_size(ANSWER_BYTES_MAX)
            .max_encoding_message_size(wire::MESSAGE_BYTES_MAX);
        let mut warning = None;
        if identity.wants_renewal(Timestamp::now())
            && let Err(error) = identity.renew(&mut client).await
        {
            warning = Some(format!(
                "the operator's certificate could not be renewed: {error}"
            ));
        }
        let address = address.to_owned();
        Ok((Self { client, address }, warning))
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    fn refusal(&self, status: &Status) -> Error {
        refusal::read(&self.address, status)
    }

    fn document<T: DeserializeOwned>(
        &self,
        answer: Result<Response<Document>, Status>,
    ) -> Result<Answer<T>, Error> {
        let response = answer.map_err(|status| self.refusal(&status))?;
        Answer::read(response.into_inner())
    }

    fn documents<T>(
        &self,
        answer: Result<Response<Streaming<Document>>, Status>,
    ) -> Result<Answers<T>, Error> {
        let response = answer.map_err(|status| self.refusal(&status))?;
        Ok(Answers {
            stream: response.into_inner(),
            operator: self.clone(),
            kind: std::marker::PhantomData,
        })
    }

    pub async fn plan(&mut self, intent: wire::RolloutIntent) -> Result<Answer<PlanView>, Error> {
        let answer = self.client.plan(intent).await;
        self.document(answer)
    }

    pub async fn start(&mut self, intent: wire::RolloutIntent) -> Result<Answer<RolloutView>, Error> {
        let answer = self.client.start_rollout(intent).await;
        self.document(answer)
    }

    /// Orders one thing of one rollout; the answer is how that rollout (for a
    /// rollback, the new one) stands.
    pub async fn act(
        &mut self,
        rollout: u64,
        reason: &str,
        act: wire::act_request::Act,
    ) -> Result<Answer<RolloutView>, Error> {
        let request = wire::ActRequest {
            rollout,
            reason: reason.to_owned(),
            act: Some(act),
        };
        let answer = self.client.act(request).await;
        self.document(answer)
    }

    pub async fn backups(&mut self, app: &str) -> Result<Answer<Vec<BackupView>>, Error> {
        let query = wire::BackupsQuery { app: app.to_owned() };
        let answer = self.client.backups(query).await;
        self.document(answer)
    }

    /// Into the file, piece by piece; what is not what it should be is an error. How large it is.
    pub async fn fetch_backup(&mut self, rollout: u64, to: &mut impl std::io::Write) -> Result<u64, Error> {
        let query = wire::BackupQuery { rollout };
        let answer = self.client.fetch_backup(query).await;
        let mut pieces = answer.map_err(|status| self.refusal(&status))?.into_inner();
        let mut hasher = Hasher::default();
        let mut expected = None;
        while let Some(piece) = pieces.message().await.map_err(|status| self.refusal(&status))? {
            to.write_all(&piece.data)
                .map_err(|error| Error::usage(format!("cannot write it: {error}"), "is the disk full?"))?;
            hasher.update(&piece.data);
            expected = Some((piece.digest, piece.bytes));
        }
        let (digest, bytes) = hasher.finish();
        match expected {
            Some(expected) if expected == (digest.as_bytes().to_vec(), bytes) => Ok(bytes),
            _ => Err(Error::Answer("the backup did not come whole".to_owned())),
        }
    }

    pub async fn watch(&mut self, number: u64) -> Result<Answers<RolloutView>, Error> {
        let answer = self.client.watch_rollout(wire::RolloutQuery { number }).await;
        self.documents(answer)
    }

    /// `number` 0 is the newest.
    pub async fn rollout(&mut self, number: u64) -> Result<Answer<RolloutView>, Error> {
        let answer = self.client.rollout(wire::RolloutQuery { number }).await;
        self.document(answer)
    }

    pub async fn status(&mut self, app: &str, environment: &str) -> Result<Answer<StatusView>, Error> {
        let query = wire::StatusQuery {
            app: app.to_owned(),
            environment: environment.to_owned(),
        };
        let answer = self.client.status(query).await;
        self.document(answer)
    }

    pub async fn events(&mut self, query: wire::EventsQuery) -> Result<Answers<EventView>, Error> {
        let answer = self.client.events(query).await;
        self.documents(answer)
    }

    pub async fn nodes(&mut self, select: &str) -> Result<Answer<Vec<NodeView>>, Error> {
        let query = wire::NodesQuery {
            select: select.to_owned(),
        };
        let answer = self.client.nodes(query).await;
        self.document(answer)
    }

    pub async fn node(&mut self, node: &str) -> Result<Answer<NodeView>, Error> {
        let query = wire::NodeQuery {
            node: node.to_owned(),
            reason: String::new(),
        };
        let answer = self.client.node(query).await;
        self.document(answer)
    }

    pub async fn revoke_node(&mut self, node: &str, reason: &str) -> Result<Answer<NodeView>, Error> {
        let query = wire::NodeQuery {
            node: node.to_owned(),
            reason: reason.to_owned(),
        };
        let answer = self.client.revoke_node(query).await;
        self.document(answer)
    }

    pub async fn cordon_node(&mut self, node: &str, reason: &str) -> Result<Answer<NodeView>, Error> {
        let query = wire::NodeQuery {
            node: node.to_owned(),
            reason: reason.to_owned(),
        };
        let answer = self.client.cordon_node(query).await;
        self.document(answer)
    }

    pub async fn uncordon_node(&mut self, node: &str) -> Result<Answer<NodeView>, Error> {
        let query = wire::NodeQuery {
            node: node.to_owned(),
            reason: String::new(),
        };
        let answer = self.client.uncordon_node(query).await;
        self.document(answer)
    }

    pub async fn drain_node(&mut self, request: wire::DrainNodeRequest) -> Result<Answer<NodeView>, Error> {
        let answer = self.client.drain_node(request).await;
        self.document(answer)
    }

    pub async fn undrain_node(&mut self, node: &str) -> Result<Answer<NodeView>, Error> {
        let query = wire::NodeQuery {
            node: node.to_owned(),
            reason: String::new(),
        };
        let answer = self.client.undrain_node(query).await;
        self.document(answer)
    }

    /// An empty environment is the whole fleet.
    pub async fn halt(&mut self, environment: &str, reason: &str) -> Result<Answer<StatusView>, Error> {
        let request = wire::HaltRequest {
            environment: environment.to_owned(),
            reason: reason.to_owned(),
        };
        let answer = self.client.halt(request).await;
        self.document(answer)
    }

    pub async fn unhalt(&mut self, environment: &str) -> Result<Answer<StatusView>, Error> {
        let request = wire::HaltRequest {
            environment: environment.to_owned(),
            reason: String::new(),
        };
        let answer = self.client.unhalt(request).await;
        self.document(answer)
    }

    pub async fn label_node(&mut self, request: wire::LabelNodeRequest) -> Result<Answer<NodeView>, Error> {
        let answer = self.client.label_node(request).await;
        self.document(answer)
    }

    pub async fn logs(&mut self, query: wire::LogsQuery) -> Result<Logs, Error> {
        let answer = self.client.logs(query).await;
        let response = answer.map_err(|status| self.refusal(&status))?;
        Ok(Logs {
            stream: response.into_inner(),
            operator: self.clone(),
        })
    }

    pub async fn drift(&mut self, query: wire::DriftQuery) -> Result<Answers<NodeDriftView>, Error> {
        let answer = self.client.drift(query).await;
        self.documents(answer)
    }

    pub async fn create_token(
        &mut self,
        request: wire::CreateTokenRequest,
    ) -> Result<wire::TokenCreated, Error> {
        let answer = self.client.create_token(request).await;
        Ok(answer.map_err(|status| self.refusal(&status))?.into_inner())
    }

    pub async fn tokens(&mut self) -> Result<Answer<Vec<TokenView>>, Error> {
        let answer = self.client.list_tokens(wire::Nothing {}).await;
        self.document(answer)
    }

    pub async fn revoke_token(&mut self, id: &str) -> Result<Answer<TokenView>, Error> {
        let answer = self
            .client
            .revoke_token(wire::TokenQuery { id: id.to_owned() })
            .await;
        self.document(answer)
    }

    /// Which of these blobs the coordinator lacks.
    pub async fn missing_blobs(&mut self, digests: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
        let lists: Vec<wire::BlobList> = digests
            .chunks(wire::DIGESTS_PER_MESSAGE)
            .map(|chunk| wire::BlobList {
                digests: chunk.to_vec(),
            })
            .collect();
        let answer = self.client.missing_blobs(tokio_stream::iter(lists)).await;
        Ok(answer
            .map_err(|status| self.refusal(&status))?
            .into_inner()
            .digests)
    }

    pub async fn upload_blobs(
        &mut self,
        pieces: tokio::sync::mpsc::Receiver<wire::BlobPiece>,
    ) -> Result<wire::Uploaded, Error> {
        let pieces = Request::new(tokio_stream::wrappers::ReceiverStream::new(pieces));
        let answer = self.client.upload_blobs(pieces).await;
        Ok(answer.map_err(|status| self.refusal(&status))?.into_inner())
    }

    pub async fn push_release(&mut self, signed: &SignedManifest) -> Result<Answer<ReleaseView>, Error> {
        let answer = self.client.push_release(wire::SignedRelease::from(signed)).await;
        self.document(answer)
    }

    pub async fn releases(&mut self, app: &str) -> Result<Answer<Vec<ReleaseView>>, Error> {
        let query = wire::ReleasesQuery { app: app.to_owned() };
        let answer = self.client.list_releases(query).await;
        self.document(answer)
    }

    pub async fn release(&mut self, app: &str, version: &str) -> Result<SignedManifest, Error> {
        let query = wire::ReleaseQuery {
            app: app.to_owned(),
            version: version.to_owned(),
        };
        let answer = self.client.read_release(query).await;
        let signed = answer.map_err(|status| self.refusal(&status))?.into_inner();
        SignedManifest::try_from(signed).map_err(|error| Error::Answer(error.to_string()))
    }
}
