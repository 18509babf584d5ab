//! Commands to a Cluster within one call: split by server, sent, and sent on where they are
//! redirected.
//!
//! Invariants: commands that touch one slot keep their order; all servers are asked at once; a
//! command without a key goes ahead of the others to each server that is asked, and one of these
//! answers it.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::ConnectionLike as _;
use ::redis::{Cmd, ErrorKind, Pipeline, RedisResult, Value, cmd};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::super::fault::Fault;
use super::super::layout;
use super::super::settings::Address;
use super::Cluster;
use super::slots::{Redirection, slot, slot_of};

/// Before a command is sent on that was redirected several times, or whose keys are at two servers.
const PAUSE: Duration = Duration::from_millis(5);
/// Redirections in a row after which [`PAUSE`] is kept.
const AT_ONCE: u32 = 2;

/// A Cluster, for the length of one call.
#[derive(Clone)]
pub(in crate::store::redis) struct View {
    cluster: Arc<Cluster>,
    until: Instant,
}

/// One command with a key, until it is answered.
struct Errand {
    /// Which command of the pipeline.
    index: usize,
    slot: u16,
    /// Where a server said to ask for this key, for once.
    ask: Option<Address>,
}

/// What goes to one server at once.
struct Trip {
    address: Address,
    errands: Vec<Errand>,
}

impl View {
    pub(super) fn new(cluster: Arc<Cluster>, until: Instant) -> View {
        View { cluster, until }
    }

    pub(in crate::store::redis) async fn command(&self, command: &Cmd) -> RedisResult<Value> {
        if slot_of(command).is_none() && is_named(command, b"SCRIPT") {
            return self.everywhere(command).await.map_err(Fault::into_redis);
        }
        if is_named(command, b"SCAN") {
            // One server's keys would pass for all of them.
            let refused = "the keys of a Cluster are listed server by server";
            return Err((ErrorKind::Client, refused).into());
        }
        let mut answers = self
            .carry_out(&[command])
            .await
            .map_err(Fault::into_redis)?;
        Ok(answers.pop().unwrap_or(Value::Nil))
    }

    pub(in crate::store::redis) async fn pipeline(
        &self,
        pipeline: &Pipeline,
    ) -> RedisResult<Vec<Value>> {
        let commands: Vec<&Cmd> = pipeline.cmd_iter().collect();
        self.carry_out(&commands).await.map_err(Fault::into_redis)
    }

    /// On each server that is known: which of them will be asked to run it, nobody knows here.
    async fn everywhere(&self, command: &Cmd) -> Result<Value, Fault> {
        let mut sent = JoinSet::new();
        for node in self.cluster.all_nodes() {
            let (command, until) = (command.clone(), self.until);
            sent.spawn(async move {
                let run = async |mut connection: ::redis::aio::MultiplexedConnection| {
                    let answer = connection.req_packed_command(&command).await?;
                    Ok(answer.extract_error()?)
                };
                node.call(until, run).await
            });
        }
        let mut outcome = Err(Fault::Late);
        while let Some(answer) = sent.join_next().await {
            let answer = answer.unwrap_or(Err(Fault::Late));
            if outcome.is_err() {
                outcome = answer;
            }
        }
        outcome
    }

