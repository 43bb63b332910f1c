//! A client's connection that waits so long and no longer for the client to take something. hyper has a limit for a
//! request's head and none for an answer; without one, a client that stops reading keeps its answer's memory, and the
//! library that it may lie in, for as long as it likes.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// A stream whose writes fail when nothing could be written for a time.
#[derive(Debug)]
pub(super) struct Patient<T> {
    stream: T,
    patience: Duration,
    /// Since the first write that had to wait; there is a timer only then.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    pub(super) fn new(stream: T, patience: Duration) -> Self {
        Self { stream, patience, waiting: None }
    }

    fn judge(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        waiting.as_mut().poll(cx).map(|()| {
            let text = format!("the client took nothing for {patience:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up_and_one_that_takes_is_not() {
        let (client, host) = tokio::io::duplex(8);
        let mut host = Patient::new(host, Duration::from_millis(50));
        host.write_all(&[1; 8]).await.unwrap();
        let error = host.write_all(&[1; 8]).await.unwrap_err();
        assert_eq!(error.to_string(), "the client took nothing for 50ms");
        drop(client);

        let (mut client, host) = tokio::io::duplex(8);
        let mut host = Patient::new(host, Duration::from_secs(60));
        let taking = tokio::spawn(async move {
            let mut taken = Vec::new();
            client.read_to_end(&mut taken).await.unwrap();
            taken.len()
        });
        host.write_all(&[1; 4000]).await.unwrap();
        drop(host);
        assert_eq!(taking.await.unwrap(), 4000);
    }
}
