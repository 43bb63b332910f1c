//! The job that carries out one change for one tenant: read, edit, choose, plan, start, commit. The swap and
//! the drain that follow are the supervisor's.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use jiff::Timestamp;

use super::{
    change::{Change, Edited, edit},
    command::{Mode, Work},
    context::Context,
    desire::{Desire, desire},
    error::{TenancyError, chain},
    marks::{Judgement, MarkBook},
    plan::{ActualModule, Plan, plan},
    routes::RouteTable,
    running::Running,
    services::{TenantView, collections_of},
    snapshot::ModuleProblem,
};
use crate::{
    catalog::{Candidate, Catalog},
    flags::{FlagSet, unix_seconds},
    names::{ModuleName, TenantId},
    stores::{Mark, MarkKind, StoreError, TenantDocument},
};

/// What a job hands to the supervisor for the swap.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) report: Report,
    /// What was found out about contents on the way.
    pub(super) marks: Vec<Mark>,
    /// When all was ready for the swap.
    pub(super) ready: Instant,
    /// Whether the store did not answer, so that there may be something newer.
    pub(super) is_unsure: bool,
}

/// What is to become of what runs.
pub(super) enum Outcome {
    /// It is swapped for this.
    Publish(Box<NewState>),
    /// The tenant is gone, and so is what ran for it.
    Gone,
    /// It was only asked.
    Nothing,
}

/// The tenant as it is to be published.
pub(super) struct NewState {
    pub(super) document: Arc<TenantDocument>,
    pub(super) desire: Desire,
    /// Of the modules desired.
    pub(super) table: Arc<RouteTable>,
    pub(super) flags: Arc<FlagSet>,
    /// Whether they are nobody else's.
    pub(super) own_flags: bool,
    pub(super) plan: Plan,
    /// By module; slot number and instance.
    pub(super) started: BTreeMap<ModuleName, (u64, Arc<Running>)>,
}

/// What came of a change, for whoever asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The tenant's revision afterwards; with a dry run, as it is.
    pub revision: u64,
    /// Enabled by the change.
    pub enabled: Vec<ModuleName>,
    /// Disabled by the change.
    pub disabled: Vec<ModuleName>,
    /// The modules that run for the tenant afterwards, in load order.
    pub modules: Vec<ModuleName>,
    /// What was, or would be, done.
    pub plan: Plan,
    /// Whether the document changed, or would.
    pub differs: bool,
}

/// One module of a tenant as it is when a job begins.
pub(super) struct Current {
    pub(super) module: ActualModule,
    /// The number of its slot, where there is one.
    pub(super) slot: Option<u64>,
    /// Its code.
    pub(super) candidate: Arc<Candidate>,
}

/// All modules of a tenant as they are when a job begins.
pub(super) type Actual = BTreeMap<ModuleName, Current>;

/// What a job decides from, as it was when it began.
pub(super) struct Ground<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) tenant: &'a TenantId,
    pub(super) actual: &'a Actual,
    /// The document that is in force, where it is one of the store's.
    pub(super) known: Option<Arc<TenantDocument>>,
    pub(super) catalog: &'a Catalog,
    /// Grows while the job finds out more.
    pub(super) book: MarkBook,
}

impl Ground<'_> {
    fn judgement(&self) -> Judgement<'_> {
        Judgement { book: &self.book, tenant: self.tenant, context: self.context, catalog: self.catalog }
    }

    fn desire(&self, document: &TenantDocument) -> Desire {
        desire(document, self.catalog, &self.judgement())
    }
}

/// How often a change is tried again when somebody else's write came in between.
const WRITE_ATTEMPTS: usize = 4;

