//! How long it takes until what was written at one host is seen at the others. Writes come one after the other; the
//! others are asked without pause, each on a connection that is kept open.

use std::time::Instant;

use super::site::{LONG, Site, Target, block_on, value};
use crate::{
    failure::{Doing, Failure, Result},
    interrupt,
    line::{shown, status},
    load::Client,
    stats::Latencies,
};

/// Times of each write to each of the other hosts.
#[derive(Default)]
pub(super) struct Arrivals {
    /// From the receipt of the writer's answer; nothing where it was seen before.
    pub(super) acknowledged: Latencies,
    /// From the sending of the write.
    pub(super) sent: Latencies,
}

/// Sets the flag at the first host to each of these values in turn, which nobody had before.
pub(super) fn measure(what: &str, site: &Site, values: std::ops::Range<u64>) -> Result<Arrivals> {
    let targets = site.targets();
    block_on(async {
        let mut arrivals = Arrivals::default();
        let mut writer = Client::connect(targets[0].operators).await.doing("reach a host")?;
        let mut readers = [Reader::new(&targets[1]).await?, Reader::new(&targets[2]).await?];
        let (first, count) = (values.start, values.end - values.start);
        for written in values {
            interrupt::check()?;
            if (written - first).is_multiple_of(100) {
                eprintln!("{what}: write {} of {count}", written - first + 1);
            }
            let [one, other] = &mut readers;
            let sent = Instant::now();
            let all = async {
                tokio::try_join!(write(&mut writer, &targets[0], written), one.until(written), other.until(written))
            };
            let late = |_| Failure::new(format!("{what}: a write was not seen everywhere within {LONG:?}"));
            let (acknowledged, one, other) = tokio::time::timeout(LONG, all).await.map_err(late)??;
            for seen in [one, other] {
                arrivals.acknowledged.add(seen.saturating_duration_since(acknowledged));
                arrivals.sent.add(seen - sent);
            }
        }
        Ok(arrivals)
    })?
}

/// Writes, and tells when that was acknowledged.
async fn write(client: &mut Client, target: &Target, value: u64) -> Result<Instant> {
    let answer = client.exchange(&target.set_flag(value)).await.doing("write a flag")?;
    if status(answer) == 200 { Ok(Instant::now()) } else { Err(Failure::new(format!("a write: {}", shown(answer)))) }
}

/// One who asks for the flag without pause.
struct Reader {
    client: Client,
    request: Vec<u8>,
}

impl Reader {
    async fn new(target: &Target) -> Result<Self> {
        let client = Client::connect(target.tenants).await.doing("reach a host")?;
        Ok(Self { client, request: target.flag() })
    }

    /// Asks until the answer has this value, and tells when it had.
    async fn until(&mut self, written: u64) -> Result<Instant> {
        loop {
            let answer = self.client.exchange(&self.request).await.doing("ask for a flag")?;
            let seen = Instant::now();
            match value(answer) {
                Some(value) if value == written => return Ok(seen),
                Some(_) => {}
                None => return Err(Failure::new(format!("a flag: {}", shown(answer)))),
            }
        }
    }
}
