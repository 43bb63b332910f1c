//! Module shifter: answers with its mark, which stands in the file as plain bytes, so that the soak makes other
//! versions of it without a compiler. A mark is `serial`, six digits and a mood, filled up with dots.

#![forbid(unsafe_code)]

use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::stream;
use module_api::prelude::*;

/// Read through `black_box`, so that the compiler keeps it in one piece.
static MARK: &str = "serial 100000 calm......................";

/// How long `initialize` takes where the mood says so.
const SLOW: Duration = Duration::from_secs(1);

/// How many pieces a stream has, and how far apart.
const PIECES: u8 = 5;
const PIECE_EVERY: Duration = Duration::from_millis(20);

struct Shifter {
    tenant: Tenant,
    /// The request that panics; counted from 1.
    panics_at: Option<u64>,
    requests: AtomicU64,
}

impl Module for Shifter {
    async fn initialize(tenant: Tenant) -> Result<Self> {
        let mood = black_box(MARK).get(14..).unwrap_or_default().trim_end_matches('.');
        if mood == "refuses" {
            return Err(Error::internal("not in the mood"));
        }
        if mood.strip_prefix("slow for ") == Some(tenant.id()) {
            tenant.sleep(SLOW).await;
        }
        let panics_at = mood.strip_prefix("panics at ").and_then(|number| number.parse().ok());
        Ok(Self { tenant, panics_at, requests: AtomicU64::new(0) })
    }

    fn routes(routes: &mut Routes<Self>) {
        routes.get("/mark", Self::mark).get("/stream", Self::stream);
    }
}

impl Shifter {
    async fn mark(&self) -> Response {
        let count = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if self.panics_at == Some(count) {
            panic!("in a bad mood");
        }
        Response::text(black_box(MARK))
    }

    async fn stream(&self) -> Response {
        let tenant = self.tenant.clone();
        Response::stream(stream::unfold((tenant, 0), |(tenant, count)| async move {
            if count == PIECES {
                return None;
            }
            tenant.sleep(PIECE_EVERY).await;
            Some((Ok(format!("{}\n", black_box(MARK)).into_bytes()), (tenant, count + 1)))
        }))
    }
}

module_api::export_module!(Shifter, "shifting-module/module.toml");
