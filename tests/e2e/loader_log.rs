//! What a module logs comes out in the host's log, inside the host's spans, under its own target.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use e2e::{FakeServices, request};
use tracing::Instrument;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::stage::{Stage, fixture};

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What a fixture logs under a filter while its routes are called inside a span of the host.
fn logged(filter: &str, routes: &[&str]) -> String {
    let written = Written::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(written.clone())
        .with_ansi(false)
        .without_time()
        .finish();
    let stage = Stage::new();
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let generation = fixture("logs").open(&stage.loader).unwrap();
        let services = Arc::new(FakeServices::new("t1", "{}", stage.services.handle()));
        let instance = Arc::new(runtime.block_on(generation.initialize(services)).unwrap());
        for route in routes {
            let call = instance.call(request(&instance, "GET", route, ""));
            runtime.block_on(call.instrument(tracing::info_span!("request", id = 5))).unwrap();
        }
        runtime.block_on(instance.run(tenon_host::loader::Hook::Cleanup)).unwrap();
        // Its last words, and what this thread has left, come before the reaper's turn.
        drop((instance, generation));
        tenon_host::loader::sweep_this_thread();
    });
    stage.expect_empty();
    let lines = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    lines.lines().map(|line| format!("{}\n", line.trim_start())).collect()
}

#[test]
fn events_and_spans_of_a_module_come_out_in_the_hosts_log() {
    // The loader's own lines are another matter.
    let all = logged("info,tenon_host=off", &["/events", "/spans", "/across"]);
    insta::assert_snapshot!(all, @r#"
    INFO logs: made tenant="t1"
    ERROR request{id=5}: logs: a plain error
    WARN request{id=5}: logs: all kinds count=3 big=18446744073709551615 ratio=0.5 ok=true name="n" who=Some("x") whose=y
    INFO request{id=5}: elsewhere: another target
    INFO logs: no parent
    INFO request{id=5}:outer{late=7}:inner{depth=2}: logs: inside
    INFO request{id=5}:outer{late=7}:inner{depth=2}: logs: in an unwanted span
    INFO request{id=5}:outer{late=7}: logs: child by name
    INFO request{id=5}:across: logs: after an await
    INFO logs: cleaned up
    INFO logs: dropped
    "#);
    let by_target = logged("off,logs=warn", &["/events", "/spans"]);
    insta::assert_snapshot!(by_target, @r#"
    ERROR logs: a plain error
    WARN logs: all kinds count=3 big=18446744073709551615 ratio=0.5 ok=true name="n" who=Some("x") whose=y
    "#);
    // A filter that depends on the span.
    let by_span = logged("off,[inner]=info", &["/spans"]);
    insta::assert_snapshot!(by_span, @"
    INFO inner{depth=2}: logs: inside
    INFO inner{depth=2}: logs: in an unwanted span
    ");
}
