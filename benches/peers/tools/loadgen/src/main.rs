//! Load for what wrk and h2load do not do, on one thread, over TLS 1.3 without resumption.
//!
//!     bench-loadgen handshake ADDRESS CONNECTIONS SECONDS PATH
//!     bench-loadgen idle      ADDRESS CONNECTIONS SECONDS PATH
//!     bench-loadgen bulk      ADDRESS CONNECTIONS SECONDS down|up
//!     bench-loadgen open      ADDRESS CONNECTIONS SECONDS PATH RATE HEADERS
//!
//! Prints one line of JSON; `idle` prints `ready` before, when all connections are open. It checks no
//! certificate, so it is for loopback only.

mod answer;
mod arrivals;
mod bulk;
mod handshake;
mod idle;
mod open;
mod tally;
mod target;

use std::error::Error;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::LocalSet;

use crate::tally::Tally;
use crate::target::Target;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, address, connections, seconds, rest @ ..] = arguments.as_slice() else {
        return Err("usage: see the head of main.rs".into());
    };
    let work = Rc::new(Work {
        target: Target::new(address),
        tally: Tally::default(),
        connections: connections.parse()?,
        duration: Duration::from_secs_f64(seconds.parse()?),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(LocalSet::new().run_until(run(mode, work.clone(), rest)))?;
    println!("{}", work.tally.json());
    Ok(())
}

async fn run(mode: &str, work: Rc<Work>, rest: &[String]) -> Result<(), Box<dyn Error>> {
    match (mode, rest) {
        ("handshake", [path]) => {
            work.on_each_connection(|_| handshake::run(work.clone(), path.clone()))
                .await
        }
        ("idle", [path]) => idle::run(&work, path).await,
        ("bulk", [way]) => {
            let way = bulk::Way::parse(way).ok_or("down or up")?;
            work.on_each_connection(|_| bulk::run(work.clone(), way))
                .await;
        }
        ("open", [path, rate, file]) => {
            let requests = open::requests(path, file)?;
            let every = Duration::from_secs_f64(work.connections as f64 / rate.parse::<f64>()?);
            work.on_each_connection(|number| {
                open::run(work.clone(), requests.clone(), number, every)
            })
            .await;
        }
        _ => return Err("usage: see the head of main.rs".into()),
    }
    Ok(())
}

/// What there is to do, and what came of it.
struct Work {
    target: Target,
    tally: Tally,
    connections: usize,
    duration: Duration,
}

impl Work {
    /// Runs one task for each connection, and waits for all.
    async fn on_each_connection<F: Future<Output = ()> + 'static>(
        &self,
        task: impl Fn(usize) -> F,
    ) {
        let tasks: Vec<_> = (0..self.connections)
            .map(|number| tokio::task::spawn_local(task(number)))
            .collect();
        for task in tasks {
            if task.await.is_err() {
                self.tally.error(&"a task panicked");
            }
        }
    }

    fn is_over(&self) -> bool {
        self.tally.elapsed() >= self.duration
    }
}
