//! Whose query is next: a queue for each tenant, served in turn. Pure.
//!
//! ```text
//! tenant a: ■■■■■■■ ─┐
//! tenant b: ■        ├─▶ in turn ─▶ running (places)       a tenant with nothing running always gets a place
//! tenant c: ■■       ─┘                                    (up to twice as many), however long the others' queries are
//! ```
//!
//! Invariants: a tenant has at most `parallelism` queries running; of two tenants that wait, the one served longer ago is
//! next; one that has nothing running never waits for another's queue, nor for memory, as long as there are spare places.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Queries that wait, of all tenants together.
const WAITING_MAX: usize = 20_000;

/// A query in the queue or running.
pub(super) type Ticket = u64;

/// How many at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// Running queries; as many again are for tenants that have none running.
    pub(super) running_max: usize,
    /// Waiting queries of a tenant.
    pub(super) waiting_max: usize,
}

/// There is no room to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug)]
pub(super) struct Schedule {
    places: Places,
    tenants: HashMap<Arc<str>, Queue>,
    /// Tenants that have queries waiting; the next to be served first.
    turns: VecDeque<Arc<str>>,
    running: usize,
    waiting: usize,
    next: Ticket,
}

#[derive(Debug, Default)]
struct Queue {
    running: usize,
    /// Queries of the tenant that may run at once.
    parallelism: usize,
    waiting: VecDeque<Ticket>,
}

impl Schedule {
    pub(super) fn new(places: Places) -> Self {
        let (tenants, turns) = (HashMap::new(), VecDeque::new());
        Schedule { places, tenants, turns, running: 0, waiting: 0, next: 0 }
    }

    /// A query comes and waits.
    pub(super) fn arrive(&mut self, tenant: &Arc<str>, parallelism: usize) -> Result<Ticket, Full> {
        let queue = self.tenants.entry(tenant.clone()).or_default();
        if queue.waiting.len() >= self.places.waiting_max || self.waiting >= WAITING_MAX {
            self.forget_idle(tenant);
            return Err(Full);
        }
        queue.parallelism = if parallelism == 0 { usize::MAX } else { parallelism };
        if queue.waiting.is_empty() {
            self.turns.push_back(tenant.clone());
        }
        let ticket = self.next;
        self.next += 1;
        queue.waiting.push_back(ticket);
        self.waiting += 1;
        Ok(ticket)
    }

    /// The query that begins now, if one may. `memory_is_scarce`: only those of tenants without any.
    pub(super) fn start_next(&mut self, memory_is_scarce: bool) -> Option<(Arc<str>, Ticket)> {
        let has_place = self.running < self.places.running_max && !memory_is_scarce;
        let has_spare_place = self.running < self.places.running_max * 2;
        let may_start = |queue: &Queue| match queue.running {
            0 => has_spare_place,
            running => has_place && running < queue.parallelism,
        };
        let at = self.turns.iter().position(|tenant| self.tenants.get(tenant).is_some_and(may_start))?;
        let tenant = self.turns.remove(at)?;
        let queue = self.tenants.get_mut(&tenant)?;
        let ticket = queue.waiting.pop_front()?;
        queue.running += 1;
        if !queue.waiting.is_empty() {
            self.turns.push_back(tenant.clone());
        }
        self.running += 1;
        self.waiting -= 1;
        Some((tenant, ticket))
    }

    /// A running query ends.
    pub(super) fn end(&mut self, tenant: &Arc<str>) {
        if let Some(queue) = self.tenants.get_mut(tenant) {
            queue.running -= 1;
            self.running -= 1;
        }
        self.forget_idle(tenant);
    }

