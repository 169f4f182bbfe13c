//! Turns at computing: components that compute for long take turns, so that calls that only wait for the
//! network are served at once.

use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of an engine: as many at a time as there are processors, minus one for everything else.
pub(crate) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Semaphore::new(processors.saturating_sub(1).max(1))))
    }
}

impl Turns {
    /// Returns the turn of one call, which it does not hold yet.
    pub(crate) fn turn(&self) -> Turn {
        Turn { turns: Arc::clone(&self.0), permit: Arc::default() }
    }
}

/// The turn of one call.
#[derive(Clone)]
pub(crate) struct Turn {
    turns: Arc<Semaphore>,
    permit: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Turn {
    /// Gives back the turn, if the call holds it.
    pub(crate) fn end(&self) {
        drop(self.permit.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Gives back the turn, and waits for the next one behind all others.
    pub(crate) async fn next(self) {
        self.end();
        // Other tasks get this thread even if nobody else computes.
        tokio::task::yield_now().await;
        // The semaphore is never closed.
        let permit = Arc::clone(&self.turns).acquire_owned().await.ok();
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn a_turn_is_given_back_before_the_next_one() {
        let turns = Turns(Arc::new(Semaphore::new(1)));
        let mut context = Context::from_waker(Waker::noop());
        let (first, second) = (turns.turn(), turns.turn());
        let mut turn = pin!(first.clone().next());
        assert!(turn.as_mut().poll(&mut context).is_pending(), "others go first");
        assert!(turn.as_mut().poll(&mut context).is_ready());
        let mut other = pin!(second.clone().next());
        for _ in 0..3 {
            assert!(other.as_mut().poll(&mut context).is_pending(), "there is one turn");
        }
        // The first one queues behind the second.
        let mut again = pin!(first.clone().next());
        assert!(again.as_mut().poll(&mut context).is_pending());
        assert!(other.as_mut().poll(&mut context).is_ready());
        assert!(again.as_mut().poll(&mut context).is_pending());
        // A call that waits for the host holds no turn.
        second.end();
        assert!(again.as_mut().poll(&mut context).is_ready());
        drop(first);
        let mut last = pin!(turns.turn().next());
        assert!(last.as_mut().poll(&mut context).is_pending());
        assert!(last.as_mut().poll(&mut context).is_ready(), "a dropped call holds no turn");
    }
}
