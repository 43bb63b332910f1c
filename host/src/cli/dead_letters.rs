//! `tenon dead-letters`: events and wake-ups that were given up.

use http::Method;
use serde_json::{Value, json};

use super::{
    answers::{DeadLetter, DeadLetterList},
    args::DeadLetters,
    client::{Client, segment},
    failure::Failure,
    output::Output,
    table::Table,
};

/// Runs a command.
pub(super) fn run(host: &Client, json: bool, what: DeadLetters) -> Result<Output, Failure> {
    let path = |id: &str| format!("/admin/v1/dead-letters/{}", segment(id));
    match what {
        DeadLetters::List => {
            let answer = all(host)?;
            if json {
                return Ok(Output::json(&answer));
            }
            let list: DeadLetterList = host.view(&answer)?;
            Ok(Output::text(table(&list.dead_letters)))
        }
        DeadLetters::Retry { id } => {
            host.send(Method::POST, &format!("{}/retry", path(&id)), Some(json!({})))?;
            Ok(Output::default().remark(format!("dead letter {id} is due again")))
        }
        DeadLetters::Discard { id } => {
            host.send(Method::DELETE, &path(&id), None)?;
            Ok(Output::default().remark(format!("dead letter {id} is gone")))
        }
    }
}

/// All pages as one.
fn all(host: &Client) -> Result<Value, Failure> {
    let mut letters = Vec::new();
    let mut path = "/admin/v1/dead-letters".to_owned();
    loop {
        let mut page = host.get(&path)?;
        if let Some(Value::Array(more)) = page.get_mut("deadLetters").map(Value::take) {
            letters.extend(more);
        }
        match page.get("next").and_then(Value::as_i64) {
            Some(next) => path = format!("/admin/v1/dead-letters?after={next}"),
            None => return Ok(json!({ "deadLetters": letters })),
        }
    }
}

/// Dead letters as a table.
pub(super) fn table(letters: &[DeadLetter]) -> Table {
    let mut table = Table::new(&["ID", "TENANT", "MODULE", "WHAT", "TRIES", "GIVEN UP", "ERROR"]);
    for letter in letters {
        table.row([
            letter.id.to_string(),
            letter.tenant_id.clone(),
            letter.module.clone(),
            letter.what.clone(),
            letter.failures.to_string(),
            letter.died_at.clone(),
            letter.error.clone(),
        ]);
    }
    table
}
