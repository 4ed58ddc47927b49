//! One write for all records of a turn of a runtime: each thread gathers them, and a task behind them writes.

use crate::audit::{Place, Shared, lock};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use strongroom_model::error::Error;
use tokio::sync::oneshot;

type Waiter = oneshot::Sender<Result<(), Error>>;

/// What one thread has gathered for one log.
#[derive(Default)]
struct Turn(Mutex<Gathered>);

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    places: Vec<Place>,
    waiters: Vec<Waiter>,
    /// Whether a flusher is on its way.
    awake: bool,
}

thread_local! {
    static TURNS: RefCell<Vec<(u64, Arc<Turn>)>> = const { RefCell::new(Vec::new()) };
}

/// A number that no other log of this process has.
pub(super) fn new_log_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Adds the body that `render` appends to this thread's turn; the receiver hears when it was written. `place`: the entry of a use
/// chain that it shows.
pub(super) fn enqueue(
    shared: &Arc<Shared>,
    place: Option<Place>,
    render: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
    let turn = turn_of(shared.id);
    let (waiter, written) = oneshot::channel();
    let first = {
        let mut gathered = lock(&turn.0);
        render(&mut gathered.bytes)?;
        let end = gathered.bytes.len();
        gathered.ends.push(end);
        gathered.places.extend(place);
        gathered.waiters.push(waiter);
        !std::mem::replace(&mut gathered.awake, true)
    };
    if first {
        let flusher = Flusher { shared: Arc::clone(shared), turn };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(flusher.run())),
            Err(_) => drop(flusher),
        }
    }
    Ok(written)
}

fn turn_of(log: u64) -> Arc<Turn> {
    TURNS.with_borrow_mut(|turns| {
        if let Some((_, turn)) = turns.iter().find(|(id, _)| *id == log) {
            return Arc::clone(turn);
        }
        let turn = Arc::new(Turn::default());
        turns.push((log, Arc::clone(&turn)));
        turn
    })
}

/// Writes what a turn has gathered when it is dropped: at its end, or with its runtime.
struct Flusher {
    shared: Arc<Shared>,
    turn: Arc<Turn>,
}

impl Flusher {
    /// Steps behind every task that is ready now.
    async fn run(self) {
        tokio::task::yield_now().await;
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        let mut gathered = std::mem::take(&mut *lock(&self.turn.0));
        let mut bodies = Vec::with_capacity(gathered.ends.len());
        let mut start = 0;
        for end in &gathered.ends {
            bodies.push(gathered.bytes.get(start..*end).unwrap_or_default());
            start = *end;
        }
        let result = self.shared.write_now(&bodies, &gathered.places).map(|_| ());
        for waiter in gathered.waiters.drain(..) {
            // A caller that has gone needs no answer; its record is written all the same.
            let _gone = waiter.send(result.clone());
        }
        self.give_back(gathered);
    }
}

impl Flusher {
    /// Keeps the buffers for the next turn.
    fn give_back(&self, mut gathered: Gathered) {
        gathered.bytes.clear();
        gathered.ends.clear();
        gathered.places.clear();
        let mut now = lock(&self.turn.0);
        if now.ends.is_empty() {
            gathered.awake = now.awake;
            *now = gathered;
        }
    }
}
