//! The engine that evaluates targeting, and the operators that it lacks or has otherwise than flagd.
//!
//! `fractional` and `sem_ver` are the crate's own. Its text operators turn whatever they get into text; flagd's answer
//! `null` to what is no text. Comparisons and arithmetic are those of [`javascript`].

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::LazyLock,
};

use datalogic_rs::{
    CustomOperator, DataValue, Engine, EvaluationConfig, Logic, NanHandling, Result, bumpalo::Bump,
    operator::EvalContext,
};
use serde_json::Value;

use super::{context::EvaluationContext, javascript};

/// Says whether weights are such that flagd would use them. Rules can't call it: it is put round a `fractional` whose
/// weights are computed.
pub(super) const WHOLE_WEIGHTS: &str = "tenon.whole_weights";

/// Turns what a bucket is called into a text, as the crate's `fractional` takes no other.
pub(super) const BUCKET_TEXT: &str = "tenon.bucket_text";

/// Turns the text of a bucket back into what it was: as a condition `false` is not `"false"`.
pub(super) const BUCKET_VALUE: &str = "tenon.bucket_value";

/// Takes what buckets are chosen by: a text, or nothing. Of a list the crate's `fractional` makes a bucket.
pub(super) const BUCKET_KEY: &str = "tenon.bucket_key";

/// Makes nothing of what can't be gone through, as the crate's `filter` makes an error of it.
pub(super) const LIST: &str = "tenon.list";

/// Before the JSON of what is no text.
const NO_TEXT: char = '\0';

/// The largest weight, and the largest sum of weights, of flagd.
pub(super) const MOST_WEIGHT: i64 = i32::MAX as i64;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    // What is no number makes `null` of a sum or a product.
    let config = EvaluationConfig::default().with_arithmetic_nan_handling(NanHandling::ReturnNull);
    let builder = Engine::builder()
        .with_config(config)
        .add_operator("starts_with", Operator(|args, arena| of_texts(args, arena, |text, part| text.starts_with(part))))
        .add_operator("ends_with", Operator(|args, arena| of_texts(args, arena, |text, part| text.ends_with(part))))
        .add_operator(WHOLE_WEIGHTS, Operator(whole_weights))
        .add_operator(BUCKET_KEY, Operator(bucket_key))
        .add_operator(BUCKET_TEXT, Operator(bucket_text))
        .add_operator(BUCKET_VALUE, Operator(bucket_value))
        .add_operator(LIST, Operator(list));
    let of_javascript = javascript::OPERATORS.into_iter();
    of_javascript.fold(builder, |builder, (_, name, evaluate)| builder.add_operator(name, Operator(evaluate))).build()
});

/// Compiles a rule that was looked through.
pub(super) fn compile(rule: &Value) -> std::result::Result<Logic, String> {
    guarded(|| ENGINE.compile(rule).map_err(|error| error.to_string()))
}

/// How much an evaluation has room for before it asks for more: enough for most, as for a user with a dozen values.
const ROOM: usize = 1 << 10;

/// The most memory that an evaluation may take. The steps of a rule are bounded, not what a list or a text grows to on the
/// way. A guess: many times what a context and a rule can need.
const MOST_MEMORY: usize = 16 << 20;

/// What a rule of a flag comes to in a context, read while it is there.
pub(super) fn run<T>(
    rule: &Logic,
    key: &str,
    context: &EvaluationContext,
    read: impl FnOnce(&DataValue<'_>) -> T,
) -> std::result::Result<T, String> {
    guarded(|| {
        let arena = Bump::with_capacity(ROOM);
        // Over it the arena panics.
        arena.set_allocation_limit(Some(MOST_MEMORY));
        let data = context.for_flag(key, &arena);
        let found = ENGINE.evaluate(rule, data, &arena).map_err(|error| error.to_string())?;
        Ok(read(found))
    })
}

/// Rules run on the supervisor's thread too: a fault of the library's must stay an error of the one flag.
fn guarded<T>(work: impl FnOnce() -> std::result::Result<T, String>) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("the rule can't be evaluated".to_owned()))
}

/// An operator that is evaluated here.
struct Operator(Evaluate);

/// What it makes of its arguments.
pub(super) type Evaluate = for<'a> fn(&[&'a DataValue<'a>], &'a Bump) -> &'a DataValue<'a>;

impl CustomOperator for Operator {
    fn evaluate<'a>(
        &self,
        args: &[&'a DataValue<'a>],
        _context: &mut EvalContext<'_, 'a>,
        arena: &'a Bump,
    ) -> Result<&'a DataValue<'a>> {
        Ok((self.0)(args, arena))
    }
}

/// `starts_with` and `ends_with`: exactly two texts, else `null`.
fn of_texts<'a>(args: &[&DataValue<'_>], arena: &'a Bump, holds: fn(&str, &str) -> bool) -> &'a DataValue<'a> {
    arena.alloc(match args {
        [DataValue::String(text), DataValue::String(part)] => DataValue::Bool(holds(text, part)),
        _ => DataValue::Null,
    })
}

fn whole_weights<'a>(args: &[&'a DataValue<'a>], arena: &'a Bump) -> &'a DataValue<'a> {
    let mut sum: i64 = 0;
    let are_good = args.iter().all(|weight| {
        weight.as_i64().is_some_and(|weight| {
            sum = sum.saturating_add(weight.max(0));
            weight <= MOST_WEIGHT && sum <= MOST_WEIGHT
        })
    });
    arena.alloc(DataValue::Bool(are_good))
}

fn bucket_key<'a>(args: &[&'a DataValue<'a>], arena: &'a Bump) -> &'a DataValue<'a> {
    match args {
        [key @ (DataValue::String(_) | DataValue::Null)] => key,
        // No key and no bucket: the default variant holds.
        _ => arena.alloc(DataValue::Bool(false)),
    }
}

fn bucket_text<'a>(args: &[&'a DataValue<'a>], arena: &'a Bump) -> &'a DataValue<'a> {
    match args {
        [text @ DataValue::String(_)] => text,
        [other] => arena.alloc(DataValue::String(arena.alloc_str(&format!("{NO_TEXT}{other}")))),
        _ => arena.alloc(DataValue::Null),
    }
}

fn bucket_value<'a>(args: &[&'a DataValue<'a>], arena: &'a Bump) -> &'a DataValue<'a> {
    let [found] = args else { return arena.alloc(DataValue::Null) };
    let Some(json) = found.as_str().and_then(|text| text.strip_prefix(NO_TEXT)) else { return found };
    let value = serde_json::from_str(json).unwrap_or(Value::Null);
    arena.alloc(DataValue::from_serde_value_in(&value, arena))
}

fn list<'a>(args: &[&'a DataValue<'a>], arena: &'a Bump) -> &'a DataValue<'a> {
    match args {
        [list @ (DataValue::Array(_) | DataValue::Object(_))] => list,
        _ => arena.alloc(DataValue::Null),
    }
}
