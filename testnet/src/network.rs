//! A testnet of real processes: up, down, and what is done to single nodes in between.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use rustix::process::Signal;
use serde::Serialize;
use session_chain::NetworkFile;
use session_protocols::{NodeId, SwarmMap};
use tokio::time::Instant;

use crate::{
    chain::{Anvil, ChainStatus},
    door,
    error::{LastWords, TestnetError},
    genesis,
    layout::{Entry, Folder, Lock, POLL, State},
    logs,
    process::Process,
};

/// How many nodes there are when nobody says.
pub const DEFAULT_NODES: usize = 12;
/// How long nodes may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long a node may take to stop before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How long the system may take to end what is killed.
const KILLED: Duration = Duration::from_secs(10);
/// Lines of a log that an error shows.
const LAST_LINES: usize = 5;

/// A local testnet: twelve processes and a folder, or as many as were asked for.
#[derive(Clone, Debug)]
pub struct Testnet {
    pub(crate) folder: Folder,
    pub(crate) binary: PathBuf,
    /// How long nodes may take to be ready.
    patience: Duration,
    /// How long a node may take to stop before it is killed.
    grace: Duration,
}

/// What to bring up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How many nodes; [`DEFAULT_NODES`], or as many as there are already, if none.
    pub nodes: Option<usize>,
    /// Given to every node in addition, such as `--unlimited`.
    pub arguments: Vec<String>,
    /// Whether a new network has a chain on which its nodes register; one that is there stays as it is.
    pub chain: bool,
    /// The port of the network page, 0 for a free one; no page is started if none.
    pub page: Option<u16>,
}

/// What bringing up found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Up {
    /// Nothing was there: a new network.
    New,
    /// All nodes were down: the same network again, with its messages.
    Resumed,
    /// Some nodes were down: they were started, and the others ran on.
    Completed,
    /// All nodes were running: nothing was started.
    Already,
}

/// How nodes came to an end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Stopped {
    /// Those that did not stop when asked to, and were killed: a bug, or a machine under heavy load.
    pub killed: Vec<usize>,
}

/// How a node is.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    /// Which one, from 1.
    pub index: usize,
    /// Its id.
    pub id: NodeId,
    /// Its process; none when it is down.
    pub pid: Option<u32>,
    /// `down`, or what it says of itself: `starting`, `syncing`, `ready`, `stopping`.
    pub state: String,
    /// `unregistered`, `refused`, `awaiting`, `active`, `decommissioned` or `deregistered`; none without a chain.
    pub registration: Option<String>,
    /// Names that it knows of; none without a chain.
    pub names: Option<u64>,
    /// The swarm that it sits in.
    pub swarm: Option<String>,
    /// Nodes that it is in contact with.
    pub peers: u64,
    /// Messages that it keeps; 0 while it does not answer.
    pub messages: u64,
    /// Equal at members of a swarm that hold the same; empty while it does not answer.
    pub fingerprint: String,
    /// Where it is reached.
    pub addresses: Vec<String>,
    /// Where it answers over HTTP.
    pub http: String,
    /// Where its door for the clients that exist is: `https://address:port`.
    pub door: Option<String>,
}

impl NodeStatus {
    /// Whether it serves.
    pub fn is_ready(&self) -> bool {
        self.state == "ready"
    }
}

/// Is told how many of how many nodes are ready.
pub type Progress<'a> = &'a mut (dyn FnMut(usize, usize) + Send);

impl Testnet {
    /// The testnet in this folder, whose nodes run `binary`.
    pub const fn new(folder: Folder, binary: PathBuf) -> Self {
        Self { folder, binary, patience: READY, grace: GRACE }
    }

