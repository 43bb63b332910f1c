//! Tests of `[ofrep]`, through [`Config::load`](super::Config::load).

use std::{path::Path, time::Duration};

use super::from_file;
use crate::config::Ofrep;

#[test]
fn every_key_is_read_and_held_within_bounds() {
    let config = from_file(
        r#"
        [ofrep]
        concurrency = 7
        event-streams = 0
        heartbeat = "5s"
        ticket-life = "1m"
        ticket-key-file = "/run/secrets/ticket.key"
        "#,
    );
    let expected = Ofrep {
        concurrency: 7,
        event_streams: 0,
        heartbeat: Duration::from_secs(5),
        ticket_life: Duration::from_secs(60),
        ticket_key_file: Some(Path::new("/run/secrets/ticket.key").to_owned()),
    };
    assert_eq!(config.unwrap().ofrep, expected);
    let wrong = "[ofrep]\nconcurrency = 0\nevent-streams = -1\nheartbeat = \"1ms\"\nticket-life = \"1s\"\nstreams = 1";
    insta::assert_snapshot!(from_file(wrong).unwrap_err(), @r"
    /tenon.toml:2:15: `ofrep.concurrency`: must be 1 to 1000000, found 0
    /tenon.toml:3:17: `ofrep.event-streams`: must be a whole number, found -1
    /tenon.toml:4:13: `ofrep.heartbeat`: must be 100ms to 3600s, found 1ms
    /tenon.toml:5:15: `ofrep.ticket-life`: must be 10s to 86400s, found 1s
    /tenon.toml:6:1: unknown key `ofrep.streams`
    hint: known here: `concurrency`, `event-streams`, `heartbeat`, `ticket-life`, `ticket-key-file`
    ");
}
