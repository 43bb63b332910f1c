//! What counts as a handler, and how handlers of different types lie in one table.

use std::{future::Future, pin::Pin};

use crate::{
    error::Result,
    module::Module,
    request::Request,
    response::{IntoResponse, Response},
};

/// An `async fn(&self)` or `async fn(&self, Request)` of the module, returning something that
/// [`IntoResponse`] takes. Implemented for such functions; authors never implement it.
#[diagnostic::on_unimplemented(
    message = "this is not a handler of `{M}`",
    label = "expected `async fn(&self, Request) -> Result<Response>` or `async fn(&self) -> Result<Response>`",
    note = "`&self` must be shared, and the result must implement `IntoResponse`: `Response`, `Json<T>`, or a `Result` of them"
)]
pub trait Handler<'a, M, A>: Send + Sync + 'static {
    /// What the handler returns before it is awaited.
    type Fut: Future<Output: IntoResponse> + 'a;
    /// Begins the handler.
    fn call(&self, module: &'a M, request: Request) -> Self::Fut;
}

/// Marks handlers that take the request.
#[derive(Debug)]
pub struct WithRequest;

/// Marks handlers that don't.
#[derive(Debug)]
pub struct Bare;

impl<'a, M: 'a, F, Fut> Handler<'a, M, WithRequest> for F
where
    F: Fn(&'a M, Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoResponse> + 'a,
{
    type Fut = Fut;
    fn call(&self, module: &'a M, request: Request) -> Fut {
        self(module, request)
    }
}

impl<'a, M: 'a, F, Fut> Handler<'a, M, Bare> for F
where
    F: Fn(&'a M) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoResponse> + 'a,
{
    type Fut = Fut;
    fn call(&self, module: &'a M, _: Request) -> Fut {
        self(module)
    }
}

pub(crate) type HandlerFuture<'a> = Pin<Box<dyn Future<Output = Result<Response>> + Send + 'a>>;
pub(crate) type Erased<M> = Box<dyn for<'a> Fn(&'a M, Request) -> HandlerFuture<'a> + Send + Sync>;

pub(crate) fn erase<M, A, H>(handler: H) -> Erased<M>
where
    M: Module,
    A: 'static,
    H: for<'a> Handler<'a, M, A, Fut: Send>,
{
    Box::new(move |module, request| boxed(handler.call(module, request)))
}

// A function of its own: written inline, the compiler can't prove `Send` for all lifetimes.
fn boxed<'a, F: Future<Output: IntoResponse> + Send + 'a>(future: F) -> HandlerFuture<'a> {
    Box::pin(async move { future.await.into_response() })
}