    /// Where it lives.
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Brings it up, whatever of it is there: starts the nodes that are down, lets the others run on, and
    /// waits until every one is ready.
    ///
    /// # Errors
    /// When there are more or fewer nodes than were asked for, when it cannot start, or when it is not
    /// ready in time: what this call started is stopped then, and what ran before goes on.
    pub async fn up(&self, options: &Options, progress: Progress<'_>) -> Result<Up, TestnetError> {
        let lock = self.folder.lock().await?;
        let found = self.folder.read()?.filter(|state| !state.nodes.is_empty());
        let (up, mut state) = match found {
            Some(state) => {
                let have = state.nodes.len();
                if let Some(wanted) = options.nodes.filter(|wanted| *wanted != have) {
                    return Err(TestnetError::Size { have, wanted });
                }
                let chain = state.chain.as_ref().is_none_or(|chain| chain.running().is_some());
                let up = match state.nodes.iter().filter(|node| node.running().is_some()).count() {
                    0 => Up::Resumed,
                    some if some < have || !chain => Up::Completed,
                    _ => Up::Already,
                };
                (up, state)
            }
            None => match self.begin(options, &lock).await {
                Ok(state) => (Up::New, state),
                Err(error) => {
                    self.abandon(&lock).await?;
                    return Err(error);
                }
            },
        };
        if let Some(chain) = state.chain.as_mut().filter(|_| up != Up::New) {
            chain.resume(&self.folder).await?;
            self.folder.write(&state, &lock)?;
        }
        let all: Vec<usize> = state.nodes.iter().map(|node| node.index).collect();
        let down: Vec<usize> =
            state.nodes.iter().filter(|node| node.running().is_none()).map(|node| node.index).collect();
        let launched = down.iter().try_for_each(|index| self.launch(&mut state, *index, &lock));
        let registered = match launched {
            Ok(()) if up == Up::New => self.settle(&state).await,
            launched => launched,
        };
        // Nobody registers the rest of its nodes: the next one begins anew.
        let half = up == Up::New && registered.is_err();
        let ready = match registered {
            Ok(()) => self.wait(&state, &all, progress).await,
            failed => failed,
        };
        if ready.is_ok() && state.chain.is_some() {
            self.wait_for_lists(&state).await;
        }
        if ready.is_err() {
            // What does not get ready helps nobody; its logs stay.
            let _ = self.stop(&mut state, &down, &lock).await?;
            if half {
                self.abandon(&lock).await?;
            }
        }
        ready?;
        if let Some(port) = options.page {
            self.open_page(&mut state, port, &lock).await?;
        }
        Ok(up)
    }

    /// Stops all nodes; unless `keep`, removes the testnet with its messages. Tells how they stopped,
    /// or none where there was no testnet.
    ///
    /// # Errors
    /// When a node cannot be stopped, or the disk refuses.
    pub async fn down(&self, keep: bool) -> Result<Option<Stopped>, TestnetError> {
        if !self.folder.path().exists() {
            return Ok(None);
        }
        let lock = self.folder.lock().await?;
        let Some(mut state) = self.folder.read()? else { return Ok(None) };
        // First of all: it would go on to ask nodes, and start them where somebody presses its buttons.
        if let Some(page) = state.page.take() {
            page.stop().await?;
            self.folder.write(&state, &lock)?;
        }
        let all: Vec<usize> = state.nodes.iter().map(|node| node.index).collect();
        let stopped = self.stop(&mut state, &all, &lock).await?;
        if let Some(chain) = &mut state.chain {
            chain.stop().await?;
            self.folder.write(&state, &lock)?;
        }
        if !keep {
            self.folder.remove(&lock)?;
        }
        Ok(Some(stopped))
    }

    /// How its nodes are.
    ///
    /// # Errors
    /// When there is no testnet.
    pub async fn status(&self) -> Result<Vec<NodeStatus>, TestnetError> {
        Ok(self.look().await?.into_iter().map(|(status, _)| status).collect())
    }

