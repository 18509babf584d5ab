//! One worker: a thread with a runtime, the listener's sockets and upstream pools of its own.
//!
//! Not here: what becomes of a connection ([`crate::edge`]) and of a request ([`crate::gateway`]).
//! Invariants: its runtime is made on its own thread, and nothing in it leaves; what it has
//! counted and logged is handed over before it ends.

use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;

use super::AppError;
use crate::edge::{self, Edge, WorkerSockets};
use crate::gateway::{Gateway, GatewayParts};

/// How long requests under way may take to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(30);
/// How often a worker hands over log lines and looks through its idle connections.
const TICK: Duration = Duration::from_millis(200);

/// Cores that this process may use, by affinity and cgroup.
pub(super) fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Starts one; returns when it has its runtime, and the thread ends after the drain.
pub(super) fn start(
    index: usize,
    sockets: WorkerSockets,
    edge: &Arc<Edge>,
    gateway: &GatewayParts,
    stopping: &watch::Receiver<bool>,
) -> Result<JoinHandle<()>, AppError> {
    let (edge, gateway, stopping) = (Arc::clone(edge), gateway.clone(), stopping.clone());
    let (outcome, made) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            // Made on its own thread, which it cannot leave.
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            let _ = match runtime {
                Err(error) => outcome.send(Err(error)),
                Ok(runtime) => {
                    let told = outcome.send(Ok(()));
                    runtime.block_on(work(sockets, edge, gateway, stopping));
                    told
                }
            };
        })
        .map_err(AppError::System)?;
    made.recv()
        .expect("the thread tells what became of its runtime")
        .map_err(AppError::System)?;
    Ok(thread)
}

/// Serves until it is asked to stop, and the requests under way have ended.
async fn work(
    sockets: WorkerSockets,
    edge: Arc<Edge>,
    gateway: GatewayParts,
    stopping: watch::Receiver<bool>,
) {
    let gateway = Rc::new(Gateway::new(gateway));
    let serving = edge::serve(sockets, edge, Rc::clone(&gateway), stopping, DRAIN);
    let mut tick = tokio::time::interval(TICK);
    let mut serving = std::pin::pin!(serving);
    loop {
        tokio::select! {
            () = &mut serving => break,
            _ = tick.tick() => gateway.tick(),
        }
    }
    gateway.tick();
}