/// Carries out one piece of work.
///
/// # Errors
///
/// Whatever stood in the way; then nothing was written and nothing that was started stays.
pub(super) async fn run(mut ground: Ground<'_>, work: Work) -> Result<Ended, TenancyError> {
    let (context, tenant) = (ground.context, ground.tenant);
    match work {
        Work::Reconcile => {
            let document = match ground.known.take() {
                // Whoever asks first wants an answer; what is newer is heard of.
                None => found(tenant, context.store.tenant_nearby(tenant).await)?,
                // What is known of the tenant will do while the store is away.
                Some(known) => match read(context, tenant).await {
                    Err(TenancyError::StoreUnavailable(_)) if context.reach.is_some() => {
                        let ended = follow(ground, known).await?;
                        return Ok(Ended { is_unsure: true, ..ended });
                    }
                    read => read.map(|document| newer(document, known))?,
                },
            };
            follow(ground, document).await
        }
        Work::Refresh => {
            let document = read(context, tenant).await?;
            let document = match ground.known.take() {
                Some(known) => newer(document, known),
                None => document,
            };
            follow(ground, document).await
        }
        Work::GoBack { mark, document } => {
            // What is known of the tenant will do while the store is away; it may have changed since this was asked for.
            let document = match read(context, tenant).await {
                Err(TenancyError::StoreUnavailable(_)) => document,
                read => read?,
            };
            let document = match ground.known.take() {
                Some(known) => newer(document, known),
                None => document,
            };
            go_back(&mut ground, document, mark).await
        }
        Work::Adopt { document } => {
            let prove: Vec<_> = document.enabled_modules.iter().map(|enabled| enabled.module.clone()).collect();
            let state = prepare(&ground, Arc::new(document), &prove).await?;
            Ok(ended(state, Edits::default()))
        }
        Work::Create { document } => {
            let document = context.store.create_tenant(document).await.map_err(|error| of_store(tenant, error))?;
            let state = prepare(&ground, document, &[]).await?;
            Ok(ended(state, Edits { differs: true, ..Edits::default() }))
        }
        Work::Delete { precondition, data } => {
            let document = read(context, tenant).await?;
            expect_revision(&document, precondition)?;
            let deleted = context.store.delete_tenant(tenant, document.revision, data).await;
            deleted.map_err(|error| of_store(tenant, error))?;
            let disabled = document.enabled_modules.iter().map(|enabled| enabled.module.clone()).collect();
            let report = Report { revision: document.revision + 1, disabled, differs: true, ..Report::default() };
            Ok(Ended { outcome: Outcome::Gone, report, marks: Vec::new(), ready: Instant::now(), is_unsure: false })
        }
        Work::Change { change, precondition, actor, mode } => {
            change_document(&ground, &change, precondition, &actor, mode).await
        }
    }
}

#[derive(Debug, Default)]
struct Edits {
    enabled: Vec<ModuleName>,
    disabled: Vec<ModuleName>,
    differs: bool,
}

fn ended(state: NewState, edits: Edits) -> Ended {
    let report = Report {
        revision: state.document.revision,
        enabled: edits.enabled,
        disabled: edits.disabled,
        modules: state.desire.modules.iter().map(|(candidate, _)| candidate.name.clone()).collect(),
        plan: state.plan.clone(),
        differs: edits.differs,
    };
    Ended {
        outcome: Outcome::Publish(Box::new(state)),
        report,
        marks: Vec::new(),
        ready: Instant::now(),
        is_unsure: false,
    }
}

async fn change_document(
    ground: &Ground<'_>,
    change: &Change,
    precondition: Option<u64>,
    actor: &str,
    mode: Mode,
) -> Result<Ended, TenancyError> {
    let Ground { context, tenant, actual, catalog, .. } = *ground;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let before = read(context, tenant).await?;
        expect_revision(&before, precondition)?;
        let Edited { document, prove, enabled, disabled, differs } =
            edit(&before, change, catalog, &ground.judgement(), &context.definitions.load(), actor, Timestamp::now())?;
        if matches!(change, Change::Enable { .. } | Change::Disable { .. }) {
            let after = ground.desire(&document);
            refuse_problems(&after, &prove)?;
            refuse_losses(&ground.desire(&before), &after)?;
        }
        let edits = Edits { enabled, disabled, differs };
        if mode == Mode::DryRun {
            let desire = ground.desire(&document);
            refuse_problems(&desire, &prove)?;
            let plan = plan(&desire.for_plan(&prove), &without_slots(actual));
            let report = Report {
                revision: before.revision,
                enabled: edits.enabled,
                disabled: edits.disabled,
                modules: desire.modules.iter().map(|(candidate, _)| candidate.name.clone()).collect(),
                plan,
                differs,
            };
            return Ok(Ended {
                outcome: Outcome::Nothing,
                report,
                marks: Vec::new(),
                ready: Instant::now(),
                is_unsure: false,
            });
        }
        let mut state = prepare(ground, Arc::new(document), &prove).await?;
        if !differs {
            state.document = before;
            return Ok(ended(state, edits));
        }
        match context.store.replace_tenant((*state.document).clone()).await {
            Ok(written) => {
                state.document = written;
                return Ok(ended(state, edits));
            }
            Err(error) => {
                undo(context, state, None, actual).await;
                let conflict = matches!(error, StoreError::Revision { .. });
                if !conflict || attempts == WRITE_ATTEMPTS {
                    return Err(of_store(tenant, error));
                }
            }
        }
    }
}