    /// How its nodes are, with what those that answer say.
    pub(crate) async fn look(&self) -> Result<Vec<(NodeStatus, Option<door::Status>)>, TestnetError> {
        let state = self.folder.state()?;
        let network = self.folder.network()?;
        // Where there is a chain, the nodes alone know the map.
        let map = match network.settlement {
            Some(_) => SwarmMap::default(),
            None => network.ledger().map().clone(),
        };
        let one = async |node: &Entry| {
            let process = node.running();
            let said = if process.is_some() { door::status(node.http).await } else { None };
            let silent = if process.is_some() { "starting" } else { "down" };
            let swarm = said.as_ref().and_then(|said| said.swarm.clone());
            let addresses = said.as_ref().map(|said| said.addresses.clone());
            let status = NodeStatus {
                index: node.index,
                id: node.id,
                pid: process.map(|process| process.pid),
                state: said.as_ref().map_or_else(|| silent.to_owned(), |said| said.state.clone()),
                registration: said.as_ref().and_then(|said| Some(said.chain.as_ref()?.registration.clone())),
                names: said.as_ref().and_then(|said| Some(said.chain.as_ref()?.names)),
                swarm: swarm.or_else(|| map.swarm_with(&node.id).map(|swarm| swarm.to_string())),
                peers: said.as_ref().map_or(0, |said| said.peers),
                messages: said.as_ref().map_or(0, |said| said.messages),
                addresses: addresses.filter(|some| !some.is_empty()).unwrap_or_else(|| node.listen.clone()),
                fingerprint: said.as_ref().map(|said| said.fingerprint.clone()).unwrap_or_default(),
                http: node.http.to_string(),
                door: node.door.map(|door| format!("https://{door}")),
            };
            (status, said)
        };
        Ok(futures::future::join_all(state.nodes.iter().map(one)).await)
    }

    /// How its chain is; none where it has none.
    ///
    /// # Errors
    /// When there is no testnet.
    pub async fn chain(&self) -> Result<Option<ChainStatus>, TestnetError> {
        let (state, network) = (self.folder.state()?, self.folder.network()?);
        match &state.chain {
            Some(chain) => Ok(Some(chain.status(&network).await)),
            None => Ok(None),
        }
    }

    /// Stops the chain, so that it saves its state; [`Self::up`] brings it back. Tells whether it ran.
    ///
    /// # Errors
    /// When there is no testnet, or the chain cannot be stopped.
    pub async fn stop_chain(&self) -> Result<bool, TestnetError> {
        let lock = self.folder.lock().await?;
        let mut state = self.folder.state()?;
        let Some(chain) = &mut state.chain else { return Ok(false) };
        let ran = chain.running().is_some();
        chain.stop().await?;
        self.folder.write(&state, &lock)?;
        Ok(ran)
    }

    /// Kills the chain, as a crash would: what it did since it was last stopped is gone, and [`Self::up`] brings
    /// back what was before. Tells whether it ran.
    ///
    /// # Errors
    /// When there is no testnet, or the chain cannot be killed.
    pub async fn kill_chain(&self) -> Result<bool, TestnetError> {
        let lock = self.folder.lock().await?;
        let mut state = self.folder.state()?;
        let Some(chain) = &mut state.chain else { return Ok(false) };
        let ran = chain.running().is_some();
        chain.kill().await?;
        self.folder.write(&state, &lock)?;
        Ok(ran)
    }

    /// Starts the chain if it is down, and no node. Tells whether it was.
    ///
    /// # Errors
    /// When there is no testnet, or the chain cannot be started.
    pub async fn resume_chain(&self) -> Result<bool, TestnetError> {
        let lock = self.folder.lock().await?;
        let mut state = self.folder.state()?;
        let Some(chain) = &mut state.chain else { return Ok(false) };
        let down = chain.running().is_none();
        chain.resume(&self.folder).await?;
        self.folder.write(&state, &lock)?;
        Ok(down)
    }

    /// Replaces the newest blocks of the chain by others, as a reorganisation does; two are not final.
    ///
    /// # Errors
    /// When there is no testnet, or no chain that answers.
    pub async fn reorganise_chain(&self, depth: u64) -> Result<(), TestnetError> {
        let state = self.folder.state()?;
        let chain = state.chain.as_ref().filter(|chain| chain.running().is_some());
        chain.ok_or(TestnetError::ChainDown)?.reorganise(depth).await
    }

    /// Whether any of its nodes runs.
    ///
    /// # Errors
    /// When there is no testnet.
    pub fn is_running(&self) -> Result<bool, TestnetError> {
        Ok(self.folder.state()?.nodes.iter().any(|node| node.running().is_some()))
    }

