//! Row `dispatch`: what the host adds to a handler, without connections and tokens: everything from a request that
//! has been parsed to an answer that can be sent. Against the same handler, called directly.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use tenon_host::{
    config::{Config, RuntimeMode},
    gateway::{Door, DoorSettings, OfrepSettings, TenantNaming, TrustedProxies},
    identity::{TicketKey, Verifier},
    loader::{CallRequest, Reply},
    tenancy::{Lent, Looked, Tenancy},
};

use super::{Effort, progress};
use crate::{
    failure::{Doing, Failure, Result},
    item::Item,
    machine,
    report::{Goal, Line, Report},
    stats::Spread,
    tenants::{self, TENANTS, item_path, tenant_name},
};

const ROW: &str = "dispatch";
/// Enough calls that reading the clock weighs nothing, few enough that an interruption spoils few.
const BATCH: usize = 256;

type Prepared = Request<Empty<Bytes>>;

/// The ways to one and the same handler, in nanoseconds a call, batch by batch. Each begins with a fresh copy of a
/// request and drops it: one that has just been read off a connection lies in the core's cache too.
#[derive(Default)]
struct Times {
    copy: Vec<f64>,
    direct: Vec<f64>,
    steps: [Vec<f64>; Step::ALL.len()],
    door: Vec<f64>,
}

/// How far the bare way goes.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
enum Step {
    Tenant,
    Route,
    Lease,
    Call,
}

impl Step {
    const ALL: [Self; 4] = [Self::Tenant, Self::Route, Self::Lease, Self::Call];

    fn what(self) -> &'static str {
        match self {
            Self::Tenant => "part: tenant from the header, snapshot",
            Self::Route => "part: route and parameters",
            Self::Lease => "part: lease of the instance",
            Self::Call => "part: call through the ABI, over direct",
        }
    }
}

pub(crate) fn dispatch(effort: Effort, report: &mut Report) -> Result<()> {
    let folder = super::folder()?;
    tenants::prepare(folder.path())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("make a runtime")?;
    let config = tenants::config(folder.path(), RuntimeMode::PerCore, 1);
    // Its threads start before the measuring one is pinned, and so don't share its core.
    let host = runtime.block_on(tenants::start_host(config.clone()))?;
    let door = door(&config, host.tenants().clone())?;
    let core = machine::cores()?.last().copied();
    let measuring = || {
        core.map_or(Ok(()), machine::pin)?;
        runtime.block_on(async {
            let one = measure(&door, host.tenants(), 1, effort).await?;
            let many = measure(&door, host.tenants(), TENANTS, effort).await?;
            Ok((one, many))
        })
    };
    let measured = std::thread::scope(|scope| scope.spawn(measuring).join());
    let measured = measured.map_err(|_| Failure::new("the measuring thread panicked"));
    runtime.block_on(host.shutdown());
    let (one, many): (Times, Times) = measured??;
    add(report, &one, "one tenant");
    add(report, &many, "1,000 tenants in turn");
    Ok(())
}

/// As the host's own gateway has it.
fn door(config: &Config, tenancy: Tenancy) -> Result<Door> {
    let verifier = Arc::new(Verifier::new(&config.auth).doing("make a verifier")?);
    let source = &config.tenant_source;
    let naming = TenantNaming {
        header: source.header.clone(),
        host_suffix: source.host_suffix.clone(),
        path_prefix: source.path_prefix.clone(),
    };
    let ofrep = OfrepSettings {
        concurrency: 256,
        event_streams: 0,
        event_streams_of_all: 0,
        heartbeat: Duration::from_secs(20),
        ticket_life: Duration::from_secs(900),
        tickets: TicketKey::new(b"nobody asks for flags here"),
    };
    Ok(Door::new(tenancy, verifier, DoorSettings { dev: false, naming, proxies: TrustedProxies::default(), ofrep }))
}

