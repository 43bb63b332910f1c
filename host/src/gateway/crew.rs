//! The threads that serve tenants, and which of them accepts from which listening socket. A thread that a handler
//! does not give back accepts nothing, and the kernel goes on to queue connections at its socket: the watchdog tells of
//! it, and another thread accepts from that socket until it is back. No socket is ever closed for it, so nothing that
//! waits in a queue is lost.

use std::{
    fmt, io,
    net::TcpListener,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::mpsc,
};

use super::serve::{Order, Serving, serve};
use crate::loader::sweep_this_thread;

/// How many threads are started beside the configured ones while those are stuck. Once started they stay: a thread that
/// sleeps costs next to nothing.
const MOST_SPARES: usize = 4;

/// All threads of one gateway.
pub struct Crew(Mutex<State>);

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crew({} runtimes)", self.state().members.len())
    }
}

struct State {
    serving: Serving,
    /// The listening sockets, each with one of the members as its own.
    sockets: Vec<TcpListener>,
    members: Vec<Member>,
    /// Told by each thread when it ends.
    tell: std::sync::mpsc::Sender<()>,
    is_stopping: bool,
    /// Whether a socket could not be handed on.
    is_short: bool,
}

/// One runtime that serves.
struct Member {
    /// What its threads are called.
    thread: String,
    handle: Handle,
    orders: mpsc::UnboundedSender<Order>,
    /// The socket that is its own; spares have none.
    home: Option<usize>,
    /// The sockets that it accepts from.
    takes: Vec<usize>,
    /// How many threads poll its tasks.
    threads: usize,
    /// How many of them are stuck.
    lost: usize,
}

impl Member {
    fn lives(&self) -> bool {
        self.lost < self.threads
    }

    fn is_spare(&self) -> bool {
        self.home.is_none()
    }

    fn serves(&self, socket: usize) -> bool {
        self.lives() && self.takes.contains(&socket)
    }
}