    async fn carry_out(&self, commands: &[&Cmd]) -> Result<Vec<Value>, Fault> {
        let mut answers: Vec<Value> = vec![Value::Nil; commands.len()];
        let mut keyless = Vec::new();
        let mut errands = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            match slot_of(command) {
                Some(slot) => errands.push(Errand {
                    index,
                    slot,
                    ask: None,
                }),
                None => keyless.push(index),
            }
        }
        if errands.is_empty() {
            let trip = Trip {
                address: self.owner(slot(layout::LOG.as_bytes())).await?,
                errands,
            };
            self.go(commands, &keyless, vec![trip], &mut answers)
                .await?;
            return Ok(answers);
        }
        for round in 0_u32.. {
            let trips = self.plan(errands).await?;
            let (redirected, torn) = self.go(commands, &keyless, trips, &mut answers).await?;
            if redirected.is_empty() {
                break;
            }
            if torn || round >= AT_ONCE {
                timeout_at(self.until, sleep(PAUSE))
                    .await
                    .map_err(|_| Fault::Late)?;
            }
            errands = redirected;
        }
        Ok(answers)
    }

    /// Which server gets what, in the order of the pipeline.
    async fn plan(&self, errands: Vec<Errand>) -> Result<Vec<Trip>, Fault> {
        let mut trips: Vec<Trip> = Vec::new();
        for errand in errands {
            let address = match &errand.ask {
                Some(address) => address.clone(),
                None => self.owner(errand.slot).await?,
            };
            match trips.iter_mut().find(|trip| trip.address == address) {
                Some(trip) => trip.errands.push(errand),
                None => trips.push(Trip {
                    address,
                    errands: vec![errand],
                }),
            }
        }
        Ok(trips)
    }

    async fn owner(&self, slot: u16) -> Result<Address, Fault> {
        let owner = timeout_at(self.until, self.cluster.owner(slot, self.until));
        owner.await.unwrap_or(Err(Fault::Late))
    }

    /// Sends everything, and puts the answers in their places. Gives what is to be sent on, in
    /// order, and whether some of it has to wait a moment.
    async fn go(
        &self,
        commands: &[&Cmd],
        keyless: &[usize],
        trips: Vec<Trip>,
        answers: &mut [Value],
    ) -> Result<(Vec<Errand>, bool), Fault> {
        let mut under_way = JoinSet::new();
        let mut alone = None;
        let only = trips.len() == 1;
        for trip in trips {
            let node = self.cluster.node(&trip.address);
            let (pipeline, until) = (pack(commands, keyless, &trip), self.until);
            let run = async move {
                let send = async |mut connection: ::redis::aio::MultiplexedConnection| {
                    let length = pipeline.len();
                    Ok(connection.req_packed_commands(&pipeline, 0, length).await?)
                };
                (trip, node.call(until, send).await)
            };
            if only {
                alone = Some(run.await);
            } else {
                under_way.spawn(run);
            }
        }
        let (mut redirected, mut torn, mut fault) = (Vec::new(), false, None);
        loop {
            let (trip, answered) = match alone.take() {
                Some(back) => back,
                None => match under_way.join_next().await {
                    Some(Ok(back)) => back,
                    Some(Err(error)) => {
                        fault = Some(Fault::away(error));
                        continue;
                    }
                    None => break,
                },
            };
            match answered {
                Ok(values) => {
                    torn |= self.unpack(trip, keyless, values, answers, &mut redirected)?;
                }
                Err(error) => {
                    // It may have been replaced.
                    self.cluster.look_again();
                    fault = Some(error);
                }
            }
        }
        redirected.sort_by_key(|errand: &Errand| errand.index);
        match fault {
            Some(fault) => Err(fault),
            None => Ok((redirected, torn)),
        }
    }

    /// Whether some command has to wait a moment.
    fn unpack(
        &self,
        trip: Trip,
        keyless: &[usize],
        values: Vec<Value>,
        answers: &mut [Value],
        redirected: &mut Vec<Errand>,
    ) -> Result<bool, Fault> {
        let few = || Fault::corrupt("fewer answers than commands");
        let mut torn = false;
        let mut values = values.into_iter();
        for index in keyless {
            answers[*index] = values.next().ok_or_else(few)?;
        }
        for mut errand in trip.errands {
            if errand.ask.take().is_some() {
                let _asking = values.next().ok_or_else(few)?;
            }
            let value = values.next().ok_or_else(few)?;
            match Redirection::of(&value, &trip.address) {
                None => {
                    if is_down(&value) {
                        self.cluster.look_again();
                    }
                    answers[errand.index] = value;
                    continue;
                }
                Some(Redirection::Moved(owner)) => self.cluster.note_moved(errand.slot, owner),
                Some(Redirection::Ask(address)) => errand.ask = Some(address),
                Some(Redirection::TryAgain) => {
                    torn = true;
                }
            }
            redirected.push(errand);
        }
        Ok(torn)
    }
}

fn pack(commands: &[&Cmd], keyless: &[usize], trip: &Trip) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(keyless.len() + trip.errands.len());
    for index in keyless {
        pipeline.add_command(commands[*index].clone());
    }
    for errand in &trip.errands {
        if errand.ask.is_some() {
            pipeline.add_command(cmd("ASKING"));
        }
        pipeline.add_command(commands[errand.index].clone());
    }
    pipeline
}

fn is_named(command: &Cmd, name: &[u8]) -> bool {
    let first = command.args_iter().next();
    matches!(first, Some(::redis::Arg::Simple(first)) if first.eq_ignore_ascii_case(name))
}

/// The server has no say at the moment; another may have.
fn is_down(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if matches!(error.code(), "CLUSTERDOWN" | "READONLY" | "LOADING" | "MASTERDOWN"))
}
