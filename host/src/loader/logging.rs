//! The host's end of the tracing bridge: what modules log comes out as if it had been logged here, under real
//! metadata, so that filters and formats apply. Callsites are interned for the life of the process: a module
//! that is reloaded a thousand times adds them once.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU8, Ordering},
    },
};

use abi_stable::{
    erased_types::TD_Opaque,
    std_types::{RSlice, RStr},
};
use module_api::abi::{
    FIELD_BOOL, FIELD_DEBUG, FIELD_F64, FIELD_I64, FIELD_STR, FIELD_U64, INTEREST_ALWAYS, INTEREST_NEVER,
    INTEREST_SOMETIMES, LogBox, NO_PARENT, RawCallsite, RawField, RawLog, RawLog_TO,
};
use tracing::{Event, Level, Metadata, dispatcher::get_default, field::Value, span};
use tracing_core::{
    Callsite, Interest, Kind,
    callsite::{self, Identifier},
    field::FieldSet,
};

use super::{flood::LogLimit, origin, roll::Use};

/// The log that is attached to a module.
pub(super) fn log(module: &str, limit: &Arc<LogLimit>) -> LogBox {
    RawLog_TO::from_value(HostLog { limit: Arc::clone(limit), apart: Arc::new(Use::new("", module)) }, TD_Opaque)
}

/// A module's callsite in this process.
struct Site {
    metadata: OnceLock<Metadata<'static>>,
    interest: AtomicU8,
}

impl Callsite for Site {
    fn set_interest(&self, interest: Interest) {
        let number = match interest {
            interest if interest.is_never() => INTEREST_NEVER,
            interest if interest.is_always() => INTEREST_ALWAYS,
            _ => INTEREST_SOMETIMES,
        };
        self.interest.store(number, Ordering::Relaxed);
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata.get().expect("`intern` sets it before it registers the site, and nobody else has the site")
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    name: String,
    target: String,
    file: String,
    line: u32,
    level: u32,
    is_span: bool,
    fields: Vec<String>,
}

/// All sites; a site's number is its place in `sites`, plus one.
#[derive(Default)]
struct Sites {
    numbers: Mutex<HashMap<Key, u64>>,
    sites: RwLock<Vec<&'static Site>>,
}

fn sites() -> &'static Sites {
    static SITES: OnceLock<Sites> = OnceLock::new();
    SITES.get_or_init(Sites::default)
}

fn site(number: u64) -> Option<&'static Site> {
    let at = usize::try_from(number).ok()?.checked_sub(1)?;
    sites().sites.read().unwrap_or_else(PoisonError::into_inner).get(at).copied()
}

