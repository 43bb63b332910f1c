//! A web site of a test's own: a real server on loopback, that answers as it is told and remembers what it was asked.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

use super::client::runtime;

type Answers = dyn Fn(&Request<Bytes>) -> Response<String> + Send + Sync;

/// A server that goes when it is dropped.
pub(crate) struct Site {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Request<Bytes>>>>,
    accepting: JoinHandle<()>,
}

impl Site {
    /// A site on a port that the system chooses.
    pub(crate) fn new(answers: impl Fn(&Request<Bytes>) -> Response<String> + Send + Sync + 'static) -> Self {
        Self::on(SocketAddr::from(([127, 0, 0, 1], 0)), answers)
    }

    /// A site on this address.
    ///
    /// # Panics
    ///
    /// Where somebody else has it.
    pub(crate) fn on(
        address: SocketAddr,
        answers: impl Fn(&Request<Bytes>) -> Response<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = runtime().block_on(TcpListener::bind(address)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked: Arc<Mutex<Vec<Request<Bytes>>>> = Arc::default();
        let (answers, heard): (Arc<Answers>, _) = (Arc::new(answers), Arc::clone(&asked));
        let accepting = runtime().spawn(async move {
            // Connections go with the set, and the set with the task.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, heard) = (Arc::clone(&answers), Arc::clone(&heard));
                connections.spawn(async move {
                    let answer = |request| answer(request, Arc::clone(&answers), Arc::clone(&heard));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service_fn(answer))
                        .await;
                });
            }
        });
        Self { address, asked, accepting }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Request<Bytes>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes, and leaves its port to nobody.
    pub(crate) fn leave(self) -> SocketAddr {
        let address = self.address;
        self.accepting.abort();
        super::until("the site is gone", || std::net::TcpStream::connect(address).is_err());
        address
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    answers: Arc<Answers>,
    heard: Arc<Mutex<Vec<Request<Bytes>>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|whole| whole.to_bytes()).unwrap_or_default();
    let request = Request::from_parts(parts, body);
    heard.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    if request.uri().path() == "/never" {
        std::future::pending::<()>().await;
    }
    Ok(answers(&request).map(|body| Full::new(Bytes::from(body))))
}