    /// A waiting query goes away.
    pub(super) fn leave(&mut self, tenant: &Arc<str>, ticket: Ticket) {
        let Some(queue) = self.tenants.get_mut(tenant) else { return };
        let Some(at) = queue.waiting.iter().position(|one| *one == ticket) else { return };
        queue.waiting.remove(at);
        self.waiting -= 1;
        if queue.waiting.is_empty() {
            self.turns.retain(|one| one != tenant);
        }
        self.forget_idle(tenant);
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    fn forget_idle(&mut self, tenant: &Arc<str>) {
        if self.tenants.get(tenant).is_some_and(|queue| queue.running == 0 && queue.waiting.is_empty()) {
            self.tenants.remove(tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        schedule: Schedule,
        names: HashMap<Ticket, String>,
    }

    /// Two places; `a*3` are three queries of a; `-a` ends one of a's; `m` says that memory is scarce.
    fn run(script: &str) -> String {
        let places = Places { running_max: 2, waiting_max: 5 };
        let mut world = World { schedule: Schedule::new(places), names: HashMap::new() };
        let mut said = Vec::new();
        let mut scarce = false;
        for word in script.split(' ') {
            match word {
                "m" => scarce = true,
                "M" => scarce = false,
                _ if word.starts_with('-') => world.schedule.end(&Arc::from(&word[1..])),
                _ => {
                    let (tenant, times) = word.split_once('*').unwrap_or((word, "1"));
                    for _ in 0..times.parse::<usize>().expect("a number") {
                        match world.schedule.arrive(&Arc::from(tenant), 3) {
                            Ok(ticket) => drop(world.names.insert(ticket, tenant.to_owned())),
                            Err(Full) => said.push(format!("{tenant}!")),
                        }
                    }
                }
            }
            let schedule = &mut world.schedule;
            let begun = std::iter::from_fn(|| schedule.start_next(scarce));
            let begun: Vec<String> = begun.map(|(tenant, _)| tenant.to_string()).collect();
            if !begun.is_empty() {
                said.push(begun.join(""));
            }
        }
        format!("{} | {} running, {} waiting", said.join(" "), world.schedule.running(), world.schedule.waiting())
    }

    #[test]
    fn tenants_are_served_in_turn() {
        let check = |script: &str, expected: &str| assert_eq!(run(script), expected, "{script}");
        check("a", "a | 1 running, 0 waiting");
        check("a*4", "aa | 2 running, 2 waiting");
        // Somebody else begins at once, though all places are taken.
        check("a*5 b", "aa b | 3 running, 3 waiting");
        check("a*5 b*2 c -b", "aa b c b | 4 running, 3 waiting");
        // In turn, once there is room.
        check("a*4 b*3 -a -a -b", "aa b a b | 2 running, 2 waiting");
        // Spare places are limited, too.
        check("a*2 b c d e", "aa b c | 4 running, 2 waiting");
        check("a*8", "a! a! a! aa | 2 running, 3 waiting");
        // While memory is scarce only those begin who have nothing running.
        check("m a*3", "a | 1 running, 2 waiting");
        check("m a*3 b*2 M", "a b | 2 running, 3 waiting");
        check("m a*3 b*2 -a M", "a b a | 2 running, 2 waiting");
    }

    #[test]
    fn a_tenants_parallelism_is_kept_to() {
        let mut schedule = Schedule::new(Places { running_max: 10, waiting_max: 10 });
        let tenant: Arc<str> = Arc::from("a");
        for _ in 0..5 {
            schedule.arrive(&tenant, 3).expect("room");
        }
        let begun = std::iter::from_fn(|| schedule.start_next(false)).count();
        assert_eq!((begun, schedule.waiting()), (3, 2));
        schedule.end(&tenant);
        assert!(schedule.start_next(false).is_some() && schedule.start_next(false).is_none());
    }

    #[test]
    fn who_goes_away_is_forgotten() {
        let mut schedule = Schedule::new(Places { running_max: 1, waiting_max: 10 });
        let tenant: Arc<str> = Arc::from("a");
        schedule.arrive(&tenant, 0).expect("room");
        let waits = schedule.arrive(&tenant, 0).expect("room");
        assert!(schedule.start_next(false).is_some());
        schedule.leave(&tenant, waits);
        schedule.leave(&tenant, waits);
        assert_eq!((schedule.running(), schedule.waiting(), schedule.turns.len()), (1, 0, 0));
        schedule.end(&tenant);
        assert!(schedule.tenants.is_empty());
    }
}