fn metadata(number: u64) -> Option<&'static Metadata<'static>> {
    site(number)?.metadata.get()
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

fn intern(key: Key) -> u64 {
    let mut numbers = sites().numbers.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(number) = numbers.get(&key) {
        return *number;
    }
    let site: &'static Site =
        Box::leak(Box::new(Site { metadata: OnceLock::new(), interest: AtomicU8::new(INTEREST_NEVER) }));
    let fields: Vec<&'static str> = key.fields.iter().map(|field| leak(field)).collect();
    let level = match key.level {
        1 => Level::ERROR,
        2 => Level::WARN,
        3 => Level::INFO,
        4 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let file = (!key.file.is_empty()).then(|| leak(&key.file));
    let made = Metadata::new(
        leak(&key.name),
        leak(&key.target),
        level,
        file,
        (key.line > 0).then_some(key.line),
        None,
        FieldSet::new(Box::leak(fields.into_boxed_slice()), Identifier(site)),
        if key.is_span { Kind::SPAN } else { Kind::EVENT },
    );
    let _ = site.metadata.set(made);
    callsite::register(site);
    let mut known = sites().sites.write().unwrap_or_else(PoisonError::into_inner);
    known.push(site);
    let number = known.len() as u64;
    numbers.insert(key, number);
    number
}

/// Builds the values of a record for a callsite's fields and passes them on.
fn with_values<T>(
    metadata: &'static Metadata<'static>,
    raw: &[RawField<'_>],
    use_them: impl FnOnce(&tracing::field::ValueSet<'_>) -> T,
) -> T {
    let mut values: Vec<Option<Box<dyn Value + '_>>> = Vec::new();
    values.resize_with(metadata.fields().len(), || None);
    for field in raw {
        let Some(place) = values.get_mut(field.index as usize) else { continue };
        *place = Some(match field.kind {
            FIELD_I64 => Box::new(field.bits.cast_signed()),
            FIELD_U64 => Box::new(field.bits),
            FIELD_F64 => Box::new(f64::from_bits(field.bits)),
            FIELD_BOOL => Box::new(field.bits != 0),
            FIELD_STR => Box::new(field.text.as_str()),
            FIELD_DEBUG => Box::new(tracing::field::display(field.text.as_str())),
            // A kind of a later module-api; its text says the most.
            _ => Box::new(tracing::field::display(field.text.as_str())),
        });
    }
    let values: Vec<Option<&dyn Value>> = values.iter().map(Option::as_deref).collect();
    use_them(&metadata.fields().value_set_all(&values))
}

/// The id of a span number; 0 is none.
fn span_id(number: u64) -> Option<span::Id> {
    (number != 0 && number != NO_PARENT).then(|| span::Id::from_u64(number))
}

struct HostLog {
    limit: Arc<LogLimit>,
    /// Who writes where the code runs for no tenant, as on a thread of the module's own.
    apart: Arc<Use>,
}

impl HostLog {
    /// Whether whoever runs on this thread may write another line.
    fn admits(&self) -> bool {
        origin::user(|user| self.limit.admits(user.unwrap_or(&self.apart)))
    }

    /// A subscriber that panics must not unwind into the module.
    fn shielded<T: Default>(ask: impl FnOnce() -> T) -> T {
        catch_unwind(AssertUnwindSafe(ask)).unwrap_or_default()
    }
}

impl RawLog for HostLog {
    fn register(&self, site: RawCallsite<'_>) -> u64 {
        Self::shielded(|| {
            intern(Key {
                name: site.name.as_str().to_owned(),
                target: site.target.as_str().to_owned(),
                file: site.file.as_str().to_owned(),
                line: site.line,
                level: site.level,
                is_span: site.is_span != 0,
                fields: site.fields.iter().map(|field: &RStr<'_>| field.as_str().to_owned()).collect(),
            })
        })
    }

    fn interest(&self, number: u64) -> u8 {
        Self::shielded(|| site(number).map_or(INTEREST_NEVER, |site| site.interest.load(Ordering::Relaxed)))
    }

    fn enabled(&self, number: u64) -> bool {
        Self::shielded(|| metadata(number).is_some_and(|metadata| get_default(|dispatch| dispatch.enabled(metadata))))
    }

    fn event(&self, number: u64, parent: u64, fields: RSlice<'_, RawField<'_>>) {
        Self::shielded(|| {
            let Some(metadata) = metadata(number) else { return };
            get_default(|dispatch| {
                // What a filter says may depend on the current span.
                if dispatch.enabled(metadata) && self.admits() {
                    with_values(metadata, &fields, |values| match parent {
                        0 => {
                            let _entered = origin::span().map(tracing::Span::entered);
                            dispatch.event(&Event::new(metadata, values));
                        }
                        parent => dispatch.event(&Event::new_child_of(span_id(parent), metadata, values)),
                    });
                }
            });
        });
    }

    fn new_span(&self, number: u64, parent: u64, fields: RSlice<'_, RawField<'_>>) -> u64 {
        Self::shielded(|| {
            let Some(metadata) = metadata(number) else { return 0 };
            get_default(|dispatch| {
                if !dispatch.enabled(metadata) {
                    return 0;
                }
                let outer = if parent == 0 { origin::span() } else { None };
                with_values(metadata, &fields, |values| {
                    let attributes = match parent {
                        0 => match outer.as_ref().and_then(tracing::Span::id) {
                            Some(outer) => span::Attributes::child_of(outer, metadata, values),
                            None => span::Attributes::new(metadata, values),
                        },
                        NO_PARENT => span::Attributes::new_root(metadata, values),
                        parent => span::Attributes::child_of(span::Id::from_u64(parent), metadata, values),
                    };
                    dispatch.new_span(&attributes).into_u64()
                })
            })
        })
    }

    fn record(&self, span: u64, number: u64, fields: RSlice<'_, RawField<'_>>) {
        Self::shielded(|| {
            let (Some(id), Some(metadata)) = (span_id(span), metadata(number)) else { return };
            get_default(|dispatch| {
                with_values(metadata, &fields, |values| dispatch.record(&id, &span::Record::new(values)));
            });
        });
    }

    fn enter(&self, span: u64) {
        Self::shielded(|| {
            if let Some(id) = span_id(span) {
                origin::entered();
                get_default(|dispatch| dispatch.enter(&id));
            }
        });
    }

    fn exit(&self, span: u64) {
        Self::shielded(|| {
            if let Some(id) = span_id(span) {
                origin::left();
                get_default(|dispatch| dispatch.exit(&id));
            }
        });
    }

    fn clone_span(&self, span: u64) {
        Self::shielded(|| {
            if let Some(id) = span_id(span) {
                let _same = get_default(|dispatch| dispatch.clone_span(&id));
            }
        });
    }

    fn close_span(&self, span: u64) -> bool {
        Self::shielded(|| span_id(span).is_some_and(|id| get_default(|dispatch| dispatch.try_close(id.clone()))))
    }

    fn current_span(&self) -> u64 {
        Self::shielded(|| get_default(|dispatch| dispatch.current_span().id().map_or(0, span::Id::into_u64)))
    }
}