impl Crew {
    pub(super) fn new(serving: Serving, tell: std::sync::mpsc::Sender<()>) -> Self {
        let (sockets, members) = (Vec::new(), Vec::new());
        Self(Mutex::new(State { serving, sockets, members, tell, is_stopping: false, is_short: false }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a thread with a runtime and a socket of its own.
    pub(super) fn add_worker(&self, name: String, runtime: Runtime, socket: TcpListener) -> io::Result<()> {
        let mut state = self.state();
        let home = state.add_socket(socket);
        state.add(name, home, 1, runtime, |runtime, serving| runtime.block_on(serving))
    }

    /// Adds a runtime whose workers, so many and called `name`, share one socket.
    pub(super) fn add_shared(
        &self,
        name: String,
        threads: usize,
        runtime: Runtime,
        socket: TcpListener,
    ) -> io::Result<()> {
        let mut state = self.state();
        let home = state.add_socket(socket);
        state.add(name, home, threads, runtime, |runtime, serving| {
            let serving = runtime.spawn(serving);
            let _ = runtime.block_on(serving);
            // Workers that a handler never gives back are not waited for.
            runtime.shutdown_timeout(super::listener::CUT_WAIT / 2);
        })
    }

    /// The runtimes on which requests run, spares included.
    pub fn handles(&self) -> Vec<Handle> {
        self.state().members.iter().map(|member| member.handle.clone()).collect()
    }

    /// A thread of this name is stuck; says whether it is one of these. Its socket is accepted from by another one.
    pub fn lost(&self, thread: &str) -> bool {
        self.state().change(thread, |member| member.lost += 1)
    }

    /// It is back.
    pub fn returned(&self, thread: &str) -> bool {
        self.state().change(thread, |member| member.lost = member.lost.saturating_sub(1))
    }

    /// Whether all threads are stuck, and all spares too.
    pub fn is_lost(&self) -> bool {
        !self.state().members.iter().any(Member::lives)
    }

    /// Wakes the runtimes whose workers share their tasks. One of them waits for sockets and timers on behalf of all;
    /// where that one is stuck now, and had nothing to hand on, the others sleep until somebody wakes one.
    pub fn nudge(&self) {
        let mut state = self.state();
        if std::mem::take(&mut state.is_short) {
            state.arrange_all();
        }
        for member in state.members.iter().filter(|member| member.threads > 1 && member.lost > 0) {
            drop(member.handle.spawn(async {}));
        }
    }

    /// Gives the sockets up and starts no more threads; says how many there are.
    pub(super) fn stop(&self) -> usize {
        let mut state = self.state();
        state.is_stopping = true;
        state.sockets.clear();
        state.members.len()
    }
}

impl State {
    fn add_socket(&mut self, socket: TcpListener) -> Option<usize> {
        self.sockets.push(socket);
        Some(self.sockets.len() - 1)
    }

    fn add(
        &mut self,
        thread: String,
        home: Option<usize>,
        threads: usize,
        runtime: Runtime,
        run: impl FnOnce(Runtime, Serve) + Send + 'static,
    ) -> io::Result<()> {
        let (orders, received) = mpsc::unbounded_channel();
        let handle = runtime.handle().clone();
        let (tell, serving): (_, Serve) = (self.tell.clone(), Box::pin(serve(self.serving.clone(), received)));
        std::thread::Builder::new().name(thread.clone()).spawn(move || {
            let _told = TellEnd(tell);
            run(runtime, serving);
        })?;
        self.members.push(Member { thread, handle, orders, home, takes: Vec::new(), threads, lost: 0 });
        match home {
            Some(home) => self.give(self.members.len() - 1, home),
            None => Ok(()),
        }
    }

    fn change(&mut self, thread: &str, change: impl FnOnce(&mut Member)) -> bool {
        let Some(member) = self.members.iter_mut().find(|member| member.thread == thread) else { return false };
        change(member);
        self.arrange_all();
        true
    }

    fn arrange_all(&mut self) {
        if !self.is_stopping {
            for socket in 0..self.sockets.len() {
                self.arrange(socket);
            }
        }
    }

    /// As many spares accept from a socket as threads of its own member are stuck; and somebody does in any case, as
    /// long as anybody lives.
    fn arrange(&mut self, socket: usize) {
        let lost = self.members.iter().filter(|member| member.home == Some(socket)).map(|member| member.lost).sum();
        let spares = |state: &Self| -> Vec<usize> {
            let serves = |member: &Member| member.is_spare() && member.serves(socket);
            state.members.iter().enumerate().filter(|(_, member)| serves(member)).map(|(at, _)| at).collect()
        };
        for at in spares(self).into_iter().skip(lost) {
            self.take_back(at, socket);
        }
        while spares(self).len() < lost {
            let Some(spare) = self.idle_spare() else { break };
            if !self.hand_on(spare, socket) {
                break;
            }
            tracing::warn!(thread = self.members[spare].thread, "a spare thread serves beside those that are stuck");
        }
        let mut serving: Vec<usize> = (0..self.members.len()).filter(|at| self.members[*at].serves(socket)).collect();
        if serving.is_empty() {
            let living = (0..self.members.len()).filter(|at| self.members[*at].lives());
            if let Some(at) = living.min_by_key(|at| self.members[*at].takes.len()) {
                self.hand_on(at, socket);
            }
            return;
        }
        // Whoever helped out while there was no spare.
        serving.retain(|at| self.members[*at].home.is_some_and(|home| home != socket));
        let others = (0..self.members.len()).filter(|at| self.members[*at].serves(socket)).count() - serving.len();
        if others > 0 {
            for at in serving {
                self.take_back(at, socket);
            }
        }
    }

    /// A spare that accepts from no socket; a new one where none is left and there may be more.
    fn idle_spare(&mut self) -> Option<usize> {
        let is_idle = |member: &Member| member.is_spare() && member.lives() && member.takes.is_empty();
        if let Some(idle) = self.members.iter().position(is_idle) {
            return Some(idle);
        }
        let spares = self.members.iter().filter(|member| member.is_spare()).count();
        if spares >= MOST_SPARES {
            return None;
        }
        let name = format!("tenon-gateway-spare-{spares}");
        let started = own_runtime()
            .and_then(|runtime| self.add(name, None, 1, runtime, |runtime, serving| runtime.block_on(serving)));
        match started {
            Ok(()) => Some(self.members.len() - 1),
            Err(error) => {
                tracing::error!(%error, "a spare thread could not be started");
                None
            }
        }
    }

    fn give(&mut self, at: usize, socket: usize) -> io::Result<()> {
        let same = self.sockets[socket].try_clone()?;
        let member = &mut self.members[at];
        member.takes.push(socket);
        // It is gone only where the gateway has ended.
        let _ = member.orders.send(Order::Take(socket, same));
        Ok(())
    }

    /// As [`State::give`]; where there are no descriptors left it is noted, and tried again with the next nudge.
    fn hand_on(&mut self, at: usize, socket: usize) -> bool {
        let given = self.give(at, socket);
        if let Err(error) = &given {
            self.is_short = true;
            tracing::error!(%error, "a listening socket can't be handed on");
        }
        given.is_ok()
    }

    fn take_back(&mut self, at: usize, socket: usize) {
        let member = &mut self.members[at];
        member.takes.retain(|taken| *taken != socket);
        let _ = member.orders.send(Order::Leave(socket));
    }
}

/// The future that a member's thread runs.
type Serve = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// A runtime for one thread.
pub(super) fn own_runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().on_thread_park(sweep_this_thread).build()
}

/// Tells when the thread ends, by a panic as well.
struct TellEnd(std::sync::mpsc::Sender<()>);

impl Drop for TellEnd {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}