/// Makes what runs fit the document. New code that does not start for the tenant in the place of code that runs is
/// marked, and what ran stays; all else moves.
async fn follow(mut ground: Ground<'_>, document: Arc<TenantDocument>) -> Result<Ended, TenancyError> {
    let mut marks = Vec::new();
    loop {
        let Unprepared { error, candidate } = match prepare(&ground, Arc::clone(&document), &[]).await {
            Ok(state) => return Ok(Ended { marks, ..ended(state, Edits::default()) }),
            Err(unprepared) => unprepared,
        };
        let is_the_codes_fault = matches!(error, TenancyError::LoadFailed { .. } | TenancyError::Incompatible { .. });
        let failed = candidate.filter(|candidate| {
            let before = ground.actual.get(&candidate.name);
            is_the_codes_fault && before.is_some_and(|it| it.module.live && !Arc::ptr_eq(&it.candidate, candidate))
        });
        let reason = error.reason().map_or_else(|| error.to_string(), str::to_owned);
        let mark = failed.and_then(|candidate| mark_of(&candidate, Some(ground.tenant), MarkKind::Bad, reason));
        match mark {
            Some(mark) if !marks.contains(&mark) => {
                ground.book.add(mark.clone());
                marks.push(mark);
            }
            _ => return Err(error),
        }
    }
}

/// A mark for a candidate's content; `None` where its hash can't be known.
pub(super) fn mark_of(
    candidate: &Candidate,
    tenant: Option<&TenantId>,
    kind: MarkKind,
    reason: String,
) -> Option<Mark> {
    Some(Mark {
        module: candidate.name.clone(),
        hash: candidate.hash().ok()?.to_owned(),
        tenant: tenant.cloned(),
        kind,
        version: candidate.version.to_string(),
        reason,
        marked_at: Timestamp::now().as_millisecond(),
    })
}

/// Moves a tenant away from a content: what ran before, or the next best, is proved and takes its place.
async fn go_back(ground: &mut Ground<'_>, document: Arc<TenantDocument>, mark: Mark) -> Result<Ended, TenancyError> {
    let module = mark.module.clone();
    ground.book.add(mark.clone());
    if !ground.desire(&document).modules.iter().any(|(candidate, _)| candidate.name == module) {
        return Err(TenancyError::NothingToGoBackTo(module));
    }
    let prove = [module];
    let state = prepare(ground, document, &prove).await?;
    Ok(Ended { marks: vec![mark], ..ended(state, Edits::default()) })
}

async fn read(context: &Context, tenant: &TenantId) -> Result<Arc<TenantDocument>, TenancyError> {
    found(tenant, context.store.tenant(tenant).await)
}

fn found(
    tenant: &TenantId,
    read: Result<Option<Arc<TenantDocument>>, StoreError>,
) -> Result<Arc<TenantDocument>, TenancyError> {
    read.map_err(|error| of_store(tenant, error))?.ok_or_else(|| TenancyError::TenantNotFound(tenant.clone()))
}

/// What is read never takes the place of something higher.
fn newer(read: Arc<TenantDocument>, known: Arc<TenantDocument>) -> Arc<TenantDocument> {
    if read.revision < known.revision { known } else { read }
}

fn expect_revision(document: &TenantDocument, precondition: Option<u64>) -> Result<(), TenancyError> {
    match precondition {
        Some(expected) if expected != document.revision => {
            Err(TenancyError::Precondition { tenant: document.id.clone(), expected, found: document.revision })
        }
        _ => Ok(()),
    }
}

fn refuse_problems(desire: &Desire, prove: &[ModuleName]) -> Result<(), TenancyError> {
    match desire.problems.iter().find(|problem| prove.contains(&problem.module)) {
        Some(problem) => Err(TenancyError::NotSelectable { code: problem.code, text: problem.text.clone() }),
        None => Ok(()),
    }
}

/// A change of one module must not cost the tenant another: a narrower range, say, that its dependents can't use.
fn refuse_losses(before: &Desire, after: &Desire) -> Result<(), TenancyError> {
    let ran = |problem: &&ModuleProblem| before.modules.iter().any(|(it, _)| it.name == problem.module);
    match after.problems.iter().find(ran) {
        Some(problem) => Err(TenancyError::NotSelectable { code: problem.code, text: problem.text.clone() }),
        None => Ok(()),
    }
}

