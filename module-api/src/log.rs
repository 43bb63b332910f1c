//! The tracing bridge: what the module writes with `tracing` comes out in the host's log.
//!
//! A library has its own copy of `tracing`, without a subscriber. This one forwards everything to the host,
//! whose current span (tenant, module, request) is there while it polls the module.

use std::{
    collections::HashMap,
    fmt,
    sync::{OnceLock, PoisonError, RwLock},
};

use abi_stable::std_types::{RSlice, RStr};
use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
    span,
    subscriber::Interest,
};

use tracing_core::span::Current;

use crate::abi::{
    FIELD_BOOL, FIELD_DEBUG, FIELD_F64, FIELD_I64, FIELD_STR, FIELD_U64, INTEREST_ALWAYS, INTEREST_SOMETIMES, LogBox,
    NO_PARENT, RawCallsite, RawField,
};

static STATE: OnceLock<State> = OnceLock::new();

#[derive(Default)]
struct State {
    log: RwLock<Option<LogBox>>,
    sites: RwLock<HashMap<Identifier, u64>>,
    spans: RwLock<HashMap<u64, &'static Metadata<'static>>>,
}

/// The id of a span that the host did not make: its filter does not want it, or it is gone.
const NO_SPAN: u64 = u64::MAX;

pub(crate) fn attach(log: LogBox) {
    let state = STATE.get_or_init(State::default);
    *state.log.write().unwrap_or_else(PoisonError::into_inner) = Some(log);
    // Fails only where it was set before, which is this bridge.
    let _ = tracing::dispatcher::set_global_default(Dispatch::new(Bridge));
    tracing::callsite::rebuild_interest_cache();
}

/// Gives back what would otherwise stay behind in the library's statics.
pub(crate) fn detach() {
    let Some(state) = STATE.get() else { return };
    *state.log.write().unwrap_or_else(PoisonError::into_inner) = None;
    *state.sites.write().unwrap_or_else(PoisonError::into_inner) = HashMap::new();
    *state.spans.write().unwrap_or_else(PoisonError::into_inner) = HashMap::new();
}

fn with_log<T>(ask: impl FnOnce(&State, &LogBox) -> T) -> Option<T> {
    let state = STATE.get()?;
    let log = state.log.read().unwrap_or_else(PoisonError::into_inner);
    log.as_ref().map(|log| ask(state, log))
}

fn site_of(state: &State, log: &LogBox, metadata: &'static Metadata<'static>) -> u64 {
    let key = metadata.callsite();
    if let Some(site) = state.sites.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return *site;
    }
    let fields: Vec<RStr<'_>> = metadata.fields().iter().map(|field| RStr::from_str(field.name())).collect();
    let level = match *metadata.level() {
        tracing::Level::ERROR => 1,
        tracing::Level::WARN => 2,
        tracing::Level::INFO => 3,
        tracing::Level::DEBUG => 4,
        tracing::Level::TRACE => 5,
    };
    let site = log.register(RawCallsite {
        name: RStr::from_str(metadata.name()),
        target: RStr::from_str(metadata.target()),
        file: RStr::from_str(metadata.file().unwrap_or("")),
        line: metadata.line().unwrap_or(0),
        level,
        is_span: u8::from(metadata.is_span()),
        fields: RSlice::from_slice(&fields),
    });
    state.sites.write().unwrap_or_else(PoisonError::into_inner).insert(key, site);
    site
}

/// The values of a record; texts are kept until the host has read them.
#[derive(Default)]
struct Values(Vec<(u32, u32, u64, String)>);

impl Values {
    fn push(&mut self, field: &Field, kind: u32, bits: u64, text: String) {
        self.0.push((u32::try_from(field.index()).unwrap_or(u32::MAX), kind, bits, text));
    }

    fn with_raw<T>(&self, use_them: impl FnOnce(RSlice<'_, RawField<'_>>) -> T) -> T {
        let raw: Vec<RawField<'_>> = self
            .0
            .iter()
            .map(|(index, kind, bits, text)| RawField {
                index: *index,
                kind: *kind,
                bits: *bits,
                text: RStr::from_str(text),
            })
            .collect();
        use_them(RSlice::from_slice(&raw))
    }
}

impl Visit for Values {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, FIELD_DEBUG, 0, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, FIELD_STR, 0, value.to_owned());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, FIELD_I64, value.cast_unsigned(), String::new());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, FIELD_U64, value, String::new());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, FIELD_F64, value.to_bits(), String::new());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, FIELD_BOOL, u64::from(value), String::new());
    }
}

/// The parent's number; 0 asks for the contextual one.
fn parent_number(parent: Option<&span::Id>, is_root: bool) -> u64 {
    match parent {
        Some(parent) if parent.into_u64() != NO_SPAN => parent.into_u64(),
        None if is_root => NO_PARENT,
        _ => 0,
    }
}

struct Bridge;

impl Subscriber for Bridge {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // The host's filter is fixed when the host starts, so what it says now holds.
        match with_log(|state, log| log.interest(site_of(state, log, metadata))) {
            Some(INTEREST_ALWAYS) => Interest::always(),
            Some(INTEREST_SOMETIMES) => Interest::sometimes(),
            _ => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Only callsites that were registered get here, and these are known by their identity.
        let known = with_log(|state, log| {
            let sites = state.sites.read().unwrap_or_else(PoisonError::into_inner);
            sites.get(&metadata.callsite()).is_some_and(|site| log.enabled(*site))
        });
        known.unwrap_or(false)
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut values = Values::default();
        span.record(&mut values);
        let made = with_log(|state, log| {
            let site = site_of(state, log, span.metadata());
            let id = values.with_raw(|fields| log.new_span(site, parent_number(span.parent(), span.is_root()), fields));
            if id != 0 {
                state.spans.write().unwrap_or_else(PoisonError::into_inner).insert(id, span.metadata());
            }
            id
        });
        span::Id::from_u64(made.filter(|id| *id != 0).unwrap_or(NO_SPAN))
    }

    fn record(&self, span: &span::Id, values: &span::Record<'_>) {
        let mut collected = Values::default();
        values.record(&mut collected);
        with_log(|state, log| {
            let known = state.spans.read().unwrap_or_else(PoisonError::into_inner).get(&span.into_u64()).copied();
            let Some(metadata) = known else { return };
            let site = site_of(state, log, metadata);
            collected.with_raw(|fields| log.record(span.into_u64(), site, fields));
        });
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut values = Values::default();
        event.record(&mut values);
        with_log(|state, log| {
            let site = site_of(state, log, event.metadata());
            values.with_raw(|fields| log.event(site, parent_number(event.parent(), event.is_root()), fields));
        });
    }

    fn enter(&self, span: &span::Id) {
        with_log(|_, log| log.enter(span.into_u64()));
    }

    fn exit(&self, span: &span::Id) {
        with_log(|_, log| log.exit(span.into_u64()));
    }

    fn clone_span(&self, span: &span::Id) -> span::Id {
        with_log(|_, log| log.clone_span(span.into_u64()));
        span.clone()
    }

    fn try_close(&self, span: span::Id) -> bool {
        let id = span.into_u64();
        with_log(|state, log| {
            let closed = log.close_span(id);
            if closed {
                state.spans.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
            }
            closed
        })
        .unwrap_or(false)
    }

    fn current_span(&self) -> Current {
        let current = with_log(|state, log| {
            let id = log.current_span();
            let spans = state.spans.read().unwrap_or_else(PoisonError::into_inner);
            spans.get(&id).map(|metadata| Current::new(span::Id::from_u64(id), metadata))
        });
        current.flatten().unwrap_or_else(Current::none)
    }
}
