//! One connection: its requests, its end, and what must end it early. hyper asks an answer's body for nothing while the
//! client takes nothing, so a body can't end itself then: whoever waits for its instance to be free would wait for the
//! client.

use std::{
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    net::IpAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::HttpService};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch};

use super::{body::AnswerBody, door::Door, patient::Patient};

/// How long a connection on which nothing was asked yet is waited for when the gateway stops: its first request may be
/// on the way already, and would be lost. A guess: long for a head that was sent right after the connection was made.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// What the requests of one connection share.
pub(super) struct Link {
    door: Arc<Door>,
    /// Who is at the other end.
    peer: IpAddr,
    cutter: Arc<Cutter>,
    /// Whether a request has come.
    asked: AtomicBool,
}

impl Link {
    pub(super) fn new(door: Arc<Door>, peer: IpAddr) -> Self {
        Self { door, peer, cutter: Arc::default(), asked: AtomicBool::new(false) }
    }

    /// Answers one request of the connection.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Infallible> {
        self.asked.store(true, Ordering::Relaxed);
        let mut response = self.door.answer(Some(self.peer), request).await;
        response.body_mut().cut_by(&self.cutter);
        Ok(response)
    }

    /// Runs the connection to its end, or until what it sends must break off. Once the gateway stops, it ends with the
    /// request that it is at.
    pub(super) async fn run<S>(
        self: Arc<Self>,
        connection: http1::Connection<TokioIo<Patient<TcpStream>>, S>,
        stopped: watch::Receiver<Option<Duration>>,
    ) where
        S: HttpService<Incoming, ResBody = AnswerBody>,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Dropped at the end, which closes the socket: the client sees that the answer is not whole.
        let mut connection = pin!(connection);
        let mut leaving = pin!(self.until_leaving(stopped));
        let mut is_leaving = false;
        let ended = poll_fn(|cx| {
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(Some(ended));
                }
                if self.cutter.poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                if is_leaving || leaving.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                is_leaving = true;
                connection.as_mut().graceful_shutdown();
            }
        });
        match ended.await {
            Some(Ok(())) => {}
            // Clients go away; that is no news.
            Some(Err(error)) => tracing::debug!(%error, "a connection ended early"),
            None => {
                tracing::warn!("a streamed answer that its client did not take was cut, as its instance leaves")
            }
        }
    }

    /// Completes when the connection should end. Polled after each step of the connection.
    async fn until_leaving(&self, mut stopped: watch::Receiver<Option<Duration>>) {
        // An error says that the gateway is gone.
        let _ = stopped.wait_for(Option::is_some).await;
        let asked = poll_fn(|_| if self.asked.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending });
        let _ = tokio::time::timeout(FIRST_WAIT, asked).await;
    }
}

/// When the answer that a connection is sending must break off.
#[derive(Default)]
pub(super) struct Cutter {
    /// Whether there is a notice: most answers have none, and then the lock is not touched.
    is_set: AtomicBool,
    notice: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

impl fmt::Debug for Cutter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cutter").field("is_set", &self.is_set).finish_non_exhaustive()
    }
}

/// Ends the watch when the answer was sent, or is dropped.
#[derive(Debug)]
pub struct Watched(Arc<Cutter>);

impl Cutter {
    /// Breaks the answer off when `notice` completes, for as long as the result is kept.
    pub(super) fn watch(self: &Arc<Self>, notice: impl Future<Output = ()> + Send + 'static) -> Watched {
        *self.notice() = Some(Box::pin(notice));
        self.is_set.store(true, Ordering::Release);
        Watched(Arc::clone(self))
    }

    fn notice(&self) -> MutexGuard<'_, Option<Pin<Box<dyn Future<Output = ()> + Send>>>> {
        self.notice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_set.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.notice().as_mut().map_or(Poll::Pending, |notice| notice.as_mut().poll(cx))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.is_set.store(false, Ordering::Release);
        // It holds the instance: dropped outside the lock.
        let over = self.0.notice().take();
        drop(over);
    }
}

/// Counts connections, all runtimes' together.
#[derive(Debug, Clone, Default)]
pub(super) struct Count(Arc<AtomicUsize>);

/// A connection that is counted.
#[derive(Debug)]
pub(super) struct Counted(Count);

impl Count {
    /// Counts one more, unless there are so many already.
    pub(super) fn add(&self, most: usize) -> Option<Counted> {
        let counted = Counted(self.clone());
        (self.0.fetch_add(1, Ordering::AcqRel) < most).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_notice_counts_while_its_answer_is_being_sent() {
        let cutter = Arc::new(Cutter::default());
        let look = || poll_fn(|cx| Poll::Ready(cutter.poll(cx).is_ready()));
        assert!(!look().await);
        let sending = cutter.watch(std::future::ready(()));
        assert!(look().await);
        drop(sending);
        assert!(!look().await, "the next answer is another matter");
        let sending = cutter.watch(std::future::pending());
        assert!(!look().await);
        drop(sending);
    }

    #[test]
    fn there_are_never_more_than_may_be() {
        let count = Count::default();
        let (first, second) = (count.add(2).unwrap(), count.add(2).unwrap());
        assert!(count.add(2).is_none());
        drop(first);
        let third = count.add(2).unwrap();
        assert!(count.add(2).is_none());
        drop((second, third));
        assert_eq!(count.0.load(Ordering::Acquire), 0);
    }
}
