//! Module echo: the handler of the benchmarks as a module, and one that blocks its thread. Keeps nothing.

#![forbid(unsafe_code)]

// The very file that the peer and the direct call are compiled with.
#[path = "../src/item.rs"]
mod item;

use std::time::Duration;

use item::Item;
use module_api::prelude::*;

/// For how long `/block` holds its thread.
const BLOCKED: Duration = Duration::from_millis(100);

struct Echo;

impl Module for Echo {
    async fn initialize(_: Tenant) -> Result<Self> {
        Ok(Self)
    }

    fn routes(routes: &mut Routes<Self>) {
        routes.get("/items/{id}", Self::show).get("/block", Self::block);
    }
}

impl Echo {
    async fn show(&self, request: Request) -> Result<Response> {
        let item = Item::of(request.param("id")).ok_or_else(|| Error::invalid("the id is no number"))?;
        Response::json(&item)
    }

    async fn block(&self) -> Response {
        std::thread::sleep(BLOCKED);
        Response::no_content()
    }
}

module_api::export_module!(Echo, "echo-module/module.toml");
