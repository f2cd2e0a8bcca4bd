//! The protocol under delays, pauses, lost answers and restarts, over many seeds: never two holders, and never a commit
//! of an earlier holder after one of a later.
//!
//! ```text
//! each process: act ─▶ request ─(delay)─▶ store ─(delay, or lost)─▶ answer ─▶ …     stopped now and then, mid-way
//!               held? ─▶ (delay) ─▶ a commit with its number ─▶ the table refuses numbers below the last one
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::protocol::{Act, Millis, Protocol, Record};

const TERM: Millis = 1_000;
/// Answers come within a fifth of a term, or are lost.
const DELAY_MAX: u64 = 200;
const PROCESSES: usize = 4;
const STEPS: u64 = 3_000;
/// Simulated milliseconds of a step.
const STEP: Millis = 10;
const SEEDS: u64 = 2_000;

/// SplitMix64: the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) % end
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

#[derive(Default)]
struct Store {
    objects: BTreeMap<u64, Record>,
    /// The greatest number that a commit carried.
    fence: u64,
    commits: u64,
    refused: u64,
}

#[derive(Clone)]
enum Request {
    Look,
    Put(u64, Record),
}

#[derive(Clone)]
enum Answer {
    Newest(Option<(u64, Record)>),
    Done,
}

struct Process {
    name: String,
    protocol: Protocol,
    /// Its clock runs by so many thousandths, and began at another time.
    rate: u64,
    skew: Millis,
    /// Under way, and when it reaches the store.
    request: Option<(Request, Millis)>,
    answer: Option<(Answer, Millis)>,
    /// Given up by the process, and still on their way.
    strays: Vec<(Request, Millis)>,
    /// A commit that began while it held the lease: its number, and when it reaches the table.
    commit: Option<(u64, Millis)>,
    stopped_until: Millis,
}

impl Store {
    fn take(&mut self, request: Request) -> Answer {
        match request {
            Request::Look => Answer::Newest(self.objects.last_key_value().map(|(n, record)| (*n, record.clone()))),
            Request::Put(number, record) => {
                if let Entry::Vacant(place) = self.objects.entry(number) {
                    place.insert(record);
                    self.objects.remove(&number.saturating_sub(4));
                }
                Answer::Done
            }
        }
    }

    fn commit(&mut self, number: u64) {
        if number < self.fence {
            self.refused += 1;
        } else {
            self.fence = number;
            self.commits += 1;
        }
    }
}

impl Process {
    fn new(name: String, random: &mut Random) -> Self {
        Process {
            protocol: Protocol::new(name.clone(), TERM),
            name,
            rate: 1_000 + random.below(100),
            skew: random.below(1_000_000),
            request: None,
            answer: None,
            strays: Vec::new(),
            commit: None,
            stopped_until: 0,
        }
    }

    fn clock(&self, now: Millis) -> Millis {
        self.skew + now * self.rate / 1_000
    }

    /// What is under way goes on, whether the process runs or not.
    fn network(&mut self, now: Millis, store: &mut Store, random: &mut Random) {
        if let Some((request, _)) = self.request.take_if(|(_, at)| now >= *at) {
            self.answer = Some((store.take(request), now + random.below(DELAY_MAX / 2)));
        }
        for (request, _) in self.strays.extract_if(.., |(_, at)| now >= *at) {
            store.take(request);
        }
        if let Some((number, _)) = self.commit.take_if(|(_, at)| now >= *at) {
            store.commit(number);
        }
    }

    fn run(&mut self, now: Millis, random: &mut Random) {
        if now < self.stopped_until {
            return;
        }
        if random.one_in(1_500) {
            self.stopped_until = now + random.below(4 * TERM);
            return;
        }
        if random.one_in(4_000) {
            return self.restart(now, random);
        }
        let clock = self.clock(now);
        if self.commit.is_none() && random.one_in(10) {
            self.commit = self.protocol.held(clock).map(|number| (number, now + random.below(3 * TERM)));
        }
        if let Some((answer, _)) = self.answer.take_if(|(_, at)| now >= *at) {
            // An answer may be lost.
            if let Answer::Newest(newest) = answer
                && !random.one_in(20)
            {
                self.protocol.looked(clock, newest);
            }
        }
        if self.answer.is_some() {
            return;
        }
        if let Some((request, _)) = self.request.take_if(|_| random.one_in(200)) {
            self.strays.push((request, now + random.below(2 * TERM)));
        }
        if self.request.is_some() {
            return;
        }
        let request = match self.protocol.act(clock) {
            Act::RestUntil(_) => return,
            Act::Look => Request::Look,
            Act::Put(number) => Request::Put(number, self.protocol.asks(number, clock)),
        };
        self.request = Some((request, now + random.below(DELAY_MAX / 2)));
    }

    /// Killed and started anew; a request and a commit under way may still arrive.
    fn restart(&mut self, now: Millis, random: &mut Random) {
        let mut next = Process::new(format!("{}'", self.name), random);
        next.strays = std::mem::take(&mut self.strays);
        next.strays.extend(self.request.take().map(|(request, _)| (request, now + random.below(2 * TERM))));
        next.commit = self.commit.take();
        *self = next;
    }
}

#[test]
fn never_two_holders_and_never_a_step_back() {
    let (mut held_steps, mut takeovers, mut commits, mut refused) = (0_u64, 0_u64, 0_u64, 0_u64);
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let mut store = Store::default();
        let mut processes: Vec<Process> =
            (0..PROCESSES).map(|at| Process::new(format!("p{at}"), &mut random)).collect();
        let (mut last_number, mut last_holder) = (0, String::new());
        for step in 0..STEPS {
            let now = step * STEP;
            let first = random.below(PROCESSES as u64) as usize;
            for at in 0..PROCESSES {
                let process = &mut processes[(first + at) % PROCESSES];
                process.network(now, &mut store, &mut random);
                process.run(now, &mut random);
            }
            let holders: Vec<_> = processes
                .iter()
                .filter_map(|process| Some((process.protocol.held(process.clock(now))?, &process.name)))
                .collect();
            assert!(holders.len() <= 1, "seed {seed}, {now} ms: {holders:?}");
            if let Some((number, holder)) = holders.first() {
                assert!(*number >= last_number, "seed {seed}, {now} ms: {number} after {last_number}");
                takeovers += u64::from(last_holder != **holder);
                (last_number, last_holder) = (*number, (*holder).clone());
                held_steps += 1;
            }
        }
        commits += store.commits;
        refused += store.refused;
    }
    // The simulation is of something: it is mostly held, changes hands, and late commits are refused.
    assert!(held_steps > SEEDS * STEPS / 2, "{held_steps}");
    assert!(takeovers > 2 * SEEDS && commits > SEEDS && refused > 0, "{takeovers} {commits} {refused}");
}