    /// Kills a node, as a crash would. Tells whether it was running.
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn kill(&self, index: usize) -> Result<bool, TestnetError> {
        let lock = self.folder.lock().await?;
        let mut state = self.folder.state()?;
        let ran = state.node(index)?.running().is_some();
        self.end(&state, index, Signal::KILL, &lock)?;
        self.ended(&state, index, KILLED).await?;
        self.forget(&mut state, &[index], &lock)?;
        Ok(ran)
    }

    /// Starts those of these nodes that are down, all at once, and waits until they are ready. Tells which
    /// were down.
    ///
    /// # Errors
    /// When one of them is not there, and then none is started; or when they are not ready in time.
    pub async fn start(&self, nodes: &[usize]) -> Result<Vec<usize>, TestnetError> {
        let lock = self.folder.lock().await?;
        let mut state = self.folder.state()?;
        let mut down = BTreeSet::new();
        for index in nodes {
            if state.node(*index)?.running().is_none() {
                down.insert(*index);
            }
        }
        let down = Vec::from_iter(down);
        for index in &down {
            self.launch(&mut state, *index, &lock)?;
        }
        self.wait(&state, &down, &mut |_, _| {}).await?;
        Ok(down)
    }

    /// Stops a node, starts it again, and waits until it is ready. Tells how it stopped.
    ///
    /// # Errors
    /// When there is no such node, or it is not ready in time.
    pub async fn restart(&self, index: usize) -> Result<Stopped, TestnetError> {
        let lock = self.folder.lock().await?;
        let mut state = self.folder.state()?;
        state.node(index)?;
        let stopped = self.stop(&mut state, &[index], &lock).await?;
        self.launch(&mut state, index, &lock)?;
        self.wait(&state, &[index], &mut |_, _| {}).await?;
        Ok(stopped)
    }

    /// How many bytes of memory each running node holds.
    ///
    /// # Errors
    /// When there is no testnet.
    pub fn resident(&self) -> Result<Vec<u64>, TestnetError> {
        let state = self.folder.state()?;
        Ok(state.nodes.iter().filter_map(|node| node.running()?.resident()).collect())
    }

    async fn begin(&self, options: &Options, lock: &Lock) -> Result<State, TestnetError> {
        let count = options.nodes.unwrap_or(DEFAULT_NODES);
        genesis::check(count)?;
        self.folder.begin(lock)?;
        let (mut network, nodes): (NetworkFile, _) = genesis::make(&self.folder, count, options.chain)?;
        let mut state = State::new(options.arguments.clone(), None, nodes);
        if options.chain {
            // Written down at once: whatever fails after this, "down" stops it.
            let chain = Anvil::start(&self.folder).await?;
            state.chain = Some(chain.clone());
            self.folder.write(&state, lock)?;
            network.settlement = Some(chain.deploy().await?);
        }
        self.folder.write_network(&network)?;
        self.folder.write(&state, lock)?;
        Ok(state)
    }

    /// Stops the chain of a network that was not made whole; what is left of it goes when the next one begins.
    async fn abandon(&self, lock: &Lock) -> Result<(), TestnetError> {
        // Nothing is written where nothing was begun.
        let Some(state) = self.folder.read()? else { return Ok(()) };
        if let Some(mut chain) = state.chain {
            chain.stop().await?;
        }
        self.folder.write(&State::new(Vec::new(), None, Vec::new()), lock)
    }

    /// Registers the nodes of a new network, and begins its epochs.
    async fn settle(&self, state: &State) -> Result<(), TestnetError> {
        let Some(chain) = &state.chain else { return Ok(()) };
        chain.register(&self.folder, &self.folder.network()?).await?;
        chain.begin().await
    }

