//! Tenants' requests inside somebody else's application: the host's own door as a tower service.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use tokio::{runtime::Handle, task::JoinHandle};
use tower::Service;

use crate::gateway::{AnswerBody, Door};

/// Answers tenants' requests as the host's listener does: naming, guards, limits and errors are the same. Cheap to
/// clone.
///
/// The peer of the connection, which decides whether a proxy is believed, is what axum's
/// `into_make_service_with_connect_info::<SocketAddr>()` says; without it no proxy is.
///
/// Module code runs on the host's own threads, whatever runtime the application has, so a module that is replaced can
/// be unloaded. Only the pieces of a streamed answer are asked for on the application's.
#[derive(Clone)]
pub struct TenantService {
    door: Arc<Door>,
    runtime: Handle,
}

impl std::fmt::Debug for TenantService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TenantService")
    }
}

impl TenantService {
    pub(super) fn new(door: Arc<Door>, runtime: Handle) -> Self {
        Self { door, runtime }
    }
}

impl<B> Service<Request<B>> for TenantService
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
{
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let door = Arc::clone(&self.door);
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        Answering(self.runtime.spawn(async move { door.answer(peer, request).await }))
    }
}

/// An answer on its way. Dropping it drops the handler.
#[derive(Debug)]
pub struct Answering(JoinHandle<Response<AnswerBody>>);

impl Future for Answering {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = std::task::ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(Ok(answered.unwrap_or_else(|error| {
            // The host is gone, or has an error of its own.
            tracing::error!(%error, "a request was not answered");
            let mut response = Response::new(AnswerBody::EMPTY);
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        })))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}
