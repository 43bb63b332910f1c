//! A client asks one host for flags, listens at the other, and is told of a change by whichever knows of it.

use serde_json::{Value, json};

use super::{Member, Pair};
use crate::harness::{Answer, Ask, Events};

const FLAGS: &str = "/ofrep/v1/evaluate/flags";

fn all(member: &Member, query: &str) -> Answer {
    let ask = Ask::new(member.host.address(), "POST", &format!("{FLAGS}{query}"));
    ask.header("x-tenant-id", "acme").by("ada", "").json(&json!({ "context": { "targetingKey": "ann" } })).send()
}

fn stream(answer: &Answer) -> String {
    answer.json()["eventStreams"][0]["endpoint"]["requestUri"].as_str().unwrap().to_owned()
}

fn theme(answer: &Answer) -> Value {
    let flags = answer.json();
    let found = flags["flags"].as_array().unwrap().iter().find(|flag| flag["key"] == "theme").cloned();
    found.map_or(Value::Null, |flag| flag["value"].clone())
}

#[test]
fn what_one_host_has_announced_the_other_one_has_too() {
    let pair = Pair::with(&[]);
    // Both have the tenant in memory as it was.
    let (before, _) = (all(&pair.one, ""), all(&pair.other, ""));
    // The other one takes the ticket of the first.
    let mut events = Events::open(pair.one.host.address(), &stream(&all(&pair.other, "")), &[]);
    for theme_now in ["dark", "light"] {
        pair.one.operate("PATCH", "/acme/flags", &json!({ "theme": theme_now }));
        let told = events.next().unwrap();
        assert_eq!(told.data["type"], "refetchEvaluation");
        assert_eq!(told.data["etag"], told.id);
        let query = format!("?flagConfigEtag={}&flagConfigLastModified={}", told.id, told.data["lastModified"]);
        let stale = all(&pair.other, "");
        assert_ne!(theme(&stale), theme_now, "nobody has told this host: the embedded store says nothing by itself");
        let fresh = all(&pair.other, &query);
        assert_eq!((fresh.status, theme(&fresh)), (200, json!(theme_now)));
        assert_ne!(fresh.header("etag"), before.header("etag"));
    }
    // What nobody has announced is looked for and not waited for.
    let made_up = all(&pair.other, "?flagConfigEtag=99999999-0-0000000000000000");
    assert_eq!((made_up.status, theme(&made_up)), (200, json!("light")));
    for nonsense in ["", "x", "1-2", "%22abc%22"] {
        assert_eq!(all(&pair.other, &format!("?flagConfigEtag={nonsense}")).status, 200);
    }
    drop(events);
    pair.stop();
}
