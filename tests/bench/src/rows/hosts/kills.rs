//! A host or MongoDB is killed again and again, in turn, while clients write documents and tenants at all hosts. What was
//! acknowledged must be there at the end.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::site::{HOSTS, LONG, Site, Target, block_on, until};
use crate::{
    background::Background,
    failure::{Doing, Failure, Result},
    interrupt,
    line::{Line, json, shown, status},
    load::Client,
};

/// Clients: for each host one that writes documents and one that makes tenants.
const CLIENTS: usize = 2 * HOSTS;

/// How many writes of one sort were acknowledged, and how many of them are not there.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) acknowledged: u64,
    pub(super) lost: u64,
}

/// What became of all writes.
#[derive(Default)]
pub(super) struct Written {
    pub(super) documents: Kept,
    pub(super) tenants: Kept,
}

/// What was acknowledged, with the number in each document.
#[derive(Default)]
struct Acknowledged {
    documents: Vec<(String, u64)>,
    tenants: Vec<String>,
}

/// How many of its writes each client has had acknowledged.
type Progress = Arc<[AtomicU64; CLIENTS]>;

/// Kills so many times, and looks for each write.
pub(super) fn measure(site: &mut Site, kills: usize) -> Result<Written> {
    let targets = site.targets();
    let progress: Progress = Arc::default();
    let (told, asked) = (Arc::clone(&progress), targets.clone());
    let writing = Background::start(move |end| write(&asked, &told, end))?;
    for kill in 0..kills {
        // Other numbers of writes in each round, so that it does not always come at the same moment.
        all_write(&writing, &progress, 3 + (kill as u64 * 7) % 20)?;
        let host = kill / 2 % HOSTS;
        let victim = if kill % 2 == 0 { format!("host {}", host + 1) } else { "MongoDB".to_owned() };
        eprintln!("hosts: kill {} of {kills}: {victim}", kill + 1);
        if kill % 2 == 0 {
            site.hosts[host].kill();
            site.hosts[host].restart()?;
        } else {
            site.mongo.kill();
            site.mongo.restart().doing("start MongoDB again")?;
        }
    }
    all_write(&writing, &progress, 3)?;
    let acknowledged = writing.end()?;
    eprintln!("hosts: looking for {} writes", acknowledged.documents.len() + acknowledged.tenants.len());
    block_on(find(&targets[1], &acknowledged))?
}

/// Waits until each client has had so many more writes acknowledged.
fn all_write(writing: &Background<Acknowledged>, progress: &Progress, more: u64) -> Result<()> {
    let before = progress.each_ref().map(|count| count.load(Ordering::Relaxed));
    until("all clients write at all hosts", || {
        if writing.is_over() {
            return Err(Failure::new("the clients have ended"));
        }
        Ok(progress.iter().zip(before).all(|(now, before)| now.load(Ordering::Relaxed) >= before + more))
    })
}

/// Writes until it is told to end.
fn write(targets: &[Target], progress: &Progress, end: &Arc<AtomicBool>) -> Result<Acknowledged> {
    block_on(async {
        let mut clients = Vec::new();
        for client in 0..CLIENTS {
            let (target, progress, end) = (targets[client / 2].clone(), Arc::clone(progress), Arc::clone(end));
            clients.push(tokio::task::spawn_local(write_alone(client, target, progress, end)));
        }
        let mut all = Acknowledged::default();
        for client in clients {
            let one = client.await.map_err(|_| Failure::new("a client panicked"))?;
            all.documents.extend(one.documents);
            all.tenants.extend(one.tenants);
        }
        Ok(all)
    })?
}

/// Of two clients the first writes documents, the second makes tenants. No name is used twice: what was not acknowledged
/// may be there all the same.
async fn write_alone(client: usize, target: Target, progress: Progress, end: Arc<AtomicBool>) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    let writes_documents = client.is_multiple_of(2);
    let mut line = Line::to(if writes_documents { target.tenants } else { target.operators });
    let mut number = 0;
    while !end.load(Ordering::Relaxed) {
        number += 1;
        let name = format!("kills-{client}-{number}");
        let request = if writes_documents { target.write(&name, number) } else { target.create(&name) };
        if line.ask(&request).await.answer.is_ok_and(|answer| status(&answer) == 201) {
            if writes_documents {
                acknowledged.documents.push((name, number));
            } else {
                acknowledged.tenants.push(name);
            }
            progress[client].fetch_add(1, Ordering::Relaxed);
        }
    }
    acknowledged
}

/// Looks for all of it in the store.
async fn find(target: &Target, acknowledged: &Acknowledged) -> Result<Written> {
    let mut written = Written::default();
    let mut client = Client::connect(target.tenants).await.doing("reach a host")?;
    for (id, number) in &acknowledged.documents {
        interrupt::check()?;
        let answer = exchange(&mut client, &target.read(id)).await?;
        let is_there = match status(answer) {
            200 => json(answer)["number"] == *number,
            404 => false,
            _ => return Err(Failure::new(format!("a document: {}", shown(answer)))),
        };
        written.documents.acknowledged += 1;
        written.documents.lost += u64::from(!is_there);
    }
    let mut client = Client::connect(target.operators).await.doing("reach a host")?;
    let (mut found, mut cursor) = (BTreeSet::new(), None::<String>);
    loop {
        interrupt::check()?;
        let answer = exchange(&mut client, &target.list(cursor.as_deref())).await?;
        if status(answer) != 200 {
            return Err(Failure::new(format!("the tenants: {}", shown(answer))));
        }
        let page = json(answer);
        let ids = page["tenants"].as_array().into_iter().flatten().filter_map(|tenant| tenant["tenantId"].as_str());
        found.extend(ids.map(str::to_owned));
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    written.tenants.acknowledged = acknowledged.tenants.len() as u64;
    written.tenants.lost = acknowledged.tenants.iter().filter(|tenant| !found.contains(*tenant)).count() as u64;
    Ok(written)
}

async fn exchange<'a>(client: &'a mut Client, request: &[u8]) -> Result<&'a [u8]> {
    let late = |_| Failure::new(format!("a host did not answer within {LONG:?}"));
    tokio::time::timeout(LONG, client.exchange(request)).await.map_err(late)?.doing("look for what was written")
}
