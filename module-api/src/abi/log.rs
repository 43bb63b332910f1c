//! The host's log as it crosses: callsites, spans and records of `tracing`.

use abi_stable::{
    StableAbi, sabi_trait,
    std_types::{RBox, RSlice, RStr},
};

/// `RawField::kind`: `bits` is an `i64`.
pub const FIELD_I64: u32 = 1;
/// `RawField::kind`: `bits` is a `u64`.
pub const FIELD_U64: u32 = 2;
/// `RawField::kind`: `bits` are those of an `f64`.
pub const FIELD_F64: u32 = 3;
/// `RawField::kind`: `bits` is 0 or 1.
pub const FIELD_BOOL: u32 = 4;
/// `RawField::kind`: `text` is a string.
pub const FIELD_STR: u32 = 5;
/// `RawField::kind`: `text` is what `Debug` or `Display` printed.
pub const FIELD_DEBUG: u32 = 6;

/// One value of a log record.
#[repr(C)]
#[derive(StableAbi)]
pub struct RawField<'a> {
    /// Which of the callsite's fields.
    pub index: u32,
    pub kind: u32,
    pub bits: u64,
    pub text: RStr<'a>,
}

/// A callsite of `tracing` in the module.
#[repr(C)]
#[derive(StableAbi)]
pub struct RawCallsite<'a> {
    pub name: RStr<'a>,
    pub target: RStr<'a>,
    pub file: RStr<'a>,
    pub line: u32,
    /// 1 error, 2 warn, 3 info, 4 debug, 5 trace.
    pub level: u32,
    /// 1 where it is a span's, 0 where it is an event's.
    pub is_span: u8,
    pub fields: RSlice<'a, RStr<'a>>,
}

/// The parent of an event or span that has none although a span is current.
pub const NO_PARENT: u64 = u64::MAX;

/// What [`RawLog::interest`] answers: nothing of the callsite is ever written.
pub const INTEREST_NEVER: u8 = 0;
/// What [`RawLog::interest`] answers: it depends; ask [`RawLog::enabled`] each time.
pub const INTEREST_SOMETIMES: u8 = 1;
/// What [`RawLog::interest`] answers: all of it is written.
pub const INTEREST_ALWAYS: u8 = 2;

/// The host's log as a module sees it. Implemented by the host. Site and span numbers are the host's; span
/// 0 is none.
#[sabi_trait]
pub trait RawLog: Send + Sync + 'static {
    /// Makes a callsite known, once a generation; the number is good for the life of the host.
    fn register(&self, site: RawCallsite<'_>) -> u64;
    /// An `INTEREST_*` number, fixed for the life of the host.
    fn interest(&self, site: u64) -> u8;
    /// Whether a record of this callsite would be written now; asked where the interest is "sometimes".
    fn enabled(&self, site: u64) -> bool;
    /// `parent` is 0 for the contextual one and [`NO_PARENT`] for none.
    fn event(&self, site: u64, parent: u64, fields: RSlice<'_, RawField<'_>>);
    fn new_span(&self, site: u64, parent: u64, fields: RSlice<'_, RawField<'_>>) -> u64;
    /// `site` is the span's.
    fn record(&self, span: u64, site: u64, fields: RSlice<'_, RawField<'_>>);
    fn enter(&self, span: u64);
    fn exit(&self, span: u64);
    fn clone_span(&self, span: u64);
    fn close_span(&self, span: u64) -> bool;
    /// The number of the thread's current span, the host's own included; 0 where there is none.
    #[sabi(last_prefix_field)]
    fn current_span(&self) -> u64;
}
pub type LogBox = RawLog_TO<RBox<()>>;
