//! What goes into a module and what comes out, in safe types.

use std::sync::Arc;

use bytes::Bytes;

/// One request for an instance, complete: guards have passed it, its body is buffered.
#[derive(Debug)]
pub struct CallRequest {
    /// Which handler: an index into the generation's routes.
    pub route: u32,
    /// Method, URI and headers as received.
    pub parts: http::request::Parts,
    /// The whole body.
    pub body: Bytes,
    /// Path parameters, percent-decoded, in the order of the path.
    pub params: Vec<(Arc<str>, String)>,
    /// A UUID.
    pub request_id: Arc<str>,
    /// Who asks.
    pub subject: Option<Arc<str>>,
    /// The caller's roles.
    pub roles: Arc<[Arc<str>]>,
    /// When the host gives up, in milliseconds since the Unix epoch.
    pub deadline_millis: i64,
}
