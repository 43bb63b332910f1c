//! Several writes as one commit, where the server can do that.

use std::time::Duration;

use mongodb::{
    ClientSession,
    error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    options::ReadConcern,
};

use super::{
    StoreError, StoreFuture,
    failure::has_label,
    server::{Server, durable},
};

impl Server {
    /// Runs writes as one commit, again where another commit was in their way; one after the other on a standalone
    /// server. What takes a session has to use it for everything. Whoever calls limits the time.
    pub(super) async fn together<T>(
        &self,
        run: impl for<'s> Fn(Server, Option<&'s mut ClientSession>) -> StoreFuture<'s, T>,
    ) -> Result<T, StoreError> {
        if !self.has_transactions {
            return run(self.clone(), None).await;
        }
        let mut session = self.client.start_session().await?;
        let mut pause = Duration::from_millis(2);
        loop {
            // Of one moment, so that what is read fits together.
            session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(durable()).await?;
            let outcome = match run(self.clone(), Some(&mut session)).await {
                Ok(outcome) => commit(&mut session).await.map(|()| outcome),
                Err(problem) => {
                    // Where this fails the server gives it up by itself.
                    let _ = session.abort_transaction().await;
                    Err(problem)
                }
            };
            match outcome {
                Err(problem) if has_label(&problem, TRANSIENT_TRANSACTION_ERROR) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(100));
                }
                outcome => return outcome,
            }
        }
    }
}

/// A commit may be asked for again: it happens once.
async fn commit(session: &mut ClientSession) -> Result<(), StoreError> {
    const TRIES: usize = 3;
    let mut tries = 0;
    loop {
        tries += 1;
        match session.commit_transaction().await.map_err(StoreError::from) {
            Err(problem) if tries < TRIES && has_label(&problem, UNKNOWN_TRANSACTION_COMMIT_RESULT) => {}
            outcome => return outcome,
        }
    }
}
