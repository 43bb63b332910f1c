//! The handler of `/report`.

use module_api::prelude::*;

use crate::{PAGE, Tasks, report::Report};

impl Tasks {
    /// `GET /report`: over all tasks, page by page; a task that is written meanwhile may be counted as it was
    /// before or after.
    pub(crate) async fn report(&self) -> Result<Response> {
        let mut report = Report::new();
        let mut next: Option<String> = None;
        loop {
            let page = self.tasks.list(PAGE, next.as_deref()).await?;
            page.documents.iter().for_each(|found| report.count(&found.value));
            next = page.next;
            if next.is_none() {
                return Response::json(&report);
            }
        }
    }
}