async fn measure(door: &Door, tenancy: &Tenancy, spread_over: usize, effort: Effort) -> Result<Times> {
    let requests: Vec<Prepared> = (0..spread_over).map(request).collect::<Result<_>>()?;
    for request in &requests {
        let status = door.answer(None, request.clone()).await.status();
        if status != http::StatusCode::OK {
            return Err(Failure::new(format!("the host answered {status}")));
        }
    }
    let mut times = Times::default();
    let mut next = 0;
    let rounds = effort.rounds(2800);
    for round in 0..rounds {
        if round % 400 == 0 {
            progress(&format!("dispatch, {spread_over} tenants"), round, rounds)?;
        }
        // Each way meets the same tenants.
        let indices: Vec<usize> = (next..next + BATCH).map(|index| index % requests.len()).collect();
        next += BATCH;
        let copies = || indices.iter().map(|index| requests[*index].clone());
        let begun = Instant::now();
        for request in copies() {
            drop(black_box(request));
        }
        times.copy.push(each(begun.elapsed()));
        let begun = Instant::now();
        for request in copies() {
            black_box(call_directly(&black_box(request)));
        }
        times.direct.push(each(begun.elapsed()));
        for (step, times) in Step::ALL.into_iter().zip(&mut times.steps) {
            let begun = Instant::now();
            for request in copies() {
                if black_box(bare(tenancy, request, step).await).is_none() {
                    return Err(Failure::new("the module did not answer"));
                }
            }
            times.push(each(begun.elapsed()));
        }
        let begun = Instant::now();
        for request in copies() {
            black_box(door.answer(None, request).await);
        }
        times.door.push(each(begun.elapsed()));
    }
    Ok(times)
}

fn request(index: usize) -> Result<Prepared> {
    // What a client sends that is not a browser.
    let request = Request::get(item_path(index))
        .header("host", "bench.test")
        .header("user-agent", "bench/1")
        .header("accept", "application/json")
        .header("x-tenant-id", tenant_name(index));
    request.body(Empty::new()).doing("make a request")
}

/// What a program does that has the handler compiled in and knows nothing of tenants.
#[inline(never)]
fn call_directly(request: &Prepared) -> Option<Vec<u8>> {
    let id = request.uri().path().rsplit_once('/')?.1;
    serde_json::to_vec(&Item::of(id)?).ok()
}

/// The way without guards, request ids and an answer's head, as far as a step.
async fn bare(tenancy: &Tenancy, request: Prepared, until: Step) -> Option<Option<Reply>> {
    let (parts, _) = request.into_parts();
    let tenant = parts.headers.get("x-tenant-id")?.to_str().ok()?;
    let snapshot = tenancy.snapshot(tenant)?;
    if until == Step::Tenant {
        return Some(None);
    }
    let Looked::Found(found) = snapshot.table.look(&parts.method, parts.uri.path()) else { return None };
    let params = found.names.iter().zip(found.params.iter());
    let params = params.map(|(name, (_, value))| (Arc::clone(name), value.to_owned())).collect();
    let (module, route) = (found.module, u32::try_from(found.endpoint_index).ok()?);
    if until == Step::Route {
        black_box::<Vec<(Arc<str>, String)>>(params);
        return Some(None);
    }
    let far = Instant::now() + Duration::from_secs(30);
    let Ok(Lent::Lease(lease)) = tenancy.lease(&snapshot, module, far).await else { return None };
    if until == Step::Lease {
        return Some(None);
    }
    let request = CallRequest {
        route,
        parts,
        body: Bytes::new(),
        params,
        request_id: Arc::default(),
        subject: None,
        roles: Arc::default(),
        deadline_millis: 0,
        depth: 0,
    };
    lease.call(request).await.ok().map(Some)
}

fn each(all: Duration) -> f64 {
    all.as_secs_f64() * 1e9 / BATCH as f64
}

fn add(report: &mut Report, times: &Times, setting: &str) {
    let mut add = |what: &str, spread: Option<Spread>, goal: Option<Goal>| {
        let Some(spread) = spread else { return };
        let line = Line::of_spread(ROW, format!("{setting}: {what}"), spread, "ns");
        report.lines.push(match goal {
            Some(goal) => line.with_goal(goal),
            None => line,
        });
    };
    add("direct call", Spread::of_differences(&times.direct, &times.copy), None);
    let [tenant, route, lease, call] = &times.steps;
    let handler: Vec<f64> = times.direct.iter().zip(&times.copy).map(|(direct, copy)| direct - copy).collect();
    let own_call: Vec<f64> = call.iter().zip(&handler).map(|(call, handler)| call - handler).collect();
    let before = [&times.copy, tenant, route, lease];
    for ((step, times), before) in Step::ALL.into_iter().zip([tenant, route, lease, &own_call]).zip(before) {
        add(step.what(), Spread::of_differences(times, before), None);
    }
    let door = Spread::of_differences(&times.door, &times.direct);
    add("all of it, over direct", door, Some(Goal::AtMost(150.0)));
}