fn without_slots(actual: &Actual) -> BTreeMap<ModuleName, ActualModule> {
    actual.iter().map(|(name, current)| (name.clone(), current.module.clone())).collect()
}

/// Why nothing is ready, and whose start failed.
struct Unprepared {
    error: TenancyError,
    candidate: Option<Arc<Candidate>>,
}

impl From<TenancyError> for Unprepared {
    fn from(error: TenancyError) -> Self {
        Self { error, candidate: None }
    }
}

impl From<Unprepared> for TenancyError {
    fn from(unprepared: Unprepared) -> Self {
        unprepared.error
    }
}

/// Chooses, plans, and starts what the plan says; undoes the starts if one fails.
async fn prepare(
    ground: &Ground<'_>,
    document: Arc<TenantDocument>,
    prove: &[ModuleName],
) -> Result<NewState, Unprepared> {
    let Ground { context, actual, .. } = *ground;
    let desire = ground.desire(&document);
    refuse_problems(&desire, prove)?;
    let table = context.tables.of(&desire.modules);
    let own = document.feature_flags.iter().map(|(name, value)| (name.clone(), value.clone()));
    let flags = FlagSet::over(Arc::clone(table.declared()), own);
    let (flags, own_flags) = table.shared(flags.defined_by(&context.definitions.load(), &document.id, unix_seconds()));
    let plan = plan(&desire.for_plan(prove), &without_slots(actual));
    let mut state = NewState { document, desire, table, flags, own_flags, plan, started: BTreeMap::new() };
    for name in &state.plan.start {
        let found = state.desire.modules.iter().find(|(candidate, _)| candidate.name == *name);
        let Some((candidate, isolation)) = found else { continue };
        let view = TenantView {
            settings: state.document.settings.clone(),
            flags: Arc::clone(&state.flags),
            table: Arc::clone(&state.table),
            dormant: state.desire.dormant.clone().into(),
        };
        let (candidate, isolation) = (Arc::clone(candidate), *isolation);
        // A kept slot gets its first instance; a changed one is a slot of its own.
        let before = actual.get(name);
        let is_kept = |has: &&Current| Arc::ptr_eq(&has.candidate, &candidate) && has.module.isolation == isolation;
        let slot = before.filter(is_kept).and_then(|has| has.slot).unwrap_or_else(|| context.next_serial());
        match context.start(&state.document.id, &candidate, isolation, Arc::new(view), slot).await {
            Ok(running) => {
                state.started.insert(name.clone(), (slot, running));
            }
            Err(error) => {
                undo(context, state, Some(&candidate), actual).await;
                return Err(Unprepared { error, candidate: Some(candidate) });
            }
        }
    }
    Ok(state)
}

/// Takes out again what was started, the last first, and with `failed` what was not quite: the code that stays in
/// service finds its fields indexed again, which the start of another's may have changed.
async fn undo(context: &Context, state: NewState, failed: Option<&Arc<Candidate>>, actual: &Actual) {
    let tenant = &state.document.id;
    let mut started = state.started;
    for (candidate, _) in state.desire.modules.iter().rev() {
        let running = started.remove(&candidate.name);
        let is_failed = failed.is_some_and(|failed| Arc::ptr_eq(failed, candidate));
        if running.is_none() && !is_failed {
            continue;
        }
        if let Some((_, running)) = running {
            context.take_out(running).await;
        }
        let before = actual.get(&candidate.name).filter(|before| !Arc::ptr_eq(&before.candidate, candidate));
        for (key, fields) in before.map(|before| collections_of(tenant, &before.candidate.manifest)).unwrap_or_default()
        {
            if let Err(error) = context.store.reindex(&key, &fields).await {
                tracing::error!(%tenant, module = %candidate.name, model = key.model, %error, "the index was not restored");
            }
        }
    }
}

fn of_store(tenant: &TenantId, error: StoreError) -> TenancyError {
    match error {
        StoreError::Exists(_) => TenancyError::TenantExists(tenant.clone()),
        StoreError::Missing(_) => TenancyError::TenantNotFound(tenant.clone()),
        StoreError::Revision { expected, found } => {
            TenancyError::Precondition { tenant: tenant.clone(), expected, found }
        }
        StoreError::HasData { documents } => TenancyError::HasData { tenant: tenant.clone(), documents },
        StoreError::Unavailable(source) => TenancyError::StoreUnavailable(chain(&*source)),
        other => TenancyError::StoreUnavailable(other.to_string()),
    }
}
