//! What came back: a redirect to follow, or an answer that is read whole, up to its limit.

use http::{HeaderMap, Method, StatusCode, header};
use reqwest::{Response, Url};

use super::wanted::Wanted;
use crate::loader::{Answer, Failure, FailureKind};

/// What tells who asks: for the origin that it was meant for, and for no other. As in the Fetch standard; browsers
/// and curl do so.
const NOT_FOR_OTHERS: [header::HeaderName; 2] = [header::AUTHORIZATION, header::COOKIE];

/// What describes a body, and goes with it.
const OF_THE_BODY: [header::HeaderName; 4] =
    [header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_LOCATION, header::CONTENT_TYPE];

/// Where an answer sends the request on to; `None` for an answer that is one.
pub(super) fn redirect_of(response: &Response) -> Result<Option<Url>, Failure> {
    let is_redirect = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = response.headers().get(header::LOCATION).filter(|_| is_redirect) else { return Ok(None) };
    let target = location.to_str().ok().and_then(|location| response.url().join(location).ok());
    match target {
        Some(mut url) => {
            // Credentials that somebody else wrote are not sent; these calls fail only for URLs without a host.
            let _ = (url.set_username(""), url.set_password(None));
            Ok(Some(url))
        }
        None => Err(Failure::new(FailureKind::Unreachable, "the answer is a redirect to no URL")),
    }
}

impl Wanted {
    /// The request as a redirect changes it; RFC 9110, section 15.4.
    pub(super) fn redirected(&mut self, status: StatusCode, to: Url) {
        let was_post = self.method == Method::POST;
        let becomes_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => was_post,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body.clear();
            OF_THE_BODY.iter().for_each(|name| drop(self.headers.remove(name)));
        }
        if self.url.origin() != to.origin() {
            NOT_FOR_OTHERS.iter().for_each(|name| drop(self.headers.remove(name)));
        }
        self.url = to;
    }
}

/// Reads the whole answer. How long that may take is the caller's business.
pub(super) async fn whole(mut response: Response, most: usize) -> Result<Answer, ReadError> {
    let too_large = || {
        let text = format!("the answer has more than {most} bytes, the most that this host takes");
        ReadError::Refused(Failure::new(FailureKind::Refused, text))
    };
    if response.content_length().is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let (status, headers) = (response.status().as_u16(), texts(response.headers()));
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > most {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer { status, headers, body })
}

/// Why an answer was not read.
pub(super) enum ReadError {
    /// The connection.
    Broken(reqwest::Error),
    /// The host.
    Refused(Failure),
}

impl From<reqwest::Error> for ReadError {
    fn from(error: reqwest::Error) -> Self {
        Self::Broken(error)
    }
}

/// All that is text; what is about the connection means nothing to a module.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let of_the_connection = [header::CONNECTION, header::TRANSFER_ENCODING, header::TRAILER, header::UPGRADE];
    let texts = headers.iter().filter(|(name, _)| !of_the_connection.contains(name));
    texts.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned()))).collect()
}