    pub(crate) fn launch(&self, state: &mut State, index: usize, lock: &Lock) -> Result<(), TestnetError> {
        let node = state.node(index)?;
        let mut arguments = vec!["node".into(), "run".into()];
        arguments.extend(["--network".into(), self.folder.network_path().into_os_string()]);
        arguments.extend(["--data".into(), self.folder.data(index).into_os_string()]);
        arguments.extend(["--http".into(), node.http.to_string().into(), "--log".into(), "human".into()]);
        if let Some(door) = node.door {
            arguments.extend(["--door".into(), door.to_string().into()]);
        }
        for endpoint in &node.listen {
            arguments.extend(["--listen".into(), endpoint.into()]);
        }
        arguments.extend(state.arguments.iter().map(Into::into));
        let spawned = Process::spawn(&self.binary, arguments, &self.folder.log(index));
        let process = spawned.map_err(|cause| TestnetError::Spawn { binary: self.binary.clone(), cause })?;
        state.node_mut(index)?.process = Some(process);
        self.folder.write(state, lock)
    }

    /// Stops nodes gracefully, all at once; kills those that take too long.
    pub(crate) async fn stop(
        &self,
        state: &mut State,
        nodes: &[usize],
        lock: &Lock,
    ) -> Result<Stopped, TestnetError> {
        for index in nodes {
            self.end(state, *index, Signal::TERM, lock)?;
        }
        let mut stopped = Stopped::default();
        for index in nodes {
            if self.ended(state, *index, self.grace).await.is_err() {
                self.end(state, *index, Signal::KILL, lock)?;
                self.ended(state, *index, KILLED).await?;
                stopped.killed.push(*index);
            }
        }
        self.forget(state, nodes, lock)?;
        Ok(stopped)
    }

    fn end(&self, state: &State, index: usize, signal: Signal, _lock: &Lock) -> Result<(), TestnetError> {
        if let Some(process) = &state.node(index)?.process {
            process.signal(signal).map_err(|cause| TestnetError::Signal { index, cause })?;
        }
        Ok(())
    }

