//! Which path a packet gets: one that there is, or a new one, and what is missing where there is none.

use std::collections::BTreeSet;

use rand_core::Rng;

use super::{
    HOPS, LAST, MAX_PAUSE, MAX_USES, MAX_WANTS, Output, PAUSE, Path, PathError, PathId, Paths, READY,
    SPARE_AFTER, State, Usage, WAIT, Want,
    choose::{self, Pool},
    guards::{Guard, Health},
};
use crate::{NodeId, Span, Time, mutants};

impl<R: Rng> Paths<R> {
    /// A packet wants a path.
    pub(super) fn want(&mut self, now: Time, want: Want) {
        if self.wants.len() >= MAX_WANTS {
            self.outbox.push_back(Output::Fail { ticket: want.ticket, error: PathError::Busy });
            return;
        }
        self.wanted = Some(now);
        if !self.uses.contains_key(&want.usage) && self.uses.len() >= MAX_USES {
            let oldest = self.uses.iter().min_by_key(|(_, usage)| usage.wanted).map(|(usage, _)| *usage);
            if let Some(oldest) = oldest {
                self.uses.remove(&oldest);
                let paths = self.paths.iter().filter(|(_, path)| path.usage == Some(oldest));
                let paths: Vec<_> = paths.map(|(path, _)| *path).collect();
                paths.into_iter().for_each(|path| self.close(now, path));
            }
        }
        let fresh = Usage {
            since: now,
            wanted: now,
            destination: want.destination,
            look_at: now.after(SPARE_AFTER),
            tried: Time::ZERO,
            pause: PAUSE,
        };
        let usage = self.uses.entry(want.usage).or_insert(fresh);
        (usage.wanted, usage.destination) = (now, want.destination);
        self.wants.insert(want.ticket, (want, now.after(WAIT)));
    }

    /// Gives paths to the packets that wait.
    pub(super) fn serve(&mut self, now: Time) {
        let tickets: Vec<_> = self.wants.keys().copied().collect();
        for ticket in tickets {
            let Some((want, until)) = self.wants.get(&ticket).cloned() else { continue };
            let output = match self.find(now, &want) {
                Found::Path(path, hops) => Output::Use { ticket, path, hops },
                Found::Soon(_) if now < until => continue,
                Found::Soon(error) | Found::Nothing(error) => Output::Fail { ticket, error },
            };
            self.wants.remove(&ticket);
            self.outbox.push_back(output);
        }
    }

    fn find(&mut self, now: Time, want: &Want) -> Found {
        if !self.nodes.get(&want.destination).is_some_and(|node| node.open) {
            return Found::Nothing(PathError::Destination);
        }
        let kept = self.kept(now, want);
        if let Some((flaws, path, hops)) = kept
            && flaws == Flaws::default()
        {
            return Found::Path(path, hops);
        }
        // A second try avoids the hops of the first, if there are others.
        let mut avoid = self.avoided();
        avoid.extend(want.not.iter().flatten());
        let guards = self.usable(want.destination, &avoid, &want.not);
        let pool = Pool { nodes: &self.nodes, avoid: &avoid };
        let made = guards.iter().find_map(|guard| pool.hops(&mut self.random, *guard, &[want.destination]));
        match (kept, made) {
            (Some((flaws, path, hops)), made)
                if made.is_none_or(|made| self.flaws(&made, &want.not) >= flaws) =>
            {
                return Found::Path(path, hops);
            }
            (_, Some(hops)) => return Found::Path(self.make(now, Some(want.usage), hops), hops),
            (_, None) => {}
        }
        let error = self.shortage(now, want.destination);
        // Guards that are down are asked again, now that somebody waits.
        let active: Vec<_> = self.guards.active(&self.nodes).map(|guard| guard.node).collect();
        let mut tested = false;
        for guard in active {
            let rested = self.health.get(&guard).is_some_and(|health| health.rested(now));
            let soon = self.is_tested(guard) || self.fresh.contains(&guard);
            tested |= soon || (rested && self.test(now, guard));
        }
        if tested { Found::Soon(error) } else { Found::Nothing(error) }
    }

    /// The best path that there is for a packet: the oldest of those with the fewest flaws.
    fn kept(&self, now: Time, want: &Want) -> Option<(Flaws, PathId, [NodeId; HOPS])> {
        let usable = self.paths.iter().filter(|(_, path)| {
            (path.usage == Some(want.usage) || (path.usage.is_some() && mutants::on("path-mixed")))
                && now < Time(path.end.0.saturating_sub(LAST.0))
                && self.stands(&path.hops)
                && choose::fits(&self.nodes, &path.hops, want.destination)
                // A second try goes through another guard where it can.
                && !begins(&want.not, path.hops[0])
        });
        let best = usable.min_by_key(|(id, path)| {
            (self.flaws_of(now, path, &want.not), path.state == State::Building, **id)
        });
        best.map(|(id, path)| (self.flaws_of(now, path, &want.not), *id, path.hops))
    }

    fn flaws_of(&self, now: Time, path: &Path, not: &[[NodeId; HOPS]]) -> Flaws {
        let flaws = self.flaws(&path.hops, not);
        let suspect = flaws.suspect || path.state == State::Suspect;
        Flaws { suspect, old: now >= path.replace_at, ..flaws }
    }

    fn flaws(&self, hops: &[NodeId; HOPS], not: &[[NodeId; HOPS]]) -> Flaws {
        let tried = not.iter().flatten().any(|hop| hops.contains(hop));
        let blamed = hops.iter().any(|hop| self.blame.dropped().contains(hop));
        Flaws { tried, suspect: self.is_suspect(hops), blamed, old: false }
    }

    /// Whether a path's hops can still be used, and its guard answers.
    pub(super) fn stands(&self, hops: &[NodeId; HOPS]) -> bool {
        let [guard, ..] = hops;
        let up = matches!(self.health.get(guard), Some(Health::Up { .. }));
        up && self.guards.is_active(*guard)
            && hops.iter().all(|hop| self.nodes.get(hop).is_some_and(|node| node.open))
    }

    #[cfg(test)]
    pub(super) fn is_up(&self, guard: NodeId) -> bool {
        matches!(self.health.get(&guard), Some(Health::Up { suspect: false, .. }))
    }

    fn is_suspect(&self, [guard, ..]: &[NodeId; HOPS]) -> bool {
        self.busy.contains_key(guard)
            || matches!(self.health.get(guard), Some(Health::Up { suspect: true, .. }))
    }

    /// Nodes that are chosen only where nothing else will do: those left out for refusals, and guards that
    /// do not answer, which are no better further on.
    pub(super) fn avoided(&self) -> BTreeSet<NodeId> {
        let silent = self.health.iter().filter(|(_, health)| !health.is_well()).map(|(guard, _)| *guard);
        self.blame.dropped().iter().copied().chain(silent).collect()
    }

    /// The guards that a packet for this destination may go through, the best first: those that none of the paths
    /// `not` began with.
    fn usable(&self, destination: NodeId, avoid: &BTreeSet<NodeId>, not: &[[NodeId; HOPS]]) -> Vec<NodeId> {
        let up = self.guards.active(&self.nodes).filter_map(|guard| match self.health.get(&guard.node) {
            Some(Health::Up { suspect, .. }) => Some((guard.node, *suspect)),
            Some(Health::Untested { .. }) if mutants::on("guards-untested") => Some((guard.node, false)),
            Some(Health::Untested { .. } | Health::Down { .. }) | None => None,
        });
        let up = up.filter(|(guard, _)| self.nodes.get(guard).is_some_and(|node| node.open));
        let fits = |(at, (guard, suspect)): (usize, (NodeId, bool))| {
            let fits = choose::fits(&self.nodes, &[guard], destination);
            let tried = begins(not, guard);
            let suspect = suspect || self.busy.contains_key(&guard);
            fits.then_some((tried, avoid.contains(&guard), suspect, at, guard))
        };
        let mut all: Vec<_> = up.enumerate().filter_map(fits).collect();
        all.sort_unstable();
        all.into_iter().map(|(.., guard)| guard).collect()
    }

    /// What is missing for a path to this destination.
    fn shortage(&mut self, now: Time, destination: NodeId) -> PathError {
        let pool = Pool { nodes: &self.nodes, avoid: &BTreeSet::new() };
        let possible = pool.any(&mut self.random, destination);
        if !possible {
            let open = || self.nodes.values().filter(|node| node.open);
            return PathError::TooFew {
                nodes: self.nodes.len(),
                open: open().count(),
                operators: open().map(|node| node.operator).collect::<BTreeSet<_>>().len(),
                prefixes: open().map(|node| node.prefix).collect::<BTreeSet<_>>().len(),
            };
        }
        let up = |guard: &Guard| matches!(self.health.get(&guard.node), Some(Health::Up { .. }));
        if self.guards.active(&self.nodes).any(up) {
            return PathError::Near;
        }
        if self.unkept.is_some() {
            return PathError::Unkept;
        }
        let guards = self.guards.active(&self.nodes).count();
        PathError::Guards { guards, left: self.guards.left(now, &self.nodes) }
    }

    /// Has spare paths made for the uses that were wanted lately.
    pub(super) fn look_after_spares(&mut self, now: Time) {
        let due: Vec<_> =
            self.uses.iter().filter(|(_, usage)| usage.look_at <= now).map(|(usage, _)| *usage).collect();
        for usage in due {
            let good = |path: &&Path| {
                let well = self.flaws_of(now, path, &[]) == Flaws::default();
                path.usage == Some(usage) && well && self.stands(&path.hops)
            };
            let mine: Vec<_> = self.paths.values().filter(good).collect();
            let until = mine.iter().map(|path| path.replace_at).min();
            let (lacking, tested) = (mine.len() < READY, mine.iter().any(|path| path.tested.is_some()));
            let taken: BTreeSet<_> = mine.iter().filter_map(|path| path.hops.first()).copied().collect();
            let Some(destination) = self.uses.get(&usage).map(|usage| usage.destination) else { continue };
            let tries = lacking && !tested;
            if tries {
                // The spare begins at the other guard, so that the death of one leaves a path.
                if let Some(guard) = self.usable(destination, &taken, &[]).first().copied() {
                    self.probe(now, Some(usage), guard, Some(destination));
                }
            }
            if let Some(usage) = self.uses.get_mut(&usage) {
                usage.tried = now;
                usage.pause = match lacking {
                    true if tries => Span(usage.pause.0.saturating_mul(2)).min(MAX_PAUSE),
                    true => usage.pause,
                    false => PAUSE,
                };
                let next = if lacking { None } else { until };
                usage.look_at = next.unwrap_or_else(|| now.after(usage.pause));
            }
        }
    }
}

/// Whether one of these paths begins with this guard.
fn begins(not: &[[NodeId; HOPS]], guard: NodeId) -> bool {
    not.iter().any(|[first, ..]| *first == guard) && !mutants::on("retry-same-guard")
}

/// What speaks against a path, the worst first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Flaws {
    /// One of its hops stood in a path that was tried in vain.
    tried: bool,
    /// An answer is late.
    suspect: bool,
    /// One of its hops is left out.
    blamed: bool,
    /// Another should have taken over.
    old: bool,
}

enum Found {
    Path(PathId, [NodeId; HOPS]),
    /// Guards are being tested; why there is none so far.
    Soon(PathError),
    Nothing(PathError),
}