    async fn ended(&self, state: &State, index: usize, patience: Duration) -> Result<(), TestnetError> {
        let until = Instant::now() + patience;
        while state.node(index)?.running().is_some() {
            if Instant::now() >= until {
                return Err(TestnetError::Stuck { index });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn forget(&self, state: &mut State, nodes: &[usize], lock: &Lock) -> Result<(), TestnetError> {
        for index in nodes {
            state.node_mut(*index)?.process = None;
        }
        self.folder.write(state, lock)
    }

    /// Waits until these nodes are ready; a node that ends meanwhile ends the wait.
    async fn wait(&self, state: &State, nodes: &[usize], progress: Progress<'_>) -> Result<(), TestnetError> {
        let until = Instant::now() + self.patience;
        let mut waiting: Vec<&Entry> =
            state.nodes.iter().filter(|node| nodes.contains(&node.index)).collect();
        loop {
            let asked = waiting.iter().map(|node| door::readiness(node.http));
            let answers = futures::future::join_all(asked).await;
            let unready =
                |answer: &Option<door::Readiness>| answer.as_ref().is_none_or(|answer| !answer.ready);
            let late: Vec<_> =
                waiting.into_iter().zip(answers).filter(|(_, answer)| unready(answer)).collect();
            progress(nodes.len() - late.len(), nodes.len());
            if late.is_empty() {
                return Ok(());
            }
            let dead: Vec<_> = late.iter().filter(|(node, _)| node.running().is_none()).collect();
            if !dead.is_empty() {
                let words = dead.into_iter().map(|(node, _)| self.last_words(node, None)).collect();
                return Err(TestnetError::Died(words));
            }
            if Instant::now() >= until {
                let words = late.iter().map(|(node, answer)| self.last_words(node, answer.as_ref()));
                return Err(TestnetError::NotReady {
                    nodes: words.collect(),
                    seconds: self.patience.as_secs(),
                });
            }
            waiting = late.into_iter().map(|(node, _)| node).collect();
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until no list that clients go by lacks a node, where they go by lists alone. The first one may have been signed while nodes
    /// still got to know each other; the next comes seconds later.
    async fn wait_for_lists(&self, state: &State) {
        let until = Instant::now() + self.patience;
        loop {
            let asked = state.nodes.iter().map(|node| door::status(node.http));
            let found: Vec<_> = futures::future::join_all(asked).await.into_iter().flatten().collect();
            if !lacking(&found) || Instant::now() >= until {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(crate) fn last_words(&self, node: &Entry, answer: Option<&door::Readiness>) -> LastWords {
        let checks = answer.map_or(&[][..], |answer| &answer.checks);
        let unmet = checks.iter().filter(|check| !check.ok);
        LastWords {
            index: node.index,
            unmet: unmet.map(|check| format!("{}: {}", check.name, check.detail)).collect(),
            lines: logs::last_lines(&self.folder.log(node.index), LAST_LINES).unwrap_or_default(),
        }
    }
}

/// Whether a node goes by a list that lacks one of those that are registered.
fn lacking(nodes: &[door::Status]) -> bool {
    let active =
        |node: &&door::Status| node.chain.as_ref().is_some_and(|chain| chain.registration == "active");
    let active = nodes.iter().filter(active).count();
    nodes.iter().filter_map(|node| node.snapshot.as_ref()).any(|list| list.nodes < active)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    /// A testnet of two whose nodes are this shell script.
    async fn of(script: &str) -> (tempfile::TempDir, Testnet) {
        let temp = tempfile::tempdir().unwrap();
        let binary = temp.path().join("node");
        fs::write(&binary, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o700)).unwrap();
        let folder = Folder::new(Some(&temp.path().join("net"))).unwrap();
        let short = Duration::from_millis(500);
        let testnet = Testnet { folder, binary, patience: short, grace: short };
        let lock = testnet.folder.lock().await.unwrap();
        let options = Options { nodes: Some(2), ..Options::default() };
        let mut state = testnet.begin(&options, &lock).await.unwrap();
        for index in [1, 2] {
            testnet.launch(&mut state, index, &lock).unwrap();
            let log = testnet.folder.log(index);
            let said = async {
                while fs::read(&log).unwrap().is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), said).await.unwrap();
        }
        (temp, testnet)
    }

    #[tokio::test]
    async fn a_node_that_does_not_stop_is_killed_and_named() {
        let (_temp, testnet) =
            of("case $* in *nodes/2*) trap '' TERM;; esac; echo here; exec sleep 60").await;
        assert_eq!(testnet.down(true).await.unwrap(), Some(Stopped { killed: vec![2] }));
        assert!(!testnet.is_running().unwrap());
        assert_eq!(testnet.down(false).await.unwrap(), Some(Stopped::default()), "they were down");
        assert_eq!(testnet.down(false).await.unwrap(), None);
    }

    #[test]
    fn a_list_lacks_whoever_is_active_and_not_in_it() {
        let node = |registration: &str, listed: Option<usize>| door::Status {
            state: "ready".to_owned(),
            swarm: None,
            peers: 0,
            messages: 0,
            bytes: 0,
            traffic: None,
            chain: Some(door::Chain {
                registration: registration.to_owned(),
                height: 0,
                epoch: 0,
                names: 0,
                stake: None,
            }),
            snapshot: listed.map(|nodes| door::Snapshot { nodes }),
            fingerprint: String::new(),
            addresses: Vec::new(),
        };
        assert!(!lacking(&[node("active", None), node("active", Some(2))]));
        assert!(lacking(&[node("active", None), node("active", Some(1))]));
        assert!(!lacking(&[node("left", Some(1)), node("active", Some(1))]));
        assert!(!lacking(&[]));
    }

    #[tokio::test]
    async fn nodes_that_run_and_are_not_ready_are_waited_for_and_left_to_run() {
        let (_temp, testnet) = of("echo here; exec sleep 60").await;
        testnet.kill(1).await.unwrap();
        let before = testnet.folder.state().unwrap();
        let error = testnet.up(&Options::default(), &mut |_, _| {}).await.unwrap_err();
        let TestnetError::NotReady { nodes, .. } = error else { panic!("{error}") };
        assert_eq!(nodes.iter().map(|node| node.index).collect::<Vec<_>>(), [1, 2]);
        let after = testnet.folder.state().unwrap();
        assert_eq!(after.nodes[0].running(), None, "what was started in vain is stopped again");
        assert_eq!(after.nodes[1].running(), before.nodes[1].process.as_ref(), "what ran goes on");
        let _ = testnet.down(false).await.unwrap();
    }
}
